"""The page's own API: four names that stay, for gradio_client and whatever speaks its HTTP.

They take and give what the command line does; all else that the page calls is hidden from the API."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import gradio as gr

from rag import commands
from rag.engine import Engine
from rag.errors import BadAddress, BadFile, FootnoteError
from rag.incoming.sources import is_address
from rag.readers import printable
from rag.search import SHOWN

NAMES = ("ask", "search", "add", "posts")
MOST_HITS = 50
MOST_ADDED = 200  # files, folders and addresses in one call
_AT_ONCE = 8
_NAME = 120  # characters of an upload's name that are kept, its ending among them


def build(engine: Engine, *, local: bool) -> None:
    """Build the API inside the page that is being built; `local`: paths of this machine may be named."""

    def ask(question: str, history: list[Any] | None = None) -> dict[str, Any]:
        """Ask the posts; `history` are the turns before, oldest first: {"question", "answer"} each."""
        return _result(commands.run(engine, "ask", {"question": str(question), "history": history}, list))

    def search(question: str, limit: int = SHOWN) -> dict[str, Any]:
        """Return the passages that fit a question best."""
        if type(limit) is not int or not 1 <= limit <= MOST_HITS:
            raise _said(f"limit cannot be used. Give a whole number from 1 to {MOST_HITS}.")
        wanted = {"question": str(question), "limit": limit, "search": "hybrid", "explain": False}
        return _result(commands.run(engine, "search", wanted, list))

    def posts(id: str = "") -> dict[str, Any]:  # noqa: A002 - as typed on the command line
        """List the posts, or return one whole."""
        return _result(commands.run(engine, "posts", {"id": str(id) or None}, list))

    def add(sources: list[Any]) -> dict[str, Any]:
        """Add posts: addresses, and files that were uploaded before, as gradio_client's handle_file does."""
        return _result(_add(engine, sources, local=local))

    for function in (ask, search, add, posts):
        gr.api(function, api_name=function.__name__, concurrency_limit=_AT_ONCE)


def hide_others(page: gr.Blocks) -> None:
    """Keep everything else that a page calls out of its API: it is the page's own, and changes with it."""
    for function in page.fns.values():
        if function.api_name not in NAMES:
            function.api_visibility = "private"


def _add(engine: Engine, sources: Any, *, local: bool) -> Iterable[commands.Event]:
    """Add what was named, yielding events as commands do; nothing is added if one must not be."""
    try:
        if not isinstance(sources, list) or not 1 <= len(sources) <= MOST_ADDED:
            raise BadFile(f"There is nothing to add, or too much. Give a list of 1 to {MOST_ADDED}.")
        uploads = [_uploaded(source) for source in sources if isinstance(source, dict)]
        named = [_named(source, local) for source in sources if not isinstance(source, dict)]
        outcome: dict[str, list[Any]] = {}
        if named:
            chosen = yield from commands.choose(
                named, lambda at: commands.run(engine, "look", {"address": at}, list), None
            )
            for event in commands.run(engine, "add", {"paths": chosen}, list):
                outcome = event.get("result", outcome)
                yield {name: value for name, value in event.items() if name != "result"}
        if uploads:
            more = yield from commands.followed(engine.add_uploads(uploads), commands.ADDED)
            outcome = {state: [*outcome.get(state, []), *rows] for state, rows in more.items()}
        yield {"result": outcome}
    except FootnoteError as error:
        yield {"error": str(error)}


def _uploaded(source: dict[str, Any]) -> tuple[Path, str]:
    """Return (path, name) of a file that was uploaded. Raise BadFile for any other: its path is only a claim."""
    path, uploads = Path(printable(str(source.get("path")))).resolve(), Path(os.environ["GRADIO_TEMP_DIR"]).resolve()
    if uploads not in path.parents or not path.is_file():
        raise BadFile("This file was not uploaded here. Send it with handle_file.")
    name = printable(str(source.get("orig_name") or path.name)).replace("\\", "/").rpartition("/")[2]
    return path, name[-_NAME:] or path.name


def _named(source: Any, local: bool) -> str:
    """Return an address or a path that may be named. Raise BadAddress for a path where others are served, too."""
    if not isinstance(source, str) or not source.strip():
        raise BadAddress("What is to be added is no address and no file. Name an address, or send a file.")
    if not local and not is_address(source):
        raise BadAddress("This page reads no paths of its own machine. Name an address, or send the file itself.")
    return source if is_address(source) else os.path.abspath(os.path.expanduser(printable(source)))


def _result(events: Iterable[commands.Event]) -> dict[str, Any]:
    """Return what a command results in. Raise gr.Error with what went wrong."""
    found: dict[str, Any] = {}
    for event in events:
        if "error" in event:
            raise _said(event["error"])
        found = event.get("result", found)
    return found


def _said(sentence: str) -> gr.Error:
    return gr.Error(sentence, print_exception=False)  # it is told to whoever asked; it is nothing for the terminal
