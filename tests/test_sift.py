"""The check of training pairs: bread and its questions pass, whatever is broken is put aside for the right reason."""

from __future__ import annotations

import csv
import json
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from rag.records import Pair, Post
from rag.tuning.furniture import is_furniture
from rag.tuning.junk import (
    ABOUT_NOTHING,
    CHAT,
    CUT_OFF,
    EMPTY,
    GARBLED,
    NO_QUESTION,
    SEVERAL,
    SHORT,
    TEMPLATE,
    WHOLE_TEXT,
    why_no_question,
)
from rag.tuning.language import in_another_language
from rag.tuning.reading import in_library, pairs_from_file
from rag.tuning.roundtrip import by_search, first_of
from rag.tuning.sift import (
    BARE,
    COPY,
    FURNITURE,
    LANGUAGE,
    NOT_FOUND,
    NOWHERE,
    REASONS,
    SHARED,
    SWAPPED,
    TWICE,
    Sifted,
    shown,
    sift,
    why_no_pair,
)
from tests.fakes import FakeLibrary
from tests.house import House
from tests.stories import BICYCLE, FLATBREAD, SOURDOUGH

FED = "How often is the starter fed with rye?"
MORNING = "A starter is only flour and water that went sour. Feed it every morning at eight with 50 grams of rye flour."
SMELL = "A sharp smell of vinegar means that the starter is hungry. Feed it twice a day until the smell is gone."
PAN = "A dry iron pan must be smoking hot. Each flatbread stays in it for 90 seconds."
CHAIN = "Salt eats the chain of a bicycle in one winter. Wipe the chain after each ride and oil it every Sunday."
MENU = "Home\n\nAbout\n\nSubscribe to the newsletter\n\nFollow me on Mastodon\n\n2022\n\n2023\n\n2024\n\n© Bertha"


@pytest.fixture
def bakery(light_house: House) -> House:
    for name, story in {"sourdough.md": SOURDOUGH, "flatbread.md": FLATBREAD, "bicycle.md": BICYCLE}.items():
        light_house.write_and_add(name, story)
    return light_house


def file(question: str, passage: str = MORNING, **more: str) -> Pair:
    return Pair(question, passage, "file", **more)


def reasons(house: House, *pairs: Pair) -> dict[str, int]:
    return sift(pairs, house.library).counts


