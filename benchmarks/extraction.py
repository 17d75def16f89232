"""Reading quality, Footnote's HTML reader beside well-kept extractors: `python -m benchmarks.extraction [--limit N]`.

The metric is that of the article extraction benchmark, written anew: overlapping runs of four words of the text that
was read, against those of the text that a person marked; precision and recall are means over pages, F1 is made of the
means. Footnote's Markdown is scored as its words alone. The others run in a virtual environment of their own, made once
in the system's temporary folder."""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from benchmarks.common import datasets, print_table
from rag.readers import html

RIVALS = {
    "trafilatura": "trafilatura",
    "trafilatura, precision": "trafilatura",
    "trafilatura, recall": "trafilatura",
    "readability-lxml": "readability-lxml",
    "newspaper4k": "newspaper4k",
    "resiliparse": "resiliparse",
    "goose3": "goose3",
    "justext": "justext",
    "rs-trafilatura": "rs-trafilatura",
}
"""Row -> the package it needs; one that cannot be installed (no wheel, no compiler) is left out and named."""

COLUMNS = ("reader", "pages", "F1", "precision", "recall", "empty", "ms a page (mean)")
_RESAMPLES = 1000
_NEEDED = (
    "lxml_html_clean",
    "html-text",
)  # readability's text by html-text, as that benchmark does; older pips miss the first

RIVAL_SCRIPT = """
import json, sys, time
row, pages = sys.argv[1], json.load(sys.stdin)
def reader():
    if row.startswith("trafilatura"):
        from trafilatura import extract
        mode = row.partition(", ")[2]
        return lambda page, url: extract(
            page, include_comments=False, favor_precision=mode == "precision", favor_recall=mode == "recall")
    if row == "readability-lxml":
        from html_text import extract_text
        from readability import Document
        return lambda page, url: extract_text(Document(page).summary(html_partial=True))
    if row == "newspaper4k":
        import newspaper
        return lambda page, url: newspaper.article(
            url or "https://example.com/", input_html=page, fetch_images=False).text
    if row == "resiliparse":
        from resiliparse.extract.html2text import extract_plain_text
        return lambda page, url: extract_plain_text(page, main_content=True)
    if row == "goose3":
        from goose3 import Goose
        goose = Goose({"enable_image_fetching": False})
        return lambda page, url: goose.extract(raw_html=page).cleaned_text
    if row == "justext":
        from justext import get_stoplist, justext
        words = get_stoplist("English")
        return lambda page, url: "\\n".join(p.text for p in justext(page, words) if not p.is_boilerplate)
    from rs_trafilatura import extract
    return lambda page, url: extract(page).content_text
read = reader()
texts, seconds = {}, 0.0
for key, page, url in pages:
    start = time.perf_counter()
    try:
        texts[key] = read(page, url) or ""
    except Exception:
        texts[key] = ""
    seconds += time.perf_counter() - start
print("\\n" + json.dumps([texts, seconds]))
"""


