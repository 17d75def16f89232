"""PDF: the text of each page in reading order, its lines joined into paragraphs again, without what runs along the
top and bottom of every page."""

from __future__ import annotations

import ctypes
import math
import re
import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import PurePath
from typing import Any

from rag.errors import BadFile
from rag.readers import facts
from rag.readers.decode import tidy
from rag.readers.limits import Limits
from rag.records import Document, Post

_PAGES = 3000  # a full page takes about 2 ms, so that this is a third of the time that a post may take
_PARAGRAPH = 1.45  # a gap of so many usual gaps between lines is one between paragraphs
_HEADING = 1.2  # letters so much larger than the usual ones are a heading
_RUNNING = 0.3  # what stands on so many of the pages runs along them
_EDGE = 2  # lines at the top and the bottom that may do so
_SOFT = "\ufffe\x02\xad"  # how a hyphen that only ends a line is given
_INKED = re.compile(r"[^\s\0](?:[^\r\n]*[^\s\0])?")
_NO_TITLE = re.compile(
    r"untitled|microsoft word|powerpoint|\.(?:docx?|dvi|indd|tex|pdf|qxd|odt|rtf)$|^\W*\d*\W*$", re.I
)
_NO_AUTHOR = re.compile(r"(?:unknown|user|admin|administrator|author|root|anonymous|owner|\W*)", re.I)
_BULLET = re.compile(r"(?:[•◦▪‣·*–-]|\(?\d{1,2}[.)]|\[\d{1,3}\])\s+\S")


@dataclass(frozen=True)
class _Line:
    """A line of a page: its words, where they begin and end, and how tall its letters are (points).

    `end` is lower than `base` where a parted word at its end was put together again.
    """

    text: str
    left: float
    right: float
    base: float
    end: float
    height: float


def read(document: Document, data: bytes, limits: Limits) -> Iterator[Post]:  # noqa: ARG001 - all readers take it
    """Read a PDF. Raise BadFile for one that is encrypted, damaged, too long or made of pictures."""
    pages, known = _pages(data, document.name)
    usual = _usual_height(pages)
    title = facts.line(tidy(known.get("Title", "")))
    if not title or _NO_TITLE.search(title) or title == PurePath(document.name).stem:
        title = _title_on_page(pages, usual)
    text, starts = _joined([_paragraphs(lines, usual) for lines in _without_running(pages)])
    if not any(character.isalnum() for character in text):
        raise BadFile(
            f"{document.name}: this PDF holds pictures only, no text. Run it through a program that recognises text "
            "(OCR), and add the result."
        )
    author = facts.line(tidy(known.get("Author", "")))
    yield Post(
        source=document.source,
        title=title,
        text=text,
        date=facts.iso_day(known.get("CreationDate")),
        tags=facts.tags_of(tidy(known.get("Keywords", ""))),
        author=None if _NO_AUTHOR.fullmatch(author) else author,
        pages=tuple(starts),
    )


def _pages(data: bytes, name: str) -> tuple[list[list[_Line]], dict[str, str]]:
    # imported here: only PDFs need it
    import pypdfium2

    try:
        opened = pypdfium2.PdfDocument(data)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower() or "security" in str(error).lower():
            raise BadFile(f"{name}: this PDF is encrypted. Save it without its password and add that.") from error
        raise BadFile(f"{name}: this PDF is damaged. Open it in a viewer and print it to a new PDF.") from error
    try:
        if len(opened) > _PAGES:
            raise BadFile(
                f"{name}: this PDF has {len(opened):,} pages, more than the {_PAGES:,} that are read. Split it."
            )
        return [_lines(opened, number) for number in range(len(opened))], opened.get_metadata_dict(skip_empty=True)
    finally:
        opened.close()


def _lines(opened: Any, number: int) -> list[_Line]:
    """Return the lines of a page; none if it is damaged."""
    # imported here: only PDFs need it
    import pypdfium2

    try:
        page = opened[number]
        words = page.get_textpage()
    except pypdfium2.PdfiumError:
        return []
    try:
        return list(_split(words, _characters(words)))
    finally:
        words.close()
        page.close()


def _characters(words: Any) -> str:
    """Return a page's characters, one for each that the library counts."""
    # imported here: only PDFs need it
    import pypdfium2.raw as pdfium

    count = max(0, pdfium.FPDFText_CountChars(words.raw))
    buffer = (ctypes.c_ushort * (count + 1))()
    written = pdfium.FPDFText_GetText(words.raw, 0, count, buffer)
    if written == count + 1:
        return "".join(map(chr, buffer[:count]))
    # some characters are left out of the text, and places would not fit
    units = (pdfium.FPDFText_GetUnicode(words.raw, index) for index in range(count))
    return "".join(chr(unit) if unit < 0x110000 else " " for unit in units)


