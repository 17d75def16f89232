"""A cross-encoder, where one is set, has the last word on the order; a real one, small and untrained, stands in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.reranker import CrossEncoderReranker
from rag.errors import ModelError
from rag.search import RERANKED, search
from tests.house import House
from tests.stories import FLATBREAD, SOURDOUGH

QUESTION = "How is the starter fed?"
WORDS = "[PAD] [UNK] [CLS] [SEP] [MASK] how is the starter fed bread every morning flour water rye oven a with".split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a cross-encoder with random weights."""
    return made(tmp_path_factory.mktemp("reranker"), labels=1)


def made(folder: Path, labels: int) -> Path:
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

    torch.manual_seed(7)
    (folder / "vocab.txt").write_text("\n".join(WORDS), encoding="utf-8")
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    shape: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(vocab_size=len(WORDS), intermediate_size=32, num_labels=labels, **shape)
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
