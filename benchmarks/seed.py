"""The experiment that Footnote comes from, done right: `python -m benchmarks.seed [--rows a,b,b2,c] [--base MODEL]`.

Two posts in 111 pieces, real questions about each. A fifth of the pieces is put aside: what is asked about them
measures and never trains. Rows: (a) the original's own 152 pairs, the check that refuses them switched off; (b) as
many real questions, the original's recipe; (b2) the same by Footnote's recipe; (c) no questions: pairs that Footnote
makes of the text. Each beside the model before, alone at every width (the original card's fifteen numbers) and in
hybrid search."""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import Any

from benchmarks.common import datasets, fresh_engine, print_table, say
from models import training, tune
from models.measure import METRICS, Measurement
from models.workshop import SentenceTransformerWorkshop
from rag.evaluate import Collection, read_collection
from rag.records import Pair, Passage, Recipe
from rag.tuning import exam
from rag.tuning.pairs import pairs_from_text
from rag.tuning.reading import pairs_from_file
from rag.tuning.roundtrip import by_search
from rag.tuning.run import PAIRS, taken_from
from rag.tuning.sift import Sifted, sift

ORIGINAL = Recipe(epochs=3, batch=10, learning_rate=5e-5)
QUESTIONS = 152
ROWS = {
    "a": "(a) junk pairs, unchecked",
    "b": "(b) real questions, the original's recipe",
    "b2": "(b2) the same, Footnote's recipe",
    "c": "(c) no questions, Footnote's default",
}


@dataclass(frozen=True)
class Experiment:
    """The pieces and questions of one split, and what asks them."""

    engine: Any
    collection: Collection
    split: exam.Split
    asked: exam.Questions
    seed: int

    def measured(self, model: str, base: str, dims: Sequence[int]) -> dict[str, Any]:
        """Return a model's metrics by width, and NDCG@10 of hybrid search with it."""
        embedder = SentenceTransformerWorkshop(base).open(model)
        embedder.load()
        found = Measurement(embedder, self.asked.queries, self.asked.corpus, self.asked.relevant)
        vectors = embedder.encode_documents([passage.embedded_text for passage in self.asked.passages])
        hybrid = exam.hybrid(self.asked, self.engine._library, embedder, vectors)
        return {"dims": {dim: found.at(dim) for dim in dims}, "hybrid": statistics.fmean(hybrid.values())}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", default=",".join(ROWS), help="which, with commas between")
    parser.add_argument("--base", default="", metavar="MODEL", help="what to tune: a folder or a Hub id")
    parser.add_argument("--seed", type=int, default=7, help="what is put aside, and how training is shuffled (7)")
    parser.add_argument("--json", action="store_true", help="print JSON, all fifteen numbers")
    chosen = parser.parse_args()
    workshop = SentenceTransformerWorkshop(chosen.base)
    folder = workshop.folder("")
    with fresh_engine() as engine:
        experiment = opened(engine, chosen.seed)
        dims = workshop.widths(width_of(workshop))
        rows = {"before": experiment.measured("", chosen.base, dims)}
        for row in chosen.rows.split(","):
            rows[row] = tuned(experiment, row, folder, chosen.base, dims)
    if chosen.json:
        print(json.dumps({"questions": len(experiment.asked.queries), "rows": rows}))
        return
    say(f"{len(experiment.asked.queries)} questions about {len(experiment.split.held_out)} pieces put aside")
    print_table(("row", "pairs", "s", "hybrid ndcg@10", *(f"ndcg@10 at {dim}" for dim in dims)), by_width(rows, dims))
    print()
    print_table(("at full width", *(ROWS.get(row, row) for row in rows)), by_metric(rows, dims[0]))


def width_of(workshop: SentenceTransformerWorkshop) -> int:
    """Return how many numbers the vectors of the model to be tuned have."""
    embedder = workshop.open("")
    embedder.load()
    return embedder.dimension


