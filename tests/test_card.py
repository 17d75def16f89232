"""The model card: what it says, that its code runs, that it quotes nobody; and its way to a hub on the loopback."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import re
import socket
import struct
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from models.card import CARD, Facts, card_text, published, push, write_card
from models.measure import METRICS
from models.training import Run
from rag.errors import ModelError
from rag.records import Recipe
from tests.hub import git_hash
from tests.test_tune import made_model

RUN = Run(
    pairs=152,
    passages=61,
    negatives=40,
    batch=8,
    dims=(16, 8),
    steps=57,
    seconds=71.4,
    loss=0.1234567,
    device="AMD EPYC (avx2), 2 threads",
    precision="float32",
    cached=False,
    peak_bytes=2_300_000_000,
)


def numbers(value: float) -> dict[int, dict[str, float]]:
    return {dim: dict.fromkeys(METRICS, value + dim / 1000) for dim in (16, 8)}


FACTS = Facts(
    base="all-MiniLM-L6-v2",
    run=RUN,
    recipe=Recipe(batch=16),
    before=numbers(0.7),
    after=numbers(0.8),
    questions=378,
    passages=111,
    origins={"text": 100, "asked": 2, "file": 50, "writer": 0},
    refused={"It is too short to ask for anything.": 7, "It is asked twice.": 31, "nothing": 0},
    hybrid_before=0.89,
    hybrid_after=0.9,
    confidence=0.998,
    date="2026-11-25",
)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_model(tmp_path_factory.mktemp("card"), prompts={"query": "query : ", "document": ""})


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A folder that looks like a model, with its card and with what must never leave the machine."""
    folder = tmp_path / MODEL
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "modules.json").write_text('[{"path": ""}, {"path": "1_Pooling"}]', encoding="utf-8")
    (folder / "config.json").write_text("{}", encoding="utf-8")
    (folder / "1_Pooling" / "config.json").write_text("{}", encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"weights " * 200_000)
    (folder / "checkpoints" / "checkpoint-9").mkdir(parents=True)
    for private in ("pairs.jsonl", "run.json", "optimizer.pt", "checkpoints/checkpoint-9/model.safetensors", ".env"):
        (folder / private).write_text("Feed the starter, said nobody.", encoding="utf-8")
    write_card(folder, FACTS)
    return folder


MODEL = "my-model"


class TestCard:
    def test_its_front_matter_is_what_the_hub_wants(self) -> None:
        from huggingface_hub import ModelCard

        data = ModelCard(card_text(FACTS), ignore_metadata_errors=False).data
        assert data.library_name == "sentence-transformers"
        assert data.pipeline_tag == "sentence-similarity"
        assert data.base_model == "sentence-transformers/all-MiniLM-L6-v2"
        assert {"sentence-transformers", "loss:MatryoshkaLoss", "dataset_size:152"} <= set(data.tags)
        results = {(result.dataset_type, result.metric_type): result.metric_value for result in data.eval_results}
        assert len(results) == 2 * len(METRICS)
        assert results["dim_16", "cosine_ndcg@10"] == 0.816
        assert results["dim_8", "cosine_map@100"] == 0.808
        front = yaml.safe_load(card_text(FACTS).split("---")[1])
        assert "widget" not in front
        assert front["model-index"][0]["results"][0]["task"]["type"] == "information-retrieval"

    def test_it_says_what_was_measured_and_how_it_came_about(self) -> None:
        text = card_text(FACTS)
        assert "| 16 | 0.7160 | 0.8160 | 0.7160 | 0.8160 |" in text
        assert "| map@100 | 0.7160 | 0.8160 | 0.7080 | 0.8080 |" in text
        assert "378 questions" in text
        assert "NDCG@10 0.890 before, 0.900 after" in text
        assert "99.8% confidence" in text
        assert "- 100 made of the posts' own sentences" in text
        assert "language model" not in text.split("## Training data")[1].split("## Training\n")[0]
        assert "38 more were refused" in text
        assert text.index("- 31: It is asked twice.") < text.index("- 7: It is too short")
        assert "| Batch size | 8 (memory did not do for 16) |" in text
        for word in ("5e-05", "AMD EPYC", "71 s", "2.3 GB", "torch", "kusupati2024", "reimers-2019", "henderson2017"):
            assert word in text

    @pytest.mark.parametrize(
        ("base", "id_"),
        [
            ("Snowflake/snowflake-arctic-embed-l", "Snowflake/snowflake-arctic-embed-l"),
            ("my-model", None),
            ("/home/somebody/my-model", None),
        ],
    )
    def test_a_base_that_is_not_on_the_hub_is_not_linked(self, base: str, id_: str | None) -> None:
        text = card_text(Facts(base, RUN, Recipe(), {}, {}, 0, 0))
        assert yaml.safe_load(text.split("---")[1]).get("base_model") == id_
        assert "/home/somebody" not in text

    @pytest.mark.slow
    def test_the_code_in_it_runs(self, made: Path) -> None:
        code = re.search(r"```python\n(.*?)```", write_card(made, FACTS).read_text(encoding="utf-8"), re.DOTALL)
        assert code
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(code[1].replace("path/to/this/folder", str(made)), {})
        assert "tensor([[" in said.getvalue()