class TestJunk:
    @pytest.mark.parametrize(
        ("reason", "text"),
        [
            *((EMPTY, text) for text in ("", "   ", "\u200b\ufeff", "? ! …", "-", "----------", "🙂🙂🙂")),
            *(
                (TEMPLATE, text)
                for text in (
                    "QUESTION #1\\n",
                    "QUESTION #2\\n...\\n\\nContext:\\nA starter\\n', additional_kwargs={}, response_metadata={})]",
                    "Question 3: How often is the starter fed?",
                    "Q1. How often is the starter fed?",
                    "**Question 1:** How often is the starter fed?",
                    "Pregunta 1: ¿Qué harina come la masa madre?",
                    "1. How often is the starter fed?",
                    "- How often is the starter fed?",
                    "How often is the starter fed? Answer: every day",
                    "How often is the starter fed?\\nWhat does it smell of?",
                    "User: How often is the starter fed?",
                    "What does {context_str} say of the starter?",
                    "How is {{topic}} baked?",
                    "How is ${bread} baked?",
                    "[INSERT QUESTION HERE]",
                    "What is [topic] made of?",
                    "<question>How often is the starter fed?</question>",
                    "Lorem ipsum dolor sit amet, consectetur adipiscing?",
                    "Your question here",
                    "Sample question 4",
                    "null",
                    "NaN",
                    "N/A",
                    "[object Object]",
                    '{"question": "How often is the starter fed?"}',
                    "['How often is the starter fed?', 'What does it smell of?']",
                    "content='How often is the starter fed?' additional_kwargs={}",
                    "[HumanMessage(content='How often is the starter fed?')]",
                    "Document(page_content='A starter is only flour')",
                    "b'How often is the starter fed?'",
                    "<|im_start|>user How often is the starter fed?",
                    "[INST] How often is the starter fed? [/INST]",
                    "<s>How often is the starter fed?</s>",
                    "What is the [MASK] fed with?",
                    "What is the [BLANK] fed with?",
                    "What is the _____ fed with?",
                    "### Instruction",
                    "Generate 2 questions that the passage answers.",
                    "Write a question about the following text",
                    "Given the context information and not prior knowledge, generate only questions.",
                    "You are a teacher. Your task is to set up questions for a quiz.",
                    "Your task is to read the post",
                    "TODO: ask about rye",
                    "Error: 429 Too Many Requests",
                    "openai.RateLimitError: you exceeded your quota",
                )
            ),
            *(
                (CHAT, text)
                for text in (
                    "I'm sorry, but I can't write questions about that.",
                    "I’m sorry, as an AI language model I cannot help.",
                    "As an AI language model, I have no access to the passage.",
                    "I cannot create questions without a passage.",
                    "Here are two questions:",
                    "Sure! Here are the questions about the starter.",
                    "Certainly! Below are some ideas",
                    "Please provide the passage.",
                    "The passage does not say enough to ask about it.",
                    "This text is about keeping a sourdough starter.",
                    "Is there anything else I can help you with?",
                    "No question could be generated from it.",
                )
            ),
            *(
                (GARBLED, text)
                for text in (
                    "Wie fÃ¼ttert man den Sauerteig?",
                    "What doesnâ€™t the starter like?",
                    "What does the \ufffd starter like?",
                    "<p>How often is the starter fed?</p>",
                    "How often is the starter&nbsp;fed?",
                    "starter starter starter starter",
                    "How often? How often? How often? How often? How often?",
                    "aaaaaaaaaaaaaaaa",
                    "Whaaaaaaaat is the starter fed??????????",
                    "12345",
                    "2024-01-01 12:00:00, 0.1, 0.2, 0.3",
                    "SG93IG9mdGVuIGlzIHRoZSBzdGFydGVyIGZlZCB3aXRoIHJ5ZSBmbG91cj8",
                    "H o w o f t e n i s i t f e d ?",
                    "How\x00often\x07is the starter fed?",
                    "How often is the starter fed? How often is the starter fed?",
                    "fed starter How with? is often rye the",
                )
            ),
            *((SHORT, text) for text in ("Sourdough", "Rye flour", "How?", "Why is it so?", "酸面")),
            (WHOLE_TEXT, " ".join([MORNING, SMELL])),
            (
                WHOLE_TEXT,
                "The starter needs rye flour and water and time, and my aunt in Riga, whose own came from a mill that "
                "the flood took in spring, says a pinch of salt on Sundays helps it along, too",
            ),
            (WHOLE_TEXT, "a starter\nwants flour\nand water"),
            (WHOLE_TEXT, " ".join(f"loaf{number} beside jar{number}" for number in range(1000))),
            (SEVERAL, "How often is the starter fed?\nWhat does it smell of?"),
            (SEVERAL, "How often is the starter fed? What does vinegar have to do with it?"),
            *(
                (NO_QUESTION, text)
                for text in (
                    "https://bread.example/starter",
                    "Ways to feed a starter:",
                    "def feed(starter): return starter + 1",
                    "SELECT * FROM starters WHERE hungry = 1;",
                    "Home | About | Contact",
                    "Yes, it is fed twice a day.",
                )
            ),
            *(
                (CUT_OFF, text)
                for text in (
                    "How often is the",
                    "What does the starter need (",
                    "How often is it fed and",
                    "When does the starter…",
                )
            ),
            *(
                (ABOUT_NOTHING, text)
                for text in (
                    "What is the passage about?",
                    "What does the author say in the text above?",
                    "What is the main idea of this article?",
                    "Can you summarize the given context?",
                    "According to the passage, what is mentioned?",
                    "What is the answer to question 3?",
                    "Which of the following is true?",
                )
            ),
        ],
    )
    def test_each_kind_has_its_reason(self, reason: str, text: str) -> None:
        assert why_no_question(text, "file") == reason

    @pytest.mark.parametrize(
        "text",
        [
            FED,
            "what is rye",
            "sourdough starter smells of vinegar",
            "rye flour starter feeding times",
            "Name a flour that a starter likes.",
            "2 differences between rye and spelt",
            "Why does the author doubt that rye needs sugar?",
            "According to the text, why does the starter smell of vinegar?",
            "What did Bertha mean by “I'm sorry, as an AI I cannot bake”?",
            "How do I write a prompt that generates questions?",
            "What is the <div> element for?",
            "Why do I get `error: port 5432 is in use` from docker?",
            "How do I print a dictionary like {'rye': 1} in Python?",
            "What happened in 2024?",
            "Who fed it? Bertha?",
            "Which parts of FHV_20?? go into the address?",
            "Warum riecht der Sauerteig nach Essig?",
            "¿Cada cuánto se alimenta la masa madre?",
            "Почему закваска пахнет уксусом?",
            "为什么酸面团有醋味？",
            "サワー種はなぜ酢の匂いがするのですか",
            "사워도우에서 왜 식초 냄새가 나나요?",
            "لماذا تفوح من العجين رائحة الخل؟",
        ],
    )
    def test_what_a_person_asks_or_types_is_none(self, text: str) -> None:
        assert why_no_question(text, "file") == ""

    def test_a_writer_must_ask_and_a_sentence_of_a_post_need_not(self) -> None:
        assert why_no_question("sourdough starter smells of vinegar", "writer") == NO_QUESTION
        assert why_no_question(FED, "writer") == ""
        assert why_no_question("I'm sorry, but as an AI I cannot bake: so it answered me.", "text") == ""
        assert why_no_question("fed fed fed fed fed fed", "text") == GARBLED

    def test_a_text_of_a_megabyte_takes_no_time(self) -> None:
        for hostile in ("<a>", "[", "question ", "{'a':", "a b ", "((((", "\\n", "- ", "?\n"):
            assert why_no_question(hostile * 300_000, "file")