def opened(engine: Any, seed: int) -> Experiment:
    """Put the pieces into an empty library and a fifth of them aside, with the questions about those."""
    collection = read_collection(datasets() / "retrieval" / "seed_posts")
    for _ in engine.add_posts(collection.posts, dedupe=False):
        pass
    sources = {post.id: post.source for post in engine.posts()}
    pieces = sorted(post.source for post in collection.posts)
    aside = set(random.Random(seed).sample(pieces, round(exam.HELD_OUT * len(pieces))))
    passages = engine._library.passages()
    split = exam.Split(
        tuple(passage for passage in passages if sources[passage.post_id] not in aside),
        tuple(passage for passage in passages if sources[passage.post_id] in aside),
    )
    by_source: dict[str, set[str]] = {}
    for passage in passages:
        by_source.setdefault(sources[passage.post_id], set()).add(str(passage.id))
    queries, relevant = {}, {}
    for id_, question in collection.questions.items():
        right = answering(collection, id_)
        if right and right <= aside:  # a piece that overlaps one of the training's would have been seen
            queries[id_], relevant[id_] = question.text, set().union(*(by_source[source] for source in right))
    corpus = {str(passage.id): passage.embedded_text for passage in passages}
    asked = exam.Questions(queries, corpus, relevant, tuple(queries), tuple(passages))
    return Experiment(engine, collection, split, asked, seed)


def answering(collection: Collection, id_: str) -> set[str]:
    """Return the pieces that answer a question."""
    return {source for source, score in collection.judgements.get(id_, {}).items() if score > 0}


def tuned(experiment: Experiment, row: str, base: Path, name: str, dims: Sequence[int]) -> dict[str, Any]:
    """Train one row and measure it."""
    say(f"training: {ROWS[row]}")
    pairs = pairs_of(experiment, row)
    recipe = ORIGINAL if row in ("a", "b") else Recipe(taken=taken_from(pairs))
    recipe = replace(recipe, seed=experiment.seed)
    with tempfile.TemporaryDirectory(prefix="footnote-seed-") as folder:
        began = time.monotonic()
        for step in tune.train(base, pairs, recipe, Path(folder), Event()):
            if step.done % 20 == 0:
                say(f"  step {step.done} of {step.total}, loss {step.loss}")
        seconds = time.monotonic() - began
        found = experiment.measured(str(Path(folder) / training.MODEL), name, dims)
    return {"pairs": len(pairs), "seconds": round(seconds, 1), **found}


def pairs_of(experiment: Experiment, row: str) -> list[Pair]:
    """Return what a row is trained on."""
    library = experiment.engine._library
    if row == "a":
        [file] = (datasets() / "seed" / "junk_pairs").glob("training*")
        return list(pairs_from_file(file, lambda _: None))
    if row == "c":
        search = by_search(experiment.engine.tuning._passages_for)
        return list(told(sift(list(pairs_from_text(experiment.split.training, PAIRS)), library, search)).kept)
    return real(experiment, [passage.post_id for passage in experiment.split.training])


def real(experiment: Experiment, training: Iterable[str]) -> list[Pair]:
    """Return questions about the pieces that were not put aside, each with one of them."""
    sources = {post.source: post.id for post in experiment.engine.posts()}
    first: dict[str, Passage] = {}
    for passage in experiment.split.training:
        first.setdefault(passage.post_id, passage)
    allowed, pairs = set(training), []
    for id_, question in experiment.collection.questions.items():
        right = {sources[source] for source in answering(experiment.collection, id_)}
        if right and right <= allowed:
            post_id = min(right)
            pairs.append(Pair(question.text, first[post_id].embedded_text, "file", post_id))
    return random.Random(experiment.seed).sample(pairs, QUESTIONS)


def told(sifted: Sifted) -> Sifted:
    """Say what was refused."""
    say(f"  {sifted.made} made, {len(sifted.kept)} kept, refused: {dict(sifted.counts)}")
    return sifted


def by_width(rows: Mapping[str, Mapping[str, Any]], dims: Sequence[int]) -> list[list[object]]:
    """Return a line for each row: what search finds with it as a whole, and alone at each width."""
    return [
        [
            ROWS.get(row, row),
            found.get("pairs", ""),
            found.get("seconds", ""),
            found["hybrid"],
            *(found["dims"][dim]["ndcg@10"] for dim in dims),
        ]
        for row, found in rows.items()
    ]


def by_metric(rows: Mapping[str, Mapping[str, Any]], dim: int) -> list[list[object]]:
    """Return a line for each of the original card's numbers."""
    return [[metric, *(found["dims"][dim][metric] for found in rows.values())] for metric in METRICS]


if __name__ == "__main__":
    main()
