"""Plain text: the first short line that stands alone is the title."""

from __future__ import annotations

from rag.records import Post


def read(content: str, source: str, name: str) -> Post:
    """Read a plain text post."""
    text = content.strip()
    first, _, rest = text.partition("\n")
    alone = len(first) <= 120 and rest.startswith("\n") and not first.rstrip().endswith((".", ":", ",", ";"))
    return Post(source=source, title=first.strip() if alone else name, text=text)
