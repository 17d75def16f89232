"""HTML pages as a browser saves them: the post without menus, its title, date and canonical address."""

from __future__ import annotations

import re

from rag.readers.decode import tidy
from rag.readers.markdown import web_address
from rag.records import Post


def read(content: str, source: str, name: str) -> Post:
    """Read a saved web page; its text is empty if there is none to read."""
    # imported here: it takes a second, and Markdown does without it
    from trafilatura import extract, extract_metadata
    from trafilatura.utils import load_html

    try:
        tree = load_html(content)
        document = extract_metadata(tree) if tree is not None else None
        text = extract(
            tree, output_format="markdown", include_formatting=True, include_comments=False, favor_recall=True
        )
    except (ValueError, TypeError, AssertionError, AttributeError, KeyError):
        document, text = None, None  # a page too broken for the parser is a page without text
    text = tidy(text or "").strip()
    if document is None:
        return Post(source, name, text)
    title = " ".join((document.title or "").split())
    return Post(
        source=source,
        title=title[:300] or name,
        text=text,
        date=document.date if re.fullmatch(r"\d{4}-\d{2}-\d{2}", document.date or "") else None,
        url=web_address(document.url),
        tags=tuple(
            dict.fromkeys(tag for raw in document.tags or [] for tag in [" ".join(str(raw).split())[:60]] if tag)
        ),
    )