class TestPairs:
    def test_a_question_and_its_passage_are_kept_with_their_post(self, bakery: House) -> None:
        ids = {post.title: post.id for post in bakery.library.posts()}
        sifted = sift([file(FED), file("How hot must the pan for flatbread be?", PAN)], bakery.library)
        assert [pair.post_id for pair in sifted.kept] == [
            ids["Keeping a sourdough starter"],
            ids["Flatbread in twenty minutes"],
        ]
        assert sifted.refused == {}
        assert sifted.made == 2

    @pytest.mark.parametrize(
        "question",
        [
            "Feed it every morning at eight with 50 grams of rye flour.",
            "feed it EVERY morning, at eight, with 50 grams of rye flour",
            "So feed it every morning at eight with 50 grams of rye flour?",
            "only flour and water",
        ],
    )
    def test_a_copy_of_its_passage_is_none(self, bakery: House, question: str) -> None:
        assert reasons(bakery, file(question)) == {COPY: 1}

    def test_a_question_that_ends_within_a_word_is_cut_off(self, bakery: House) -> None:
        assert reasons(bakery, file("what does the starter need besides rye flo")) == {CUT_OFF: 1}
        assert reasons(bakery, file("what does a starter need in the morning")) == {}
        assert reasons(bakery, file("how many mornings is it feed")) == {}

    def test_a_sentence_that_was_taken_out_of_its_passage_is_none_of_those(self, bakery: House) -> None:
        sentence, rest = "Feed it every morning at eight with 50 grams of rye flour.", MORNING.split(". ")[0]
        post = next(post.id for post in bakery.library.posts() if "sourdough" in post.source)
        pairs = [Pair(sentence, rest, "text", post), Pair(SMELL.split(". ")[0], SMELL, "text", post)]
        assert sift(pairs, bakery.library).kept == tuple(pairs)

    def test_a_statement_is_a_search_only_where_a_person_asked_it(self, bakery: House) -> None:
        claim = file("A hungry starter smells as sharp as vinegar.", SMELL)
        assert reasons(bakery, claim) == {NO_QUESTION: 1}
        assert len(sift([replace(claim, origin="asked")], bakery.library).kept) == 1
        assert reasons(bakery, replace(claim, origin="writer")) == {NO_QUESTION: 1}

    def test_question_and_passage_that_changed_places(self, bakery: House) -> None:
        assert reasons(bakery, file(f"{MORNING} {SMELL}", FED)) == {SWAPPED: 1}
        assert reasons(bakery, file(CHAIN, "What does salt do to the chain?")) == {SWAPPED: 1}

    def test_the_same_question_for_several_passages_is_refused_everywhere(self, bakery: House) -> None:
        pairs = [file(FED), file(FED.upper(), PAN), file("How is a chain kept from salt?", CHAIN)]
        assert reasons(bakery, *pairs) == {SHARED: 2}

    def test_cut_a_little_differently_a_passage_is_the_same_one(self, bakery: House) -> None:
        assert reasons(bakery, file(FED), file(FED, f"Keeping a sourdough starter\n{MORNING}")) == {TWICE: 1}

    def test_questions_that_differ_by_a_number_alone(self, bakery: House) -> None:
        assert reasons(bakery, file("What is told in chapter 1?"), file("What is told in chapter 2?", PAN)) == {
            SHARED: 2
        }
        assert reasons(
            bakery,
            file("What is told in chapter 50?"),  # 50 stands there by chance
            file("What is told in chapter 2?", PAN),
            file("What is told in chapter 3?", CHAIN),
        ) == {SHARED: 3}
        told = [
            file("What is done for 90 seconds?", PAN),
            file("What is done for 50 seconds?", MORNING),  # 50 stands there
        ]
        assert len(sift(told, bakery.library).kept) == 2

    def test_passages_that_are_empty_short_furniture_or_in_no_post(self, bakery: House) -> None:
        assert reasons(bakery, file(FED, "")) == {EMPTY: 1}
        assert reasons(bakery, file(FED, "", post_id="A post that is gone")) == {NOWHERE: 1}
        assert reasons(bakery, file(FED, "Every morning.")) == {BARE: 1}
        assert reasons(bakery, file(FED, "https://bread.example/how-often-a-starter-is-fed-each-day")) == {BARE: 1}
        assert reasons(bakery, file(FED, MENU)) == {FURNITURE: 1}
        assert reasons(bakery, file("What was King Olaf fond of?", "King Olaf was fond of soft white cheese.")) == {
            NOWHERE: 1
        }
        assert reasons(bakery, file(FED, post_id="0123456789ab")) == {NOWHERE: 1}

    def test_a_passage_stands_in_a_post_whatever_its_marks(self, bakery: House) -> None:
        bakery.write_and_add(
            "mill.md",
            "# The mill\n\nThe [old mill](https://mill.example/a) **grinds** spelt\nfor *the village* on Tuesdays.\n",
        )
        asked = file("When is spelt ground in the village?", "The old mill grinds spelt for the village on Tuesdays.")
        assert len(sift([asked], bakery.library).kept) == 1

    def test_what_stands_in_many_posts_is_furniture(self, bakery: House) -> None:
        notice = "Bertha bakes every Friday, and whoever comes before noon may taste a loaf."
        for number, other in enumerate((MORNING, SMELL, PAN)):
            bakery.write_and_add(f"diary-{number}.md", f"# Diary {number}\n\n{other}\n\nNo. {number}.\n\n{notice}\n")
        assert reasons(bakery, file("When can a loaf of Bertha's be had?", notice)) == {FURNITURE: 1}

    def test_a_post_that_was_removed_takes_its_pairs_along(self, bakery: House) -> None:
        kept = sift([file(FED), file("How hot must the pan be?", PAN)], bakery.library).kept
        bakery.engine.remove([kept[0].post_id])
        assert sift(kept, bakery.library).counts == {NOWHERE: 1}

    def test_counts_and_examples_can_be_read(self, bakery: House) -> None:
        sifted = sift([file("QUESTION #1\\n"), file("QUESTION #1\\n", PAN), file("Rye"), file(FED)], bakery.library)
        assert sifted.counts == {TEMPLATE: 2, SHORT: 1}
        assert list(sifted.counts) == [TEMPLATE, SHORT]
        assert sifted.examples() == {TEMPLATE: ["QUESTION #1\\n", "QUESTION #1\\n"], SHORT: ["Rye"]}
        assert sifted.made == 4
        assert shown("How\n often " * 30) == shown("How often " * 30)
        assert len(shown("How often " * 30)) <= 121

    def test_nothing_at_all(self) -> None:
        assert sift([], FakeLibrary()) == Sifted()
        assert sift([file(FED)], FakeLibrary()).counts == {NOWHERE: 1}

    def test_every_reason_is_known(self) -> None:
        assert len(set(REASONS)) == len(REASONS) == 19


