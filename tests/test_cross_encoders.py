"""Cross-encoders, where they are set, have the last word on the order and on what proves a sentence.

Real ones, small and untrained, stand in for good ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.cross_encoder import CrossEncoderNli, CrossEncoderReranker
from rag.citations import Verifier
from rag.errors import ModelError
from rag.records import Check
from rag.search import RERANKED, search
from tests.fakes import FakeEmbedder
from tests.house import House
from tests.stories import FLATBREAD, SOURDOUGH, hits_of, post

pytestmark = pytest.mark.slow

QUESTION = "How is the starter fed?"
WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] how is the starter fed bread every morning flour water rye oven a with".split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a cross-encoder with random weights."""
    return made(tmp_path_factory.mktemp("reranker"), labels=1)


def made(folder: Path, labels: int, names: dict[int, str] | None = None) -> Path:
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    torch.manual_seed(7)
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    shape: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    shape |= {"id2label": names, "label2id": {name: at for at, name in names.items()}} if names else {}
    config = BertConfig(
        vocab_size=len(WORDS), intermediate_size=32, **({} if names else {"num_labels": labels}), **shape
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def test_scores_are_shares_one_a_text_the_same_each_time(folder: Path) -> None:
    reranker = CrossEncoderReranker(str(folder))
    texts = [SOURDOUGH, FLATBREAD, "", "🥖" * 3000]
    scores = reranker.scores(QUESTION, texts)
    assert scores.shape == (4,)
    assert ((scores > 0) & (scores < 1)).all()
    assert np.allclose(reranker.scores(QUESTION, texts), scores)
    assert reranker.scores(QUESTION, []).shape == (0,)
    assert reranker.checks()[0].ok


def test_its_order_is_the_order_of_the_best_hits(light_house: House, folder: Path) -> None:
    light_house.write_and_add("sourdough.md", SOURDOUGH)
    light_house.write_and_add("flatbread.md", FLATBREAD)
    reranker = CrossEncoderReranker(str(folder))
    parts = (light_house.library, light_house.index, light_house.embedder, "hybrid")
    plain = search(QUESTION, *parts, RERANKED).hits
    hits = search(QUESTION, *parts, RERANKED, reranker=reranker).hits
    judged = reranker.scores(QUESTION, [hit.passage.embedded_text for hit in hits])
    assert {hit.passage.id for hit in hits} == {hit.passage.id for hit in plain}
    assert list(judged) == sorted(judged, reverse=True)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in plain), reverse=True)


def test_a_model_that_is_none_says_so(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(ModelError, match="FOOTNOTE_RERANKER"):
        CrossEncoderReranker(str(tmp_path)).load()
    with pytest.raises(ModelError, match="FOOTNOTE_RERANKER"):
        CrossEncoderReranker("no such/thing at all").load()
    assert not CrossEncoderReranker(str(tmp_path)).checks()[0].ok


def test_a_model_with_several_scores_a_passage_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="FOOTNOTE_RERANKER"):
        CrossEncoderReranker(str(made(tmp_path, labels=3))).scores(QUESTION, [SOURDOUGH])


NAMES = {0: "contradiction", 1: "ENTAILMENT", 2: "neutral"}


@pytest.fixture(scope="module")
def nli(tmp_path_factory: pytest.TempPathFactory) -> CrossEncoderNli:
    """Make one with random weights that answers everything alike; tests tip it."""
    return CrossEncoderNli(str(made(tmp_path_factory.mktemp("nli"), labels=3, names=NAMES)))


def tip(nli: CrossEncoderNli, label: int) -> None:
    """Make the model say the same of whatever it reads."""
    import torch

    nli.load()
    with torch.no_grad():
        head = nli._loaded.model.classifier if hasattr(nli._loaded, "model") else nli._loaded[0].auto_model.classifier
        head.weight.zero_()
        head.bias.copy_(torch.nn.functional.one_hot(torch.tensor(label), 3).float())


def test_what_follows_is_read_off_the_models_own_labels(nli: CrossEncoderNli) -> None:
    assert nli.entails([], "The starter is fed.") == []
    for label, name in NAMES.items():
        tip(nli, label)
        expected = name == "ENTAILMENT"
        assert nli.entails([SOURDOUGH, "", "🥖" * 3000], "The starter is fed every morning.") == [expected] * 3
    assert nli.checks()[0].ok


def test_its_word_is_what_proves(nli: CrossEncoderNli) -> None:
    claim = "The starter is fed every morning with water."
    verifier = lambda: Verifier(QUESTION, hits_of(post(SOURDOUGH), 48), FakeEmbedder(), nli)  # noqa: E731
    tip(nli, 1)
    [sentence] = verifier().verify(claim, done=True)[0]
    assert (sentence.support, sentence.citation) == ("yes", 1)
    tip(nli, 0)
    [sentence] = verifier().verify(claim, done=True)[0]
    assert (sentence.support, sentence.citation) == ("no", None)


def test_what_only_the_passage_proves_is_proven_partly() -> None:
    class Whole:
        """Finds what it wants only in a text of some length."""

        def entails(self, texts: Sequence[str], claim: str) -> list[bool]:
            return [len(text.split()) > 30 for text in texts]

        def checks(self) -> list[Check]:
            return []

    found = Verifier(QUESTION, hits_of(post(SOURDOUGH), 48), FakeEmbedder(), Whole())
    [sentence] = found.verify("The starter is fed every morning with water.", done=True)[0]
    assert (sentence.support, sentence.citation) == ("partly", 1)


def test_an_nli_model_without_entailment_says_so(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="FOOTNOTE_NLI"):
        CrossEncoderNli(str(made(tmp_path, labels=3))).load()
    with pytest.raises(ModelError, match="FOOTNOTE_NLI"):
        CrossEncoderNli("no such/thing at all").load()
