"""The page: built here, launched by app.py. One file a tab; only this package knows gradio."""

from __future__ import annotations

import inspect
import sys
from typing import Any
from unittest.mock import patch


def import_gradio() -> None:
    """Import gradio, in half the time that it takes by itself.

    It makes type stubs for editors at each start, and writes them beside itself; and it imports mcp, which the door for
    assistants imports once one knocks. With both 4.5 s of processor time, without the stubs 3.0, without either 2.2
    (medians of three, 2026-11-26).
    """
    find = inspect.getfile

    def find_other(what: Any) -> str:
        if getattr(what, "__module__", "").startswith("gradio."):
            raise OSError  # what it gets for a component that lies in no file, and needs no stub
        return find(what)

    wanted = "mcp" not in sys.modules
    if wanted:
        sys.modules["mcp"] = None  # type: ignore[assignment]  # its import fails, which gradio is prepared for
    try:
        with patch("inspect.getfile", find_other):
            import gradio  # noqa: F401 - to have it imported
    finally:
        if wanted:
            del sys.modules["mcp"]
