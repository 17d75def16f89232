"""How fast an answer comes, and whether it is right: `python -m benchmarks.answer [--questions N] [--rows a,b]`.

Questions of xquad_en over its 240 paragraphs, one writer, the same threads, each row in a process of its own. Five
passages: Footnote cold (nothing read before), Footnote warm (the passages and their sentences read, the question not),
llama-cpp-python's create_chat_completion on the same prompt, without search; LangChain's chain. Beside them the app's
own way of feeding its writer, by default and with the question typed: read ahead without its last word. Times run from
the question; medians. Gold shown: the share of answers that hold the gold answer in what is shown, quotes included."""

from __future__ import annotations

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from app import build_engine
from benchmarks.answer_rivals import rate
from benchmarks.answers import holds
from benchmarks.common import RIVAL_VENV, datasets, print_table, ran, rival_python, say
from benchmarks.rivals import memory_mb
from models.machine import usable_cores
from models.prefill import States
from models.writer import ANSWER, CONTEXT, REPEAT_PENALTY, LlamaWriter
from rag.citations import Verifier
from rag.engine import Engine
from rag.evaluate import read_collection
from rag.prompt import compose
from rag.records import Prompt
from rag.settings import read_settings

PASSAGES = 5
FIVE = ("footnote_cold", "footnote_warm")
OWN = (*FIVE, "footnote_default", "footnote_typed")
RIVALS = ("plain", "langchain")
COLUMNS = ("first_quote_s", "first_token_s", "total_s", "tokens_per_s", "gold_shown", "peak_mb")


class FivePassages(LlamaWriter):
    """The writer, given as many passages as the rivals' are."""

    @property
    def passages(self) -> int:
        """How many passages it is given."""
        return PASSAGES


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--questions", type=int, default=60, metavar="N", help="how many (60)")
    parser.add_argument("--rows", default=",".join((*OWN, *RIVALS)), help="which, with commas between")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rival-venv", type=Path, default=RIVAL_VENV)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        print(json.dumps(measured(chosen.child[0], json.loads(Path(chosen.child[1]).read_text(encoding="utf-8")))))
        return
    rows = chosen.rows.split(",")
    if unknown := set(rows) - {*OWN, *RIVALS}:
        parser.error(f"no such row: {', '.join(sorted(unknown))}. Choose among {', '.join((*OWN, *RIVALS))}.")
    with tempfile.TemporaryDirectory(prefix="footnote-answer-") as folder:
        job = prepared(Path(folder), chosen.questions)
        figures = {row: figures_of(row, job, Path(folder), chosen.rival_venv) for row in rows}
    if chosen.json:
        print(json.dumps({"rows": figures}))
    else:
        print_table(("row", *COLUMNS), [[row, *_cells(values)] for row, values in figures.items()])


def prepared(folder: Path, count: int) -> dict[str, Any]:
    """Fill a library, choose questions that it does not refuse, and write down what every row needs."""
    say("putting the paragraphs into a library")
    collection = datasets() / "retrieval" / "xquad_en"
    lines = (collection / "queries.jsonl").read_text(encoding="utf-8").splitlines()
    order = random.Random(7).sample([json.loads(line) for line in lines], len(lines))
    engine = opened(folder / "home", five=True)
    for _ in engine.add_posts(read_collection(collection).posts, dedupe=False):
        pass
    questions: list[dict[str, Any]] = []
    for question in order:
        if len(questions) == count:
            break
        if engine.search(question["text"]).coverage != "not covered":
            messages = messages_of(prompt_for(engine, question["text"]))
            questions.append({"text": question["text"], "gold": question["answers"], "messages": messages})
    job = {
        "home": str(folder / "home"),
        "folder": str(folder),
        "gguf": str(engine._writer._file),  # type: ignore[attr-defined]
        "embedder": str(engine._indexing.embedder.folder),  # type: ignore[attr-defined]
        "threads": usable_cores(),
        "context": CONTEXT,
        "longest": ANSWER,
        "penalty": REPEAT_PENALTY,
        "passages": PASSAGES,
        "texts": [passage.embedded_text for passage in engine._library.passages()],
        "questions": questions,
    }
    engine.close()
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    return job


def opened(home: Path, *, five: bool) -> Engine:
    """Return an engine with its models loaded; `five`: its writer is given five passages."""
    settings = replace(read_settings({}), home=home, offline=True)
    engine = build_engine(settings)
    if five:
        engine._writer = FivePassages(offline=True, states=States(home / "prefill", disk_bytes=settings.cache_bytes))
    engine.prepare()
    engine.warm_up()
    return engine


