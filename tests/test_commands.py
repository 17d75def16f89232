"""The command line: what each command prints, on which stream, and with which exit code."""

from __future__ import annotations

import gc
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import app
from rag import commands
from rag.errors import BadFile, ModelError, StoreError
from rag.records import Check, Post
from rag.settings import Settings
from rag.threads import attempt
from store.catalogue import SqliteCatalogue
from store.library import SqliteLibrary
from tests.fakes import FakeEmbedder
from tests.house import ROOT, House
from tests.loopback import LoopbackSite
from tests.stories import FLATBREAD, SOURDOUGH
from tests.test_evaluate import write as write_collection
from tests.test_sources import STORIES

FED = "Feed it every morning at eight with 50 grams of rye flour."
QUESTION = "With which rye flour is the sourdough starter fed every morning?"
NAMES = (
    "add",
    "ask",
    "search",
    "posts",
    "remove",
    "sources",
    "sync",
    "reindex",
    "doctor",
    "eval",
    "backup",
    "restore",
    "export",
    "space",
)


@dataclass
class Ran:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Return the one object on stdout."""
        assert self.out.count("\n") == 1
        assert self.out.endswith("\n")
        return json.loads(self.out)


@pytest.fixture
def run(light_house: House, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Run a command over the fakes, as app.py does over the real parts."""

    def run(*typed: str) -> Ran:
        parsed = commands.parser().parse_args(typed)
        events = commands.run(
            light_house.engine,
            parsed.command,
            commands.arguments_of(parsed),
            lambda: [Check("disk", True, "9 GB free")],
        )
        written: list[str] = []
        code = commands.present(events, written.append, as_json=parsed.json, dump=json.dumps)
        captured = capsys.readouterr()
        assert captured.out == ""
        return Ran(code, "".join(written), captured.err)

    return run


@pytest.fixture
def posts(light_house: House) -> list[str]:
    """Add two posts about bread; return their ids."""
    dated = (
        "---\ntitle: Keeping a sourdough starter\ndate: 2024-05-01\nurl: https://example.com/sour\n---\n" + SOURDOUGH
    )
    return [
        light_house.write_and_add("sourdough.md", dated).post_id,
        light_house.write_and_add("flatbread.md", FLATBREAD).post_id,
    ]


