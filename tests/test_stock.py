"""The models that there are: looked up, downloaded, checked and removed, against a hub of our own on the loopback.

What both the real stock and the fake must do is in the first class; all that can go wrong with a hub is the real one's
alone."""

from __future__ import annotations

import os
import shutil
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

import models.hub
from models.gguf import read_header
from models.hub import Hub, sha256
from models.stock import HubStock
from models.writer import LlamaWriter
from rag.errors import ModelError, Unreachable
from rag.ports import Stock
from rag.records import Model, Prompt, Segment
from tests.fakes import FakeEmbedder, FakeStock, FakeWriter
from tests.hub import MINILM, SMOLLM, SMOLLM_FILE, embedded, gguf
from tests.hub import Hub as Loopback

pytestmark = pytest.mark.slow

SETTING = "baker/tiny-GGUF:tiny.gguf"
SUGGESTED = "HuggingFaceTB/SmolLM2-360M-Instruct-GGUF"
LLAMA = {"general.architecture": "llama", "llama.context_length": 2048, "general.license": "mit"}


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    hub = Loopback()
    yield hub
    hub.close()


@pytest.fixture
def tiny(loopback: Loopback, tmp_path: Path) -> Path:
    """A repository with one small writer, which is none, but says that it is."""
    path = tmp_path / "tiny.gguf"
    path.write_bytes(gguf(LLAMA) + bytes(range(256)) * 20_000)
    loopback.files["baker/tiny-GGUF"] = {"tiny.gguf": path}
    loopback.facts["baker/tiny-GGUF"] = {
        "gguf": {"architecture": "llama", "context_length": 2048},
        "cardData": {"license": "mit"},
    }
    return path


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def stock(loopback: Loopback, cache: Path) -> HubStock:
    return made(loopback.address, cache)


def made(address: str, cache: Path, *, offline: bool = False) -> HubStock:
    hub = Hub(offline=offline, endpoint=address, cache=cache)
    return HubStock(hub, lambda setting: LlamaWriter(setting, offline=True), lambda _: FakeEmbedder())


def fetched(stock: Stock, setting: str) -> Model:
    """Look something up and download it."""
    [model] = stock.look(setting)
    assert stock.fetch(model, Event(), ignored)
    here = stock.here(model.kind, model.setting)
    assert here
    return here


def ignored(done: int, total: int) -> None:
    """Take no note of how far it is."""


def refused(does: Callable[[], object]) -> str:
    with pytest.raises(ModelError) as caught:
        does()
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def parts(cache: Path) -> list[Path]:
    return list(cache.rglob("*.incomplete"))


class Case(NamedTuple):
    stock: Any
    size: int


@pytest.fixture(params=["real", "fake"])
def case(request: pytest.FixtureRequest, loopback: Loopback, cache: Path, tiny: Path) -> Case:
    if request.param == "real":
        return Case(made(loopback.address, cache), tiny.stat().st_size)
    stock = FakeStock(FakeWriter(), FakeEmbedder())
    stock.hub[SETTING] = Model("writer", SETTING, "tiny", "mit", 5_000_000, 10_000_000, 2048)
    return Case(stock, 5_000_000)


