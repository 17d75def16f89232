"""A person's own file of questions and what answers them -> raw pairs: JSON lines, JSON, CSV, the three-part layout.

On its own because a file from elsewhere can be anything: all that it can have wrong ends here, in one sentence."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag.errors import BadFile
from rag.ports import Library
from rag.readers.decode import tidy
from rag.records import Filters, Pair, Passage, folded
from rag.words import words_of

MOST_MB = 64  # a pair has about a kilobyte: sixty thousand of them, days of training on two cores
MOST_PAIRS = 100_000
QUESTION = ("question", "query", "anchor")
PASSAGE = ("passage", "positive", "context", "text", "answer", "pos")
POST = ("post", "post_id", "title", "source")
NEGATIVE = ("negative", "negatives", "neg")
WHAT_IS_NEEDED = (
    "Name them question, query or anchor, and passage, positive, context, text or answer; or post for a whole post"
)
LAYOUT = ("questions", "relevant_contexts", "corpus")

_DELIMITERS = (",", ";", "\t", "|")
_SHOWN = 40  # characters of a value in a message

Resolve = Callable[["RawPair"], "Passage | None"]
"""Gives the passage that answers a question out of the post that is named; None if there is no such post."""


@dataclass(frozen=True)
class RawPair:
    """A question and what a file says answers it: the text of a passage, or the name of a post (id, title, source).

    `line` is where it stands in the file: a line, or the number of the entry.
    """

    question: str
    passage: str = ""
    post: str = ""
    negatives: tuple[str, ...] = ()
    line: int = 0


def read_pairs(path: str | os.PathLike[str]) -> Iterator[RawPair]:
    """Read a file of pairs whole, then yield them in its order. Raise BadFile, before the first, for whatever is wrong.

    Empty questions and passages are not wrong here: why they are no pairs is for the sift to say.
    """
    path = Path(path)
    text = _text(path)
    try:
        pairs = _pairs(text, path.name)
    except RecursionError as error:
        raise BadFile(f"{path.name}: it is nested too deep to be a file of pairs. {_each_line()}") from error
    if not pairs:
        raise BadFile(f"{path.name}: there is no pair in it. {_each_line()}")
    return iter(pairs)


def pairs_from_file(path: str | os.PathLike[str], resolve: Resolve) -> Iterator[Pair]:
    """Yield the pairs of a file; where it names a post alone, `resolve` finds the passage. Raise BadFile.

    What names a post that is gone has no passage, and the sift will say so. Of several passages in one entry the first
    is taken: trained together, two right ones would each be the other's wrong one.
    """
    line = 0
    for raw in read_pairs(path):
        if raw.line == line:
            continue
        line = raw.line
        if raw.passage.strip() or not raw.post:
            yield Pair(raw.question, raw.passage, "file", negatives=raw.negatives)
        elif found := resolve(raw):
            yield Pair(raw.question, found.embedded_text, "file", found.post_id, raw.negatives)
        else:
            yield Pair(raw.question, "", "file", raw.post, raw.negatives)


def in_library(library: Library) -> Resolve:
    """Return what finds the passage of a named post that has most of a question's words, or its only passage."""
    by_name: dict[str, set[str]] = {}
    for post in library.posts():
        for name in (post.id, post.source, post.url or "", folded(post.title)):
            by_name.setdefault(name, set()).add(post.id)

    def resolve(raw: RawPair) -> Passage | None:
        ids = by_name.get(raw.post.strip()) or by_name.get(folded(raw.post)) or set()
        if len(ids) != 1:  # no such post, or several of that title
            return None
        [post_id] = ids
        best = library.lexical(words_of(raw.question), 1, Filters(posts=(post_id,)))
        if best:
            found = library.passages([best[0][0]])
        else:
            kin = library.kin([post_id]).get(post_id)
            found = library.passages(kin.tolist()) if kin is not None and len(kin) == 1 else []
        return found[0] if found else None

    return resolve