class TestRoundTrip:
    def test_a_question_with_another_ones_passage_is_not_found(self, bakery: House) -> None:
        right = [
            file(FED),
            file("What does a smell of vinegar tell?", SMELL),
            file("How hot must the iron pan be?", PAN),
            file("What eats the chain of a bicycle in winter?", CHAIN),
        ]
        found = by_search(lambda question: [hit.passage for hit in bakery.engine.search(question, limit=1).hits])
        assert sift(right, bakery.library, found).counts == {}
        passages = [pair.passage for pair in right]
        wrong = [replace(pair, passage=text) for pair, text in zip(right, passages[1:] + passages[:1], strict=True)]
        assert sift(wrong, bakery.library, found).counts == {NOT_FOUND: 4}
        none = replace(right[0], question="How often is the starter fed before:2023/99 each morning?")
        assert sift([none], bakery.library, found).counts == {NOT_FOUND: 1}

    def test_in_a_small_library_fewer_hits_count(self, bakery: House) -> None:
        assert first_of(bakery.library) == 1
        assert first_of(FakeLibrary()) == 1

    def test_only_what_was_asked_makes_it(self, bakery: House) -> None:
        seen: list[Pair] = []

        def finds(pairs: object) -> list[bool]:
            seen.extend(pairs)  # type: ignore[call-overload]
            return [False] * len(seen)

        post = next(post.id for post in bakery.library.posts() if "sourdough" in post.source)
        made = Pair("Feed it twice a day.", SMELL, "text", post)
        sifted = sift([made, file("Rye"), file(FED)], bakery.library, finds)
        assert [pair.question for pair in seen] == [FED]
        assert sifted.kept == (made,)
        assert sifted.counts == {SHORT: 1, NOT_FOUND: 1}


