"""How search grows, beside others on the same vectors: `python -m benchmarks.search --scale 100000 [--help]`.

The posts are the real blogs, again and again with words of theirs exchanged, embedded by the default embedder; their
vectors and libraries stay in a cache folder (100,000 passages: 1.5 GB, and half an hour of two cores at first). The
questions are those of judged sets, embedded beforehand: what is measured is the search. Each row runs in a process of
its own; "start" is from its start to the first search done, without loading the embedder; "memory" the most it held.

Recall is against exact search: the share of the ten found that are as near as the ten nearest."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app import build_engine
from benchmarks.common import datasets, print_table, ran, rival_python, say
from benchmarks.many import first, vectors_of
from benchmarks.rivals import memory_mb
from benchmarks.scale_rivals import FOUND, WARM, Searches, timed
from models.embedder import SentenceTransformerEmbedder
from rag import passages as splitting
from rag.engine import Engine
from rag.finding.query import parse
from rag.ports import Embedder, Vectors
from rag.records import NO_FILTERS, Filters, folded, id_of
from rag.search import CANDIDATES, clean_question
from rag.settings import read_settings
from rag.words import words_of
from store.library import SqliteLibrary

SIZES = (1_000, 5_000, 20_000, 100_000)
SETS = ("blog_summary_18f", "seed_posts", "xquad_en", "zoomcamp_faq", "clapnq_half", "mtrag_half")
ASKED = 50  # questions of each set
TAGS = 20  # the commonest tags take turns
YEARS = range(2014, 2025)
CACHE = Path(tempfile.gettempdir()) / "footnote-scale"
NAMES = {
    "dense": "vectors",
    "tag": "vectors, with a tag",
    "days": "vectors, with a range of days",
    "lexical": "words",
    "whole": "whole search",
    "whole tag": "whole search, with a tag",
    "whole days": "whole search, with a range of days",
}
GROWTH = ("dense", "lexical", "whole", "whole tag", "whole days")

Row = dict[str, Any]


def run(size: int, cache: Path, rival: Path) -> None:
    """Print how Footnote's search grows up to `size` passages, then others at that size."""
    embedder = SentenceTransformerEmbedder()
    embedder.load()
    cache /= id_of(f"{splitting.SPLITTER} {embedder.fingerprint}")
    questions = _questions()
    asked = embedder.encode_queries(questions)
    growth = []
    for passages in [*(smaller for smaller in SIZES if smaller < size), size]:
        home = cache / f"home-{passages}"
        if not home.exists():
            say(f"making a library of {passages} passages")
            _fill(home, passages, embedder, cache)
        exact = _write_job(home, questions, asked)
        footnote = _ran([sys.executable, "-m", "benchmarks.scale"], home)
        growth.append([passages, exact.posts, *_growth(footnote, exact)])
    legs = [NAMES[leg] for leg in GROWTH]
    print_table(["passages", "posts", "index s", "start s", "memory MB", "recall@10", *legs], growth)
    print(f"\nms, 50th / 95th percentile of {len(questions) - WARM} questions.\n", flush=True)
    rows = _rows("Footnote", footnote, exact)
    for name, way, python in (
        ("numpy, exact", "numpy", sys.executable),
        ("Chroma as it comes", "chroma", sys.executable),
        ("LangChain", "langchain", rival_python(rival)),
    ):
        rows += _rows(name, _ran([python, "-m", "benchmarks.scale_rivals", way], home), exact)
    print_table(["way", "search", "p50 ms", "p95 ms", "recall@10", "build s", "start s", "memory MB"], rows)
    print(f"\n{size} passages; load of the machine at the end {os.getloadavg()[0]:.1f}.")


@dataclass(frozen=True)
class Exact:
    """What exact search knows: the cosine of each passage for each question, and which passages a filter lets through.

    `through` holds a mask for each question, under the name of the search that has the filter.
    """

    posts: int
    cosines: Vectors
    through: dict[str, list[NDArray[np.bool_]]]

    def recall(self, search: str, found: Sequence[Sequence[int]]) -> float:
        """Return the mean share of the ten found that are as near as the ten nearest."""
        return float(np.mean([self._share(search, number, places[:FOUND]) for number, places in enumerate(found)]))

    def _share(self, search: str, number: int, places: Sequence[int]) -> float:
        cosines = self.cosines[:, number]
        if search in self.through:
            cosines = np.where(self.through[search][number], cosines, -np.inf)
        nearest = np.sort(cosines)[-FOUND:]
        nearest = nearest[np.isfinite(nearest)]
        # by cosine, not by place: of two passages with the same words either will do
        return float((cosines[list(places)] >= nearest[0] - 1e-5).sum() / len(nearest)) if len(nearest) else 1.0


