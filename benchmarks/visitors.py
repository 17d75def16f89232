"""Sixty visitors ask a Space at the same moment: how many are answered, how many wait, how many are turned away.

    python benchmarks/visitors.py --visitors 60

Starts the app as a Space on this machine, with the sample posts, and asks over HTTP as the page's script does."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.visitor import Visitor, text_of  # noqa: E402

QUESTIONS = (
    "How does Footnote find the right passage?",
    "What stays on my machine?",
    "How can I add my own posts?",
    "Which two models does Footnote use?",
    "What happens when a post is removed?",
    "Why does each sentence have a footnote?",
)


@dataclass
class Outcome:
    """What became of one visitor: seconds to the page, to the first quote and to the end."""

    kind: str
    queued: bool = False
    page_s: float = 0.0
    first_s: float = 0.0
    whole_s: float = 0.0
    said: str = ""


def visit(url: str, number: int, begin: threading.Barrier) -> Outcome:
    """Open the page, wait for the others, ask."""
    started = time.perf_counter()
    try:
        visitor = Visitor(url, seconds=1200)
        opened = time.perf_counter()
        begin.wait()
        asked = time.perf_counter()
        first, queued, said = 0.0, False, ""
        event = visitor.join(visitor.on("submit", "click"), None, QUESTIONS[number % len(QUESTIONS)], "", "", "")
        event.raise_for_status()
        for step in visitor.each_step(event.json()["event_id"]):
            text = text_of(step)
            queued |= "before yours" in text
            if not first and re.search("Reading the best passages|Writing…", text):  # the quotes stand above it
                first = time.perf_counter() - asked
            said += text
        whole = time.perf_counter() - asked
        refused = "Ask again in a few minutes" in said
        kind = "refused" if refused else "answered" if "Copy with footnotes" in said else "error"
        return Outcome(kind, queued, opened - started, first, whole, said)
    except Exception as error:
        begin.abort()
        return Outcome("error", said=repr(error))


def spread(values: list[float]) -> str:
    """Return median and 95th percentile, in seconds."""
    if len(values) < 2:
        return "-"
    cuts = quantiles(values, n=20)
    return f"{cuts[9]:.1f} / {cuts[18]:.1f}"


def start(home: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start the app as a Space with the sample posts; return it and its address."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FOOTNOTE_")}
    made = {**kept, "FOOTNOTE_HOME": str(home / "made"), "HF_HUB_OFFLINE": "1"}
    for arguments in (["add", "samples"], ["backup", str(home / "posts.backup"), "--public"]):
        subprocess.run([sys.executable, "app.py", *arguments], cwd=ROOT, env=made, check=True, capture_output=True)
    place = {"FOOTNOTE_HOME": str(home / "space"), "FOOTNOTE_SNAPSHOT": str(home / "posts.backup"), "SYSTEM": "spaces"}
    place |= {"GRADIO_SERVER_NAME": "127.0.0.1", "CPU_CORES": "2", "PYTHONUNBUFFERED": "1"}
    log = (home / "log").open("wb")
    process = subprocess.Popen([sys.executable, "app.py"], cwd=ROOT, env={**made, **place}, stdout=log, stderr=log)
    while process.poll() is None:
        if found := re.search(r"is open at (http://\S+?)/?\s", (home / "log").read_text("utf-8")):
            return process, found[1]
        time.sleep(0.3)
    raise SystemExit((home / "log").read_text("utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visitors", type=int, default=60)
    count = parser.parse_args().visitors
    with tempfile.TemporaryDirectory(prefix="footnote-visitors-") as home:
        process, url = start(Path(home))
        try:
            Visitor(url).ask(QUESTIONS[0])  # the models are loaded now
            begin = threading.Barrier(count)
            outcomes: list[Outcome] = []
            ask = lambda number: outcomes.append(visit(url, number, begin))  # noqa: E731
            threads = [threading.Thread(target=ask, args=(number,)) for number in range(count)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        finally:
            process.terminate()
            process.wait(60)
    print(table(outcomes))
    for outcome in outcomes:
        if outcome.kind == "error":
            print(json.dumps(outcome.said[-300:]), file=sys.stderr)


def table(outcomes: list[Outcome]) -> str:
    """Return what became of all, as a Markdown table."""
    kinds = Counter(outcome.kind for outcome in outcomes)
    answered = [outcome for outcome in outcomes if outcome.kind == "answered"]
    refused = [outcome for outcome in outcomes if outcome.kind == "refused"]
    rows: list[tuple[str, Any]] = [
        ("visitors", len(outcomes)),
        ("answered", kinds["answered"]),
        ("of these queued, and told their place", sum(outcome.queued for outcome in answered)),
        ("refused in a sentence", kinds["refused"]),
        ("errors", kinds["error"]),
        ("page, s (median / 95 %)", spread([outcome.page_s for outcome in outcomes])),
        ("refusal, s", spread([outcome.whole_s for outcome in refused])),
        ("first quote, s", spread([outcome.first_s for outcome in answered])),
        ("whole answer, s", spread([outcome.whole_s for outcome in answered])),
    ]
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])


if __name__ == "__main__":
    main()
