"""Web archives (.mhtml) as browsers save them: the page's own HTML among the parts of a mail."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from email import policy
from email.message import Message
from email.parser import BytesParser

from rag.errors import BadFile
from rag.readers import html
from rag.readers.decode import decode, tidy
from rag.readers.facts import line, title_from_name, web_address
from rag.readers.limits import Limits
from rag.records import Document, Post

_PARTS = 2000


def read(document: Document, data: bytes, limits: Limits) -> Iterator[Post]:  # noqa: ARG001 - all readers take it
    """Read a saved page. Its address is the one it was saved from, unless the page names a better one."""
    message = BytesParser(policy=policy.compat32).parsebytes(data)
    page = None
    for number, part in enumerate(message.walk()):
        if part.get_content_type() in ("text/html", "application/xhtml+xml") or number > _PARTS:
            page = part
            break
    payload = page.get_payload(decode=True) if page else None
    if page is None or not isinstance(payload, bytes):
        raise BadFile(f"{document.name}: this web archive holds no page. Save the page again, as HTML.")
    title = _header(message, "Subject") or title_from_name(document.name)
    saved = _header(message, "Snapshot-Content-Location") or _header(page, "Content-Location")
    address = web_address(saved)
    text = _text(payload, page.get_content_charset(), document.name)
    post = html.read(text, document.source, title, address=address)
    yield replace(post, url=post.url or address)


def _text(payload: bytes, charset: str | None, name: str) -> str:
    try:
        return tidy(payload.decode(charset or "ascii"))
    except (LookupError, UnicodeError):
        return decode(payload, name)


def _header(message: Message, key: str) -> str:
    from email.header import decode_header, make_header

    value = message.get(key) if hasattr(message, "get") else None
    try:
        return line(str(make_header(decode_header(str(value))))) if value else ""
    except (LookupError, UnicodeError, ValueError):
        return ""
