"""Answers to questions with a known answer: `python -m benchmarks.answers [N]` over N questions of xquad_en.

right: the answer's text holds the gold answer. proven: share of its sentences with a footnote. right if proven: of the
answers whose every sentence has a footnote, how many hold the gold answer. quotes right: the quotes hold it;
shown right: they or the text do. Memory: the most that the whole process has held, after the first hundred answers and
after all."""

from __future__ import annotations

import json
import random
import re
import statistics
import sys

from benchmarks.common import datasets, fresh_engine, print_table
from benchmarks.rivals import memory_mb
from rag.evaluate import read_collection
from rag.records import Answer

Judged = tuple[list[str], Answer]


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    folder = datasets() / "retrieval" / "xquad_en"
    lines = (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    questions = random.Random(7).sample([json.loads(line) for line in lines], count)
    with fresh_engine() as engine:
        for _ in engine.add_posts(read_collection(folder).posts, dedupe=False):
            pass
        engine.warm_up()
        judged: list[Judged] = []
        resident = []
        for question in questions:
            judged.append((question["answers"], list(engine.ask(question["text"]))[-1]))
            resident.append(memory_mb())
    memory = [(f"memory after {at}, MB", resident[at - 1]) for at in sorted({min(100, count), count})]
    print_table(["what", "value"], [*_figures(judged), *memory])


def _figures(judged: list[Judged]) -> list[tuple[str, object]]:
    written = [(gold, answer) for gold, answer in judged if not answer.refused]
    sentences = [sentence for _, answer in written for sentence in answer.sentences]
    proven = [(gold, a) for gold, a in written if a.sentences and all(s.citation for s in a.sentences)]
    return [
        ("questions", len(judged)),
        ("refused", len(judged) - len(written)),
        ("right", _share([holds(answer.text, gold) for gold, answer in judged])),
        ("sentences proven", _share([sentence.citation is not None for sentence in sentences])),
        (
            "answers proven whole",
            _share([bool(a.sentences) and all(s.citation for s in a.sentences) for _, a in written]),
        ),
        ("right if proven whole", _share([holds(answer.text, gold) for gold, answer in proven])),
        ("first quote right", _share([holds(" ".join(q.quote for q in a.quotes[:1]), gold) for gold, a in judged])),
        ("quotes right", _share([holds(" ".join(q.quote for q in a.quotes), gold) for gold, a in judged])),
        ("shown right", _share([holds(" ".join([a.text, *(q.quote for q in a.quotes)]), gold) for gold, a in judged])),
        ("first quote, s (median)", statistics.median(a.timings.first_quote_s for _, a in written)),
        ("first token, s (median)", statistics.median(a.timings.first_token_s for _, a in written)),
        ("total, s (median)", statistics.median(a.timings.total_s for _, a in written)),
    ]


def holds(text: str, gold: list[str]) -> bool:
    """Say whether a text holds one of the accepted answers, case and punctuation aside."""
    return any(f" {_plain(answer)} " in f" {_plain(text)} " for answer in gold)


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^\w\s]", " ", text.lower()).split())


def _share(values: list[bool]) -> float:
    return sum(values) / max(1, len(values))


if __name__ == "__main__":
    main()
