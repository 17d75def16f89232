"""How fast posts are brought in, beside a plain script and LangChain: `python -m benchmarks.ingest [--help]`.

Every row gets the same passages, those that Footnote makes of the posts; the rows take turns, each time in a process of
its own, and `ratio` is the median over the turns of passages/s by the plain script's of the same turn. Loading models
is left out. Footnote's row does more than the others: it splits the posts, looks for copies and keeps posts, full text
and vectors in SQLite. A second table shows what the embedder's form does to the quality of search.

LangChain runs in an environment of its own, made at first use (about 2 GB), since its packages want older ones."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import models.embedder
from benchmarks.common import RIVAL_VENV, datasets, fresh_engine, print_table, ran, rival_python, say
from benchmarks.rivals import ROWS as RIVALS
from benchmarks.rivals import memory_mb
from models.embedder import SentenceTransformerEmbedder
from models.form import Form
from rag import passages as splitting
from rag.engine import Engine
from rag.evaluate import evaluate
from rag.readers import find_files, read
from rag.records import Document, Post

BLOG = Path("blogs/18f/posts")
SETS = ("scifact", "seed_posts")
ROWS = ("plain", "footnote", "langchain", "langchain-own", "footnote-files")
NAMES = {
    "plain": "plain script, float32",
    "footnote": "Footnote",
    "footnote-files": "Footnote, from the files on",
    "langchain": "LangChain",
    "langchain-own": "LangChain, from the files on, its own passages",
}

Job = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--repeat", type=int, default=3, help="turns (3)")
    parser.add_argument("--limit", type=int, help="about so many passages, for a short run")
    parser.add_argument(
        "--rows", default=",".join(ROWS), help=f"some of {','.join(ROWS)}; none: the second table alone"
    )
    parser.add_argument("--sets", default=",".join(SETS), help="judged sets for the second table")
    parser.add_argument("--rival-venv", type=Path, default=RIVAL_VENV)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        print(json.dumps(_child(*chosen.child)))
        return
    rows, sets = ([name for name in given.split(",") if name] for given in (chosen.rows, chosen.sets))
    if rows:
        _speed(rows, chosen.repeat, chosen.limit, chosen.rival_venv)
    if sets:
        _quality(sets)


def _speed(rows: Sequence[str], repeat: int, limit: int | None, rival: Path) -> None:
    python = dict.fromkeys(ROWS, sys.executable)
    if any(name.startswith("langchain") for name in rows):
        python |= dict.fromkeys(("langchain", "langchain-own"), rival_python(rival))
    with tempfile.TemporaryDirectory(prefix="footnote-benchmark-") as folder:
        path = Path(folder) / "job.json"
        job = _job(limit)
        path.write_text(json.dumps(job), encoding="utf-8")
        turns: dict[str, list[Job]] = {name: [] for name in rows}
        for turn in range(repeat):
            for name in rows:
                rival_script = [str(Path(__file__).with_name("rivals.py")), name]
                script = rival_script if name in RIVALS else ["-m", "benchmarks.ingest", "--child", name]
                turns[name].append(ran([python[name], *script, str(path)]))
                say(f"turn {turn + 1}: {name} {turns[name][-1]}")
    posts = len(job["files"])
    columns = ["way", "passages", "seconds", "passages/s", "ratio", "memory, MB"]
    print_table(columns, [_row(name, turns) for name in rows])
    print(f"\n{posts} posts; medians of {repeat} turns; load of the machine at the end {os.getloadavg()[0]:.1f}.\n")


def _row(name: str, turns: dict[str, list[Job]]) -> list[object]:
    def median(values: Sequence[float]) -> float:
        return round(statistics.median(values), 2)

    rates = {way: [turn["passages"] / turn["seconds"] for turn in ran] for way, ran in turns.items()}
    ratio = median([a / b for a, b in zip(rates[name], rates["plain"], strict=True)]) if "plain" in rates else "-"
    ran = turns[name]
    return [
        NAMES[name],
        ran[0]["passages"],
        f"{median([turn['seconds'] for turn in ran]):.1f}",
        f"{median(rates[name]):.1f}",
        f"{ratio}",
        max(turn["memory_mb"] for turn in ran),
    ]


def _quality(sets: Sequence[str]) -> None:
    rows = []
    for name in sets:
        exact, chosen = (ran([sys.executable, "-m", "benchmarks.ingest", "--child", form, name]) for form in FORMS)
        for mode in ("hybrid", "dense"):
            before, after = exact[mode], chosen[mode]
            rows.append([name, mode, f"{before:.4f}", f"{after:.4f}", f"{after - before:+.4f}", chosen["form"]])
    print_table(["set", "search", "ndcg@10 in float32", "ndcg@10 as it runs", "difference", "form"], rows)


def _child(name: str, given: str) -> Job:
    """Do one row, or one half of a row of the second table, in this process."""
    if name in FORMS:
        return FORMS[name](datasets() / "retrieval" / given)
    job = json.loads(Path(given).read_text(encoding="utf-8"))
    with fresh_engine() as engine:
        passages, seconds = (_footnote if name == "footnote" else _footnote_files)(engine, job)
        kept = engine.count()[1]
    if kept != passages:
        sys.exit(f"Footnote kept {kept} passages and the job has {passages}: the rows would not be comparable.")
    return {"passages": passages, "seconds": seconds, "memory_mb": memory_mb()}


def _footnote(engine: Engine, job: Job) -> tuple[int, float]:
    """Bring in posts that are read already: split, embed, keep, index."""
    posts = [Post(**{**post, "tags": tuple(post["tags"]), "pages": tuple(post["pages"])}) for post in job["posts"]]
    started = time.perf_counter()
    for outcome in engine.add_posts(posts):
        _must_be_well(outcome)
    return len(job["passages"]), time.perf_counter() - started


def _footnote_files(engine: Engine, job: Job) -> tuple[int, float]:
    """Bring in files, as `add` does: read in the reading room, too."""
    started = time.perf_counter()
    for outcome in engine.add(job["files"]):
        _must_be_well(outcome)
    return len(job["passages"]), time.perf_counter() - started


def _must_be_well(outcome: Any) -> None:
    if outcome.state == "failed":
        sys.exit(f"{outcome.source} failed: {outcome.error}")


def _in_float32(folder: Path) -> Job:
    models.embedder.settle = lambda *_: Form()  # the form it has without a trial
    return _as_it_runs(folder)


def _as_it_runs(folder: Path) -> Job:
    found: Job = {}
    with fresh_engine() as engine:
        for mode in ("hybrid", "dense"):  # the second finds its vectors kept
            found[mode] = evaluate(engine, folder, mode)["ndcg@10"]
        found["form"] = next(check.detail for check in engine.checks() if check.name == "embedder").split("runs in ")[
            -1
        ]
    return found


FORMS = {"float32": _in_float32, "as-it-runs": _as_it_runs}


def _job(limit: int | None) -> Job:
    """Read and split posts until there are `limit` passages."""
    embedder = SentenceTransformerEmbedder()
    embedder.load()
    job: Job = {"model": str(embedder.folder), "passages": [], "posts": [], "files": []}
    for path in find_files(datasets() / BLOG):
        document = Document(str(path), path.name, path=str(path))
        posts = [post for post in read(document) if isinstance(post, Post)]
        job["files"].append(str(path))
        job["posts"] += [vars(post) for post in posts]
        for post in posts:
            split = splitting.split(post, embedder.count_tokens, embedder.max_tokens)
            job["passages"] += [passage.embedded_text for passage in split]
        if limit and len(job["passages"]) >= limit:
            break
    return job


if __name__ == "__main__":
    main()
