"""What re-using read passages costs in right answers: `python -m benchmarks.prefill [--questions N]`.

Questions of xquad_en, five passages found by search, the best one last, as the writer gets them. Each is answered with
everything read anew, and with all but the last read ahead. Right: the gold answer is in the text. The last column is a
paired bootstrap's 95 % of the difference."""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path
from threading import Event
from typing import Any

from benchmarks.answer import opened, prompt_for
from benchmarks.answers import holds
from benchmarks.common import datasets, print_table, say
from rag.evaluate import read_collection
from rag.records import Prompt

TOKENS = 48  # of an answer: the first sentence or two, which is what is shown of it
ANEW, AHEAD = WAYS = ("read anew", "read ahead")
_ROUNDS = 2000


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--questions", type=int, default=300, metavar="N", help="how many (300)")
    chosen = parser.parse_args()
    collection = datasets() / "retrieval" / "xquad_en"
    lines = (collection / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    questions = random.Random(5).sample([json.loads(line) for line in lines], chosen.questions)
    with tempfile.TemporaryDirectory(prefix="footnote-prefill-") as home:
        engine = opened(Path(home), five=True)
        for _ in engine.add_posts(read_collection(collection).posts, dedupe=False):
            pass
        rows = []
        for number, question in enumerate(questions, start=1):
            rows.append(compared(engine._writer, prompt_for(engine, question["text"]), question["answers"]))
            if number % 20 == 0:
                say(f"{number} of {len(questions)}")
        engine.close()
    print_table(("passages", "first token, s", "right", "difference", "95 %"), [_row(rows, way) for way in WAYS])


def compared(writer: Any, prompt: Prompt, gold: list[str]) -> dict[str, tuple[float, bool]]:
    """Return (seconds to the first token, right) by way."""
    writer.warm(prompt, Event())
    found: dict[str, tuple[float, bool]] = {}
    able = writer._prefill.able
    for way in WAYS:
        writer._prefill.able = able and way == AHEAD
        seconds, text = _beginning(writer, prompt)
        found[way] = (seconds, holds(text, gold))
    writer._prefill.able = able
    return found


def _beginning(writer: Any, prompt: Prompt) -> tuple[float, str]:
    started, first, text = time.perf_counter(), 0.0, ""
    with closing(writer.write(prompt, Event())) as pieces:
        for number, piece in enumerate(pieces, start=1):
            first = first or time.perf_counter() - started
            text += piece
            if number == TOKENS:
                break
    return first, text


def _row(rows: list[dict[str, tuple[float, bool]]], way: str) -> list[object]:
    right = [float(row[way][1]) for row in rows]
    differences = [float(row[way][1]) - float(row[ANEW][1]) for row in rows]
    chance = random.Random(1)
    drawn = sorted(statistics.fmean(chance.choices(differences, k=len(rows))) for _ in range(_ROUNDS))
    low, high = drawn[_ROUNDS // 40], drawn[-_ROUNDS // 40 - 1]
    seconds = statistics.median(row[way][0] for row in rows)
    return [way, seconds, statistics.fmean(right), statistics.fmean(differences), f"{low:+.3f} to {high:+.3f}"]


if __name__ == "__main__":
    main()