def _text(path: Path) -> str:
    """Return a file's text. Raise BadFile."""
    name = path.name
    try:
        if not path.is_file():
            what = "this is a folder" if path.is_dir() else "there is no such file"
            raise BadFile(f"{path}: {what}. Name a file of pairs: JSON lines, JSON or CSV.")
        size = path.stat().st_size
        if size > MOST_MB * 1024 * 1024:
            raise BadFile(
                f"{name}: it has {size // (1024 * 1024):,} MB, and at most {MOST_MB} are read. Give a part of it: "
                "a few thousand pairs are enough."
            )
        data = path.read_bytes()
    except OSError as error:
        raise BadFile(f"{name}: it cannot be read ({error.strerror}). Check that it is yours to read.") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadFile(
            f"{name}: it is not UTF-8 (byte {error.start:,}), so it can be no JSON or CSV. Save it as UTF-8."
        ) from error
    if not text.strip("\0 \t\r\n\ufeff"):
        raise BadFile(f"{name}: it is empty. {_each_line()}")
    if "\0" in text:
        raise BadFile(f"{name}: this is a binary file, not text. {_each_line()}")
    return text


def _pairs(text: str, name: str) -> list[RawPair]:
    begin = text.lstrip()[:1]
    if begin == "{":
        first = next(line for line in text.split("\n") if line.strip())
        if "\n" in text.strip() and isinstance(_parsed_or_none(first), dict):
            return _of_lines(text, name)
        return _of_object(_whole(text, name), name)
    if begin == "[":
        found = _whole(text, name)
        if not isinstance(found, list):
            raise BadFile(f"{name}: it is no list of pairs. {_each_line()}")
        return _of_rows(((number, row) for number, row in enumerate(found, start=1)), name, "entry")
    return _of_csv(text, name)