class TestJson:
    def test_add_tells_what_became_of_each_file(self, light_house: House, run: Callable[..., Ran]) -> None:
        sour, flat = light_house.write("sourdough.md", SOURDOUGH), light_house.write("flatbread.md", FLATBREAD)
        ran = run("add", str(sour), "--json")
        [added] = ran.json["added"]
        assert ran.code == 0
        assert set(ran.json) == {"added", "updated", "unchanged", "failed"}
        assert added == {
            "id": added["id"],
            "title": "Keeping a sourdough starter",
            "source": str(sour),
            "passages": light_house.engine.count()[1],
        }
        sour.write_text(SOURDOUGH + "\nThen wait.", encoding="utf-8")
        light_house.add(flat)
        bad = light_house.write("empty.md", "")
        ran = run("add", str(sour), str(flat), str(bad), str(light_house.home / "missing.md"), "--json")
        assert ran.code == 0
        assert ran.json["added"] == []
        assert [row["id"] for row in ran.json["updated"]] == [added["id"]]
        assert ran.json["unchanged"] == [{"id": light_house.library.posts()[0].id, "source": str(flat)}]
        assert [set(row) for row in ran.json["failed"]] == [{"source", "error"}] * 2
        assert {Path(row["source"]).name for row in ran.json["failed"]} == {"empty.md", "missing.md"}

    def test_sources_are_listed_and_forgotten(self, light_house: House, run: Callable[..., Ran]) -> None:
        sour = light_house.write("sourdough.md", SOURDOUGH)
        light_house.add(sour.parent)
        [source] = run("sources", "--json").json["sources"]
        assert set(source) == {"id", "kind", "location", "posts", "checked"}
        assert (source["kind"], source["location"], source["posts"]) == ("folder", str(sour.parent), 1)
        assert run("sources", "--forget", "0000", "--json").code == 1
        assert run("sources", "--forget", source["id"], "--with-posts", "--json").json == {"sources": []}
        assert light_house.engine.count() == (0, 0)

    def test_sync_tells_what_has_changed(self, light_house: House, run: Callable[..., Ran]) -> None:
        sour, flat = light_house.write("sourdough.md", SOURDOUGH), light_house.write("flatbread.md", FLATBREAD)
        light_house.add(sour.parent)
        sour.write_text(SOURDOUGH + "\nThen wait.", encoding="utf-8")
        flat.unlink()
        for options in (["--dry-run"], [], ["--prune"]):
            ran = run("sync", *options, "--json")
            assert ran.code == 0
            assert set(ran.json) == {"added", "updated", "unchanged", "vanished", "failed"}
            assert [Path(row["source"]).name for row in ran.json["vanished"]] == ["flatbread.md"]
            assert len(ran.json["updated"]) == (0 if options == ["--prune"] else 1)
        assert light_house.engine.count()[0] == 1
        assert run("sync", "0000", "--json").code == 1
        shutil.rmtree(sour.parent)
        assert run("sync", "--json").code == 1  # there is nothing that could be read

    def test_a_copy_says_of_what(self, light_house: House, run: Callable[..., Ran]) -> None:
        light_house.write_and_add("sourdough.md", SOURDOUGH)
        ran = run("add", str(light_house.write("copy.md", SOURDOUGH + "\nOne line more.")), "--json")
        assert [row["same_as"] for row in ran.json["unchanged"]] == ["Keeping a sourdough starter"]
        assert "the same as" in ran.err

    def test_add_fails_only_if_nothing_could_be_read(self, light_house: House, run: Callable[..., Ran]) -> None:
        ran = run("add", str(light_house.home / "missing.md"), str(light_house.write("empty.md", "")), "--json")
        assert ran.code == 1
        assert len(ran.json["failed"]) == 2

    def test_ask_gives_the_answer_its_citations_and_its_hits(
        self, light_house: House, run: Callable[..., Ran], posts: list[str]
    ) -> None:
        light_house.writer.pieces = (FED,)
        ran = run("ask", QUESTION, "--json")
        found = ran.json
        assert ran.code == 0
        assert {"question", "answer", "refused", "citations", "hits", "timings"} <= set(found)
        assert (found["question"], found["answer"], found["refused"]) == (QUESTION, FED, False)
        [citation] = found["citations"]
        text = light_house.engine.post(posts[0]).text
        assert citation == {
            "number": 1,
            "post_id": posts[0],
            "title": "Keeping a sourdough starter",
            "url": "https://example.com/sour",
            "page": None,
            "quote": FED,
            "start": text.index(FED),
            "end": text.index(FED) + len(FED),
        }
        self.check_hit(found["hits"][0], posts[0], light_house)
        names = {"search_s", "first_token_s", "total_s", "prompt_tokens", "answer_tokens"}
        assert names <= set(found["timings"])
        assert found["timings"]["answer_tokens"] == 1

    def test_ask_tells_a_refusal(self, run: Callable[..., Ran], posts: list[str]) -> None:
        ran = run("ask", "Who invented the zeppelin?", "--json")
        assert ran.code == 0
        assert ran.json["refused"] is True
        assert ran.json["coverage"] == "not covered"
        assert 0 <= ran.json["probability"] < 0.2
        assert ran.json["citations"] == []
        assert [quote["post_id"] in posts for quote in ran.json["quotes"]] == [True] * len(ran.json["quotes"])
        told = run("ask", "Who invented the zeppelin?").out
        assert told.index("Your posts do not cover this.") < told.index("These come nearest:") < told.index("“")

    def test_search_lists_hits(self, light_house: House, run: Callable[..., Ran], posts: list[str]) -> None:
        for mode in ("hybrid", "dense", "lexical"):
            ran = run("search", "sourdough starter vinegar", "--limit", "2", "--search", mode, "--json")
            assert ran.code == 0
            assert set(ran.json) == {"hits", "coverage", "probability"}
            assert 1 <= len(ran.json["hits"]) <= 2
            self.check_hit(ran.json["hits"][0], posts[0], light_house)

    def test_search_explains_itself(self, run: Callable[..., Ran], posts: list[str]) -> None:
        ran = run("search", "sourdough starter vinegar", "--explain", "--json")
        assert ran.json["coverage"] == "covered"
        assert 0.5 < ran.json["probability"] <= 1
        for hit in ran.json["hits"]:
            assert set(hit["lexical"]) == set(hit["dense"]) == {"rank", "score"}
        assert {1} <= {hit["lexical"]["rank"] for hit in ran.json["hits"]} & {
            h["dense"]["rank"] for h in ran.json["hits"]
        }
        assert "lexical #1 1.0" in run("search", "sourdough starter vinegar", "--explain").out

    def check_hit(self, hit: dict[str, Any], post_id: str, house: House) -> None:
        assert set(hit) >= {"passage_id", "post_id", "title", "text", "start", "end", "score"}
        assert hit["post_id"] == post_id
        assert house.engine.post(post_id).text[hit["start"] : hit["end"]] == hit["text"]
        assert house.library.passages([hit["passage_id"]])[0].text == hit["text"]
        assert isinstance(hit["score"], float)

    def test_posts_lists_all_or_prints_one(self, light_house: House, run: Callable[..., Ran], posts: list[str]) -> None:
        listed = run("posts", "--json").json
        assert set(listed) == {"posts"}
        assert [row["id"] for row in listed["posts"]] == posts
        assert listed["posts"][0] == {
            "id": posts[0],
            "title": "Keeping a sourdough starter",
            "source": str(light_house.home / "blog" / "sourdough.md"),
            "url": "https://example.com/sour",
            "date": "2024-05-01",
            "passages": 2,
        }
        whole = run("posts", posts[0], "--json").json
        assert whole["id"] == posts[0]
        assert whole["text"] == SOURDOUGH.rstrip()

    def test_remove_tells_what_went(self, light_house: House, run: Callable[..., Ran], posts: list[str]) -> None:
        assert run("remove", *posts, "--json").json == {"removed": posts}
        assert light_house.engine.count() == (0, 0)

    def test_reindex_tells_how_many_passages_it_has(
        self, light_house: House, run: Callable[..., Ran], posts: list[str]
    ) -> None:
        result = run("reindex", "--json").json
        assert set(result) == {"passages", "embedder", "seconds"}
        assert result["passages"] == light_house.engine.count()[1]
        assert result["embedder"] == "fake-embedder"
        assert result["seconds"] >= 0

    def test_doctor_lists_checks_of_house_and_machine(
        self, light_house: House, run: Callable[..., Ran], posts: list[str]
    ) -> None:
        ran = run("doctor", "--json")
        assert ran.code == 0
        assert ran.json["ok"] is True
        assert all(set(check) == {"name", "ok", "detail"} for check in ran.json["checks"])
        assert {"embedder", "writer", "library", "index self-test", "disk"} <= {c["name"] for c in ran.json["checks"]}
        light_house.embedder.trouble = "The embedder is not installed. Run `make run` again."
        ran = run("doctor", "--json")
        assert ran.code == 1
        assert ran.json["ok"] is False

    def test_eval_gives_its_metrics(self, run: Callable[..., Ran], tmp_path: Path) -> None:
        ran = run("eval", str(write_collection(tmp_path / "beir")), "--limit", "2", "--search", "lexical", "--json")
        metrics = {"ndcg@10", "accuracy@1", "accuracy@10", "recall@10", "mrr@10"}
        assert set(ran.json) == {"documents", "queries", "index_s", "search_ms_p50", "search_ms_p95"} | metrics
        assert ran.json["queries"] == 2
        assert ran.json["accuracy@1"] == 1.0

    def test_ask_gives_the_quotes_and_what_is_proven(
        self, light_house: House, run: Callable[..., Ran], posts: list[str]
    ) -> None:
        light_house.writer.pieces = (FED, " The moon is made of cheese.")
        found = run("ask", QUESTION, "--json").json
        assert found["quotes"][0]["text"] == FED
        assert {"text", "post_id", "start", "end"} == set(found["quotes"][0])
        assert [sentence["support"] for sentence in found["sentences"]] == ["yes", "no"]
        assert [sentence["citation"] for sentence in found["sentences"]] == [1, None]
        timings = found["timings"]
        assert 0 < timings["first_quote_s"] <= timings["first_token_s"]
        assert timings["prefill_tokens"] + timings["cached_tokens"] == timings["prompt_tokens"]

    def test_ask_takes_the_turns_before_it(self, run: Callable[..., Ran], posts: list[str], tmp_path: Path) -> None:
        turns = tmp_path / "turns.json"
        turns.write_text(json.dumps([{"question": QUESTION, "answer": FED}]), encoding="utf-8")
        alone = run("ask", "And in winter?", "--json").json
        found = run("ask", "And in winter?", "--history", str(turns), "--json").json
        assert found["hits"] != alone["hits"]

    @pytest.mark.parametrize("written", ["[1]", "5", '["nobody said this"]', "[[]]", '[{"question": 5}]'])
    def test_a_history_that_is_none_is_said_to_be(
        self, run: Callable[..., Ran], posts: list[str], tmp_path: Path, written: str
    ) -> None:
        turns = tmp_path / "turns.json"
        turns.write_text(written, encoding="utf-8")
        ran = run("ask", QUESTION, "--history", str(turns))
        assert ran.code == 1
        assert "This is no conversation." in ran.err

    @pytest.mark.parametrize("written", ["{", "[" * 100_000, "\udcff", None], ids=["cut", "deep", "bytes", "missing"])
    def test_a_history_that_cannot_be_read_is_said_to_be(
        self, run: Callable[..., Ran], tmp_path: Path, written: str | None
    ) -> None:
        turns = tmp_path / "turns.json"
        if written is not None:
            turns.write_text(written, encoding="utf-8", errors="surrogateescape")
        with pytest.raises(BadFile, match="Give a JSON file"):
            run("ask", QUESTION, "--history", str(turns))


