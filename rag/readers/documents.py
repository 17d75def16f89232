"""Word and OpenDocument files, e-books, notebooks and reStructuredText: pandoc reads them; title, author, day and tags
come from the properties that their programs keep."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from itertools import chain
from pathlib import PurePath
from typing import Any

from rag.errors import BadFile
from rag.readers import facts
from rag.readers.decode import decode
from rag.readers.limits import Limits
from rag.readers.pandoc import convert
from rag.records import Document, Post

_FORMS = {".docx": "docx", ".odt": "odt", ".epub": "epub", ".ipynb": "ipynb", ".rst": "rst"}
_PROPERTIES = {".docx": "docProps/core.xml", ".odt": "meta.xml"}
_PICTURES = 10  # an office file or a book may be so many times larger than a post: its pictures are
_LARGEST_PROPERTIES = 1_000_000


def read(document: Document, data: bytes, limits: Limits) -> Iterator[Post]:
    """Read a document of one post through pandoc."""
    ending = PurePath(document.name).suffix.lower()
    known: dict[str, Any] = {}
    if ending in (".docx", ".odt", ".epub"):
        known = _packed(data, ending, document.name, limits)
    else:
        data = decode(data, document.name).encode("utf-8")
    found = convert(data, _FORMS[ending], document.name)
    yield Post(
        source=document.source,
        title=found.title or known.get("title") or _heading(found.text),
        text=found.text,
        date=found.date or facts.iso_day(known.get("date")),
        tags=found.tags or known.get("tags") or (),
        author=found.author or known.get("author"),
    )


def _packed(data: bytes, ending: str, name: str, limits: Limits) -> dict[str, Any]:
    """Check what a zipped document expands to, and return its properties."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as parts:
            infos = parts.infolist()
            _check_size(parts, infos, name, limits)
            inner = _PROPERTIES.get(ending) or next((i.filename for i in infos if i.filename.endswith(".opf")), "")
            properties = parts.read(inner) if inner in parts.namelist() else b""
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise BadFile(f"{name}: this document is damaged or encrypted. Save it again without a password.") from error
    return _properties(properties)


def _check_size(parts: zipfile.ZipFile, infos: list[zipfile.ZipInfo], name: str, limits: Limits) -> None:
    """Expand every part, keeping nothing: what the headers say need not be so."""
    left = limits.post_bytes * _PICTURES
    for info in infos[: limits.archive_files]:
        with parts.open(info) as part:
            while block := part.read(1 << 18):
                left -= len(block)
                if left < 0:
                    raise BadFile(
                        f"{name}: this document expands to more than {limits.post_bytes * _PICTURES / 1e6:g} MB. "
                        "Take pictures out of it, or save its text as .txt or .md."
                    )


def _properties(xml: bytes) -> dict[str, Any]:
    """Return title, author, date and tags from an office file's or a book's properties; {} if they cannot be read."""
    # imported here: only these formats need it
    from defusedxml import ElementTree

    if not xml or len(xml) > _LARGEST_PROPERTIES:
        return {}
    found: dict[str, list[str]] = {}
    try:
        for element in ElementTree.fromstring(xml).iter():
            if isinstance(element.tag, str) and element.text and element.text.strip():
                found.setdefault(element.tag.rpartition("}")[2], []).append(element.text)
    except Exception:  # not whole, or with entities: the text is read all the same
        return {}
    keywords = chain.from_iterable(
        facts.tags_of(value) for key in ("keywords", "keyword") for value in found.get(key, ())
    )
    names = found.get("initial-creator") or found.get("creator")
    dates = found.get("created") or found.get("creation-date") or found.get("date") or [""]
    return {
        "title": facts.line(found.get("title", [""])[0]),
        "author": facts.author_of(names),
        "date": dates[0],
        "tags": facts.tags_of(list(keywords)) or facts.tags_of(found.get("subject", [])),
    }


def _heading(text: str) -> str:
    """Return the heading that a text begins with, "" if it begins otherwise."""
    # imported here: it is another module's parser
    from rag.markup import plain

    first = text.partition("\n")[0]
    return plain(first.lstrip("# ")[:300]) if first.startswith("#") else ""
