"""Conversations that are kept: what is stored, what goes with a post, what is taken along, and what is offered."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest
from markdown_it import MarkdownIt
from starlette.applications import Starlette
from starlette.testclient import TestClient

from rag.answering.offers import offers
from rag.conversations import answer_of, as_markdown, as_text, kept
from rag.errors import BadQuestion, NotFound
from rag.records import REMOVED, REMOVED_WORDS, Answer, Citation, Hit, Sentence, Talk
from rag.ui import deeds
from rag.ui import kept as on_the_page
from rag.ui.conversation import BROKEN_OFF, Conversation, Exchange
from tests.house import House
from tests.stories import BICYCLE, FLATBREAD, SOURDOUGH, hits_of, post

HOSTILE = (
    "</script><img src=x onerror='alert(1)'> [a](https://evil.example) ![b](https://evil.example) www.evil.example"
)
FED = "Feed it every morning at eight with 50 grams of rye flour."
QUESTION = "How often is the starter fed?"


def cited(hit: Hit, number: int = 1, quote: str = FED) -> Citation:
    """Return a footnote to a sentence of a hit."""
    start = hit.passage.start + hit.passage.text.index(quote)
    return Citation(number, hit.passage.id, hit.passage.post_id, hit.title, hit.url, hit.date, quote, start, start + 58)


def answer(hits: list[Hit], *texts: str, question: str = QUESTION, citation: int | None = 1) -> Answer:
    """Return a finished answer of these sentences, the first with a footnote."""
    sentences, position = [], 0
    for n, text in enumerate(texts):
        own = citation if n == 0 else None
        sentences.append(Sentence(text, position, position + len(text), own, "yes" if own else "no"))
        position += len(text) + 1
    notes = (cited(hits[0]),) if citation else ()
    return Answer(question, "", " ".join(texts), tuple(sentences), notes, notes, tuple(hits), asked=question, done=True)


def say(house: House, talk: Conversation, said: Answer) -> None:
    """Let an answer end in a tab, and be kept."""
    asking = talk.begin(said.question)
    talk.keep(asking, said)
    assert on_the_page.save(house.engine, talk) == ""


def found_in(house: House, *stories: str) -> list[Hit]:
    """Add stories and return their passages as hits."""
    for n, story in enumerate(stories):
        house.write_and_add(f"{n}.md", story)
    labels = {stored.id: stored for stored in house.engine.posts()}
    return [
        Hit(p, labels[p.post_id].title, None, labels[p.post_id].date, 0.5, 0.5, 0.5) for p in house.library.passages()
    ]


def test_a_conversation_outlives_the_process_and_goes_on_where_it_stood(house: House) -> None:
    hits = [hit for hit in found_in(house, SOURDOUGH) if FED in hit.passage.text]
    talk = Conversation()
    for question in (QUESTION, "And in winter?"):
        say(house, talk, answer(hits, FED, "Perhaps.", question=question))
    assert on_the_page.judge(house.engine, talk, {"act": "up", "number": "2"}) == ""
    house.restart()
    [listed] = house.engine.talks.listed("starter")
    assert (listed.title, listed.turns) == (QUESTION, 2)
    again = Conversation()
    on_the_page.reopen(house.engine, again, {"talk": str(listed.id)})
    assert [(one.answer, one.thumb) for one in again.exchanges] == [
        (answer(hits, FED, "Perhaps."), ""),
        (answer(hits, FED, "Perhaps.", question="And in winter?"), "up"),
    ]
    assert [turn.question for turn in again.begin("And then?").turns] == [QUESTION, "And in winter?"]


def test_a_removed_post_is_nowhere_on_the_disk_and_the_answer_says_so(house: House) -> None:
    hits = [hit for hit in found_in(house, SOURDOUGH, BICYCLE) if FED in hit.passage.text]
    talk = Conversation()
    copied = "My advice: feed it every morning at eight, and wear a hat."
    said = answer(hits, FED, copied, "Hats are warm.")
    say(house, talk, said)
    assert b"rye flour" in (house.home / "library.sqlite3").read_bytes() + wal(house)
    house.engine.remove([hits[0].passage.post_id])
    [turn] = house.engine.talks.open(talk.talk)
    assert turn.answer.text == f"{REMOVED_WORDS} {REMOVED_WORDS} Hats are warm."
    assert [note.title for note in turn.answer.citations] == [REMOVED]
    assert turn.answer.quotes == turn.answer.hits == ()
    on_disk = (house.home / "library.sqlite3").read_bytes() + wal(house)
    for words in (b"rye flour", b"every morning at eight", b"Keeping a sourdough starter"):
        assert words not in on_disk, words
    assert REMOVED in house.engine.talks.export(talk.talk, "md")


def wal(house: House) -> bytes:
    """Return what SQLite has not yet written into its file."""
    path = house.home / "library.sqlite3-wal"
    return path.read_bytes() if path.exists() else b""


def test_a_deleted_conversation_is_nowhere_on_the_disk_either(house: House) -> None:
    hits = [hit for hit in found_in(house, SOURDOUGH) if FED in hit.passage.text]
    talk = Conversation()
    say(house, talk, answer(hits, "Ask the zeppelin captain.", citation=None))
    house.engine.talks.delete(talk.talk)
    assert b"zeppelin" not in (house.home / "library.sqlite3").read_bytes() + wal(house)


def test_what_a_reader_held_back_is_overwritten_with_the_next_change(house: House) -> None:
    hits = [hit for hit in found_in(house, SOURDOUGH) if FED in hit.passage.text]
    talk = Conversation()
    say(house, talk, answer(hits, "Ask the zeppelin captain.", citation=None))
    with closing(sqlite3.connect(house.home / "library.sqlite3")) as backup:
        backup.execute("BEGIN")
        backup.execute("SELECT count(*) FROM turns").fetchone()
        house.engine.talks.delete(talk.talk)
        assert b"zeppelin" in wal(house)
    house.catalogue.note("anything", "else")
    assert b"zeppelin" not in (house.home / "library.sqlite3").read_bytes() + wal(house)


def test_asking_again_and_editing_replace_the_last_turn_alone(light_house: House) -> None:
    hits, talk = hits_of(post(SOURDOUGH)), Conversation()
    for question in (QUESTION, "And in winter?", "and in winter?"):
        say(light_house, talk, answer(hits, "Often.", question=question, citation=None))
    talk.editing = True
    say(light_house, talk, answer(hits, "Never.", question="And in summer?", citation=None))
    turns = [reopened.turn.question for reopened in light_house.engine.talks.open(talk.talk)]
    assert turns == [QUESTION, "And in summer?"]
    say(light_house, talk, answer(hits, "Never.", question="And in May?", citation=None))
    assert len(light_house.engine.talks.open(talk.talk)) == 3


def test_a_replacement_that_fails_leaves_the_answer_that_was(light_house: House) -> None:
    hits, talk = hits_of(post(SOURDOUGH)), Conversation()
    say(light_house, talk, answer(hits, "Often.", citation=None))
    assert talk.drop(talk.begin(QUESTION))
    assert [one.answer.text for one in talk.exchanges] == ["Often."]


def test_what_was_interrupted_is_kept_before_what_came_then_and_nothing_twice(light_house: House) -> None:
    talk = Conversation()
    talk.keep(talk.begin(QUESTION), Answer(QUESTION, status="Writing…", text="Every"))
    assert talk.ready() == ()
    talk.keep(talk.begin("And then?"), Answer("And then?", text="Rest.", done=True))
    for _ in range(2):
        on_the_page.save(light_house.engine, talk)
    assert [one.turn.question for one in light_house.engine.talks.open(talk.talk)] == [QUESTION, "And then?"]


def test_of_what_was_interrupted_only_what_was_verified_is_kept(light_house: House) -> None:
    said = answer(found_in(light_house, SOURDOUGH), FED)
    talk = Conversation()
    talk.keep(talk.begin(QUESTION), replace(said, text=f"{FED} Napoleon invented it in", done=False))
    say(light_house, talk, Answer("And then?", text="Rest.", done=True))
    [broken, _] = light_house.engine.talks.open(talk.talk)
    assert broken.answer.text == talk.exchanges[0].answer.text == FED
    assert broken.answer.note == BROKEN_OFF


def test_a_thumb_is_shown_as_set_and_clicked_again_is_taken_back(light_house: House) -> None:
    talk = Conversation()
    say(light_house, talk, answer(hits_of(post(SOURDOUGH)), "Often.", citation=None))
    for act, pressed in (("down", "down"), ("up", "up"), ("up", "")):
        assert on_the_page.judge(light_house.engine, talk, {"act": act, "number": "1"}) == ""
        assert talk.exchanges[0].thumb == pressed
        assert on_the_page.shown(talk).count("aria-pressed='true'") == bool(pressed)
    light_house.engine.talks.delete(talk.talk)
    assert "Ask again" in on_the_page.judge(light_house.engine, talk, {"act": "up", "number": "1"})
    assert on_the_page.judge(light_house.engine, talk, {"act": "bogus", "number": "x"}) == ""


def test_two_tabs_go_on_with_one_conversation_and_one_survives_its_deletion(light_house: House) -> None:
    one, other = Conversation(), Conversation()
    hits = hits_of(post(SOURDOUGH))
    say(light_house, one, answer(hits, "Often.", citation=None))
    on_the_page.reopen(light_house.engine, other, {"talk": one.talk})
    say(light_house, one, answer(hits, "Yes.", question="And in May?", citation=None))
    say(light_house, other, answer(hits, "No.", question="And in June?", citation=None))
    assert light_house.engine.talks.talk(one.talk).turns == 3
    light_house.engine.talks.delete(one.talk)
    with pytest.raises(NotFound):
        on_the_page.reopen(light_house.engine, Conversation(), {"talk": one.talk})
    say(light_house, other, answer(hits, "No.", question="And in July?", citation=None))
    assert [talk.title for talk in light_house.engine.talks.listed()] == ["And in July?"]


def hostile_answer() -> Answer:
    """Return an answer whose every word wants to be more than a word."""
    hit = replace(hits_of(post(SOURDOUGH))[0], title=HOSTILE, url="https://x.example/>\n<b>", date=HOSTILE)
    note = replace(cited(hit), quote=f"- one\n# two\n{HOSTILE}\u2028***\n```")
    said = answer([hit], f"1. {HOSTILE}\n\n- <b>bold</b>\n===", question=f"# {HOSTILE}")
    return replace(said, citations=(note,), quotes=(replace(note, start=1),), note=HOSTILE)


def test_nothing_that_was_written_becomes_a_link_or_html_in_an_export() -> None:
    text = as_markdown(Talk(1, f"x\n# {HOSTILE}", "", "", 1), [kept(hostile_answer())])
    parsed = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    kinds = [token.type for block in parsed for token in (block, *(block.children or []))]
    assert not {"html_inline", "html_block", "image", "fence", "bullet_list_open", "ordered_list_open"} & set(kinds)
    links = [t.attrs["href"] for block in parsed for t in block.children or [] if t.type == "link_open"]
    assert set(links) == {"https://x.example/%3E%0A%3Cb%3E"}
    assert [block.tag for block in parsed if block.type == "heading_open"] == ["h1", "h2"]
    assert "onerror='alert(1)'" in text  # it stays readable


def test_exports_carry_their_footnotes_and_are_served_as_files(light_house: House) -> None:
    [hit, *_] = hits_of(post(SOURDOUGH))
    talk = Conversation()
    light_house.write_and_add("keeping-a-sourdough-starter.md", SOURDOUGH)
    hit = replace(hit, url="https://b.example/a?b=1&c=2", date="2024-03-02")
    hit = replace(hit, passage=replace(hit.passage, post_id=light_house.engine.posts()[0].id))
    say(light_house, talk, answer([hit], FED))
    app = Starlette(routes=[on_the_page.export_route(light_house.engine)])
    client = TestClient(app)
    whole = json.loads(client.get(f"/footnote/conversations/{talk.talk}.json").text)
    [turn] = whole["turns"]
    assert turn["footnotes"][0]["quote"] == FED
    assert turn["footnotes"][0]["address"] == "https://b.example/a?b=1&c=2"
    assert turn["sentences"] == [{"text": FED, "support": "yes", "citation": 1}]
    assert turn["hits"][0]["rank"] == 1
    given = client.get(f"/footnote/conversations/{talk.talk}.md")
    assert given.headers["content-disposition"].startswith("attachment")
    note = f"Keeping a sourdough starter, 2024-03-02, <https://b.example/a?b=1&amp;c=2>: “{FED}”"
    assert f"{FED}[^1-1]\n\n[^1-1]: {note}" in given.text
    for number in ("999", "9" * 30):
        assert client.get(f"/footnote/conversations/{number}.md").status_code == 404
    plain = as_text(talk.exchanges[0].answer)
    assert plain.startswith(f"{FED} [1]\n\n[1] Keeping a sourdough starter, 2024-03-02, https://b.example")


def test_what_was_stopped_before_a_word_is_copied_with_its_quotes() -> None:
    said = answer(hits_of(post(SOURDOUGH)), FED)
    stopped = replace(said, text="", sentences=(), citations=(), note="Stopped.")
    assert as_text(stopped).startswith(f"{FED} [1]\n\n[1] Keeping a sourdough starter")


def test_titles_are_short_and_none_is_empty(light_house: House) -> None:
    talk = Conversation()
    say(light_house, talk, answer([], "Often.", question="why " * 200, citation=None))
    assert len(light_house.engine.talks.talk(talk.talk).title) <= 200
    light_house.engine.talks.rename(talk.talk, "  Rye\nand\u2028water ")
    assert light_house.engine.talks.talk(talk.talk).title == "Rye and water"
    with pytest.raises(BadQuestion, match="title"):
        light_house.engine.talks.rename(talk.talk, " \u2028 ")
    _, asked, rename, _ = on_the_page.server_functions(light_house.engine)
    assert asked({"question": "why why"}) == str(talk.talk)
    assert (asked({"question": "who"}), asked({})) == ("", "")
    assert "needs a title" in rename({"talk": str(talk.talk), "title": ""})
    assert "deleted" in rename({"talk": "x", "title": "Rye"})


def test_of_hundreds_the_last_are_listed_and_all_can_be(light_house: House) -> None:
    talks = [Talk(n, f"Bread {n}", "", "2026-11-25T08:00", 1) for n in range(400)]
    assert deeds.listed(talks, "", whole=False).count("<li") == deeds.FIRST
    assert "Show 370 more" in deeds.listed(talks, "", whole=False)
    assert deeds.listed(talks, "", whole=True).count("<li") == 400
    assert "kept here" in deeds.listed([], "", whole=False)
    assert "No conversation" in deeds.listed([], "rye", whole=False)


def test_the_page_holds_no_html_of_others() -> None:
    shown = deeds.listed([Talk(1, HOSTILE, "", HOSTILE, 1)], "", whole=True)
    shown += deeds.deeds(Exchange(1, hostile_answer(), kept=1), 1, (HOSTILE,), trouble=HOSTILE)
    assert "<img" not in shown
    assert "onerror='" not in shown
    assert "<b>" not in shown


def test_questions_are_offered_from_what_was_found_and_never_the_asked_one() -> None:
    hits = [hit for story in (SOURDOUGH, FLATBREAD) for hit in hits_of(post(story), 50)]
    said = answer(hits, FED)
    offered = offers(said)
    assert 2 <= len(offered) <= 3
    assert "What do the posts say about ‘When it smells of vinegar’?" in offered
    for one in offered:
        assert one not in offers(replace(said, question=one, asked=one))
        assert one not in offers(said, [one])
        assert len(one) <= 90
        assert one.endswith("?")
    assert offers(replace(said, refused=True)) == ()
    assert offers(replace(said, done=False)) == ()
    assert offers(answer([], "Yes.", citation=None)) == ()


@pytest.mark.parametrize(
    "heading",
    [
        "A [b](c) {d",
        "tag:bread after:2023",
        "”",
        "Bread " * 40,
        "{{ query }}",
        "https://x.example/a",
        "",
    ],
)
def test_what_is_no_question_is_not_offered(heading: str) -> None:
    [hit, *_] = hits_of(post("# A\n\nIt is."))
    odd = replace(hit, title=heading, passage=replace(hit.passage, heading=f"{heading} › {heading}"))
    assert offers(answer([odd], "Yes.", citation=None)) == ()


def test_an_answer_comes_back_from_what_is_kept_of_it() -> None:
    hits = hits_of(post(SOURDOUGH))
    said = replace(answer(hits, FED, "Perhaps."), coverage="maybe", probability=0.4, note="Stopped.")
    assert answer_of(kept(said), said.hits) == said