class TestForPeople:
    def test_ask_prints_the_answer_and_its_footnotes(
        self, light_house: House, run: Callable[..., Ran], posts: list[str]
    ) -> None:
        light_house.writer.pieces = (FED, " The moon is made of cheese.")
        ran = run("ask", QUESTION)
        assert ran.out.startswith(f"“{FED}” (Keeping a sourdough starter, 2024-05-01)\n")
        assert f"\n\n{FED} The moon is made of cheese.\n" in ran.out
        assert f"[1] Keeping a sourdough starter, 2024-05-01: “{FED}”" in ran.out
        assert "Not in your posts: The moon is made of cheese." in ran.out

    def test_each_command_prints_something_a_person_can_read(
        self, light_house: House, run: Callable[..., Ran], posts: list[str], tmp_path: Path
    ) -> None:
        beir = str(write_collection(tmp_path / "beir"))
        for typed in (
            ("posts",),
            ("posts", posts[0]),
            ("search", "vinegar"),
            ("ask", "Who invented the zeppelin?"),
            ("reindex",),
            ("doctor",),
            ("add", str(light_house.home / "blog")),
            ("remove", posts[1]),
            ("eval", beir),
        ):
            ran = run(*typed)
            assert ran.code == 0, typed
            assert ran.out.strip(), typed
            assert not ran.out.startswith("{"), typed
        assert posts[0] in run("posts").out

    def test_a_writer_that_cannot_write_is_an_error(
        self, light_house: House, run: Callable[..., Ran], posts: list[str]
    ) -> None:
        light_house.writer.pieces = ()
        light_house.writer.error = ModelError("The writer is not installed. Run `make run` again.")
        ran = run("ask", QUESTION, "--json")
        assert ran.code == 1
        assert "The writer is not installed." in ran.err
        assert ran.json["hits"]