class TestLanguages:
    ENGLISH = f"{MORNING} {SMELL}"
    GERMAN = (
        "Ein Sauerteig ist nur Mehl und Wasser, das sauer geworden ist. Man füttert ihn jeden Morgen um acht mit dem "
        "Mehl, und wenn er nach Essig riecht, ist er hungrig."
    )
    SPANISH = "La masa madre es harina y agua que se puso agria. Se alimenta con la harina de centeno por la mañana."
    RUSSIAN = "Закваска — это мука и вода, которая стала кислой. Кормите её каждое утро ржаной мукой в docker compose."
    JAPANESE = "サワー種は小麦粉と水だけで、酸っぱくなったものです。毎朝八時に五十グラムのライ麦粉を与えます。"
    CHINESE = "酸面团只是面粉和水变酸而成。每天早上八点用五十克黑麦面粉喂它。"

    @pytest.mark.parametrize(
        ("question", "passage"),
        [
            ("Warum riecht der Sauerteig nach dem Essig?", ENGLISH),
            ("¿Por qué huele la masa madre a vinagre?", ENGLISH),
            ("Pourquoi est-ce que le levain sent le vinaigre ?", ENGLISH),
            ("Why does the starter smell of vinegar?", GERMAN),
            ("Why does the starter smell of vinegar?", SPANISH),
            ("Warum riecht der Sauerteig nach dem Essig?", SPANISH),
            ("Почему закваска пахнет уксусом?", ENGLISH),
            ("为什么酸面团有醋味？", ENGLISH),
            ("Why does the starter smell of vinegar?", RUSSIAN),
            ("Why does the starter smell of vinegar?", CHINESE),
            ("なぜ酸っぱくなったのですか？", CHINESE),
        ],
    )
    def test_another_language_is_told(self, bakery: House, question: str, passage: str) -> None:
        assert in_another_language(question, passage)
        assert why_no_pair(file(question, passage)) == LANGUAGE

    @pytest.mark.parametrize(
        ("question", "passage"),
        [
            (FED, ENGLISH),
            ("sourdough starter vinegar", ENGLISH),
            ("Warum riecht der Sauerteig?", GERMAN),
            ("Sauerteig füttern", GERMAN),
            ("¿Por qué huele mal la masa madre?", SPANISH),
            ("Почему закваска пахнет уксусом?", RUSSIAN),
            ("docker compose", RUSSIAN),
            ("docker compose закваска", RUSSIAN),
            ("なぜ酸っぱくなったのですか？", JAPANESE),
            ("酸面团的历史是什么？", CHINESE),
            ("What does “der Sauerteig” mean in the recipe?", ENGLISH),
            ("Who is El Niño de la Capea?", ENGLISH),
            ("How is it?", "Rye 50 g\nWater 50 g"),
        ],
    )
    def test_the_same_one_and_what_cannot_be_told_are_left_alone(self, question: str, passage: str) -> None:
        assert not in_another_language(question, passage)


