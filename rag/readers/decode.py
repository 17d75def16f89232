"""Bytes -> text: finds the character set and refuses what is not text; names of documents as they can be shown."""

from __future__ import annotations

import codecs
import re
import unicodedata

from rag.errors import BadFile
from rag.records import Document

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECLARED = re.compile(rb"<(?:meta[^>]{0,200}?charset|\?xml[^>]{0,200}?encoding)\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.I)
_MARKS = r"[\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u064b-\u065f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff]"
UNSEEN = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
_PILED = re.compile(f"({_MARKS}{{30}}){_MARKS}+")  # so many accents on one letter take minutes to compose
_UNPRINTABLE = re.compile("[\0-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_SAMPLE = 200_000  # bytes that are enough to tell a character set; more only takes longer


def decode(data: bytes, name: str) -> str:
    """Decode a file's bytes: BOM, UTF-8, what the page declares, then detection. Raise BadFile for binary data."""
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return tidy(data.decode(encoding, "replace"))
    if b"\0" in data:
        raise BadFile(
            f"{name}: this is a binary file, not text. Save the post as Markdown, HTML or plain text and add that."
        )
    for candidate in ("utf-8", _declared(data), _detected(data)):
        try:
            if candidate:
                return tidy(data.decode(candidate))
        except (UnicodeError, LookupError):
            continue
    raise BadFile(f"{name}: its characters cannot be made out. Save the file as UTF-8 and add it again.")


def tidy(text: str) -> str:
    """Return text with plain line ends, composed characters, and without the control characters nobody can see.

    Among those are the ones that turn the reading direction around: on a page they would turn what stands beside them.
    """
    text = UNSEEN.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    return unicodedata.normalize("NFC", _PILED.sub(r"\1", text))


def printable(path: str) -> str:
    """Return a path that a database can keep and a page can show: what is no visible character is written as \\xNN."""
    path = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return _UNPRINTABLE.sub(lambda match: match.group().encode("unicode_escape").decode("ascii"), path)


def label(document: Document) -> str:
    """Return the document's name or address as it is shown in a sentence."""
    return printable(document.address or document.name or document.source)


def _declared(data: bytes) -> str | None:
    match = _DECLARED.search(data[:4096])
    return match.group(1).decode("ascii", "ignore") if match else None


def _detected(data: bytes) -> str | None:
    # imported here: only files that are not UTF-8 pay for it
    from charset_normalizer import from_bytes

    matches = from_bytes(data[:_SAMPLE])
    best = matches.best()
    for match in matches:  # by far the likeliest of its kind: another one must make better sense
        if best and "cp1252" in (match.encoding, *match.could_be_from_charset) and match.chaos <= best.chaos:
            return "cp1252"
    return best.encoding if best else None