def _write_job(home: Path, questions: Sequence[str], asked: Vectors) -> Exact:
    """Write what all ways search into the folder `home`/job; return what they should find."""
    library = SqliteLibrary(home / "library.sqlite3")
    passages, posts = library.passages(), {post.id: post for post in library.posts()}
    known = library.vectors([passage.hash for passage in passages], library.splitter().split("for=")[1])
    library.close()
    vectors = np.stack([known[passage.hash] for passage in passages])
    owners = [posts[passage.post_id] for passage in passages]
    tagged = [{folded(tag) for tag in post.tags} for post in owners]
    days = np.array([int((post.date or "0")[:10].replace("-", "")) for post in owners])
    common = [tag for tag, _ in Counter(tag for tags in tagged for tag in tags).most_common(TAGS)]
    tags = list(islice(cycle(common), len(questions)))
    years = list(islice(cycle(YEARS), len(questions)))
    having = {tag: np.array([tag in tags for tags in tagged]) for tag in common}
    within = {year: (days > year * 10_000) & (days < (year + 1) * 10_000) for year in YEARS}
    job = home / "job"
    shutil.rmtree(job, ignore_errors=True)
    job.mkdir()
    np.save(job / "vectors.npy", vectors)
    np.save(job / "questions.npy", asked)
    where = {
        "tag": [{f"tag {tag}": True} for tag in tags],
        "days": [{"$and": [{"day": {"$gt": year * 10_000}}, {"day": {"$lt": (year + 1) * 10_000}}]} for year in years],
    }
    for name, written in (
        ("texts", [passage.embedded_text for passage in passages]),
        (
            "metadata",
            [
                {"day": day, **dict.fromkeys((f"tag {tag}" for tag in having), True)}
                for day, having in zip(days.tolist(), tagged, strict=True)
            ],
        ),
        ("job", {"questions": questions, "where": where, "tags": tags, "years": years}),
    ):
        (job / f"{name}.json").write_text(json.dumps(written), encoding="utf-8")
    through = {"tag": [having[tag] for tag in tags], "days": [within[year] for year in years]}
    return Exact(len(posts), vectors @ asked.T, through)