def main() -> None:
    """Print one table: Footnote, then the others, best first."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.extraction")
    parser.add_argument("--limit", type=int, help="take the first N pages only")
    parser.add_argument("--alone", action="store_true", help="leave the other extractors out")
    options = parser.parse_args()
    folder = datasets() / "extraction" / "article_extraction_benchmark"
    truth = json.loads((folder / "ground-truth.json").read_text("utf-8"))
    keys = sorted(truth)[: options.limit]
    pages = [(key, _page(folder / "html" / f"{key}.html.gz"), truth[key].get("url") or "") for key in keys]
    expected = {key: truth[key].get("articleBody") or "" for key in keys}

    rows = [_row("Footnote", expected, *_footnote(pages))]
    if not options.alone:
        python = rivals_python()
        for name, package in RIVALS.items():
            if not install(python, package):
                print(f"{name} cannot be installed here and is left out.", file=sys.stderr)
                continue
            rows.append(_row(name, expected, *_rival(python, name, pages)))
    print_table(COLUMNS, [rows[0], *sorted(rows[1:], key=lambda row: str(row[2]), reverse=True)])


def scores(expected: Mapping[str, str], found: Mapping[str, str]) -> tuple[float, float, float]:
    """Return (F1, precision, recall) over all pages."""
    return _means([_matches(expected[key], found.get(key, "")) for key in expected])


def _footnote(pages: Sequence[tuple[str, str, str]]) -> tuple[dict[str, str], float]:
    html.read(pages[0][1], "warm.html", "warm")
    start = time.perf_counter()
    texts = {key: html.read(page, f"{key}.html", key, url or None).text for key, page, url in pages}
    seconds = time.perf_counter() - start
    return {key: _words(text) for key, text in texts.items()}, seconds


def _rival(python: Path, name: str, pages: Sequence[tuple[str, str, str]]) -> tuple[dict[str, str], float]:
    done = subprocess.run(
        [str(python), "-c", RIVAL_SCRIPT, name], input=json.dumps(pages), capture_output=True, text=True, check=True
    )
    texts, seconds = json.loads(done.stdout.splitlines()[-1])
    return texts, seconds


def rivals_python() -> Path:
    """Return the Python of the rivals' own environment, made at the first call."""
    home = Path(tempfile.gettempdir()) / "footnote-rivals"
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        venv.create(home, with_pip=True)
    return python


def install(python: Path, package: str) -> bool:
    """Install a package unless it is there; say whether it is."""
    pip = [str(python), "-m", "pip", "-q", "--disable-pip-version-check"]
    for wanted in (*_NEEDED, package):
        if subprocess.run([*pip, "show", wanted], capture_output=True).returncode == 0:
            continue
        if subprocess.run([*pip, "install", wanted], capture_output=True).returncode != 0:
            return False
    return True


def _row(name: str, expected: Mapping[str, str], found: Mapping[str, str], seconds: float) -> list[object]:
    matches = [_matches(expected[key], found[key]) for key in expected]
    chance = random.Random(0)
    samples = [_means(chance.choices(matches, k=len(matches))) for _ in range(_RESAMPLES)]
    figures = [
        f"{value:.3f} ± {1.96 * statistics.stdev(many):.3f}"
        for value, many in zip(_means(matches), zip(*samples, strict=True), strict=True)
    ]
    empty = sum(not text.strip() for text in found.values())
    return [name, len(matches), *figures, empty, round(1000 * seconds / len(matches))]


def _means(matches: Sequence[tuple[int, int, int]]) -> tuple[float, float, float]:
    precision = statistics.mean([_share(hit, extra) for hit, extra, missed in matches if hit + extra] or [0.0])
    recall = statistics.mean([_share(hit, missed) for hit, extra, missed in matches if hit + missed] or [0.0])
    return (2 * precision * recall / (precision + recall) if precision + recall else 0.0), precision, recall


def _share(part: int, rest: int) -> float:
    return part / (part + rest)


def _matches(expected: str, found: str) -> tuple[int, int, int]:
    """Count the runs of four words that both have, those found only, and those expected only."""
    want, have = _runs(expected), _runs(found)
    hit = (want & have).total()
    return hit, have.total() - hit, want.total() - hit


def _runs(text: str, length: int = 4) -> Counter[tuple[str, ...]]:
    found = re.findall(r"\w+", text)
    return Counter(tuple(found[at : at + length]) for at in range(max(1, len(found) - length + 1)) if found)


def _words(markdown: str) -> str:
    """Return the words of a Markdown text as a reader sees them: no marks, no link targets, no image descriptions."""
    parser = MarkdownIt("commonmark").enable(["table", "strikethrough"])
    return "\n".join(_lines(parser.parse(markdown)))


def _lines(tokens: Sequence[Token]) -> Iterator[str]:
    for token in tokens:
        if token.type == "inline":
            yield "".join(_pieces(token.children or ()))
        elif token.type in ("fence", "code_block"):
            yield token.content


def _pieces(tokens: Sequence[Token]) -> Iterator[str]:
    for token in tokens:
        if token.type in ("text", "code_inline"):
            yield token.content
        elif token.type in ("softbreak", "hardbreak"):
            yield " "


def _page(path: Path) -> str:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return file.read()


if __name__ == "__main__":
    main()