def prompt_for(engine: Engine, question: str) -> Prompt:
    """Return the prompt with the passages that the engine finds."""
    found = engine.search(question)
    quotes = Verifier(found.question, found.hits, engine._indexing.embedder).quotes()  # type: ignore[attr-defined]
    return compose(found.question, found.hits, engine._writer, quotes)


def messages_of(prompt: Prompt) -> list[dict[str, str]]:
    """Return a prompt as a chat's messages."""
    texts: dict[str, str] = {}
    for segment in prompt.segments:
        texts[segment.role] = texts.get(segment.role, "") + segment.text
    return [{"role": role, "content": text} for role, text in texts.items()]


def measured(row: str, job: dict[str, Any]) -> dict[str, Any]:
    """Ask Footnote every question; return its answers and the memory that took."""
    engine = opened(Path(job["home"]), five=row in FIVE)
    asked(engine, job["questions"][0]["text"])  # the first answer also loads what the others find there
    answers = []
    for question in job["questions"]:
        if row == "footnote_cold":
            engine.forget_read()
        elif row == "footnote_warm":
            engine._read_ahead([question["text"]], (), threading.Event())
            engine.search(job["questions"][0]["text"] + "?")  # so that the question itself is not the last one read
        elif row == "footnote_typed":
            engine._read_ahead([question["text"].rpartition(" ")[0]], (), threading.Event())
        answers.append(asked(engine, question["text"]))
    engine.close()
    return {"answers": answers, "peak_mb": memory_mb()}


def asked(engine: Engine, question: str) -> dict[str, Any]:
    """Return an answer with its times, as whoever asks sees them."""
    started = time.perf_counter()
    moments: list[float] = []
    for answer in engine.ask(question):
        if answer.timings.answer_tokens > len(moments):
            moments.append(time.perf_counter() - started)
    shown = " ".join([answer.text, *(quote.quote for quote in answer.quotes)])
    return {
        "first_quote_s": answer.timings.first_quote_s,
        "first_token_s": answer.timings.first_token_s,
        "total_s": answer.timings.total_s,
        "tokens_per_s": rate(moments),
        "text": shown,
    }


def figures_of(row: str, job: dict[str, Any], folder: Path, rival: Path) -> dict[str, Any]:
    """Run a row and return its figures, or why it could not run."""
    say(f"asking {len(job['questions'])} questions: {row}")
    file = str(folder / "job.json")
    if row in OWN:
        found = ran([sys.executable, "-m", "benchmarks.answer", "--child", row, file])
    else:
        python = sys.executable if row == "plain" else chain_python(rival)
        if not python:
            return {**dict.fromkeys(COLUMNS), "missing": "llama-cpp-python is not installed beside LangChain"}
        found = ran([python, "-m", "benchmarks.answer_rivals", row, file])
    return summed(found, [question["gold"] for question in job["questions"]])


def chain_python(rival: Path) -> str:
    """Return the Python of LangChain's environment with llama-cpp-python in it, "" if it does not install."""
    python = rival_python(rival)
    for attempt in ([], ["-m", "pip", "install", "-q", "llama-cpp-python"]):
        if attempt:
            subprocess.run([python, *attempt], check=False)
        if subprocess.run([python, "-c", "import llama_cpp"], check=False, capture_output=True).returncode == 0:
            return python
    return ""


def summed(found: dict[str, Any], gold: Sequence[list[str]]) -> dict[str, Any]:
    """Return medians, the share of answers that hold the gold answer, and the memory."""
    answers = found["answers"]
    figures: dict[str, Any] = {}
    for column in COLUMNS[:4]:
        values = [answer[column] for answer in answers if answer.get(column)]
        figures[column] = round(statistics.median(values), 4) if values else None
    right = [holds(answer["text"], accepted) for answer, accepted in zip(answers, gold, strict=True)]
    return {**figures, "gold_shown": round(sum(right) / max(1, len(right)), 4), "peak_mb": found["peak_mb"]}


def _cells(figures: dict[str, Any]) -> list[object]:
    if "missing" in figures:
        return [figures["missing"], *[""] * (len(COLUMNS) - 1)]
    return ["" if figures[column] is None else figures[column] for column in COLUMNS]


if __name__ == "__main__":
    main()
