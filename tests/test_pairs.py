"""Pairs made of posts about bread: sentences, titles and headings as questions, and what a writer says if asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Event

import pytest

from rag.errors import ModelError
from rag.records import Citation, KeptTurn, Pair, Passage
from rag.tuning.pairs import LEFT, ORDER, pairs_asked, pairs_from_text, pairs_from_writer, questions_in
from rag.tuning.sift import sift
from tests.fakes import FakeWriter
from tests.house import House
from tests.stories import BICYCLE, FLATBREAD, SOURDOUGH, passages_of, post

RYE = """\
# Rye in the oven of my aunt

A loaf of rye needs a very hot oven and a bowl of water below it. The crust cracks where the knife has scored it.
My aunt in Riga never scored hers at all, and the loaves were round as the moon.

## Keeping rye bread fresh

- Wrapped in [linen](https://linen.example/cloth) a loaf of rye stays moist for a whole week.
- Never keep it in the fridge with the butter and the cheese.
- See https://bread.example/keeping for a table of days.

```python
for loaf in all_the_loaves_of_the_week: keep(loaf, wrapped_in="linen", days=7)
```

| loaf | days it keeps | where it is kept | wrapped in |
|------|---------------|------------------|------------|
"""
STARTER = "A starter is only flour and water that went sour."
FEED = "Feed it every morning at eight with 50 grams of rye flour."


def passages(*stories: str, tokens: int = 80) -> list[Passage]:
    found = [passage for story in stories for passage in passages_of(post(story), tokens)]
    return [replace(passage, id=number) for number, passage in enumerate(found, start=1)]


def made(*stories: str, count: int = 1000, seed: int = 7) -> list[Pair]:
    return list(pairs_from_text(passages(*stories), count, seed))


def of(question: str, pairs: list[Pair]) -> Pair:
    [found] = [pair for pair in pairs if pair.question == question]
    return found


class TestSentences:
    def test_a_sentence_asks_for_the_rest_of_its_passage(self) -> None:
        pairs = [of("The crust cracks where the knife has scored it.", made(RYE, seed=seed)) for seed in range(40)]
        dropped = [pair for pair in pairs if pair.question not in pair.passage]
        assert 0.6 * len(pairs) < len(dropped) < len(pairs)  # four times in five
        for pair in dropped:
            assert "needs a very hot oven" in pair.passage
            assert "round as the moon" in pair.passage
            assert "knife" not in pair.passage
        assert {pair.origin for pair in pairs} == {"text"}
        assert {pair.post_id for pair in pairs} == {post(RYE).id}

    def test_the_passage_is_as_the_embedder_reads_it(self) -> None:
        pair = of("Never keep it in the fridge with the butter and the cheese.", made(RYE))
        assert pair.passage.startswith("Rye in the oven of my aunt\n## Keeping rye bread fresh\n")

    def test_marks_and_addresses_are_no_part_of_a_question(self) -> None:
        questions = {pair.question for pair in made(RYE)}
        assert "Wrapped in linen a loaf of rye stays moist for a whole week." in questions

    def test_code_tables_addresses_and_short_sentences_ask_nothing(self) -> None:
        for pair in made(RYE, SOURDOUGH, FLATBREAD, BICYCLE):
            assert not any(odd in pair.question for odd in ("https", "loaves_of", "|", "#", "wrapped in", "days"))
            assert len(pair.question.split()) >= (5 if pair.question.endswith(".") else 3)

    def test_a_gone_list_item_leaves_no_mark_behind(self) -> None:
        for seed in range(20):
            pair = of("Never keep it in the fridge with the butter and the cheese.", made(RYE, seed=seed))
            assert "\n-\n" not in pair.passage
            assert "\n\n\n" not in pair.passage

    def test_a_passage_of_which_nothing_would_be_left_asks_nothing(self) -> None:
        assert made("# Salt\n\nSalt eats the chain of every bicycle in one long winter.\n") == []
        assert all(len(pair.passage.split()) >= LEFT for pair in made(RYE, SOURDOUGH, FLATBREAD, BICYCLE))

    def test_a_sentence_that_several_passages_have_asks_for_none(self) -> None:
        notice = "Whoever comes to my bakery before noon may taste a loaf of it."
        diary = "# Diary of the {0} week\n\nKneading the {0} dough took two hours and my arms hurt for days. {1}\n"
        pairs = made(*(diary.format(number, notice) for number in ("first", "second")))
        assert {pair.question.split()[0] for pair in pairs} == {"Diary", "Kneading"}

    def test_lists_of_links_ask_nothing(self) -> None:
        links = "".join(f"- [How I bake bread number {n} at home](https://a.example/{n})\n" for n in range(6))
        assert made(f"# My favourite posts\n\n{links}") == []

    def test_a_script_without_spaces_has_sentences_too(self) -> None:
        questions = [
            pair.question
            for pair in made(
                "# 酸面团\n\n酸面团只是面粉和水变酸而成，没有别的东西，也不用酵母。每天早上八点用五十克黑麦面粉喂它。"
            )
        ]
        assert "每天早上八点用五十克黑麦面粉喂它。" in questions


class TestTitlesAndHeadings:
    def test_a_title_asks_for_the_first_passage_which_no_longer_names_it(self) -> None:
        pair = of("Rye in the oven of my aunt", made(RYE, SOURDOUGH))
        assert pair.passage.startswith("A loaf of rye needs a very hot oven")

    def test_a_heading_asks_for_what_stands_below_it_and_the_title_stays(self) -> None:
        pair = of("Keeping rye bread fresh", made(RYE))
        assert pair.passage.startswith("Rye in the oven of my aunt\n- Wrapped in")

    def test_neither_stands_at_the_head_of_its_passage(self) -> None:
        for pair in made(RYE, SOURDOUGH, FLATBREAD, BICYCLE):
            assert not pair.passage.lower().startswith(pair.question.lower())

    def test_names_that_say_nothing_or_are_had_by_several_ask_nothing(self) -> None:
        body = "My aunt baked {0} loaves of rye bread each week in a clay oven behind the barn.\n"
        stories = [f"# Notes of week {n}\n\n## The rye harvest\n\n{body.format(n)}\n## Summary\n\n{body}" for n in "12"]
        assert not {"The rye harvest", "Summary"} & {pair.question for pair in made(*stories)}
        twins = [post(body.format(n), source=f"/{n}.md", title="My rye bread diary") for n in "12"]
        pairs = list(pairs_from_text([passage for twin in twins for passage in passages_of(twin)], 100))
        assert "My rye bread diary" not in {pair.question for pair in pairs}


class TestChoice:
    def test_the_same_seed_gives_the_same_pairs_and_another_others(self) -> None:
        stories = (RYE, SOURDOUGH, FLATBREAD, BICYCLE)
        assert made(*stories) == made(*stories)
        assert made(*stories) == list(pairs_from_text(passages(*stories)[::-1], 1000))
        assert made(*stories, seed=8) != made(*stories)

    def test_as_many_as_are_wanted_and_each_passage_before_any_twice(self) -> None:
        known = passages(RYE, SOURDOUGH, FLATBREAD, BICYCLE, tokens=80)
        for count in (0, 1, 3, 4):
            pairs = list(pairs_from_text(known, count))
            assert len(pairs) == count
            assert len({(pair.post_id, pair.passage.split("\n")[-1][-20:]) for pair in pairs}) == count

    def test_no_passages_no_pairs(self) -> None:
        assert made() == []

    def test_of_a_large_library_a_part_is_read(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("rag.tuning.pairs._READ", 50)
        first = passages(RYE)[0]
        known = [
            replace(first, post_id=f"{n:012x}", text=f"{first.text} In the year {n} the mill ground spelt.")
            for n in range(500)
        ]
        assert 5 <= len(list(pairs_from_text(known, 10_000))) <= 100
        assert len(list(pairs_from_text(known, 5))) == 5

    def test_all_of_them_pass_the_sift(self, light_house: House) -> None:
        for name, story in {"rye.md": RYE, "sourdough.md": SOURDOUGH, "flatbread.md": FLATBREAD}.items():
            light_house.write_and_add(name, story)
        pairs = list(pairs_from_text(light_house.library.passages(), 100))
        assert len(pairs) >= 5
        assert sift(pairs, light_house.library).counts == {}

    @pytest.mark.slow
    def test_of_real_posts(self, house: House, datasets: Path) -> None:
        house.add(*sorted((datasets / "seed" / "posts").iterdir()))
        known = house.library.passages()
        pairs = list(pairs_from_text(known, 10_000))
        assert len(pairs) > 2 * len(house.library.posts())
        assert len(sift(pairs, house.library).kept) >= 0.97 * len(pairs)
        texts = [passage.embedded_text for passage in known]
        kept = [pair for pair in pairs if pair.question in " ".join(pair.passage.split())]
        assert 0 < len(kept) < 0.3 * len(pairs)
        assert any(pair.passage in texts for pair in kept)


def asked(writer: FakeWriter, *stories: str, count: int = 100, stop: Event | None = None) -> list[Pair]:
    return list(pairs_from_writer(passages(*stories), writer, count, stop or Event()))


class TestAsked:
    def test_what_got_a_thumbs_up_and_the_passage_it_was_answered_from(self, light_house: House) -> None:
        light_house.write_and_add("sourdough.md", SOURDOUGH)
        [passage] = [known for known in light_house.library.passages() if FEED in known.text]
        cited = Citation(1, passage.id, passage.post_id, "", None, None, FEED, 0, 0)
        good = KeptTurn("How often is it fed?", "2026-11-25", citations=(cited,), asked="How often is rye fed?")
        turns = (
            replace(good, thumb="up"),
            replace(good, thumb="down"),
            good,
            KeptTurn("What was it?", "2026-11-25", quotes=(cited,), thumb="up"),
            KeptTurn("What cites nothing?", "2026-11-25", thumb="up"),
            KeptTurn("What is gone?", "2026-11-25", citations=(replace(cited, passage_id=987),), thumb="up"),
            replace(good, thumb="up", refused=True),
        )
        talk = 0
        for turn in turns:
            talk, _ = light_house.conversations.keep(talk, "Rye", turn)
        pairs = list(pairs_asked(light_house.conversations, light_house.library))
        assert pairs == [
            Pair(question, passage.embedded_text, "asked", passage.post_id)
            for question in ("How often is rye fed?", "What was it?")
        ]


class TestWriter:
    def test_two_questions_about_each_passage(self) -> None:
        writer = FakeWriter("1. How often is the starter fed?\n", "2. What does vinegar mean?\n3. What is rye?")
        known = passages(SOURDOUGH)
        pairs = asked(writer, SOURDOUGH)
        assert len(pairs) == 2 * len(known) == 2 * len(writer.prompts)
        assert {pair.question for pair in pairs} == {"How often is the starter fed?", "What does vinegar mean?"}
        assert {pair.passage for pair in pairs} == {passage.embedded_text for passage in known}
        assert {(pair.origin, pair.post_id) for pair in pairs} == {("writer", post(SOURDOUGH).id)}

    def test_a_passage_is_never_an_order(self) -> None:
        writer = FakeWriter("What is it?")
        asked(writer, SOURDOUGH)
        for prompt in writer.prompts:
            untrusted = [segment.text for segment in prompt.segments if not segment.trusted]
            assert len(untrusted) == 1
            assert "starter" in untrusted[0]
            assert prompt.segments[-1].text == ORDER
            assert not any("starter" in segment.text for segment in prompt.segments if segment.trusted)

    def test_as_many_as_are_wanted(self) -> None:
        writer = FakeWriter("How often is it fed?\nWhat is rye?")
        assert len(asked(writer, SOURDOUGH, RYE, count=3)) == 3
        assert len(writer.prompts) == 2
        assert asked(writer, SOURDOUGH, count=0) == []

    def test_stopped_it_ends_at_once_and_lets_the_writer_go(self) -> None:
        stop = Event()
        writer = FakeWriter("How often is it fed?\n", "What is rye?")
        pairs = pairs_from_writer(passages(SOURDOUGH, RYE), writer, 100, stop)
        next(pairs)
        stop.set()
        assert list(pairs) == []
        assert writer.closed == len(writer.prompts) == 1

    def test_a_writer_that_never_ends_is_left(self) -> None:
        writer = FakeWriter(*["How often is it fed? "] * 100_000)
        assert {pair.question for pair in asked(writer, SOURDOUGH)} == {"How often is it fed?"}
        assert writer.closed == len(writer.prompts)

    def test_a_long_passage_is_cut_to_what_the_writer_can_read(self) -> None:
        long = "# Rye\n\n" + "The mill by the river grinds rye and spelt for the whole village. " * 40
        writer = FakeWriter("Where is rye ground?", budget=200)
        known = [replace(passages(long)[0], text=long)]
        assert len(list(pairs_from_writer(known, writer, 5, Event()))) == 1
        tiny = FakeWriter("Where is rye ground?", budget=3)
        assert list(pairs_from_writer(known, tiny, 5, Event())) == []
        assert tiny.prompts == []

    def test_what_was_written_before_it_failed_is_kept(self) -> None:
        writer = FakeWriter("How often is it fed?")
        pairs = pairs_from_writer(passages(SOURDOUGH, RYE), writer, 100, Event())
        assert next(pairs).question == "How often is it fed?"
        writer.error = ModelError("The writer is gone. Start it again.")
        with pytest.raises(ModelError, match="is gone"):
            list(pairs)

    def test_furniture_and_code_are_not_asked_about(self) -> None:
        writer = FakeWriter("What is it?")
        asked(writer, "# Code\n\n```\nfor loaf in loaves: bake(loaf)\n```\n")
        asked(writer, "# Menu\n\nHome\n\nAbout\n\nSubscribe\n\nFollow me on Mastodon\n\n© 2024\n")
        assert writer.prompts == []

    @pytest.mark.parametrize(
        "written",
        [
            "How is rye fed?\nWho bakes it?",
            "1. How is rye fed?\n2. Who bakes it?",
            "1) How is rye fed?\n\n2) Who bakes it?",
            "- How is rye fed?\n- Who bakes it?",
            "* **How is rye fed?**\n* **Who bakes it?**",
            "Q1: How is rye fed?\nQ2: Who bakes it?",
            "Question 1: How is rye fed?\nQuestion 2: Who bakes it?",
            "**Question 1:** How is rye fed?\n**Question 2:** Who bakes it?",
            "Sure! Here are two questions:\n\n1. How is rye fed?\n2. Who bakes it?\n\nLet me know if you need more!",
            '"How is rye fed?"\n"Who bakes it?"',
            "“How is rye fed?”\n“Who bakes it?”",
            '["How is rye fed?", "Who bakes it?"]',
            '```json\n[\n  "How is rye fed?",\n  "Who bakes it?"\n]\n```',
            "How is rye fed? Who bakes it?",
            "<think>What would they ask? Rye, maybe?</think>How is rye fed?\nWho bakes it?",
            "1. How is rye fed? (Answer: daily)\n2. Who bakes it?\nAnswer: my aunt",
            "How is rye fed?\r\nHow is rye fed?\r\nWho bakes it?",
        ],
    )
    def test_whatever_stands_around_the_questions_is_taken_away(self, written: str) -> None:
        assert questions_in(written)[:2] == ["How is rye fed?", "Who bakes it?"]

    def test_other_languages_and_signs(self) -> None:
        assert questions_in("1. 黑麦怎么喂？\n2. 谁烤它？") == ["黑麦怎么喂？", "谁烤它？"]
        assert questions_in("¿Qué come la masa madre?") == ["¿Qué come la masa madre?"]
        assert questions_in("Frage 1: Was frisst der Sauerteig?") == ["Was frisst der Sauerteig?"]
        assert questions_in("What does “autolyse” mean?\n3 loaves or 4: which is better?") == [
            "What does “autolyse” mean?",
            "3 loaves or 4: which is better?",
        ]

    def test_what_is_no_question_is_left_to_the_sift(self) -> None:
        assert questions_in("Rye is fed daily.") == ["Rye is fed daily."]
        assert questions_in("") == questions_in("```\n```") == questions_in("Here they are:") == []