class TestContract:
    def test_a_model_is_looked_up_fetched_found_and_removed(self, case: Case) -> None:
        stock = case.stock
        assert stock.here("writer", SETTING) is None
        [model] = stock.look(SETTING)
        assert (model.kind, model.setting, model.name, model.licence) == ("writer", SETTING, "tiny", "mit")
        assert (model.size, model.span, model.place) == (case.size, 2048, "")
        told: list[tuple[int, int]] = []
        assert stock.fetch(model, Event(), lambda done, total: told.append((done, total)))
        assert told[-1] == (case.size, case.size)
        assert told == sorted(told)
        here = stock.here("writer", SETTING)
        assert here.place
        assert (here.size, here.span) == (case.size, 2048)
        assert stock.here("embedder", SETTING) is None
        assert stock.remove(here) >= case.size
        assert stock.here("writer", SETTING) is None

    def test_a_download_that_is_cancelled_goes_on_where_it_was(self, case: Case, loopback: Loopback) -> None:
        [model] = case.stock.look(SETTING)
        stop = Event()
        if isinstance(case.stock, FakeStock):
            case.stock.pause.clear()
        loopback.piece_s = 0.02
        told: list[int] = []

        def report(done: int, total: int) -> None:
            told.append(done)
            if done:
                stop.set()

        if isinstance(case.stock, FakeStock):
            stop.set()
        assert not case.stock.fetch(model, stop, report)
        assert case.stock.here("writer", SETTING) is None
        loopback.piece_s = 0
        if isinstance(case.stock, FakeStock):
            case.stock.pause.set()
        told.clear()
        assert case.stock.fetch(model, Event(), report)
        assert isinstance(case.stock, FakeStock) or told[0] > 0

    def test_what_is_not_there_is_a_sentence(self, case: Case) -> None:
        assert "is not on the Hub" in refused(lambda: case.stock.look("baker/nothing"))

    def test_what_ships_is_here_and_cannot_be_removed(self, case: Case) -> None:
        for kind in ("writer", "embedder"):
            shipped = case.stock.here(kind, "")
            assert shipped.place
            assert "leaves it where it is" in refused(lambda model=shipped: case.stock.remove(model))

    def test_the_memory_is_known_or_not(self, case: Case) -> None:
        total, free = case.stock.memory()
        assert total >= free >= 0


