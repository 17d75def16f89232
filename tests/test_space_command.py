"""The command `space`: what it lists, what it sends to a loopback hub, and what it never sends."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rag import space
from rag.errors import BadFile
from rag.records import InUse, Manifest
from rag.settings import Settings
from store.backup import is_public
from store.catalogue import SqliteCatalogue
from store.library import SqliteLibrary
from store.vectors import ChromaIndex
from tests.house import ROOT, House
from tests.stories import SOURDOUGH

pytestmark = pytest.mark.slow

COMMIT = "c0ffee" * 6 + "c0ff"


class SpaceHub:
    """As much of the Hub as takes a Space and a dataset repository, and gives a file of it back."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.noted: dict[str, list[Any]] = {"variables": [], "secrets": []}
        self.created: list[dict[str, Any]] = []
        self.status = 200
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if found := re.search(r"/resolve/main/(.+)$", self.path.partition("?")[0]):
                    self.reply(200, hub.files[found[1]])
                else:
                    self.reply(hub.status, json.dumps(hub.described(self.path)).encode())

            do_HEAD = do_GET

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.reply(hub.status, json.dumps(hub.take(self.path.partition("?")[0], body)).encode())

            def reply(self, status: int, data: bytes) -> None:
                self.send_response(status)
                self.send_header("ETag", f'"{len(data)}"')
                self.send_header("X-Repo-Commit", COMMIT)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            def log_message(self, *arguments: Any) -> None:
                """Keep quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def described(self, path: str) -> Any:
        rows = [{"type": "file", "path": name, "size": len(data), "oid": "0" * 40} for name, data in self.files.items()]
        siblings = [{"rfilename": name} for name in self.files]
        return rows if "/tree/" in path else {"_id": "1", "id": "baker/posts", "sha": COMMIT, "siblings": siblings}

    def take(self, path: str, body: bytes) -> Any:
        if path.endswith("/preupload/main"):
            asked = json.loads(body)["files"]
            return {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in asked]}
        if path.endswith("/commit/main"):
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    self.files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "deletedFile":
                    del self.files[value["path"]]
            return {"commitUrl": f"{self.address}/baker/posts/commit/c0ffee", "commitOid": COMMIT, "success": True}
        if (kind := path.rpartition("/")[2]) in self.noted:
            self.noted[kind].append(json.loads(body))
            return {}
        if path != "/api/repos/create":
            return {"errors": [], "warnings": []}  # the card's front matter is looked at beforehand
        self.created.append(json.loads(body))
        return {"url": f"{self.address}/spaces/baker/posts", "name": "baker/posts", "id": "1"}

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def hub() -> Iterator[SpaceHub]:
    made = SpaceHub()
    yield made
    made.close()


@pytest.fixture
def type_in(tmp_path: Path, hub: SpaceHub) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("FOOTNOTE_", "HF_"))}
        own = {"HF_ENDPOINT": hub.address, "HF_TOKEN": "hf_test", "HF_HOME": str(tmp_path / "hf")}
        return subprocess.run(
            [sys.executable, "app.py", "space", *arguments],
            cwd=ROOT,
            env={**kept, **own, "FOOTNOTE_HOME": str(tmp_path / "home"), **more},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
        )

    return run


@pytest.fixture
def backup(tmp_path: Path) -> Callable[[bool], Path]:
    def made(public: bool) -> Path:
        house = House(tmp_path / f"house-{public}", real_stores=True)
        house.write_and_add("sourdough.md", SOURDOUGH)
        file = tmp_path / f"{public}.backup"
        house.engine.backups.save(file, public=public)
        house.close()
        return file

    return made


def names(settings: Settings, checkout: Path = ROOT) -> set[str]:
    return {name for name, _ in space.plan(checkout, settings, None, is_public).files}


def test_what_the_app_needs_goes_and_nothing_else(tmp_path: Path) -> None:
    sent = names(Settings(tmp_path))
    assert {"app.py", "README.md", "requirements.txt", "rag/engine.py", "rag/ui/style.css", "store/library.py"} <= sent
    assert {name.partition("/")[0] for name in sent if "/" in name} == {"models", "rag", "samples", "store"}
    assert not {name for name in sent if "test" in name or "/." in name or name.startswith(".") or "data/" in name}


def test_nothing_that_belongs_to_the_code_stays_behind(tmp_path: Path) -> None:
    sent = {name for name, _ in space.plan(ROOT, Settings(tmp_path), None, is_public).files}
    folders = ["models", "rag", "samples", "store"]
    listed = subprocess.run(["git", "ls-files", *folders], cwd=ROOT, capture_output=True, text=True, check=False)
    if not listed.stdout:
        pytest.skip("this checkout has no list of its files")
    assert set(listed.stdout.split()) <= sent


def test_what_is_private_is_in_no_list(tmp_path: Path) -> None:
    checkout, outside = tmp_path / "checkout", tmp_path / "outside.py"
    outside.write_text("KEY = 1", "utf-8")
    for name in ("app.py", "rag/engine.py", "rag/.env", "rag/.secret.py", "rag/key.pem", "rag/notes.sqlite3", ".env"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("x", "utf-8")
    for name in ("data/library.py", "models/__pycache__/a.py", "samples/.git/config.md", "store/id_rsa", "token.txt"):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("x", "utf-8")
    (checkout / "rag" / "linked.py").symlink_to(outside)
    (checkout / "samples" / "home").symlink_to(tmp_path)
    (checkout / "LICENSE").symlink_to(outside)
    assert names(Settings(checkout / "data"), checkout) == {"app.py", "rag/engine.py"}


def test_models_of_the_hub_go_along_and_places_on_this_machine_do_not(tmp_path: Path) -> None:
    (tmp_path / "tuned").mkdir()
    settings = Settings(tmp_path, embedder=str(tmp_path / "tuned"), writer="baker/small-GGUF:small.gguf")
    planned = space.plan(ROOT, settings, None, is_public)
    assert planned.variables == {"FOOTNOTE_WRITER": "baker/small-GGUF:small.gguf"}
    assert planned.secrets == {}
    planned = space.plan(ROOT, Settings(tmp_path, writer="https://x.example", writer_key="k"), None, is_public)
    assert planned.variables == {"FOOTNOTE_WRITER": "https://x.example"}
    assert planned.secrets == {"FOOTNOTE_WRITER_KEY": "k"}
    assert not space.plan(
        ROOT, Settings(tmp_path, writer="http://127.0.0.1:80", writer_key="k"), None, is_public
    ).secrets


def test_only_a_public_snapshot_goes(backup: Callable[[bool], Path], tmp_path: Path) -> None:
    planned = space.plan(ROOT, Settings(tmp_path), backup(True), is_public)
    assert (planned.files[-1][0], next(iter(planned.variables))) == ("footnote.backup", "FOOTNOTE_SNAPSHOT")
    with pytest.raises(BadFile, match="not for visitors"):
        space.plan(ROOT, Settings(tmp_path), backup(False), is_public)
    with pytest.raises(BadFile, match="no backup of Footnote"):
        space.plan(ROOT, Settings(tmp_path), ROOT / "README.md", is_public)


def test_a_dry_run_lists_every_file_and_sends_nothing(type_in: Callable[..., Any], hub: SpaceHub) -> None:
    ran = type_in("baker/posts", "--dry-run")
    assert ran.returncode == 0, ran.stderr
    for name in sorted((ROOT / "store").glob("*.py")):
        assert f"{name.stat().st_size:>11,}  store/{name.name}\n" in ran.stdout
    assert not hub.created


def test_what_was_chosen_on_the_page_goes_along(type_in: Callable[..., Any], tmp_path: Path) -> None:
    library = SqliteLibrary(tmp_path / "home" / "library.sqlite3")
    SqliteCatalogue(library).note("writer", "baker/small-GGUF:small.gguf")
    tuned = Manifest(InUse("f", 8, "tuned-at-noon"), {}, "1")
    ChromaIndex(tmp_path / "home" / "index").rebuild(tuned, [], np.zeros((0, 8), np.float32), lambda *_: None)
    ran = type_in("baker/posts", "--dry-run")  # while the library is open here
    library.close()
    assert "FOOTNOTE_WRITER=baker/small-GGUF:small.gguf\n" in ran.stdout
    assert "tuned-at-noon, the tuned embedder in use, stays here." in ran.stderr


def test_a_script_must_say_yes(type_in: Callable[..., Any], hub: SpaceHub) -> None:
    ran = type_in("baker/posts")
    assert (ran.returncode, ran.stderr) == (
        1,
        "error: Nothing was sent. Add --yes to send it, or --dry-run to see what would be.\n",
    )
    assert not hub.created


def test_a_space_becomes_what_was_listed(
    type_in: Callable[..., Any], hub: SpaceHub, backup: Callable[[bool], Path]
) -> None:
    hub.files = {"rag/engine.py": b"old", "rag/gone.py": b"old"}
    file = backup(True)
    writer = {"FOOTNOTE_WRITER": "baker/small-GGUF:small.gguf"}
    ran = type_in("baker/posts", "--snapshot", str(file), "--yes", "--json", **writer)
    assert ran.returncode == 0, ran.stderr
    listed = {row["name"] for row in json.loads(ran.stdout)["files"]}
    assert set(hub.files) == listed
    assert hub.files["rag/engine.py"] == (ROOT / "rag" / "engine.py").read_bytes()
    assert hub.files["footnote.backup"] == file.read_bytes()
    assert "\npreload_from_hub:\n  - baker/small-GGUF small.gguf\n---\n" in hub.files["README.md"].decode()
    assert {row["key"]: row["value"] for row in hub.noted["variables"]} == {
        "FOOTNOTE_SNAPSHOT": "footnote.backup",
        **writer,
    }
    [created] = hub.created
    assert (created["type"], created["sdk"]) == ("space", "gradio")
    assert created.get("private") or created.get("visibility") == "private"


def test_another_program_is_not_replaced(type_in: Callable[..., Any], hub: SpaceHub) -> None:
    hub.files = {"app.py": b"import streamlit"}
    ran = type_in("baker/posts", "--yes")
    assert "holds another program, which this would replace. Give another name." in ran.stderr
    assert hub.files == {"app.py": b"import streamlit"}


@pytest.mark.parametrize(("status", "why"), [(401, "does not know who you are"), (403, "does not let you write")])
def test_what_the_hub_answers_is_said_in_a_sentence(
    type_in: Callable[..., Any], hub: SpaceHub, status: int, why: str
) -> None:
    hub.status = status
    ran = type_in("baker/posts", "--yes")
    assert ran.returncode == 1
    assert why in ran.stderr
    assert "Traceback" not in ran.stderr


KEEPING = """
import sys
from pathlib import Path
from models.space import fetch_snapshot, send_snapshot
assert fetch_snapshot("baker/kept") is None
send_snapshot(Path(sys.argv[1]), "baker/kept")
assert fetch_snapshot("baker/kept").read_bytes() == Path(sys.argv[1]).read_bytes()
"""


def test_what_was_sent_to_a_dataset_does_not_stay_here(house: House, tmp_path: Path) -> None:
    house.write_and_add("sourdough.md", SOURDOUGH)
    sent: list[bool] = []
    settings = Settings(house.home, snapshot="datasets/baker/posts")
    kept = space.Kept(
        house.engine.backups, tmp_path, settings, lambda _: None, lambda file, _: sent.append(file.exists())
    )
    assert "1 post saved in datasets/baker/posts." in kept.save()
    assert sent == [True]
    assert not (house.home / space.SNAPSHOT).exists()


def test_a_dataset_repository_keeps_a_snapshot(
    run_python: Callable[..., Any], hub: SpaceHub, backup: Callable[[bool], Path], tmp_path: Path
) -> None:
    ran = run_python(KEEPING, str(backup(True)), HF_ENDPOINT=hub.address, HF_TOKEN="t", HF_HOME=str(tmp_path / "hf"))
    assert ran.returncode == 0, ran.stderr
    assert hub.created[0]["type"] == "dataset"