class TestErrors:
    @pytest.mark.parametrize(
        ("typed", "said"),
        [
            (("posts", "000000000000"), "List the posts"),
            (("remove", "000000000000"), "List the posts"),
            (("ask", "  "), "Type one in plain words."),
            (("ask", "bread " * 2000), "Ask a shorter one."),
            (("search", "?"), "Type one in plain words."),
            (("eval", "/no/such/folder"), "corpus.jsonl"),
        ],
    )
    def test_what_cannot_be_done_is_one_line_on_stderr(
        self, run: Callable[..., Ran], typed: tuple[str, ...], said: str
    ) -> None:
        for given in (typed, (*typed, "--json")):
            ran = run(*given)
            assert ran.code == 1
            assert ran.out == ""
            error = [line for line in ran.err.splitlines() if line.startswith("error: ")]
            assert len(error) == 1
            assert said in error[0]
            assert "Traceback" not in ran.err

    def test_without_the_embedder_a_question_is_an_error(self, light_house: House, run: Callable[..., Ran]) -> None:
        light_house.embedder.trouble = "The embedder is not installed. Run `make run` again."
        assert run("ask", QUESTION).code == 1
        assert run("search", QUESTION).err.count("Run `make run` again.") == 1
        assert run("search", QUESTION, "--search", "lexical").code == 0

    @pytest.mark.parametrize(
        "typed",
        [
            ("nonsense",),
            ("add",),
            ("ask",),
            ("remove",),
            ("eval",),
            ("search", "x", "--limit", "0"),
            ("search", "x", "--limit", "many"),
            ("search", "x", "--search", "magic"),
            ("posts", "--yaml"),
        ],
    )
    def test_what_is_mistyped_ends_with_2_and_the_usage(
        self, typed: tuple[str, ...], capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as ended:
            app.main(list(typed))
        assert ended.value.code == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "usage: python app.py" in captured.err


class TestHelp:
    @pytest.mark.parametrize("name", NAMES)
    def test_each_command_shows_an_example_that_can_be_typed(
        self, name: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with pytest.raises(SystemExit) as ended:
            app.main([name, "--help"])
        assert ended.value.code == 0
        shown = " ".join(capsys.readouterr().out.split())
        example = re.search(r"example: python app\.py (.*)$", shown)
        assert example
        assert commands.parser().parse_args(shlex.split(example.group(1))).command == name
        assert "--json" in shown

    def test_the_first_help_names_every_command(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            app.main(["--help"])
        shown = capsys.readouterr().out
        assert all(re.search(rf"^\s+{name}\s", shown, re.M) for name in NAMES)


class TestChoosing:
    """What an address leads to is found out first; the person chooses."""

    SITE = (
        {"kind": "site", "location": "https://example.com/", "what": "The whole site"},
        {"kind": "feed", "location": "https://example.com/feed.xml", "what": "The feed"},
    )

    def choose(self, found: Sequence[Any], answer: str | None) -> tuple[list[Any], list[str]]:
        """Return (what was chosen, what was said before) at an address."""
        steps = commands.choose(
            ["https://example.com", "/blog"],
            lambda address: [{"result": {"found": list(found)}}] if found else [{"error": f"{address}: gone."}],
            None if answer is None else lambda prompt: answer,
        )
        said: list[str] = []
        while True:
            try:
                said.append(next(steps)["log"])
            except StopIteration as end:
                return end.value, said

    def test_the_person_chooses_what_is_added(self) -> None:
        assert self.choose(self.SITE, "2\n")[0] == [["feed", "https://example.com/feed.xml"], "/blog"]
        assert self.choose(self.SITE, "\n") == (
            [["site", "https://example.com/"], "/blog"],
            ["1  The whole site", "2  The feed"],
        )

    @pytest.mark.parametrize("answer", ["n", "0", "3", "²", "-1", "yes please"])
    def test_any_other_answer_adds_nothing(self, answer: str) -> None:
        assert self.choose(self.SITE, answer)[0] == ["/blog"]

    def test_with_yes_the_likeliest_is_taken(self) -> None:
        assert self.choose(self.SITE, None) == ([["site", "https://example.com/"], "/blog"], [])

    def test_a_page_and_a_feed_by_its_own_address_are_not_asked_about(self) -> None:
        page = {"kind": "page", "location": "https://example.com/a", "what": "This page"}
        assert self.choose([page, *self.SITE], "n")[0] == [["page", "https://example.com/a"], "/blog"]
        assert self.choose(self.SITE[1:], "n")[0] == [["feed", "https://example.com/feed.xml"], "/blog"]

    def test_an_address_with_nothing_there_is_left_to_say_why(self) -> None:
        assert self.choose([], "1")[0] == ["https://example.com", "/blog"]


class TestPlaces:
    @pytest.mark.parametrize(
        "typed",
        ["example.com", "blog.example.co.uk", "example.com/blog", "example.com:8080/feed.xml", "EXAMPLE.org/~ada/"],
    )
    def test_an_address_can_be_typed_without_its_scheme(self, typed: str) -> None:
        assert self.places(typed) == [f"https://{typed}"]

    @pytest.mark.parametrize(
        "typed",
        [
            "notes.md",
            "notes.md/more",
            "archive.zip",
            "posts",
            "posts/a.b",
            "../example.com/a",
            "v1.2/notes",
            "a.unknown",
        ],
    )
    def test_a_path_stays_one(self, typed: str) -> None:
        assert self.places(typed) == [os.path.abspath(typed)]

    def test_what_is_there_is_a_path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "example.com").mkdir()
        for typed in ("example.com", "example.com/missing"):
            assert self.places(typed) == [str(tmp_path / typed)]
        assert self.places("https://example.com") == ["https://example.com"]

    def places(self, typed: str) -> Any:
        return commands.arguments_of(commands.parser().parse_args(["add", typed]))["paths"]


class TestFrontDoor:
    """app.main over the real stores; no model is loaded."""

    @pytest.fixture
    def home(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("FOOTNOTE_HOME", str(tmp_path / "home"))
        return tmp_path / "home"

    def test_paths_are_made_absolute_since_another_process_may_read_them(self) -> None:
        parsed = commands.parser().parse_args(["add", "posts/../bread.md", "~/blog"])
        arguments = commands.arguments_of(parsed)
        assert arguments["paths"] == [str(Path.cwd() / "bread.md"), str(Path.home() / "blog")]

    def test_an_address_is_no_path(self) -> None:
        parsed = commands.parser().parse_args(["add", "https://example.com/blog/", "--yes"])
        assert commands.arguments_of(parsed) == {"paths": ["https://example.com/blog/"], "yes": True}

    def test_a_base_to_tune_is_a_folder_where_it_is_one(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "mine").mkdir()
        for typed, meant in (("./mine", str(tmp_path / "mine")), ("baker/mine", "baker/mine")):
            assert commands.arguments_of(commands.parser().parse_args(["tune", "--base", typed]))["base"] == meant

    def test_a_key_goes_to_the_server_that_it_is_for(self, home: Path) -> None:
        def key(writer: str, asks: str) -> str:
            settings = Settings(home, writer=writer, writer_key="secret", question_writer=asks)
            return app._question_writer(settings, None)._key  # type: ignore[arg-type,union-attr]

        assert key("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1") == "secret"
        assert key("", "http://127.0.0.1:8080") == "secret"
        assert key("http://127.0.0.1:8080", "http://other.example:8080") == ""

    def test_eval_measures_the_embedder_in_use(self, home: Path) -> None:
        assert app._embedder_in_use(Settings(home)) == ""
        library = SqliteLibrary(home / "library.sqlite3")
        (home / "spelt").mkdir()
        for name in ("config.json", "model.safetensors"):
            (home / "spelt" / name).write_text("{}", encoding="utf-8")
        SqliteCatalogue(library).note("embedder", str(home / "spelt"))
        library.close()
        assert app._embedder_in_use(Settings(home)) == str(home / "spelt")
        assert app._embedder_in_use(Settings(home, embedder="baker/rye")) == "baker/rye"
        (home / "library.sqlite3").write_bytes(b"no library" * 1000)
        assert app._embedder_in_use(Settings(home)) == ""  # it needs none of the person's posts

    def test_once_the_models_are_loaded_garbage_is_looked_for_as_ever(
        self, light_house: House, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def end(_: float) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(time, "sleep", end)
        usual = gc.get_threshold()
        gc.set_threshold(100_000, 10, 10)
        try:
            with pytest.raises(KeyboardInterrupt):
                app._work_behind(light_house.engine)
            assert gc.get_threshold() == app._GARBAGE
            assert gc.get_freeze_count()
        finally:
            gc.unfreeze()
            gc.set_threshold(*usual)

    def test_where_a_server_writes_nothing_stays_of_what_was_read_here(self, home: Path) -> None:
        states = app._states(Settings(home))
        states.put("context", "A post's words.", b"what came of them", states.forgotten)
        states.save()
        assert list(home.glob("prefill/*"))
        app.build_engine(Settings(home, writer="http://127.0.0.1:9")).close()
        assert not list(home.glob("prefill/*"))

    def test_what_goes_wrong_behind_the_page_ends_nothing(self, capsys: pytest.CaptureFixture[str]) -> None:
        def fail(error: Exception) -> None:
            raise error

        attempt(lambda: fail(StoreError("The disk is full.")))
        attempt(lambda: fail(RuntimeError("a surprise")))
        said = capsys.readouterr().err
        assert said.startswith("The disk is full.\nTraceback")
        assert "RuntimeError: a surprise" in said

    def test_an_empty_house_has_no_posts(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert app.main(["posts", "--json"]) == 0
        assert json.loads(capsys.readouterr().out) == {"posts": []}
        assert (home / "library.sqlite3").exists()

    def test_a_setting_that_cannot_be_used_is_an_error(
        self, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("FOOTNOTE_PORT", "eighty")
        assert app.main(["posts"]) == 1
        captured = capsys.readouterr()
        assert captured.err.startswith("error: FOOTNOTE_PORT=eighty cannot be used.")
        assert captured.out == ""

    def test_a_home_that_cannot_be_made_is_an_error(
        self, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        home.write_text("a file", encoding="utf-8")
        assert app.main(["posts"]) == 1
        assert capsys.readouterr().err.startswith(f"error: {home} cannot be used")
        monkeypatch.setenv("FOOTNOTE_HOME", str(home / "below"))
        assert app.main(["posts"]) == 1
        assert "set another FOOTNOTE_HOME" in capsys.readouterr().err

    def test_a_damaged_library_is_an_error(self, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
        home.mkdir()
        (home / "library.sqlite3").write_bytes(b"not a database, only words " * 200)
        assert app.main(["posts"]) == 1
        assert "is damaged" in capsys.readouterr().err

    @pytest.mark.slow
    def test_whatever_a_command_prints_stdout_holds_one_object(self, home: Path) -> None:
        ran = typed("search", "vinegar", "--search", "lexical", "--json", FOOTNOTE_HOME=str(home))
        assert ran.returncode == 0
        assert json.loads(ran.stdout) == {"hits": [], "coverage": "not covered", "probability": None}
        assert ran.stdout.count(b"\n") == 1

    @pytest.mark.slow
    @pytest.mark.parametrize("options", [(), ("--json",)])
    def test_a_title_that_the_terminal_cannot_show_is_no_error(self, home: Path, options: tuple[str, ...]) -> None:
        library = SqliteLibrary(home / "library.sqlite3")
        library.put(Post("/brot.md", "面包 › Brötchen 🥖", "Feed it."), [], FakeEmbedder().encode_documents([]), "f")
        library.close()
        ran = typed("posts", *options, FOOTNOTE_HOME=str(home), PYTHONIOENCODING="ascii")
        assert ran.returncode == 0, ran.stderr
        assert b"Br" in ran.stdout


def typed(*arguments: str | bytes, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run the front door as a person would, in a process of its own."""
    return subprocess.run(
        [sys.executable, ROOT / "app.py", *arguments],
        env={**os.environ, "FOOTNOTE_OFFLINE": "1", **environment},
        capture_output=True,
        timeout=280,
        check=False,
    )


@pytest.mark.slow
def test_a_whole_story_on_the_command_line(tmp_path: Path) -> None:
    home, blog = str(tmp_path / "home"), tmp_path / "blog"
    blog.mkdir()
    (blog / "sourdough.md").write_text(SOURDOUGH, encoding="utf-8")
    (blog / "flatbread.md").write_text(FLATBREAD, encoding="utf-8")

    added = json.loads(typed("add", str(blog), "--json", FOOTNOTE_HOME=home).stdout)
    assert len(added["added"]) == 2
    asked = typed("ask", "How much rye flour does the sourdough starter get?", "--json", FOOTNOTE_HOME=home)
    assert asked.returncode == 0
    answer = json.loads(asked.stdout)
    assert answer["answer"]
    assert answer["hits"][0]["title"] == "Keeping a sourdough starter"
    refused = json.loads(typed("ask", "Who painted the Mona Lisa in Florence?", "--json", FOOTNOTE_HOME=home).stdout)
    assert refused["refused"] is True
    doctor = json.loads(typed("doctor", "--json", FOOTNOTE_HOME=home).stdout)
    assert doctor["ok"], [check for check in doctor["checks"] if not check["ok"]]


@pytest.mark.slow
class TestAnotherCharacterSet:
    """A shell hands over bytes; where they are no UTF-8, Python makes lone surrogates of them."""

    def test_a_path_is_added(self, tmp_path: Path) -> None:
        path = os.fsencode(tmp_path) + b"/caf\xe9.md"
        Path(os.fsdecode(path)).write_text(FLATBREAD, encoding="utf-8")
        ran = typed("add", path, "--json", FOOTNOTE_HOME=str(tmp_path / "home"))
        assert b"Traceback" not in ran.stderr
        assert ran.returncode == 0
        assert len(json.loads(ran.stdout)["added"]) == 1

    def test_a_question_is_asked(self, tmp_path: Path) -> None:
        (tmp_path / "sourdough.md").write_text(SOURDOUGH, encoding="utf-8")
        home = str(tmp_path / "home")
        assert typed("add", str(tmp_path / "sourdough.md"), FOOTNOTE_HOME=home).returncode == 0
        ran = typed("search", b"Which flour does the starter of the caf\xe9 get?", "--json", FOOTNOTE_HOME=home)
        assert b"Traceback" not in ran.stderr
        assert json.loads(ran.stdout)["hits"]


@pytest.mark.slow
class TestWholeSites:
    """The real command line and a site on this machine."""

    def test_a_site_comes_in_and_stays_in_step(self, tmp_path: Path) -> None:
        told = {"FOOTNOTE_HOME": str(tmp_path / "home"), "FOOTNOTE_ALLOW_PRIVATE": "1"}
        with LoopbackSite() as site:
            site.blog(STORIES)
            refused = typed("add", site.address(), "--json", **told)
            assert refused.returncode == 1
            assert b"--yes" in refused.stderr
            assert b"The whole site" in refused.stderr
            added = json.loads(typed("add", site.address(), "--yes", "--json", **told).stdout)
            assert len(added["added"]) == len(STORIES)
            synced = json.loads(typed("sync", "--json", **told).stdout)
            assert {name: len(rows) for name, rows in synced.items()} == {
                "added": 0,
                "updated": 0,
                "unchanged": len(STORIES),
                "vanished": 0,
                "failed": 0,
            }
            assert site.most_at_once == 1

    def test_an_address_of_this_machine_is_refused_without_a_setting(self, tmp_path: Path) -> None:
        with LoopbackSite() as site:
            site.blog(STORIES)
            ran = typed("add", site.address(), "--yes", "--json", FOOTNOTE_HOME=str(tmp_path))
            assert ran.returncode == 1
            [failed] = json.loads(ran.stdout)["failed"]
            assert "FOOTNOTE_ALLOW_PRIVATE" in failed["error"]
            assert site.requests == []
            assert json.loads(typed("sources", "--json", FOOTNOTE_HOME=str(tmp_path)).stdout) == {"sources": []}

    def test_killed_in_the_middle_it_goes_on_where_it_stopped(self, tmp_path: Path) -> None:
        told = {"FOOTNOTE_HOME": str(tmp_path / "home"), "FOOTNOTE_ALLOW_PRIVATE": "1"}
        stories = {f"/{n}": (f"Day {n}", f"<p>On day {n} the loaf rose by {n * 7} millimetres.</p>") for n in range(30)}
        stories = {path: (title, text * 9) for path, (title, text) in stories.items()}
        with LoopbackSite() as site:
            site.blog(stories)
            command = [sys.executable, str(ROOT / "app.py"), "add", site.address(), "--yes"]
            process = subprocess.Popen(command, env={**os.environ, **told}, stderr=subprocess.PIPE)
            assert process.stderr is not None
            for line in process.stderr:
                if line.startswith(b"added") and sum(site.count(path) for path in stories) >= 15:
                    break
            process.kill()
            process.wait()
            site.forget()
            before = len(json.loads(typed("posts", "--json", **told).stdout)["posts"])
            assert 0 < before < 30
            synced = json.loads(typed("sync", "--json", **told).stdout)
            assert len(synced["added"]) == 30 - before
            assert len(synced["unchanged"]) == before
            assert sum(site.count(path) for path in stories) <= 30 - before + 2  # one may have been under way
            assert json.loads(typed("doctor", "--json", **told).stdout)["ok"]
