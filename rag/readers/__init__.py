"""Documents -> posts: one file a family of formats, one registry. `read` is the only door to it.

A reader gets bytes and knows nothing of disks; nothing that a document holds can make `read` raise."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePath

from rag.errors import BadFile
from rag.readers import archive, documents, exports, feeds, folders, html, markdown, mhtml, pdf, text
from rag.readers.decode import decode, printable, tidy
from rag.readers.facts import author_of, day_from_name, line, title_from_name, web_address
from rag.readers.limits import LISTS, Limits, Reader, too_large
from rag.readers.outline import not_a_post
from rag.records import Document, Post, Refused

__all__ = ["READERS", "Limits", "Reader", "find_files", "formats", "printable", "read", "title_from_name"]


def _written(make: Callable[[str, str, str], Post]) -> Reader:
    """Make a reader of one that takes (text, source, name for lack of a title) and returns its one post."""

    def read_text(document: Document, data: bytes, limits: Limits) -> list[Post]:  # noqa: ARG001 - all readers take it
        return [make(decode(data, document.name), document.source, title_from_name(_full_name(document)))]

    return read_text


def _read_page(document: Document, data: bytes, limits: Limits) -> list[Post]:  # noqa: ARG001 - all readers take it
    content, title = decode(data, document.name), title_from_name(_full_name(document))
    if document.address and (reason := not_a_post(content)):  # a login wall, say; a saved file is what a person chose
        raise BadFile(f"{document.name}: {reason}")
    return [html.read(content, document.source, title, address=document.address)]


def _read_xml(document: Document, data: bytes, limits: Limits) -> Iterable[Post | Refused]:
    if feeds.is_feed(data):
        return feeds.read(document, data, limits)
    if feeds.root(data) == "html":
        return _read_page(document, data, limits)
    if feeds.root(data) in ("urlset", "sitemapindex", "opml"):
        raise BadFile(f"{document.name}: this file lists addresses, not posts. Give the site's address instead.")
    raise BadFile(f"{document.name}: this XML file is neither a feed nor a WordPress export. Export it again.")


def _read_json(document: Document, data: bytes, limits: Limits) -> Iterable[Post | Refused]:
    return feeds.read(document, data, limits) if feeds.is_feed(data) else exports.ghost(document, data, limits)


def _read_archive(document: Document, data: bytes, limits: Limits) -> Iterable[Post | Refused]:
    return archive.read(document, io.BytesIO(data), limits, READERS, _read_member)


READERS: dict[str, Reader] = {
    ".md": _written(markdown.read),
    ".markdown": _written(markdown.read),
    ".mdown": _written(markdown.read),
    ".mkd": _written(markdown.read),
    ".mdx": _written(markdown.read_mdx),
    ".html": _read_page,
    ".htm": _read_page,
    ".xhtml": _read_page,
    ".mhtml": mhtml.read,
    ".mht": mhtml.read,
    ".txt": _written(text.read),
    ".text": _written(text.read),
    ".rst": documents.read,
    ".ipynb": documents.read,
    ".docx": documents.read,
    ".odt": documents.read,
    ".epub": documents.read,
    ".pdf": pdf.read,
    ".xml": _read_xml,
    ".rss": _read_xml,
    ".atom": _read_xml,
    ".rdf": _read_xml,
    ".json": _read_json,
    ".zip": _read_archive,
}
"""Endings -> readers."""


def formats() -> list[str]:
    """List the endings of the files that can be read, with their dots."""
    return sorted(READERS)


def find_files(path: Path) -> list[Path]:
    """List the readable files at `path`: itself, or all in the folder and below that may be posts.

    Hidden and built folders are left out, and what .gitignore files name. Raise BadFile if nothing is there or the
    folder holds no post.
    """
    try:
        if not path.exists():
            raise BadFile(f"{_shown(path)}: there is no such file or folder. Check the spelling and try again.")
        if not path.is_dir():
            return [path]
        files = sorted(folders.walk(path, READERS, _lists_posts))
    except (OSError, ValueError) as error:
        raise BadFile(
            f"{_shown(path)}: this path cannot be opened ({_reason(error)}). Check it and try again."
        ) from error
    if not files:
        raise BadFile(f"{_shown(path)}: this folder holds no posts. Footnote reads {', '.join(formats())} files.")
    return files


def read(document: Document, limits: Limits | None = None) -> Iterator[Post | Refused]:
    """Yield the posts of a document, and a Refused for each part that is none; never raise for what it holds."""
    limits = limits or Limits()
    name = printable(document.name)
    document = replace(document, name=name)
    try:
        yield from _posts(document, limits)
    except BadFile as error:
        yield Refused(document.source, str(error))
    except RecursionError:
        yield Refused(
            document.source, f"{name}: this file is nested too deeply to be read. Save it as plain text and try again."
        )
    except MemoryError:
        yield Refused(document.source, f"{name}: reading this file takes more memory than there is. Split it.")
    except Exception as error:  # a library that stumbles over one file must not take the others with it
        yield Refused(
            document.source,
            f"{name}: this file is damaged in a way that no reader understands ({type(error).__name__}). "
            "Save it again, or save its text as .txt or .md.",
        )


def _posts(document: Document, limits: Limits) -> Iterator[Post | Refused]:
    ending = PurePath(document.name).suffix.lower()
    if ending == ".zip" and document.path:  # read in place: it may be larger than the memory
        size = _size(document)
        if size > limits.archive_bytes:
            raise too_large(document.name, size, limits.archive_bytes, "Unpack it and add the folder.")
        with Path(document.path).open("rb") as file:
            yield from archive.read(document, file, limits, READERS, _read_member)
        return
    data = _content(document, limits)
    sniffed = _sniffed(data) if ending not in READERS or document.address else ""
    if ending not in READERS or sniffed in (".html", ".pdf"):  # sites give pages under any name
        document = replace(document, name=document.name + sniffed) if sniffed in _NAMED else document
        ending = sniffed
    reader = READERS.get(ending)
    if reader is None:
        raise BadFile(
            f"{document.name}: Footnote cannot read this kind of file. It reads {', '.join(formats())} files."
        )
    yield from _read_with(reader, document, data, limits)


def _read_with(reader: Reader, document: Document, data: bytes, limits: Limits) -> Iterator[Post | Refused]:
    if not data.strip():
        raise BadFile(f"{document.name}: this file is empty. Write something into it and add it again.")
    for result in reader(document, data, limits):
        yield _finished(result, document, limits) if isinstance(result, Post) else result


def _read_member(document: Document, data: bytes, limits: Limits) -> Iterator[Post | Refused]:
    """Read one file of an archive; XML and JSON that is no list of posts was never meant to be one."""
    ending = PurePath(document.name).suffix.lower()
    if ending not in (".xml", ".json") or _lists_posts(data):
        yield from read(replace(document, data=data), limits)


def _finished(post: Post, document: Document, limits: Limits) -> Post | Refused:
    """Return a post with its facts in order, or the reason why it is none."""
    if not any(character.isalnum() for character in post.text):
        return Refused(
            post.source,
            f"{document.name}: no text was found in this file. Check that it holds a post, or save its text as .txt or "
            ".md.",
        )
    if len(post.text) > limits.post_bytes:
        return Refused(post.source, str(too_large(document.name, len(post.text), limits.post_bytes)))
    alone = post.source == document.source
    address = document.address if alone and document.address else None
    return replace(
        post,
        title=line(tidy(post.title)) or title_from_name(_full_name(document)),
        date=post.date or (day_from_name(_full_name(document)) if alone else None),
        url=web_address(tidy(post.url)) if post.url else web_address(address),
        tags=tuple(tidy(tag) for tag in post.tags),
        author=author_of(tidy(post.author)) if post.author else None,
    )


def _full_name(document: Document) -> str:
    """Return a document's name with its folder's, which names the post where the file is called index."""
    folder = printable(PurePath(document.path).parent.name) if document.path else ""
    return str(PurePath(folder, document.name)) if folder else document.name


def _content(document: Document, limits: Limits) -> bytes:
    """Return what a document holds. Raise BadFile before reading if that is too much."""
    limit = limits.export_bytes if PurePath(document.name).suffix.lower() in LISTS else limits.post_bytes
    size = _size(document)
    if size > limit:
        raise too_large(document.name, size, limit)
    if not document.path:
        return document.data
    try:
        with Path(document.path).open("rb") as file:
            data = file.read(limit + 1)  # it may grow between the two
    except OSError as error:
        raise _unreadable(document.name, error) from error
    if len(data) > limit:
        raise too_large(document.name, len(data), limit)
    return data


def _size(document: Document) -> int:
    if not document.path:
        return len(document.data)
    try:
        path = Path(document.path)
        if not path.is_file():
            raise BadFile(f"{document.name}: this is not a regular file. Give a file or a folder of posts.")
        return path.stat().st_size
    except (OSError, ValueError) as error:
        raise _unreadable(document.name, error) from error


_NAMED = {".docx", ".odt", ".epub"}  # their reader goes by the ending


def _sniffed(data: bytes) -> str:
    """Return the ending that a file's content speaks for, "" if none: for addresses and files without a known one."""
    head = data[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")
    lower = head.lower()
    if head.startswith(b"PK\3\4"):
        kinds = {b"application/epub+zip": ".epub", b"opendocument.text": ".odt"}
        office = ".docx" if b"word/document.xml" in data and b"[Content_Types].xml" in data else ".zip"
        return next((ending for mark, ending in kinds.items() if mark in head[:200]), office)
    if head.startswith(b"%PDF-"):
        return ".pdf"
    if lower.startswith((b"mime-version:", b"from: <saved by")):
        return ".mhtml"
    if _lists_posts(data[:65_536]):
        return ".json" if head.startswith(b"{") else ".xml"
    page = lower.startswith(b"<") and (b"<!doctype html" in lower or b"<html" in lower)
    return ".html" if page else ""


def _lists_posts(beginning: bytes) -> bool:
    """Whether an XML or JSON file begins like a feed or an export."""
    return feeds.is_feed(beginning) or exports.is_ghost(beginning)


def _shown(path: Path) -> str:
    return printable(str(path))


def _unreadable(name: str, error: Exception) -> BadFile:
    return BadFile(f"{name}: this file cannot be read ({_reason(error)}). Check its permissions and try again.")


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "not a valid path"