def _split(words: Any, characters: str) -> Iterator[_Line]:
    for match in _INKED.finditer(characters):
        first, last = match.start(), match.end() - 1
        text = match.group().encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")
        left, base = _origin(words, first)
        right, end = words.get_charbox(last)[2], _origin(words, last)[1]
        yield _Line(" ".join(text.split()), left, right, base, end, _size(words, (first + last) // 2))


def _origin(words: Any, index: int) -> tuple[float, float]:
    """Return where a character stands on its line; boxes would tell where its ink is."""
    # imported here: only PDFs need it
    import pypdfium2.raw as pdfium

    x, y = ctypes.c_double(), ctypes.c_double()
    pdfium.FPDFText_GetCharOrigin(words.raw, index, x, y)
    return x.value, y.value


def _size(words: Any, index: int) -> float:
    """Return how tall a character's font is on the page: the file may scale it."""
    # imported here: only PDFs need it
    import pypdfium2.raw as pdfium

    matrix = pdfium.FS_MATRIX()
    scaled = pdfium.FPDFText_GetMatrix(words.raw, index, matrix)
    size = float(pdfium.FPDFText_GetFontSize(words.raw, index))
    return size * math.hypot(matrix.c, matrix.d) if scaled else size


def _usual_height(pages: list[list[_Line]]) -> float:
    """Return how tall the letters of most of the text are."""
    heights: Counter[float] = Counter()
    for lines in pages:
        for line in lines:
            heights[round(line.height * 2) / 2] += len(line.text)
    return heights.most_common(1)[0][0] if heights else 0.0


def _title_on_page(pages: list[list[_Line]], usual: float) -> str:
    """Return the largest lines at the top of the first page, if they are larger than the text."""
    first = next((lines for lines in pages if lines), [])[:15]
    largest = max((line.height for line in first if sum(map(str.isalpha, line.text)) > 2), default=0.0)
    if largest < usual * _HEADING:
        return ""
    chosen = [line.text for line in first if line.height > largest * 0.95][:3]
    title = facts.line(tidy(" ".join(chosen)))
    return title if len(title) <= 200 else ""


def _without_running(pages: list[list[_Line]]) -> list[list[_Line]]:
    """Leave out the lines at the edges that most pages have, but for their numbers."""

    def shape(line: _Line) -> str:
        return re.sub(r"\d+|\b[ivxl]+\b", "#", line.text.lower())

    def edges(lines: list[_Line]) -> set[int]:
        return {*range(min(_EDGE, len(lines))), *range(max(0, len(lines) - _EDGE), len(lines))}

    if len(pages) < 3:
        return pages
    seen = Counter(each for lines in pages for each in {shape(lines[index]) for index in edges(lines)})
    running = {each for each, times in seen.items() if times >= max(3, _RUNNING * len(pages))}
    return [
        [line for index, line in enumerate(lines) if index not in edges(lines) or shape(line) not in running]
        for lines in pages
    ]


def _paragraphs(lines: list[_Line], usual: float) -> list[str]:
    """Join the lines of a page into paragraphs; larger lines become headings."""
    gaps = [fall for a, b in pairwise(lines) if (fall := a.end - b.base) > 1]
    gap = statistics.median_low(gaps) if gaps else 0.0
    paragraphs: list[list[_Line]] = []
    for line in lines:
        if paragraphs and not _begins(paragraphs[-1], line, gap):
            paragraphs[-1].append(line)
        else:
            paragraphs.append([line])
    return [_one(paragraph, usual) for paragraph in paragraphs]


def _begins(paragraph: list[_Line], line: _Line, gap: float) -> bool:
    """Whether a line begins a new paragraph."""
    before = paragraph[-1]
    fall = before.end - line.base
    if abs(fall) < 0.6 * max(before.height, line.height):  # the same line still: a superscript, the cells of a row
        return False
    if fall > _PARAGRAPH * gap > 0 or _BULLET.match(line.text):
        return True
    if max(before.height, line.height) > 1.15 * min(before.height, line.height) + 0.5:
        return True
    if not before.text.endswith((".", "!", "?", ":", "”", '"')):
        return False
    edge = max(line.right, *(each.right for each in paragraph))
    short = before.right < edge - 0.15 * (edge - line.left)
    return short or line.left > before.left + 0.8 * line.height


def _one(paragraph: list[_Line], usual: float) -> str:
    text = ""
    for line in paragraph:
        text = _appended(text, line.text)
    text = tidy(text.translate({ord(mark): None for mark in _SOFT}))
    text = re.sub(r"(?:\. ?){5,}", "… ", text)  # what leads to a page number in a table of contents
    large = min(line.height for line in paragraph) >= usual * _HEADING
    if large and len(text) <= 150 and re.search(r"[^\W\d_]{2}", text) and not text.endswith((".", ",", ";")):
        return f"## {text}"
    return re.sub(r"^[•◦▪‣·]\s+", "- ", text)


def _appended(text: str, words: str) -> str:
    """Add a line to a paragraph; a word that was parted at its end is one again."""
    if not text:
        return words
    if text[-1] in _SOFT:
        return text[:-1] + words
    if _parted(text) and words[:1].islower():
        return text[:-1] + words
    return f"{text} {words}"


def _parted(text: str) -> bool:
    """Whether a text ends with a word's first half and a hyphen."""
    return text.endswith("-") and text[-2:-1].isalpha()


def _joined(pages: list[list[str]]) -> tuple[str, list[int]]:
    """Return the text of all pages, and where each begins in it; a paragraph may run on to the next page."""
    text = ""
    parts: list[str] = []
    starts: list[int] = []
    length = 0

    def add(piece: str) -> None:
        nonlocal length, text
        parts.append(piece)
        length += len(piece)
        text = piece

    for paragraphs in pages:
        begun = False
        for paragraph in paragraphs:
            if not paragraph.strip():
                continue
            runs_on = (
                not begun and parts and paragraph[0].islower() and not text.rstrip().endswith((".", "!", "?", ":"))
            )
            if runs_on and _parted(text):
                parts[-1] = text = text[:-1]
                length -= 1
            elif parts:
                add(" " if runs_on else "\n\n")
            if not begun:
                starts.append(length)
            begun = True
            add(paragraph)
        if not begun:
            starts.append(length)
    return "".join(parts), starts