class TestFurniture:
    @pytest.mark.parametrize(
        "text",
        [
            MENU,
            "- [Rye](https://a.example/1)\n- [Spelt](https://a.example/2)\n- [Wheat](https://a.example/3)\n",
            "bread\n    68\n\nrye\n    120\n\nspelt\n    9\n\nNext: How I bake\nPrevious: Oats",
            "Posted 31st December 2024 · Follow me on Mastodon\n\nMore recent articles\n\nRye - 1st May 2025",
            "![](https://a.example/picture.png)",
            "",
        ],
    )
    def test_menus_tag_counts_and_lists_of_links(self, text: str) -> None:
        assert is_furniture(text)

    @pytest.mark.parametrize(
        "text",
        [
            MORNING,
            f"## When it smells\n\n{SMELL}\n\nSee [my notes](https://a.example) for more.",
            "- 50 g rye flour\n- 50 g water\n- a jar\n- patience",
            "```\nfor loaf in loaves:\n    bake(loaf)\n```\nThis bakes them all.",
            "You need an account: log in with your key and subscribe\nto the list of bakers.",
            "酸面团只是面粉和水变酸而成。每天早上八点用五十克黑麦面粉喂它。",
        ],
    )
    def test_what_somebody_wrote_is_none(self, text: str) -> None:
        assert not is_furniture(text)

    @pytest.mark.slow
    def test_of_real_passages_those_are_found_that_people_called_so(self, datasets: Path) -> None:
        rows = read_rows(datasets / "retrieval" / "seed_posts" / "corpus.jsonl")
        told = Counter((row["furniture"], is_furniture(row["text"])) for row in rows)
        assert told == {(True, True): 11, (False, False): 100}


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def judged(folder: Path) -> tuple[FakeLibrary, list[Pair]]:
    """Return the documents of a collection as posts, and each question with the best document for it."""
    library = FakeLibrary()
    documents = {row["_id"]: row for row in read_rows(folder / "corpus.jsonl")}
    best: dict[str, tuple[int, str]] = {}
    with (folder / "qrels.tsv").open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            best[row["query-id"]] = max(best.get(row["query-id"], (0, "")), (int(row["score"]), row["corpus-id"]))
    asked = [row for row in read_rows(folder / "queries.jsonl") if not row.get("furniture") and row["_id"] in best]
    for id_, row in documents.items():
        library._posts[id_] = Post(source=id_, title=row.get("title", ""), text=row["text"])
    return library, [file(row["text"], documents[best[row["_id"]][1]]["text"]) for row in asked]


NO_QUESTIONS = {"questions", *(f"question{number}" for number in range(10)), *"0123456789"}


@pytest.mark.slow
class TestRealPairs:
    @pytest.mark.parametrize("posts", [True, False])
    def test_the_pairs_this_project_began_with_are_refused_whole(
        self, house: House, datasets: Path, posts: bool
    ) -> None:
        if posts:
            house.add(*sorted((datasets / "seed" / "posts").iterdir()))
        for name, count in (("training_dataset.jsonl", 152), ("val_dataset.jsonl", 37)):
            path = datasets / "seed" / "junk_pairs" / name
            sifted = sift(list(pairs_from_file(path, in_library(house.library))), house.library)
            assert sifted.kept == ()
            assert sum(sifted.counts.values()) == count
            assert sifted.counts[TEMPLATE] >= 0.95 * count

    @pytest.mark.parametrize(
        ("name", "share"), [("seed_posts", 0.99), ("xquad_en", 0.98), ("zoomcamp_faq", 0.98), ("clapnq_half", 0.98)]
    )
    def test_real_questions_are_kept(self, datasets: Path, name: str, share: float) -> None:
        library, pairs = judged(datasets / "retrieval" / name)
        pairs = [pair for pair in pairs if pair.question not in NO_QUESTIONS]
        sifted = sift(pairs, library)
        assert len(sifted.kept) >= share * len(pairs), sifted.examples()

    def test_claims_ask_nothing(self, datasets: Path) -> None:
        library, pairs = judged(datasets / "retrieval" / "scifact")
        assert len(sift(pairs, library).kept) <= 0.05 * len(pairs)

    def test_a_few_real_ones_among_the_junk_are_found(self, datasets: Path) -> None:
        library, real = judged(datasets / "retrieval" / "seed_posts")
        real = random.Random(7).sample(real, 50)
        junk = list(pairs_from_file(datasets / "seed" / "junk_pairs" / "training_dataset.jsonl", in_library(library)))
        mixed = random.Random(7).sample([*real, *junk], len(real) + len(junk))
        assert {pair.question for pair in sift(mixed, library).kept} == {pair.question for pair in real}
