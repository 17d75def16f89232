"""A visitor of the page without a browser: what its script sends, over HTTP, with a cookie jar of its own."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import httpx


class Visitor:
    """One visit. `path` is where the page lies below `url`."""

    def __init__(self, url: str, path: str = "/", cookies: dict[str, str] | None = None, seconds: float = 300) -> None:
        self.http = httpx.Client(base_url=url, cookies=cookies, timeout=seconds)
        self.path = path
        self.session = uuid.uuid4().hex[:11]
        self.page = self.http.get(path)
        self.config: dict[str, Any] = {}
        if self.page.status_code == 200:
            self.config = self.http.get(f"{path}config").json()

    def call(self, fn: dict[str, Any], *data: Any, session: str = "") -> list[list[Any]]:
        """Call one of the page's functions through the queue; return what it gave back, step by step."""
        joined = self.join(fn, *data, session=session)
        joined.raise_for_status()
        return self.steps(joined.json()["event_id"])

    def join(self, fn: dict[str, Any], *data: Any, session: str = "") -> httpx.Response:
        """Put a call into the queue; return what was answered."""
        sent = {"data": list(data), "fn_index": fn["id"], "session_hash": session or self.session}
        return self.http.post(f"{self.path}gradio_api/queue/join", json=sent)

    def on(self, element: str, event: str) -> dict[str, Any]:
        """Return the function that an event of an element calls."""
        target = [self.id(element), event]
        return next(d for d in self.config["dependencies"] if target in [list(t) for t in d["targets"]])

    def id(self, element: str) -> int:
        """Return the number by which the page knows an element."""
        [id_] = [c["id"] for c in self.config["components"] if c["props"].get("elem_id") == element]
        return int(id_)

    def named(self, name: str) -> dict[str, Any]:
        """Return a function of the page's API."""
        return next(d for d in self.config["dependencies"] if d["api_name"] == name)

    def steps(self, event_id: str) -> list[list[Any]]:
        """Listen until a call has ended; return the data of each step. Raise RuntimeError if it failed."""
        return list(self.each_step(event_id))

    def each_step(self, event_id: str) -> Iterator[list[Any]]:
        """Yield the data of each step of a call as it comes. Raise RuntimeError if it failed."""
        address = f"{self.path}gradio_api/queue/data?session_hash={self.session}"
        with self.http.stream("GET", address) as stream:
            stream.raise_for_status()
            for line in stream.iter_lines():
                message = json.loads(line[5:]) if line.startswith("data:") else {}
                kind = message.get("msg")
                if message.get("event_id") not in (None, event_id):
                    continue
                if kind in ("process_generating", "process_completed"):
                    if not message.get("success", True):
                        raise RuntimeError(str(message["output"].get("error")))
                    yield message["output"].get("data") or []
                if kind in ("process_completed", "close_stream", "unexpected_error"):
                    return

    def ask(self, question: str) -> str:
        """Ask on the tab Ask; return all that was shown on the way, as text."""
        return text_of(self.call(self.on("submit", "click"), None, question, "", "", ""))

    def upload(self, *files: tuple[str, bytes]) -> httpx.Response:
        """Send files, as dropping them does; return what was answered."""
        return self.http.post(f"{self.path}gradio_api/upload", files=[("files", file) for file in files])

    def add(self, *files: tuple[str, bytes]) -> str:
        """Drop files on the tab Posts; return what was said of it at once."""
        paths = self.upload(*files)
        paths.raise_for_status()
        dropped = [{"path": path, "meta": {"_type": "gradio.FileData"}} for path in paths.json()]
        return text_of(self.call(self.on("drop", "upload"), dropped))

    def posts(self, id_: str = "") -> str:
        """List the posts, or one whole, by the API; return it as text."""
        return text_of(self.call(self.named("posts"), id_))


def text_of(given: Any) -> str:
    """Return the text of whatever a function gave back, without its tags."""
    return unescape(re.sub(r"<[^>]+>", " ", json.dumps(given, ensure_ascii=False)))


def a_post(title: str, text: str) -> tuple[str, bytes]:
    """Return a file to drop: its name and its bytes."""
    return f"{Path(title.lower()).name}.md", f"---\ntitle: {title}\n---\n\n{text}\n".encode()
