"""Doors for other programs, beside the page: what a chat client and what an assistant with tools ask for."""

from __future__ import annotations

from typing import Any

from rag.doors import chat, tools
from rag.engine import Engine


def routes(engine: Engine) -> list[Any]:
    """Return the web routes of all doors; who may come in is decided before."""
    return [*chat.routes(engine), tools.route(engine)]