def _whole(text: str, name: str) -> Any:
    """Parse a file that is one piece of JSON."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        cut = error.pos >= len(text.rstrip()) or "Unterminated" in error.msg
        what = "it is cut short" if cut else "it is not JSON"
        raise BadFile(
            f"{name}: {what} (line {error.lineno:,}: {error.msg}). Write it again, or give one pair a line."
        ) from error
    except ValueError as error:  # a number of thousands of digits
        raise BadFile(f"{name}: it is not JSON that can be read ({error}). {_each_line()}") from error


def _parsed_or_none(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        return None


def _of_lines(text: str, name: str) -> list[RawPair]:
    """Read one object a line. Raise BadFile that names the first bad line and counts them all."""
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    rows = [(number, _parsed_or_none(line)) for number, line in lines]
    bad = [number for number, row in rows if not isinstance(row, dict)]
    if bad:
        last = bad == [lines[-1][0]]
        many = "" if len(bad) == 1 else f", nor are {len(bad) - 1:,} others"
        what = "the file is cut short there" if last else "it begins with lines that are"
        raise BadFile(f"{name}: line {bad[0]:,} is no JSON object{many}; {what}. Correct it and give the file again.")
    return _of_rows(rows, name, "line")


def _of_object(found: Any, name: str) -> list[RawPair]:
    """Read a file that is one JSON object: the three-part layout, or a single pair."""
    if isinstance(found, dict) and "questions" in found and "relevant_contexts" in found:
        return _of_layout(found, name)
    return _of_rows([(1, found)], name, "entry")


def _of_layout(found: Mapping[str, Any], name: str) -> list[RawPair]:
    """Read {"questions": {id: text}, "relevant_contexts": {id: [document ids]}, "corpus": {document id: text}}."""
    parts = [found.get(part) for part in LAYOUT]
    if not all(isinstance(part, dict) for part in parts):
        wrong = next(part for part, value in zip(LAYOUT, parts, strict=True) if not isinstance(value, dict))
        raise BadFile(
            f"{name}: “{wrong}” is missing or is no object of ids and texts. Write all three: {', '.join(LAYOUT)}."
        )
    questions, contexts, corpus = (part if isinstance(part, dict) else {} for part in parts)
    pairs = []
    for number, (id_, question) in enumerate(questions.items(), start=1):
        named = contexts.get(id_, [])
        documents = [named] if isinstance(named, str) else named
        if not isinstance(documents, list) or not all(isinstance(document, str) for document in documents):
            raise BadFile(f"{name}: the contexts of question {_cut(id_)} are no list of ids. Write [“id”, …].")
        for document in documents or [""]:
            text = corpus.get(document, "")
            text = text.get("text") if isinstance(text, dict) else text
            pairs.append(
                RawPair(
                    _string(question, f"{name}: question {_cut(id_)}"),
                    _string(text, f"{name}: document {_cut(document)} of the corpus"),
                    "" if text else document,
                    line=number,
                )
            )
            _not_too_many(pairs, name)
    return pairs


def _of_rows(rows: Iterable[tuple[int, Any]], name: str, unit: str) -> list[RawPair]:
    """Read objects that have the same fields, or some of them."""
    pairs: list[RawPair] = []
    named = False
    for number, row in rows:
        where = f"{name}: {unit} {number:,}"
        if not isinstance(row, dict):
            raise BadFile(f"{where} is no object with fields, but {_kind(row)}. {_each_line()}")
        fields = {str(key).strip().casefold(): value for key, value in row.items()}
        named = named or (_has(fields, QUESTION) and (_has(fields, PASSAGE) or _has(fields, POST)))
        pairs += _of_row(fields, where, number)
        _not_too_many(pairs, name)
    if pairs and not named:
        raise BadFile(f"{name}: it has no fields of a question and of what answers it. {WHAT_IS_NEEDED}.")
    return pairs


def _of_row(fields: Mapping[str, Any], where: str, number: int) -> Iterator[RawPair]:
    question = _string(_first(fields, QUESTION), f"{where}: the question")
    post = _string(_first(fields, POST), f"{where}: the post")
    answers = _first(fields, PASSAGE)
    negatives = _strings(_first(fields, NEGATIVE), f"{where}: the negative")
    for passage in _strings(answers, f"{where}: the passage") or [""]:
        yield RawPair(question, passage, post, tuple(text for text in negatives if text.strip()), number)


def _of_csv(text: str, name: str) -> list[RawPair]:
    """Read a table whose first row names its columns."""
    text = tidy(text.lstrip("\ufeff\r\n"))
    header = text.partition("\n")[0]
    for delimiter in _DELIMITERS:
        names = [column.strip().casefold() for column in next(csv.reader([header], delimiter=delimiter), [])]
        fields = dict.fromkeys(names)
        if _has(fields, QUESTION) and (_has(fields, PASSAGE) or _has(fields, POST)):
            break
    else:
        raise BadFile(
            f"{name}: its first line names no columns of a question and of what answers it. {WHAT_IS_NEEDED}, or "
            "give JSON lines."
        )
    rows = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    pairs: list[RawPair] = []
    begun = 1
    try:
        for row in rows:
            if begun > 1 and any(value.strip() for value in row):
                pairs += _of_row(_named(names, row, f"{name}: line {begun:,}"), f"{name}: line {begun:,}", begun)
                _not_too_many(pairs, name)
            begun = rows.line_num + 1
    except csv.Error as error:
        raise BadFile(
            f"{name}: a quotation mark is not closed, or not doubled, from line {begun:,} on ({error}). Correct it and "
            "give the file again."
        ) from error
    return pairs


def _named(names: Sequence[str], row: Sequence[str], where: str) -> dict[str, str]:
    if len(row) != len(names):
        raise BadFile(
            f"{where} has {len(row):,} fields and the first line {len(names):,}. Put texts that have the delimiter in "
            "quotation marks."
        )
    return dict(zip(names, row, strict=True))


def _has(fields: Mapping[str, Any], names: Sequence[str]) -> bool:
    return any(name in fields for name in names)


def _first(fields: Mapping[str, Any], names: Sequence[str]) -> Any:
    """Return the value of the first of these fields that has one."""
    held = [fields[name] for name in names if name in fields]
    return next((value for value in held if value), held[0] if held else None)


def _strings(value: Any, what: str) -> list[str]:
    return [_string(part, what) for part in value] if isinstance(value, list) else [_string(value, what)]


def _string(value: Any, what: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadFile(f"{what} is {_kind(value)}, not text. Put it in quotation marks, or leave it out.")
    return tidy(value).strip()


def _kind(value: Any) -> str:
    """Return what a value is, in words."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, (int, float)):
        return "a number"
    return {"dict": "an object", "list": "a list", "str": "a text", "NoneType": "nothing"}[type(value).__name__]


def _cut(value: object) -> str:
    return f"“{str(value)[:_SHOWN]}”"


def _not_too_many(pairs: Sequence[RawPair], name: str) -> None:
    if len(pairs) > MOST_PAIRS:
        raise BadFile(f"{name}: it has more than {MOST_PAIRS:,} pairs. Give a part of it: a few thousand are enough.")


def _each_line() -> str:
    return 'Give one pair a line: {"question": "…", "passage": "…"}.'
