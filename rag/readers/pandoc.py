"""Pandoc as a reader: a program of its own, which turns a dozen formats into Markdown, without disk and network.

`pandoc.lua` beside this file says what is kept. One call takes about 10 ms; 1 MB of HTML takes 2 s."""

from __future__ import annotations

import json
import re
import subprocess
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from rag.errors import BadFile
from rag.readers.decode import tidy
from rag.readers.dialects import outside_code
from rag.readers.facts import author_of, iso_day, line, tags_of

SECONDS = 15  # less than a post may take in all, so that the sentence here is the one that is read
MEMORY = "512M"
_FILTER = Path(__file__).with_name("pandoc.lua")
_TO = "gfm-raw_html-tex_math_dollars-tex_math_gfm"
_FACTS = re.compile(r"\A`{3,} ?facts\n(.*)\n`{3,}\n*")
_ESCAPED = re.compile(r"\\([\[$~'\"]|\](?![(\[:])|<(?=[\s\d=])|(?<=\S \\)[>*_](?=\s))")
_COLOURS = re.compile(r"\x1b\[[0-9;]{0,20}[A-Za-z]")


@dataclass(frozen=True)
class Converted:
    """A document as Markdown, and what it says about itself: "" and () where it says nothing."""

    text: str
    title: str = ""
    author: str | None = None
    date: str | None = None
    tags: tuple[str, ...] = ()


def convert(data: bytes, form: str, name: str) -> Converted:
    """Convert a document of pandoc's input format `form`. Raise BadFile if pandoc cannot read it."""
    # imported here: most posts do without it
    import pypandoc

    command = [pypandoc.get_pandoc_path(), "--sandbox", "--quiet", "-s", "-f", form, "-t", _TO, "--wrap=none"]
    command += [f"--lua-filter={_FILTER}", "+RTS", f"-M{MEMORY}", "-RTS"]
    try:
        ran = subprocess.run(command, input=data, capture_output=True, timeout=SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise BadFile(
            f"{name}: this document took longer than {SECONDS} s to read. Split it, or save it as plain text."
        ) from error
    except OSError as error:
        raise BadFile(
            f"{name}: pandoc, which reads this format, cannot be started ({error.strerror}). Run install.py again."
        ) from error
    if ran.returncode:
        raise BadFile(
            f"{name}: this document cannot be read; it is damaged or too large. Open it in the program that made it "
            "and save it again."
        )
    return _converted(ran.stdout.decode("utf-8", "replace"))


def fragment_to_markdown(html: str, base_url: str = "") -> str:
    """Turn the HTML of a post into Markdown: scripts and styles gone, images as their alt text, links kept.

    Links are made whole by `base_url` where it is given. Raise BadFile if the HTML is more than pandoc can take.
    """
    base = f'<head><base href="{escape(base_url)}"></head>' if base_url else ""
    return convert((base + html).encode("utf-8", "replace"), "html-native_divs-native_spans", base_url or "HTML").text


def _converted(output: str) -> Converted:
    known: dict[str, Any] = {}
    if match := _FACTS.match(output):
        known, output = json.loads(match.group(1)), output[match.end() :]
    # pandoc escapes more than Markdown asks for, and each backslash would be read by the embedder
    text = outside_code(tidy(_COLOURS.sub("", output)), lambda prose: _ESCAPED.sub(r"\1", prose))
    return Converted(
        text=text.strip("\n").rstrip(),
        title=line(known.get("title")),
        author=author_of(known.get("author")),
        date=iso_day(known.get("date")),
        tags=tags_of(list(known.get("tags") or [])),
    )
