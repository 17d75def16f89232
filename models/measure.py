"""Measuring an embedder: questions, passages and which of them answer which, at every width that vectors are cut to.

The numbers are those of the library's InformationRetrievalEvaluator, so that they can stand beside anybody's. It would
embed all texts once for each width; here they are embedded once, as the app does it, and cut."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from rag.errors import ModelError
from rag.ports import Embedder, Vectors

METRICS = (
    *(f"accuracy@{k}" for k in (1, 3, 5, 10)),
    *(f"precision@{k}" for k in (1, 3, 5, 10)),
    *(f"recall@{k}" for k in (1, 3, 5, 10)),
    *("ndcg@10", "mrr@10", "map@100"),
)
"""What is measured: the fifteen numbers of the original's card."""

_AT = [1, 3, 5, 10]


class Measurement:
    """An embedder held against judged questions: embedded once, judged at any width."""

    def __init__(
        self,
        embedder: Embedder,
        queries: Mapping[str, str],
        corpus: Mapping[str, str],
        relevant: Mapping[str, AbstractSet[str]],
    ) -> None:
        """Embed the texts. `queries` and `corpus` are texts by id, `relevant` is what answers a question, by its id; a
        question that nothing answers is left out. Raise ModelError if there is none left."""
        self.width = embedder.dimension
        self._queries = {id_: queries[id_] for id_ in queries if relevant.get(id_)}
        if not self._queries or not corpus:
            raise ModelError("There is no question to measure with. Give some, each with a passage that answers it.")
        self._corpus = dict(corpus)
        self._relevant = {id_: set(relevant[id_]) for id_ in self._queries}
        self._asked = embedder.encode_queries(list(self._queries.values()))
        self._texts = embedder.encode_documents(list(self._corpus.values()))
        self._known: dict[int, tuple[dict[str, float], dict[str, float]]] = {}

    def at(self, dim: int) -> dict[str, float]:
        """Return the metrics (0..1), by the names in METRICS, of vectors cut to `dim` numbers. Raise ModelError."""
        return dict(self._judged(dim)[0])

    def ndcg(self, dim: int) -> dict[str, float]:
        """Return NDCG@10 of each question, by its id, of vectors cut to `dim` numbers. Raise ModelError."""
        return dict(self._judged(dim)[1])

    def _judged(self, dim: int) -> tuple[dict[str, float], dict[str, float]]:
        if not 0 < dim <= self.width:
            raise ModelError(f"The vectors have {self.width} numbers. Give a width from 1 to {self.width}.")
        if dim not in self._known:
            self._known[dim] = _evaluate(
                self._queries, self._corpus, self._relevant, self._asked[:, :dim], self._texts[:, :dim]
            )
        return self._known[dim]


def _evaluate(
    queries: dict[str, str],
    corpus: dict[str, str],
    relevant: dict[str, set[str]],
    asked: Vectors,
    texts: Vectors,
) -> tuple[dict[str, float], dict[str, float]]:
    """Let the library's evaluator judge vectors, by cosine; return its metrics, and each question's NDCG@10."""
    # imported here, as in embedder.py: torch takes seconds
    import torch
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator
    from sentence_transformers.util import cos_sim

    each: list[float] = []

    class Evaluator(InformationRetrievalEvaluator):  # type: ignore[misc]  # not typed
        """Takes vectors that are there, and keeps what the mean is made of."""

        def embed_inputs(self, *_: Any, encode_fn_name: str, **__: Any) -> Any:
            return torch.from_numpy(asked if encode_fn_name == "query" else texts)

        def compute_metrics(self, queries_result_list: Any) -> Any:
            for id_, hits in zip(self.queries_ids, queries_result_list, strict=True):
                best = sorted(hits, key=lambda hit: (-hit["score"], hit["corpus_id"]))[: self.ndcg_at_k[0]]
                found = [int(hit["corpus_id"] in self.relevant_docs[id_]) for hit in best]
                ideal = self.compute_dcg_at_k([1] * len(self.relevant_docs[id_]), self.ndcg_at_k[0])
                each.append(float(self.compute_dcg_at_k(found, self.ndcg_at_k[0]) / ideal))
            return super().compute_metrics(queries_result_list)

    evaluator = Evaluator(
        queries,
        corpus,
        relevant,
        corpus_chunk_size=max(1, len(corpus)),  # in one piece: `embed_inputs` is asked once
        accuracy_at_k=_AT,
        precision_recall_at_k=_AT,
        ndcg_at_k=[10],
        mrr_at_k=[10],
        map_at_k=[100],
        score_functions={"cosine": cos_sim},
        write_csv=False,
    )
    scores = evaluator.compute_all_metrics(None)["cosine"]
    metrics = {f"{name[:-1]}{k}": float(value) for name, values in scores.items() for k, value in values.items()}
    return {name: metrics[name] for name in METRICS}, dict(zip(evaluator.queries_ids, each, strict=True))
