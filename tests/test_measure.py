"""Measuring: the numbers are the library's own, though each text is embedded only once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.embedder import SentenceTransformerEmbedder
from models.measure import METRICS, Measurement
from rag.errors import ModelError
from tests.fakes import FakeEmbedder
from tests.test_tune import made_model, made_pairs

pytestmark = pytest.mark.slow

PAIRS = made_pairs(40)
PASSAGES = list(dict.fromkeys(pair.passage for pair in PAIRS))
CORPUS = {f"p{at}": text for at, text in enumerate([*PASSAGES, *(text[::-1] for text in PASSAGES), PASSAGES[3]])}
QUERIES = {f"q{at}": pair.question for at, pair in enumerate(PAIRS)} | {"nothing": "how is the moon ?"}
RELEVANT = {
    f"q{at}": {f"p{PASSAGES.index(pair.passage)}", *((f"p{at % 16}",) if at % 4 == 0 else ())}
    for at, pair in enumerate(PAIRS)
}


def tuned(folder: Path) -> SentenceTransformerEmbedder:
    return SentenceTransformerEmbedder(str(folder), offline=True)


@pytest.mark.parametrize("dim", [16, 5])
def test_the_numbers_are_those_of_the_library(tmp_path: Path, dim: int) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.evaluation import InformationRetrievalEvaluator

    folder = made_model(tmp_path, prompts={"query": "query : ", "document": ""})
    ours = Measurement(tuned(folder), QUERIES, CORPUS, RELEVANT).at(dim)
    model = SentenceTransformer(str(folder), device="cpu")
    stock = InformationRetrievalEvaluator(QUERIES, CORPUS, RELEVANT, truncate_dim=dim, write_csv=False)
    theirs = {name.removeprefix("cosine_"): value for name, value in stock(model).items()}
    assert set(ours) == set(METRICS) == set(theirs)
    assert len(METRICS) == 15
    assert ours == pytest.approx(theirs, abs=1e-9)


def test_the_mean_of_each_questions_number_is_the_number() -> None:
    measurement = Measurement(FakeEmbedder(), QUERIES, CORPUS, RELEVANT)
    for dim in (measurement.width, measurement.width // 2):
        each = measurement.ndcg(dim)
        assert set(each) == set(RELEVANT)
        assert np.mean(list(each.values())) == pytest.approx(measurement.at(dim)["ndcg@10"])
        assert len(set(each.values())) > 2


class Counting(FakeEmbedder):
    texts = 0

    def encode_queries(self, texts: Any) -> Any:
        self.texts += len(texts)
        return super().encode_queries(texts)

    def encode_documents(self, texts: Any) -> Any:
        self.texts += len(texts)
        return super().encode_documents(texts)


def test_each_text_is_embedded_once_and_what_nothing_answers_not_at_all() -> None:
    embedder = Counting()
    measurement = Measurement(embedder, QUERIES, CORPUS, RELEVANT)
    for dim in range(1, measurement.width + 1, 7):
        assert set(measurement.at(dim)) == set(METRICS)
    assert embedder.texts == len(RELEVANT) + len(CORPUS)


def test_what_cannot_be_measured_is_a_sentence(tmp_path: Path) -> None:
    for queries, corpus, relevant in (({}, CORPUS, RELEVANT), (QUERIES, {}, RELEVANT), (QUERIES, CORPUS, {})):
        with pytest.raises(ModelError, match=r"no question to measure with\. Give some"):
            Measurement(FakeEmbedder(), queries, corpus, relevant)
    measurement = Measurement(FakeEmbedder(), QUERIES, CORPUS, RELEVANT)
    for dim in (0, measurement.width + 1):
        with pytest.raises(ModelError, match="Give a width from 1 to"):
            measurement.at(dim)
    with pytest.raises(ModelError, match="cannot be loaded"):
        Measurement(tuned(tmp_path), QUERIES, CORPUS, RELEVANT)


def test_the_real_embedder_is_better_at_its_full_width(real_embedder: SentenceTransformerEmbedder) -> None:
    questions = {"a": "My culture reeks of acid", "b": "protect my bike from rust", "c": "baking without yeast"}
    passages = {
        "a": "The starter smells of vinegar when it is hungry.",
        "b": "Salt eats chains. Wipe the chain after every ride in winter.",
        "c": "Flatbread needs no leavening: flour, water, oil.",
    }
    measurement = Measurement(real_embedder, questions, passages, {id_: {id_} for id_ in questions})
    assert measurement.at(384)["accuracy@1"] == 1
    assert measurement.at(384)["ndcg@10"] >= measurement.at(2)["ndcg@10"]
