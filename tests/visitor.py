"""A visitor of the page without a browser: what its script sends, over HTTP, with a cookie jar of its own."""

from __future__ import annotations

import json
import re
import uuid
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

    def call(self, name: str, *data: Any, event: Any = None, session: str = "") -> list[list[Any]]:
        """Call one of the page's functions through the queue; return what it gave back, step by step."""
        joined = self.join(name, *data, event=event, session=session)
        joined.raise_for_status()
        return self.steps(joined.json()["event_id"])

    def join(self, name: str, *data: Any, event: Any = None, session: str = "") -> httpx.Response:
        """Put a call into the queue; return what was answered."""
        number, fn = next((d["id"], d) for d in self.config["dependencies"] if d["api_name"] == name)
        sent = {"data": list(data), "fn_index": number, "session_hash": session or self.session, "event_data": event}
        sent["trigger_id"] = fn["targets"][0][0]
        return self.http.post(f"{self.path}gradio_api/queue/join", json=sent)

    def steps(self, event_id: str) -> list[list[Any]]:
        """Listen until a call has ended; return the data of each step. Raise RuntimeError if it failed."""
        given: list[list[Any]] = []
        address = f"{self.path}gradio_api/queue/data?session_hash={self.session}"
        with self.http.stream("GET", address) as stream:
            stream.raise_for_status()
            for line in stream.iter_lines():
                message = json.loads(line[5:]) if line.startswith("data:") else {}
                if message.get("event_id") not in (None, event_id):
                    continue
                kind = message.get("msg")
                if kind in ("process_generating", "process_completed"):
                    output = message["output"]
                    if not message.get("success", True):
                        raise RuntimeError(str(output.get("error")))
                    given.append(output.get("data") or [])
                if kind in ("process_completed", "close_stream") or kind == "unexpected_error":
                    break
        return given

    def ask(self, question: str) -> str:
        """Ask on the tab Ask; return all that was shown on the way, as text."""
        return text_of(self.call("ask", None, question, "", "", ""))

    def upload(self, *files: tuple[str, bytes]) -> httpx.Response:
        """Send files, as dropping them does; return what was answered."""
        return self.http.post(f"{self.path}gradio_api/upload", files=[("files", file) for file in files])

    def add(self, *files: tuple[str, bytes]) -> str:
        """Drop files on the tab Posts; return what was said of it at once."""
        paths = self.upload(*files)
        paths.raise_for_status()
        dropped = [{"path": path, "meta": {"_type": "gradio.FileData"}} for path in paths.json()]
        return text_of(self.call("upload", dropped))

    def listed(self) -> str:
        """Return the list of posts, as text."""
        return self.run("lambda_8", [])

    def run(self, name: str, data: list[Any]) -> str:
        """Call a function that does not wait in the queue; return what it gave back, as text."""
        number = next(d["id"] for d in self.config["dependencies"] if d["api_name"] == name)
        sent = {"data": data, "fn_index": number, "session_hash": self.session}
        answered = self.http.post(f"{self.path}gradio_api/run/predict", json=sent)
        answered.raise_for_status()
        return text_of(answered.json()["data"])


def text_of(given: Any) -> str:
    """Return the text of whatever a function gave back, without its tags."""
    return unescape(re.sub(r"<[^>]+>", " ", json.dumps(given, ensure_ascii=False)))


def a_post(title: str, text: str) -> tuple[str, bytes]:
    """Return a file to drop: its name and its bytes."""
    return f"{Path(title.lower()).name}.md", f"---\ntitle: {title}\n---\n\n{text}\n".encode()