class Hub:
    """As much of the Hugging Face Hub as a push needs."""

    def __init__(self) -> None:
        self.status = 200
        self.cut = ""
        """A part of the paths at which the connection breaks."""
        self.public = False
        self.asked: list[str] = []
        self.tokens: set[str | None] = set()
        self.created: dict[str, Any] = {}
        self.files: dict[str, bytes] = {}
        self.large: dict[str, bytes] = {}
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.answer()

            def do_POST(self) -> None:
                self.answer()

            def do_PUT(self) -> None:
                self.answer()

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path = self.path.partition("?")[0]
                hub.asked.append(f"{self.command} {path}")
                hub.tokens.add(self.headers.get("Authorization"))
                if hub.cut and hub.cut in path:
                    linger = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self.close_connection = True
                    self.connection.close()
                    return
                value = hub.answer(path, body) if hub.status == 200 else {"error": "no"}
                data = json.dumps(value).encode()
                self.send_response(hub.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *arguments: Any) -> None:
                """Keep quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, path: str, body: bytes) -> Any:
        if path == "/api/repos/create":
            self.created = json.loads(body)
            return {"url": f"{self.address}/baker/bread", "name": "baker/bread"}
        if path.startswith("/upload/"):
            self.large[path.rpartition("/")[2]] = body
            return {}
        if path.endswith("/preupload/main"):
            files = json.loads(body)["files"]
            return {"files": [{"path": f["path"], "uploadMode": mode(f["size"]), "shouldIgnore": False} for f in files]}
        if path.endswith("/info/lfs/objects/batch"):
            objects = json.loads(body)["objects"]
            upload = [{**o, "actions": {"upload": {"href": f"{self.address}/upload/{o['oid']}"}}} for o in objects]
            return {"transfer": "basic", "objects": upload}
        if path.endswith("/commit/main"):
            self.commit(body)
            return {"commitUrl": f"{self.address}/baker/bread/commit/c0ffee", "commitOid": "c0ffee", "success": True}
        if path.startswith("/api/models/"):
            return {"_id": "1", "id": "baker/bread", "private": not self.public, "sha": git_hash(b""), "siblings": []}
        return {}

    def commit(self, body: bytes) -> None:
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                self.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                self.files[value["path"]] = self.large[value["oid"]]

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def mode(size: int) -> str:
    return "lfs" if size > 1_000_000 else "regular"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # its protocol is not HTTP alone
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    made = Hub()
    monkeypatch.setattr(constants, "ENDPOINT", made.address)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    yield made
    made.close()


@pytest.mark.slow
class TestPush:
    def test_the_model_and_its_card_are_published_and_nothing_else(self, hub: Hub, model: Path) -> None:
        assert push(model, "baker/bread") == f"{hub.address}/baker/bread"
        names = {CARD, "config.json", "modules.json", "model.safetensors", "1_Pooling/config.json"}
        assert set(hub.files) == names == set(published(model))
        assert hub.created["visibility"] == "private"
        weights = (model / "model.safetensors").read_bytes()
        assert hashlib.sha256(hub.files["model.safetensors"]).digest() == hashlib.sha256(weights).digest()
        card = hub.files[CARD].decode()
        assert 'SentenceTransformer("baker/bread", truncate_dim=16)' in card
        assert "`FOOTNOTE_EMBEDDER=baker/bread`" in card
        assert (model / CARD).read_text(encoding="utf-8") == card
        assert "Bearer hf_secret" in hub.tokens
        push(model, "baker/rye")
        assert b"baker/rye" in hub.files[CARD]

    def test_what_was_to_be_private_does_not_go_where_it_is_public(self, hub: Hub, model: Path) -> None:
        hub.public = True
        with pytest.raises(ModelError, match=r"baker/bread is public, .*Give another name"):
            push(model, "baker/bread")
        assert hub.files == {}

    @pytest.mark.parametrize(
        ("status", "sentence"),
        [
            (400, "did not take baker/bread"),
            (401, "does not know who you are"),
            (403, "does not let you write to baker/bread"),
            (404, "There is no baker/bread"),
            (429, "too many requests"),
            (500, "out of order"),
            (503, "out of order"),
        ],
    )
    def test_what_the_hub_refuses_is_a_sentence(self, hub: Hub, model: Path, status: int, sentence: str) -> None:
        hub.status = status
        with pytest.raises(ModelError, match=sentence) as caught:
            push(model, "baker/bread")
        assert str(caught.value).endswith(".")
        assert "hf_secret" not in str(caught.value)
        assert hub.files == {}

    def test_a_conflict_while_it_is_written_is_a_sentence(
        self, hub: Hub, model: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def conflict(body: bytes) -> None:
            hub.status = 409

        monkeypatch.setattr(hub, "commit", conflict)
        with pytest.raises(ModelError, match="changed by somebody else at the same moment"):
            push(model, "baker/bread")

    @pytest.mark.parametrize("cut", ["/repos/create", "/commit/"])
    def test_a_connection_that_breaks_is_a_sentence(
        self, hub: Hub, model: Path, monkeypatch: pytest.MonkeyPatch, cut: str
    ) -> None:
        monkeypatch.setattr("time.sleep", lambda _: None)  # the library waits and tries again
        hub.cut = cut
        with pytest.raises(ModelError, match=r"could not be reached, or the connection broke"):
            push(model, "baker/bread")
        assert hub.files == {}

    def test_no_hub_at_all_is_a_sentence(self, hub: Hub, model: Path) -> None:
        hub.close()
        with pytest.raises(ModelError, match="could not be reached"):
            push(model, "baker/bread")


@pytest.mark.parametrize(
    "repo", ["", "bread", "baker/bread/rye", "../bread", "baker/br ead", "https://hub/baker/bread"]
)
def test_a_name_that_is_none_is_refused_before_anyone_is_asked(model: Path, repo: str) -> None:
    with pytest.raises(ModelError, match=r"no name of a repository\. Give one such as"):
        push(model, repo)


def test_what_is_no_model_or_has_no_card_is_not_published(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no sentence-transformers model"):
        push(tmp_path, "baker/bread")
    (model / CARD).unlink()
    with pytest.raises(ModelError, match="has no card"):
        push(model, "baker/bread")
