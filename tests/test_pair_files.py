"""A person's own file of pairs: every layout that people keep them in, and every way in which a file can be broken."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.errors import BadFile
from rag.tuning import reading
from rag.tuning.reading import RawPair, in_library, pairs_from_file, read_pairs
from tests.house import House
from tests.stories import FLATBREAD, SOURDOUGH

FED = "How often is the starter fed?"
MORNING = "Feed it every morning at eight with 50 grams of rye flour."
PAN = "How hot must the pan be?"
SMOKING = "A dry iron pan must be smoking hot."


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def go(text: str | bytes, name: str = "pairs.jsonl") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
        return path

    return go


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def brief(path: Path) -> list[tuple[str, str]]:
    return [(pair.question, pair.passage) for pair in read_pairs(path)]


class TestLayouts:
    @pytest.mark.parametrize("question", ["question", "query", "anchor", "Question", " query "])
    @pytest.mark.parametrize("passage", ["passage", "positive", "context", "text", "answer", "POS"])
    def test_json_lines_may_name_their_fields_in_many_ways(self, write: Any, question: str, passage: str) -> None:
        path = write(lines({question: FED, passage: MORNING}, {question: PAN, passage: SMOKING}))
        assert brief(path) == [(FED, MORNING), (PAN, SMOKING)]

    def test_each_pair_knows_its_line(self, write: Any) -> None:
        path = write("\n" + lines({"query": FED, "text": MORNING}) + "\n" + lines({"query": PAN, "text": SMOKING}))
        assert [pair.line for pair in read_pairs(path)] == [2, 4]

    @pytest.mark.parametrize("name", ["post", "post_id", "title", "source"])
    def test_a_post_may_be_named_in_place_of_a_passage(self, write: Any, name: str) -> None:
        [pair] = read_pairs(write(lines({"question": FED, name: "Keeping a sourdough starter"})))
        assert pair == RawPair(FED, post="Keeping a sourdough starter", line=1)

    def test_one_line_is_a_file(self, write: Any) -> None:
        assert brief(write(json.dumps({"question": FED, "passage": MORNING}))) == [(FED, MORNING)]

    def test_a_list_of_objects(self, write: Any) -> None:
        path = write(json.dumps([{"query": FED, "pos": [MORNING, SMOKING], "neg": [PAN]}], indent=2), "pairs.json")
        assert list(read_pairs(path)) == [RawPair(FED, text, "", (PAN,), 1) for text in (MORNING, SMOKING)]

    @pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
    def test_a_table_whatever_parts_its_columns(self, write: Any, delimiter: str) -> None:
        rows = [["Query", "votes", "Passage"], [FED, "3", f'"{MORNING}\nThen wait; or, | not."'], [PAN, "", SMOKING]]
        path = write("\r\n".join(delimiter.join(row) for row in rows), "pairs.csv")
        assert brief(path) == [(FED, f"{MORNING}\nThen wait; or, | not."), (PAN, SMOKING)]

    def test_a_table_that_excel_saved(self, write: Any) -> None:
        path = write(b"\xef\xbb\xbf" + f"question;passage\r\n{FED};{MORNING}\r\n;;\r\n".replace(";;", ";").encode())
        assert brief(path) == [(FED, MORNING)]

    @pytest.mark.parametrize("named", [["d1"], "d1"])
    def test_the_three_part_layout_whatever_its_file_is_called(self, write: Any, named: Any) -> None:
        parts = {"questions": {"q1": FED}, "relevant_contexts": {"q1": named}, "corpus": {"d1": MORNING}}
        assert brief(write(json.dumps(parts, indent=0))) == [(FED, MORNING)]
        assert brief(write(json.dumps(parts))) == [(FED, MORNING)]

    def test_a_context_that_is_not_in_the_corpus_is_kept_as_its_name(self, write: Any) -> None:
        parts = {"questions": {"q1": FED, "q2": PAN}, "relevant_contexts": {"q1": ["d9"]}, "corpus": {}}
        assert list(read_pairs(write(json.dumps(parts)))) == [RawPair(FED, "", "d9", line=1), RawPair(PAN, line=2)]

    def test_empty_texts_are_left_to_the_sift(self, write: Any) -> None:
        path = write(lines({"question": FED, "passage": MORNING}, {"question": "", "passage": None}, {}))
        assert brief(path) == [(FED, MORNING), ("", ""), ("", "")]

    def test_what_no_database_can_keep_is_taken_out(self, write: Any) -> None:
        assert brief(write('{"question": "How \\ud800often\\u0000?", "passage": "Every\\u202e day"}')) == [
            ("How often?", "Every day")
        ]

    @pytest.mark.slow
    def test_the_pairs_this_project_began_with(self, datasets: Path) -> None:
        for name, count in (("training_dataset.jsonl", 152), ("val_dataset.jsonl", 37)):
            pairs = list(read_pairs(datasets / "seed" / "junk_pairs" / name))
            assert len(pairs) == count
            assert all(pair.question and pair.passage for pair in pairs)


GOOD = {"question": FED, "passage": MORNING}


class TestBroken:
    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ("", "it is empty"),
            (" \n\n\t", "it is empty"),
            (b"\xff\xfe\x00q", "not UTF-8 (byte 0)"),
            ("question,passage\nWie füttert man?,Täglich.".encode("latin-1"), "not UTF-8"),
            (b"PK\x03\x04\x14\x00\x00", "binary"),
            ("Just a letter to my aunt.\nIt has no columns.", "names no columns"),
            ("votes,author\n1,me", "names no columns"),
            ("question,answers\nHow?,So.", "names no columns"),
            (f"question,passage\n{FED},Feed it, every morning", "line 2 has 3 fields and the first line 2"),
            (f"question,passage\n{FED}", "line 2 has 1 fields"),
            (f'question,passage\n{FED},"{MORNING}\n', "quotation mark is not closed, or not doubled, from line 2"),
            (lines(GOOD) + '{"question": "How', "line 2 is no JSON object; the file is cut short there"),
            (lines(GOOD) + "[1, 2]\n" + lines(GOOD), "line 2 is no JSON object"),
            (lines(GOOD) + "rubbish\n" * 3000 + lines(GOOD), "line 2 is no JSON object, nor are 2,999 others"),
            (json.dumps([GOOD, GOOD])[:-20], "cut short"),
            (json.dumps([GOOD, GOOD], indent=1)[:-2], "cut short"),
            ('{"questions": {"a": "How', "cut short"),
            ("[{]", "not JSON"),
            ("[" * 100_000, "nested too deep"),
            ('{"a":' * 100_000 + "1" + "}" * 100_000, "nested too deep"),
            ("[]", "no pair"),
            ("[1, 2]", "entry 1 is no object with fields, but a number"),
            (json.dumps([GOOD, [GOOD]]), "entry 2 is no object with fields, but a list"),
            (json.dumps({"data": [GOOD]}), "no fields of a question"),
            (lines({"instruction": FED, "output": MORNING}), "no fields of a question"),
            (lines({"question": FED, "votes": 3}), "no fields of a question"),
            (lines(GOOD, {"question": 7, "passage": MORNING}), "line 2: the question is a number"),
            (lines({"question": FED, "passage": {"text": MORNING}}), "entry 1: the passage is an object"),
            (lines({"question": FED, "passage": [MORNING, None, 3]}), "entry 1: the passage is a number"),
            (lines({"question": True, "passage": MORNING}), "the question is true or false"),
            ('{"question": NaN, "passage": "Every day."}', "the question is a number"),
            ('{"question": "How?", "passage": Infinity}', "the passage is a number"),
            ('{"question": "How?", "passage": ' + "9" * 5000 + "}", "pairs.jsonl"),
            (lines({"question": FED, "post": 12}), "the post"),
            (json.dumps({"questions": {}, "relevant_contexts": {}, "corpus": {}}), "no pair"),
            (json.dumps({"questions": {"a": FED}, "relevant_contexts": {"a": ["d"]}}), "“corpus” is missing"),
            (
                json.dumps({"questions": [FED], "relevant_contexts": {}, "corpus": {}}),
                "“questions” is missing or is no",
            ),
            (
                json.dumps({"questions": {"a": FED}, "relevant_contexts": {"a": [3]}, "corpus": {}}),
                "contexts of question “a” are no list",
            ),
            (
                json.dumps({"questions": {"a": 5}, "relevant_contexts": {"a": ["d"]}, "corpus": {"d": MORNING}}),
                "question “a” is a number",
            ),
            (
                json.dumps({"questions": {"a": FED}, "relevant_contexts": {"a": ["d"]}, "corpus": {"d": 5}}),
                "document “d” of the corpus is a number",
            ),
        ],
    )
    def test_one_sentence_says_what_is_wrong_and_what_to_do(self, write: Any, content: Any, said: str) -> None:
        with pytest.raises(BadFile) as raised:
            read_pairs(write(content))
        assert said in str(raised.value)
        assert str(raised.value).startswith("pairs.jsonl")
        assert str(raised.value).endswith((".", "}."))
        assert len(str(raised.value)) < 400

    def test_no_file_and_a_folder(self, tmp_path: Path) -> None:
        with pytest.raises(BadFile, match="there is no such file"):
            read_pairs(tmp_path / "nothing.jsonl")
        with pytest.raises(BadFile, match="this is a folder"):
            read_pairs(tmp_path)

    def test_a_huge_file_is_not_read(self, write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        path = write("")
        with path.open("r+b") as file:
            file.truncate(500 * 1024 * 1024)  # a hole: it takes no room on the disk
        monkeypatch.setattr(Path, "read_bytes", lambda self: pytest.fail("it was read"))
        with pytest.raises(BadFile, match=r"it has 500 MB, and at most 64 are read. Give a part of it"):
            read_pairs(path)

    def test_too_many_pairs(self, write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reading, "MOST_PAIRS", 10)
        with pytest.raises(BadFile, match="more than 10 pairs"):
            read_pairs(write(lines(*[GOOD] * 11)))

    @given(st.binary(max_size=300))
    def test_any_bytes_are_pairs_or_a_sentence(self, content: bytes) -> None:
        read_or_refuse(content)

    @pytest.mark.slow
    @given(
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20) | st.just(FED),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["question", "query", "passage", "post", "neg", "questions", "relevant_contexts"])
                    | st.text(max_size=8),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=12,
        ),
        st.integers(0, 400),
    )
    def test_any_json_whole_or_cut_is_pairs_or_a_sentence(self, value: Any, cut: int) -> None:
        read_or_refuse(json.dumps(value).encode("utf-8", "surrogatepass"))
        read_or_refuse(json.dumps(value).encode("utf-8", "surrogatepass")[:cut])
        read_or_refuse(lines(value, GOOD, value).encode("utf-8", "surrogatepass"))

    @given(st.lists(st.lists(st.text(max_size=12), max_size=4), max_size=5), st.sampled_from([",", ";", "\t", "|"]))
    def test_any_table_is_pairs_or_a_sentence(self, rows: list[list[str]], delimiter: str) -> None:
        table = "\n".join([f"question{delimiter}passage", *(delimiter.join(row) for row in rows)])
        read_or_refuse(table.encode("utf-8", "surrogatepass"))


def read_or_refuse(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.jsonl"
        path.write_bytes(content)
        said = ""
        pairs: list[RawPair] = []
        try:
            pairs = list(read_pairs(path))
        except BadFile as refused:
            said = str(refused)
        assert bool(pairs) != said.endswith((".", "}."))
        for pair in pairs:
            assert isinstance(pair.question, str)
            assert isinstance(pair.passage, str)
            (pair.question + pair.passage + pair.post).encode("utf-8")


class TestPosts:
    @pytest.fixture
    def bakery(self, light_house: House) -> House:
        light_house.write_and_add("sourdough.md", SOURDOUGH)
        light_house.write_and_add("flatbread.md", FLATBREAD)
        return light_house

    def test_of_a_named_post_the_passage_that_has_the_words_is_taken(self, bakery: House, write: Any) -> None:
        path = write(
            lines(
                {"question": "What does a smell of vinegar mean?", "post": "keeping a “Sourdough” starter"},
                {"question": PAN, "source": str(bakery.home / "blog" / "flatbread.md")},
                {"question": FED, "passage": MORNING, "title": "Flatbread in twenty minutes"},
                {"question": FED, "title": "A post that is gone"},
            )
        )
        pairs = list(pairs_from_file(path, in_library(bakery.library)))
        ids = {post.title: post.id for post in bakery.library.posts()}
        assert "A sharp smell of vinegar" in pairs[0].passage
        assert pairs[0].post_id == ids["Keeping a sourdough starter"]
        assert SMOKING in pairs[1].passage
        assert (pairs[2].passage, pairs[2].post_id) == (MORNING, "")
        assert (pairs[3].passage, pairs[3].post_id) == ("", "A post that is gone")
        assert {pair.origin for pair in pairs} == {"file"}

    def test_of_several_passages_in_one_entry_the_first_is_taken(self, bakery: House, write: Any) -> None:
        path = write(lines({"query": FED, "pos": [MORNING, SMOKING]}, {"query": PAN, "pos": [SMOKING]}))
        pairs = list(pairs_from_file(path, in_library(bakery.library)))
        assert [(pair.question, pair.passage) for pair in pairs] == [(FED, MORNING), (PAN, SMOKING)]

    def test_two_posts_of_one_title_are_none(self, bakery: House) -> None:
        bakery.write_and_add("copy.md", "# Flatbread in twenty minutes\n\nMy aunt bakes it in ten, with semolina.\n")
        assert in_library(bakery.library)(RawPair(PAN, post="Flatbread in twenty minutes")) is None
