"""Search, beside what a plain script does: `python -m benchmarks.search [set...]`.

Three tables: how well passages are found (NDCG@10), how well questions that nothing answers are told from those that
something does, and what the turns before a question are worth. With `--scale 100000` it is speed that is measured,
among so many passages and beside others: see scale.py."""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import Any, get_args

from benchmarks import plain, scale
from benchmarks.common import RIVAL_VENV, datasets, fresh_engine, print_table
from models.embedder import SentenceTransformerEmbedder
from rag.evaluate import evaluate, measure, read_collection
from rag.records import SearchMode, Turn

SETS = ("seed_posts", "xquad_en", "cranfield", "zoomcamp_faq", "scifact", "blog_summary_18f", "mtrag_half")
WRONG = (("xquad_en", "blog_summary_18f"), ("blog_summary_18f", "xquad_en"), ("xquad_en", "clapnq_half"))
LABELLED = ("clapnq_half", "mtrag_half")
CHANGED = ("seed_posts", "xquad_en", "zoomcamp_faq")
LIMIT = 400


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("sets", nargs="*", default=SETS, help=f"judged sets ({' '.join(SETS)})")
    parser.add_argument("--limit", type=int, default=LIMIT, help=f"questions of each ({LIMIT})")
    parser.add_argument("--only", choices=("found", "refused", "turns"), help="one of the tables")
    parser.add_argument("--scale", type=int, metavar="PASSAGES", help="measure speed among so many passages instead")
    parser.add_argument("--cache", type=Path, default=scale.CACHE, help="where their vectors are kept")
    parser.add_argument("--rival-venv", type=Path, default=RIVAL_VENV, help="LangChain's environment")
    chosen = parser.parse_args()
    if chosen.scale:
        scale.run(chosen.scale, chosen.cache, chosen.rival_venv)
        return
    if chosen.only in (None, "found"):
        found(chosen.sets, chosen.limit)
    if chosen.only in (None, "refused"):
        refused(chosen.limit)
    if chosen.only in (None, "turns"):
        turns(chosen.limit)


def found(names: list[str], limit: int) -> None:
    """Print NDCG@10 of a plain script and of Footnote."""
    embedder = SentenceTransformerEmbedder()
    rows = []
    for name in names:
        collection = read_collection(datasets() / "retrieval" / name)
        others = plain.ndcg(collection, collection.asked(limit), embedder)
        row: list[Any] = [name, *(others[column] for column in plain.COLUMNS)]
        with fresh_engine() as engine:
            for mode in get_args(SearchMode)[::-1]:  # the second and third find their vectors kept
                result = evaluate(engine, datasets() / "retrieval" / name, mode, limit)
                row.append(result["ndcg@10"])
        rows.append([*row, result["accuracy@1"], result["accuracy@10"], result["search_ms_p50"]])
    print_table(["set", *plain.COLUMNS, "Footnote: words", "meaning", "both", "accuracy@1", "accuracy@10", "ms"], rows)


def refused(limit: int) -> None:
    """Print how well questions are told apart that the posts answer and that they do not."""
    rows = []
    for name, outside in WRONG:
        rows.append([f"{outside} put to {name}", *_told_apart("wrong_collection", name, limit, outside)])
    rows += [[name, *_told_apart("refusal", name, limit)] for name in LABELLED]
    print_table(["questions", "AUROC", "answerable refused", "others refused"], rows)


def _told_apart(kind: str, name: str, limit: int, outside: str = "") -> list[float]:
    sets = datasets() / "retrieval"
    with fresh_engine() as engine:
        other = sets / outside if outside else None
        result = evaluate(engine, sets / name, limit=limit, history=True, outside=other)
    return [result[f"{kind}_{figure}"] for figure in ("auroc", "refused_answerable", "refused_others")]


def turns(limit: int) -> None:
    """Print NDCG@10 of conversations with and without the turns before, and of questions after another subject."""
    rows = []
    with fresh_engine() as engine:
        folder = datasets() / "retrieval" / "mtrag_half"
        results = [evaluate(engine, folder, limit=limit, history=history)["ndcg@10"] for history in (False, True)]
    rows.append(["mtrag_half", *results])
    for name in CHANGED:
        rows.append([f"{name}, after a turn about something else", *_after_another_subject(name, limit)])
    print_table(["questions", "alone", "with the turns before"], rows)


def _after_another_subject(name: str, limit: int) -> list[float]:
    folder = datasets() / "retrieval" / name
    collection = read_collection(folder)
    questions = collection.asked(limit)
    texts = {post.source: post.text for post in collection.posts}
    ids = list(questions)
    judged = {id_: collection.judgements[id_] for id_ in ids}
    with fresh_engine() as engine:
        evaluate(engine, folder, limit=1)
        sources = {stored.id: stored.source for stored in engine.posts()}
        runs: list[dict[str, dict[str, float]]] = [{}, {}]
        chance = random.Random(0)
        for id_ in ids:
            other = chance.choice([other for other in ids if not judged[other].keys() & judged[id_].keys()])
            answer = " ".join(texts[next(iter(judged[other]))].split()[:60])
            for run, before in zip(runs, ((), (Turn(questions[other].text, answer),)), strict=True):
                hits = engine.search(questions[id_].text, limit=50, turns=before).hits
                run[id_] = {}
                for hit in hits:
                    run[id_].setdefault(sources[hit.passage.post_id], hit.score)
    return [measure(judged, run)["ndcg@10"] for run in runs]


if __name__ == "__main__":
    main()