class TestDownload:
    def test_what_breaks_off_is_taken_up_again_where_it_was(
        self, loopback: Loopback, stock: HubStock, tiny: Path
    ) -> None:
        loopback.breaks = 2
        here = fetched(stock, SETTING)
        assert sha256(Path(here.place)) == sha256(tiny)
        assert len(loopback.ranges) == 3
        assert loopback.ranges[0] == "0"
        assert 0 < int(loopback.ranges[1]) < int(loopback.ranges[2])

    def test_a_hub_that_gives_the_whole_or_nothing_is_asked_for_the_whole(
        self, loopback: Loopback, stock: HubStock, tiny: Path
    ) -> None:
        loopback.breaks, loopback.ignores_ranges = 1, True
        assert sha256(Path(fetched(stock, SETTING).place)) == sha256(tiny)

    def test_one_that_breaks_off_each_time_is_given_up_for_now(
        self, loopback: Loopback, stock: HubStock, tiny: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(models.hub, "_TRIES", 2)
        [model] = stock.look(SETTING)
        loopback.breaks, loopback.share = 2, 0.0
        assert "could not be reached" in refused(lambda: stock.fetch(model, Event(), ignored))
        assert stock.here("writer", SETTING) is None
        assert fetched(stock, SETTING)

    def test_corrupt_bytes_are_deleted_and_fetched_anew(
        self, loopback: Loopback, stock: HubStock, tiny: Path, cache: Path
    ) -> None:
        loopback.spoil = "tiny.gguf"
        [model] = stock.look(SETTING)
        assert "arrived damaged and was deleted" in refused(lambda: stock.fetch(model, Event(), ignored))
        assert parts(cache) == []
        assert stock.here("writer", SETTING) is None
        loopback.spoil = ""
        assert fetched(stock, SETTING).size == tiny.stat().st_size

    def test_a_part_of_something_else_is_found_out(self, stock: HubStock, tiny: Path, cache: Path) -> None:
        blobs = cache / "models--baker--tiny-GGUF" / "blobs"
        blobs.mkdir(parents=True)
        (blobs / f"{sha256(tiny)}.incomplete").write_bytes(b"another file " * 1000)
        [model] = stock.look(SETTING)
        assert model.part == 13_000
        assert "arrived damaged" in refused(lambda: stock.fetch(model, Event(), ignored))
        assert fetched(stock, SETTING).part == 0

    @pytest.mark.parametrize(
        ("status", "error", "said"),
        [
            (401, "GatedRepo", "asks for permission. Accept its terms"),
            (403, "GatedRepo", "asks for permission. Accept its terms"),
            (401, "", "The Hub refused baker/tiny-GGUF (401)"),
            (404, "RepoNotFound", "is not on the Hub, or it is private"),
            (429, "", "The Hub answered 429"),
            (503, "", "The Hub answered 503"),
        ],
    )
    def test_what_a_hub_refuses_is_explained(
        self, loopback: Loopback, stock: HubStock, tiny: Path, status: int, error: str, said: str
    ) -> None:
        [model] = stock.look(SETTING)
        loopback.status, loopback.error = status, error
        assert said in refused(lambda: stock.look(SETTING))
        loopback.only = "/resolve/"
        assert said in refused(lambda: stock.fetch(model, Event(), ignored))
        loopback.status = 200
        assert fetched(stock, SETTING)

    def test_a_gated_repository_says_so_before_it_is_downloaded(
        self, loopback: Loopback, stock: HubStock, tiny: Path
    ) -> None:
        loopback.facts["baker/tiny-GGUF"]["gated"] = "manual"
        assert stock.look(SETTING)[0].gated

    def test_a_stop_ends_a_slow_download_soon_and_keeps_what_came(
        self, loopback: Loopback, stock: HubStock, tiny: Path, cache: Path
    ) -> None:
        loopback.piece_s = 0.1
        [model] = stock.look(SETTING)
        stop = Event()
        threading.Timer(0.5, stop.set).start()
        assert not stock.fetch(model, stop, ignored)
        assert len(parts(cache)) == 1
        assert 0 < stock.look(SETTING)[0].part < tiny.stat().st_size
        assert stock.remove(model) > 0
        assert parts(cache) == []

    def test_offline_is_said_without_asking_anybody(self, loopback: Loopback, tiny: Path, cache: Path) -> None:
        with pytest.raises(Unreachable, match="FOOTNOTE_OFFLINE is on"):
            made(loopback.address, cache, offline=True).look(SETTING)
        assert loopback.asked == []

    def test_without_a_network_it_is_said_at_once(self, loopback: Loopback, cache: Path) -> None:
        loopback.close()
        with pytest.raises(Unreachable, match="could not be reached"):
            made(loopback.address, cache).look("baker/anything")

    def test_a_hub_that_says_nothing_is_not_waited_for(self, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import socket

        monkeypatch.setattr(models.hub, "_READ_S", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            address = f"http://127.0.0.1:{silent.getsockname()[1]}"
            assert "could not be reached" in refused(lambda: made(address, cache).look("baker/anything"))

    def test_what_is_no_hub_is_a_sentence(self, loopback: Loopback, stock: HubStock, tiny: Path) -> None:
        loopback.facts["baker/tiny-GGUF"] = {"siblings": [{"rfilename": "x.gguf", "lfs": {"size": 1}}]}
        assert "cannot be read" in refused(lambda: stock.look(SETTING))
        evil = {"size": 5, "sha256": "../../../evil", "pointerSize": 1}
        loopback.facts["baker/tiny-GGUF"] = {"siblings": [{"rfilename": "x.gguf", "lfs": evil}]}
        assert "cannot be read" in refused(lambda: stock.look("baker/tiny-GGUF"))

    def test_a_disk_that_is_too_small_is_told_before_anything_comes(
        self, loopback: Loopback, stock: HubStock, tiny: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        [model] = stock.look(SETTING)
        usage = shutil.disk_usage(cache.parent)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
        sentence = refused(lambda: stock.fetch(model, Event(), ignored))
        assert "more on the disk, and 1 MB are free" in sentence
        assert loopback.ranges == []
        assert stock.here("writer", SETTING) is None


class TestLook:
    def test_a_repository_of_several_offers_each_smallest_first(
        self, loopback: Loopback, stock: HubStock, tiny: Path, tmp_path: Path
    ) -> None:
        large = tmp_path / "large.gguf"
        large.write_bytes(tiny.read_bytes() * 2)
        loopback.files["baker/tiny-GGUF"] = {"b/large.gguf": large, "tiny.gguf": tiny, "README.md": tiny}
        assert [model.setting for model in stock.look("baker/tiny-GGUF")] == [SETTING, "baker/tiny-GGUF:b/large.gguf"]
        assert [model.name for model in stock.look("baker/tiny-GGUF:*LARGE.gguf")] == ["large"]
        assert fetched(stock, "baker/tiny-GGUF:b/large.gguf").size == large.stat().st_size
        assert "has no file huge.gguf" in refused(lambda: stock.look("baker/tiny-GGUF:huge.gguf"))

    def test_the_address_of_its_page_names_a_model(self, stock: HubStock, tiny: Path) -> None:
        for address in (
            "https://huggingface.co/baker/tiny-GGUF",
            " https://huggingface.co/baker/tiny-GGUF/tree/main ",
            "https://huggingface.co/baker/tiny-GGUF/blob/main/tiny.gguf?download=true",
        ):
            assert [model.setting for model in stock.look(address)] == [SETTING]

    def test_an_address_leads_to_nothing_on_this_machine(self, stock: HubStock, tiny: Path) -> None:
        for path in (quote(str(tiny), safe=""), str(tiny.parent).replace("/", "%2F", 1), f"%2E%2E/{tiny.name}"):
            assert "is no model" in refused(lambda path=path: stock.look(f"https://huggingface.co/{path}"))  # type: ignore[misc]

    @pytest.mark.parametrize("typed", ["a" * 300, "~nobody-of-this-name/model.gguf", "/" + "a" * 300, "\0"])
    def test_what_can_be_no_path_is_a_sentence(self, stock: HubStock, typed: str) -> None:
        assert refused(lambda: stock.look(typed))

    def test_parts_of_a_model_are_left_out_and_told_if_there_is_nothing_else(
        self, loopback: Loopback, stock: HubStock, tiny: Path
    ) -> None:
        shards = {f"q8-0000{number}-of-00002.gguf": tiny for number in (1, 2)}
        loopback.files["baker/tiny-GGUF"] = {**shards, "tiny.gguf": tiny}
        assert [model.setting for model in stock.look("baker/tiny-GGUF")] == [SETTING]
        loopback.files["baker/tiny-GGUF"] = shards
        assert "comes in several parts" in refused(lambda: stock.look("baker/tiny-GGUF"))

    def test_an_embedding_model_as_gguf_is_refused_by_what_the_hub_says_or_else_by_what_came(
        self, loopback: Loopback, stock: HubStock, tmp_path: Path, cache: Path
    ) -> None:
        path = tmp_path / "nomic.gguf"
        path.write_bytes(gguf({"general.architecture": "nomic-bert"}, 2_000_000))
        loopback.files["baker/nomic"] = {"nomic.gguf": path}
        [model] = stock.look("baker/nomic")
        assert "is an embedding model" in refused(lambda: stock.fetch(model, Event(), ignored))
        assert not list(cache.rglob("*.gguf"))
        loopback.facts["baker/nomic"] = {"gguf": {"architecture": "nomic-bert"}}
        assert "is an embedding model" in refused(lambda: stock.look("baker/nomic"))

    def test_a_repository_without_a_model_that_can_be_used(
        self, loopback: Loopback, stock: HubStock, tiny: Path
    ) -> None:
        loopback.files["baker/prose"] = {"model.safetensors": tiny, "config.json": tiny}
        assert "holds no .gguf file" in refused(lambda: stock.look("baker/prose"))
        loopback.files["baker/pickles"] = {"modules.json": tiny, "config.json": tiny, "pytorch_model.bin": tiny}
        assert "load safely" in refused(lambda: stock.look("baker/pickles"))

    @pytest.mark.parametrize("wanted", ["", "bread", "a/b/c", "-x/y", "baker/ti ny", "https://example.org/a/b"])
    def test_what_is_no_model_is_told_without_asking(self, loopback: Loopback, stock: HubStock, wanted: str) -> None:
        assert "is no model. Name one of the Hub" in refused(lambda: stock.look(wanted))
        assert loopback.asked == []

    def test_paths(self, stock: HubStock, tiny: Path, tmp_path: Path) -> None:
        assert [model.place for model in stock.look(str(tiny))] == [str(tiny)]
        assert "There is nothing at" in refused(lambda: stock.look(str(tmp_path / "no.gguf")))
        (tmp_path / "notes.gguf").write_text("Feed the starter.", encoding="utf-8")
        assert "no GGUF file. Choose another" in refused(lambda: stock.look(str(tmp_path / "notes.gguf")))
        assert "is a folder without a model" in refused(lambda: stock.look(str(tmp_path)))
        folder, _ = embedded()
        [model] = stock.look(str(folder))
        assert (model.kind, model.span) == ("embedder", 384)

    def test_the_suggestions_say_what_is_here_of_them(self, loopback: Loopback, stock: HubStock, tiny: Path) -> None:
        loopback.files[SUGGESTED] = {"smollm2-360m-instruct-q8_0.gguf": tiny, "other-q4_0.gguf": tiny}
        before = [model for model in stock.suggested() if model.setting.startswith(SUGGESTED)]
        assert [(model.size, model.place) for model in before] == [(0, "")]
        assert loopback.asked == []
        [found] = stock.look(before[0].setting)
        assert found.setting == f"{SUGGESTED}:smollm2-360m-instruct-q8_0.gguf"
        assert stock.fetch(found, Event(), ignored)
        [after] = [model for model in stock.suggested() if model.setting.startswith(SUGGESTED)]
        assert after.name == "SmolLM2 360M"
        assert (after.setting, after.size) == (found.setting, tiny.stat().st_size)

    def test_each_suggestion_is_named_once_and_in_a_form_that_can_be_asked_for(self, stock: HubStock) -> None:
        settings = [model.setting for model in stock.suggested()]
        assert len(settings) == len(set(settings)) == 15
        for model in stock.suggested():
            assert "is not on the Hub" in refused(lambda wanted=model.setting: stock.look(wanted))
            assert model.about
            assert model.licence


class TestRemove:
    def test_a_file_of_several_goes_alone_and_the_last_takes_all(
        self, loopback: Loopback, stock: HubStock, tiny: Path, tmp_path: Path, cache: Path
    ) -> None:
        other = tmp_path / "other.gguf"
        other.write_bytes(tiny.read_bytes() + b"more")
        loopback.files["baker/tiny-GGUF"]["other.gguf"] = other
        first, second = fetched(stock, SETTING), fetched(stock, "baker/tiny-GGUF:other.gguf")
        assert stock.remove(first) >= tiny.stat().st_size
        assert stock.here("writer", SETTING) is None
        assert stock.here("writer", second.setting)
        assert stock.remove(second) >= other.stat().st_size
        assert not (cache / "models--baker--tiny-GGUF").exists()

    def test_what_another_program_keeps_beside_it_stays(
        self, loopback: Loopback, stock: HubStock, tiny: Path, cache: Path
    ) -> None:
        model = fetched(stock, SETTING)
        [link] = (cache / "models--baker--tiny-GGUF").rglob("tiny.gguf")
        link.with_name("config.json").write_text("{}")
        assert stock.remove(model) >= tiny.stat().st_size
        assert link.with_name("config.json").read_text() == "{}"
        assert not link.is_symlink()

    def test_a_file_that_a_person_has_is_left(self, stock: HubStock, tiny: Path) -> None:
        [model] = stock.look(str(tiny))
        assert "Delete it yourself" in refused(lambda: stock.remove(model))
        assert tiny.exists()


class TestEmbedded:
    def test_the_embedder_is_fetched_whole_and_is_the_one_that_ships(self, loopback: Loopback, stock: HubStock) -> None:
        loopback.serve_the_embedded()
        here = fetched(stock, MINILM)
        assert (here.kind, here.span, here.name) == ("embedder", 384, "all-MiniLM-L6-v2")
        other = Path(here.place) / "onnx" / "model.onnx"
        other.parent.mkdir()
        other.write_bytes(b"another program's")
        alike = other.with_name("config.json")
        alike.symlink_to(os.path.relpath(os.path.realpath(Path(here.place) / "config.json"), alike.parent))
        assert sha256(Path(here.place) / "model.safetensors") == sha256(embedded()[0] / "model.safetensors")
        assert stock.remove(here) > 80_000_000
        assert stock.here("embedder", MINILM) is None
        assert other.read_bytes() == b"another program's"
        assert "hidden_size" in alike.read_text("utf-8")  # it shared the bytes of one that went

    def test_the_writer_is_fetched_and_loads(self, loopback: Loopback, stock: HubStock) -> None:
        loopback.serve_the_embedded()
        here = fetched(stock, f"{SMOLLM}:{SMOLLM_FILE}")
        assert here.licence == "apache-2.0"
        writer = stock.writer(here.setting)
        assert isinstance(writer, LlamaWriter)
        writer._setting = here.place  # the cache of this test is not the Hub library's own
        writer.load()
        assert writer.budget > 1000


class TestHeader:
    def test_what_ships_is_read(self) -> None:
        header = read_header(embedded()[1])
        assert (header.architecture, header.context, header.parts, header.embeds) == ("llama", 8192, 1, False)
        assert header.cell == 30 * 3 * 64 * 4  # layers, heads, width, a key and a value of two bytes

    @pytest.mark.parametrize(
        ("keys", "embeds", "parts"),
        [
            ({"general.architecture": "bert"}, True, 1),
            ({"general.architecture": "qwen3", "qwen3.pooling_type": 3}, True, 1),
            ({"general.architecture": "llama", "llama.attention.causal": False}, True, 1),
            ({"general.architecture": "llama", "split.count": 3}, False, 3),
            ({}, False, 1),
        ],
    )
    def test_what_others_say_of_themselves(
        self, tmp_path: Path, keys: dict[str, Any], embeds: bool, parts: int
    ) -> None:
        path = tmp_path / "said.gguf"
        path.write_bytes(gguf(keys))
        assert (read_header(path).embeds, read_header(path).parts) == (embeds, parts)

    @pytest.mark.parametrize("cut", [0, 3, 4, 12, 23, 24, 30, 60, 100])
    def test_what_is_cut_off_is_no_header(self, tmp_path: Path, cut: int) -> None:
        path = tmp_path / "cut.gguf"
        path.write_bytes(gguf({**LLAMA, "general.name": "a loaf"})[:cut])
        with pytest.raises(ValueError, match=r"GGUF|empty"):
            read_header(path)

    def test_a_text_where_a_number_belongs_is_damage(self, tmp_path: Path) -> None:
        path = tmp_path / "odd.gguf"
        path.write_bytes(gguf({**LLAMA, "llama.context_length": "long"}))
        with pytest.raises(ValueError, match=r"^a damaged GGUF file$"):
            read_header(path)

    def test_hostile_lengths_end_at_once(self, tmp_path: Path) -> None:
        import struct

        path = tmp_path / "evil.gguf"
        key = struct.pack("<Q", 1) + b"x"
        for value in (
            struct.pack("<IQ", 8, 1 << 62),
            struct.pack("<IIQ", 9, 0, 1 << 62),
            struct.pack("<IIQ", 9, 9, 1 << 20),
            struct.pack("<I", 77),
        ):
            path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + key + value)
            with pytest.raises(ValueError, match="damaged"):
                read_header(path)


def test_an_embedding_model_and_a_part_are_told_before_llama_cpp_sees_them(tmp_path: Path) -> None:
    path = tmp_path / "bert.gguf"
    path.write_bytes(gguf({"general.architecture": "bert"}))
    assert "is an embedding model" in refused(LlamaWriter(str(path)).load)
    path.write_bytes(gguf({**LLAMA, "split.count": 2}))
    assert "is one of 2 parts" in refused(LlamaWriter(str(path)).load)


def test_a_writer_that_nobody_uses_any_more_is_gone_with_its_memory() -> None:
    writer = LlamaWriter(offline=True)
    pieces = writer.write(Prompt((Segment("user", "Say the word bread.", False),), (), 0), Event())
    next(pieces)
    model = weakref.ref(writer._loaded)
    del writer
    assert model() is not None, "an answer goes on with the writer that began it"
    assert "".join(pieces)
    del pieces
    assert model() is None