def _fill(home: Path, size: int, embedder: Embedder, cache: Path) -> None:
    """Make a library of `size` passages."""
    posts = list(first(size, embedder))
    vectors = vectors_of([passage for _, passages in posts for passage in passages], embedder, cache)
    making = home.with_suffix(".making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    engine = _engine(making)
    engine.prepare()
    done = 0
    with engine._library.transaction():  # type: ignore[attr-defined]
        for post, passages in posts:
            engine._library.put(post, passages, vectors[done : done + len(passages)], embedder.fingerprint)
            done += len(passages)
    engine.close()
    making.rename(home)


def _questions() -> list[str]:
    """Return questions of the judged sets, those without a filter in them."""
    asked = []
    for name in SETS:
        lines = (datasets() / "retrieval" / name / "queries.jsonl").read_text(encoding="utf-8").splitlines()
        typed = [clean_question(json.loads(line)["text"]) for line in lines]
        plain = [question for question in typed if parse(question).filters == NO_FILTERS]
        asked += random.Random(name).sample(plain, ASKED)
    random.Random(ASKED).shuffle(asked)
    return asked


def _ran(command: Sequence[str], home: Path) -> Row:
    """Let a way build what it searches, then search it, each in a process of its own."""
    built = ran([*command, "build", str(home / "job")])
    return built | ran([*command, "search", str(home / "job"), str(time.time())])


def _growth(footnote: Row, exact: Exact) -> list[object]:
    searches = footnote["searches"]
    return [
        f"{footnote['build_s']:.1f}",
        f"{footnote['start_s']:.2f}",
        footnote["memory_mb"],
        f"{exact.recall('dense', searches['dense']['ids']):.4f}",
        *(" / ".join(f"{np.percentile(searches[leg]['ms'], share):.1f}" for share in (50, 95)) for leg in GROWTH),
    ]


def _rows(way: str, found: Row, exact: Exact) -> list[list[object]]:
    rows: list[list[object]] = []
    for name, search in found["searches"].items():
        times = [f"{np.percentile(search['ms'], share):.1f}" for share in (50, 95)]
        recall = f"{exact.recall(name, search['ids']):.4f}" if name in ("dense", "tag", "days") else "-"
        whole = [f"{found['build_s']:.1f}", f"{found['start_s']:.2f}", found["memory_mb"]]
        rows.append([way, NAMES[name], *times, recall, *(["", "", ""] if rows else whole)])
    return rows


def _engine(home: Path) -> Engine:
    return build_engine(replace(read_settings(os.environ), home=home))


def _build(job: Path) -> Row:
    """Build Footnote's index from the vectors that the library has."""
    shutil.rmtree(job.parent / "index", ignore_errors=True)
    engine = _engine(job.parent)
    engine._indexing.embedder.load()
    started = time.perf_counter()
    engine.prepare()
    seconds = time.perf_counter() - started
    engine.close()
    return {"build_s": seconds}


def _search(job: Path, started: float) -> Row:
    """Start as the app does and search."""
    engine = _engine(job.parent)
    loading = time.time()
    engine._indexing.embedder.load()
    loading = time.time() - loading
    engine.prepare()
    engine.search("How was the first loaf?")
    start_s = time.time() - started - loading
    asked = json.loads((job / "job.json").read_text(encoding="utf-8"))
    questions, vectors = asked["questions"], np.load(job / "questions.npy")
    _know(dict(zip(questions, vectors, strict=True)))
    found: Row = {}
    for name, search in _searches(engine, questions, vectors, asked["tags"], asked["years"]).items():
        engine._library._forget()  # no row finds the words of another remembered
        found |= timed({name: search}, len(questions))
    ids = np.array(sorted(engine._library.passage_ids()))
    for search in found.values():
        search["ids"] = [np.searchsorted(ids, row).tolist() for row in search["ids"]]
    engine.close()
    return {"start_s": start_s, "memory_mb": memory_mb(), "searches": found}


def _know(vectors: Mapping[str, Vectors]) -> None:
    """Let the embedder look these questions up."""
    embed = SentenceTransformerEmbedder.encode_queries

    def known(self: SentenceTransformerEmbedder, texts: Sequence[str]) -> Vectors:
        there = [vectors[text] for text in texts if text in vectors]
        return np.stack(there) if len(there) == len(texts) else embed(self, texts)

    SentenceTransformerEmbedder.encode_queries = known  # type: ignore[method-assign]


def _searches(
    engine: Engine, questions: Sequence[str], vectors: Vectors, tags: Sequence[str], years: Sequence[int]
) -> Searches:
    library, index = engine._library, engine._index

    def near(number: int, filters: Filters = NO_FILTERS) -> list[int]:
        among = library.within(filters) if filters != NO_FILTERS else None
        return [id_ for id_, _ in index.nearest(vectors[number], CANDIDATES, among)][:FOUND]

    def whole(number: int, typed: str = "") -> list[int]:
        return [hit.passage.id for hit in engine.search(questions[number] + typed, limit=FOUND).hits]

    return {
        "dense": near,
        "tag": lambda number: near(number, Filters(tags=(tags[number],))),
        "days": lambda number: near(number, Filters(after=f"{years[number]}-01-01", before=f"{years[number]}-12-31")),
        "lexical": lambda number: [id_ for id_, _ in library.lexical(words_of(questions[number]), CANDIDATES)][:FOUND],
        "whole": whole,
        "whole tag": lambda number: whole(number, f' tag:"{tags[number]}"'),
        "whole days": lambda number: whole(number, f" after:{years[number]}-01-01 before:{years[number]}-12-31"),
    }


def main() -> None:
    step, job = sys.argv[1], Path(sys.argv[2])
    print(json.dumps(_build(job) if step == "build" else _search(job, float(sys.argv[3]))))


if __name__ == "__main__":
    main()
