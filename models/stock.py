"""The models that there are: those that ship, those on this machine, those of the Hub, and a few that are worth a try.

On its own because it knows all kinds of them, and loads none. What is worth a try is a table; sizes are never in it,
for the Hub knows them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import unquote, urlsplit

from models.embedder import packaged as packaged_embedder
from models.gguf import ENCODERS, Header, read_header
from models.hub import Hub, HubFile, Repo, is_repo_id, is_safe, names_in
from models.machine import memory
from models.writer import CONTEXT, require_writer
from models.writer import packaged as packaged_writer
from rag.errors import ModelError
from rag.ports import Embedder, Progress, Writer
from rag.records import Model, ModelKind

_WRITING = 350e6
"""Bytes that a writer takes beside its file and what it keeps of a prompt. SmolLM2-135M, with 49,152 words, took 153 MB
after an answer (345 in all, 98 its file, 94 kept; 2026-11-26); of 150,000 words the scores alone take 0.3 GB."""
_EMBEDDING = 600e6  # bytes that an embedder takes beside its weights: a batch of 2,048 tokens, and torch itself
_KEEPING, _KEEPING_SHARE = 100e6, 0.15
"""Bytes, and share of a file's size, that what it keeps of a prompt may take, before its header is here to say."""
_SHARD = re.compile(r"-\d{5}-of-(\d{5})\.gguf$", re.IGNORECASE)
_MOST_FOUND = 40  # files of one repository that are offered
SHIPPED: dict[ModelKind, Model] = {
    "writer": Model(
        "writer", "", "SmolLM2-135M-Instruct", "apache-2.0", about="ships with Footnote; quick, not clever"
    ),
    "embedder": Model("embedder", "", "all-MiniLM-L6-v2", "apache-2.0", about="ships with Footnote; quick, English"),
}
_WRITERS: tuple[tuple[str, str, str, int, str], ...] = (  # setting, name, licence, context, what it is for
    (
        "HuggingFaceTB/SmolLM2-360M-Instruct-GGUF:*q8_0.gguf",
        "SmolLM2 360M",
        "apache-2.0",
        8192,
        "a little better than what ships; English",
    ),
    (
        "Qwen/Qwen2.5-0.5B-Instruct-GGUF:*q4_k_m.gguf",
        "Qwen2.5 0.5B",
        "apache-2.0",
        32768,
        "small, in many languages",
    ),
    (
        "ggml-org/gemma-3-1b-it-GGUF:*q4_k_m.gguf",
        "Gemma 3 1B",
        "gemma",
        32768,
        "good prose for its size; terms of use of Google's",
    ),
    (
        "Qwen/Qwen2.5-1.5B-Instruct-GGUF:*q4_k_m.gguf",
        "Qwen2.5 1.5B",
        "apache-2.0",
        32768,
        "reads several passages; in many languages",
    ),
    (
        "HuggingFaceTB/SmolLM2-1.7B-Instruct-GGUF:*q4_k_m.gguf",
        "SmolLM2 1.7B",
        "apache-2.0",
        8192,
        "reads several passages; English",
    ),
    (
        "Qwen/Qwen3-1.7B-GGUF:*q8_0.gguf",
        "Qwen3 1.7B",
        "apache-2.0",
        40960,
        "thinks aloud first, which takes a while; in many languages",
    ),
    (
        "Qwen/Qwen2.5-3B-Instruct-GGUF:*q4_k_m.gguf",
        "Qwen2.5 3B",
        "qwen-research",
        32768,
        "careful answers; not for commercial use",
    ),
    (
        "bartowski/Llama-3.2-3B-Instruct-GGUF:*q4_k_m.gguf",
        "Llama 3.2 3B",
        "llama3.2",
        131072,
        "careful answers; terms of use of Meta's",
    ),
    (
        "Qwen/Qwen3-4B-GGUF:*q4_k_m.gguf",
        "Qwen3 4B",
        "apache-2.0",
        40960,
        "the most able here; thinks aloud first, and is slow without a graphics card",
    ),
)
_EMBEDDERS: tuple[tuple[str, str, str, int, str], ...] = (
    ("Snowflake/snowflake-arctic-embed-xs", "Arctic Embed XS", "apache-2.0", 384, "as quick as what ships; English"),
    ("Snowflake/snowflake-arctic-embed-s", "Arctic Embed S", "apache-2.0", 384, "half as quick; English"),
    ("Snowflake/snowflake-arctic-embed-m", "Arctic Embed M", "apache-2.0", 768, "finds more, more slowly; English"),
    (
        "Snowflake/snowflake-arctic-embed-m-v1.5",
        "Arctic Embed M 1.5",
        "apache-2.0",
        768,
        "as M, and its vectors can be cut to 256 numbers; English",
    ),
    (
        "Snowflake/snowflake-arctic-embed-l",
        "Arctic Embed L",
        "apache-2.0",
        1024,
        "finds most in English; slow on two cores",
    ),
    (
        "Snowflake/snowflake-arctic-embed-l-v2.0",
        "Arctic Embed L 2.0",
        "apache-2.0",
        1024,
        "finds most in many languages; slow on two cores",
    ),
)


class HubStock:
    """The models on this machine and on the Hub."""

    def __init__(self, hub: Hub, writer: Callable[[str], Writer], embedder: Callable[[str], Embedder]) -> None:
        """Join the parts: the Hub, and what makes a writer or an embedder of its setting. Nobody is asked yet."""
        self._hub = hub
        self.writer = writer
        self.embedder = embedder

    def suggested(self) -> list[Model]:
        """List models that are worth a try, with what of them is here. Nobody is asked."""
        tables: tuple[tuple[ModelKind, Any], ...] = (("writer", _WRITERS), ("embedder", _EMBEDDERS))
        models = [
            Model(kind, row[0], row[1], row[2], span=row[3], about=row[4]) for kind, rows in tables for row in rows
        ]
        return [self._with_place(model) for model in models]

    def here(self, kind: ModelKind, setting: str) -> Model | None:
        """Return a model that lies here, None if it does not. Raise ModelError if it is another kind of thing."""
        if not setting:
            place = packaged_writer() if kind == "writer" else packaged_embedder()
            return _described(SHIPPED[kind], place)
        if setting.startswith(("http://", "https://")):
            host = urlsplit(setting).netloc.rpartition("@")[2]
            return Model(kind, setting, host, place=setting, about="a server that writes")
        if _is_path(setting):
            path = _expanded(setting)
            return _described(Model(kind, str(path), _name(path)), path) if _exists(path) else None
        repo_id, _, wanted = setting.partition(":")
        folder = self._hub.snapshot(repo_id) if is_repo_id(repo_id) else None
        if folder is None:
            return None
        if kind == "embedder":
            names = names_in(folder)
            whole = is_safe(names) and "modules.json" in names  # another program may have fetched a part of it
            return _described(Model(kind, setting, repo_id.partition("/")[2]), folder) if whole else None
        for file in sorted(folder.rglob("*.gguf")):
            name = file.relative_to(folder).as_posix()
            if fnmatch(name.lower(), wanted.lower()) and file.exists():
                return _described(Model(kind, f"{repo_id}:{name}", _name(file)), file)
        return None

    def look(self, wanted: str) -> list[Model]:
        """Return what a person may mean by an id on the Hub, `repo:file.gguf`, its address there, or a path."""
        wanted = wanted.strip()
        if _is_path(wanted):
            return [self._at(_expanded(wanted))]
        wanted = _unwrapped(wanted)  # after that: what an address says is never a place on this machine
        repo_id, _, pattern = wanted.partition(":")
        if not is_repo_id(repo_id):
            raise ModelError(
                f"{wanted[:200]} is no model. Name one of the Hub, such as Qwen/Qwen2.5-0.5B-Instruct-GGUF, or a file "
                "or folder on this machine."
            )
        repo = self._hub.describe(repo_id)
        writers = [file for file in repo.files if file.name.lower().endswith(".gguf")]
        if writers:
            return [self._with_place(model) for model in _writers(repo, writers, pattern)]
        if "modules.json" in {file.name for file in repo.files}:
            return [self._with_place(_embedder(repo))]
        raise ModelError(
            f"{repo_id} holds no .gguf file, to write with, and no sentence-transformers model, to search with. Look "
            "for another; the repositories of writers mostly end in GGUF."
        )

    def fetch(self, model: Model, stop: Event, report: Progress) -> bool:
        """Download a model, going on where it was cut off; say whether it is there. Raise ModelError."""
        repo_id, _, name = model.setting.partition(":")
        repo = self._hub.describe(repo_id)
        files = repo.embedder() if model.kind == "embedder" else tuple(f for f in repo.files if f.name == name)
        if not files:
            raise ModelError(f"{repo_id} has no file {name} any more. Look at its page, and choose another.")
        if not self._hub.fetch(repo, files, stop, report):
            return False
        try:
            if self.here(model.kind, model.setting) is None:
                raise ModelError(f"What {repo_id} sent is no model that can be loaded safely. Choose another.")
        except ModelError:
            self._hub.remove(repo_id, name)
            raise
        return True

    def remove(self, model: Model) -> int:
        """Delete a model that was downloaded, and what was cut off; return how many bytes that freed."""
        repo_id, _, name = model.setting.partition(":")
        if not model.setting or _is_path(model.setting) or not is_repo_id(repo_id):
            raise ModelError(f"Footnote did not download {model.name}, and leaves it where it is. Delete it yourself.")
        return self._hub.remove(repo_id, name)

    def memory(self) -> tuple[int, int]:
        """Return how many bytes of memory there are for models, and how many are free now; 0 for what is not known."""
        return memory()

    def _at(self, path: Path) -> Model:
        """Return the model at a path. Raise ModelError."""
        if not _exists(path):
            raise ModelError(f"There is nothing at {path}. Check the path.")
        kind: ModelKind = "embedder" if path.is_dir() else "writer"
        if kind == "embedder" and not is_safe(names_in(path)):
            raise ModelError(
                f"{path} is a folder without a model that sentence-transformers can load safely (config.json and "
                ".safetensors). Name another, or a .gguf file."
            )
        return _described(Model(kind, str(path.resolve()), _name(path)), path)

    def _with_place(self, model: Model) -> Model:
        """Return a model with what of it is here."""
        repo_id = model.setting.partition(":")[0]
        try:
            here = self.here(model.kind, model.setting)
        except ModelError:
            here = None
        if here is None:
            return replace(model, part=self._hub.part(repo_id))
        return replace(here, name=model.name, licence=model.licence or here.licence, about=model.about)


def _writers(repo: Repo, files: list[HubFile], pattern: str) -> list[Model]:
    """Return the writers among a repository's files. Raise ModelError if there are none that can be used."""
    if any(word in repo.architecture for word in ENCODERS):
        raise ModelError(f"{repo.id} is an embedding model: it finds, and does not write. Choose a chat model.")
    wanted = [file for file in files if fnmatch(file.name.lower(), (pattern or "*").lower())]
    if not wanted:
        raise ModelError(f"{repo.id} has no file {pattern}. Name one of its .gguf files, or the repository alone.")
    found = [file for file in wanted if not _SHARD.search(file.name) and "mmproj" not in file.name.lower()]
    if not found:
        raise ModelError(
            f"{repo.id} comes in several parts, which Footnote cannot put together. Choose a smaller one, in one file."
        )
    return [
        Model(
            "writer",
            f"{repo.id}:{file.name}",
            _name(Path(file.name)),
            repo.licence,
            file.size,
            int(file.size + max(_KEEPING, file.size * _KEEPING_SHARE) + _WRITING),
            repo.context,
            gated=repo.gated,
        )
        for file in sorted(found, key=lambda file: file.size)[:_MOST_FOUND]
    ]


def _embedder(repo: Repo) -> Model:
    files = repo.embedder()
    if not is_safe([file.name for file in files]):
        raise ModelError(
            f"{repo.id} holds no model that sentence-transformers can load safely (config.json and .safetensors). "
            "Choose another."
        )
    weights = sum(file.size for file in files if file.name.endswith(".safetensors"))
    return Model(
        "embedder",
        repo.id,
        repo.id.partition("/")[2],
        repo.licence,
        sum(file.size for file in files),
        int(weights + _EMBEDDING),
        gated=repo.gated,
    )


def _described(model: Model, place: Path) -> Model:
    """Return a model with what its files say of it. Raise ModelError if they are no such model."""
    if model.kind == "writer":
        header = _header(place)
        size = place.stat().st_size
        need = int(size + header.cell * min(CONTEXT, header.context or CONTEXT) + _WRITING)
        return replace(
            model,
            licence=model.licence or header.licence,
            size=size,
            memory=need,
            span=header.context,
            place=str(place),
        )
    files = [path for path in place.rglob("*") if path.is_file()]
    weights = sum(path.stat().st_size for path in files if path.suffix == ".safetensors")
    return replace(
        model,
        size=sum(path.stat().st_size for path in files),
        memory=int(weights + _EMBEDDING),
        span=_width(place),
        place=str(place),
    )


def _header(file: Path) -> Header:
    """Return what a writer's file says of itself. Raise ModelError if it is no writer."""
    try:
        stat = file.stat()
        header = _read_once(file, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise ModelError(f"{file} cannot be read ({error.strerror}). Choose a .gguf file.") from error
    except ValueError as error:
        raise ModelError(f"{file} is {error}. Choose another.") from error
    require_writer(file, header)
    return header


@lru_cache(maxsize=64)
def _read_once(file: Path, size: int, changed: int) -> Header:  # noqa: ARG001 - a file that is another is read again
    return read_header(file)


def _width(folder: Path) -> int:
    """Return the width of the vectors of a model in a folder, 0 if it does not say."""
    try:
        said = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return int(said["hidden_size"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _is_path(setting: str) -> bool:
    """Say whether something names a file or folder rather than a model of the Hub."""
    if setting.startswith(("/", "~", ".", "\\")) or re.match(r"[A-Za-z]:", setting):
        return True
    return bool(setting) and (_exists(setting) or (setting.lower().endswith(".gguf") and ":" not in setting))


def _expanded(path: str) -> Path:
    return Path(os.path.expanduser(path))  # which, unlike pathlib's, leaves the home of nobody as it is


def _exists(path: str | Path) -> bool:
    return os.path.exists(path)  # noqa: PTH110 - pathlib's raises where a name is too long


def _unwrapped(wanted: str) -> str:
    """Return the id in an address of a page on the Hub; anything else stays as it is."""
    if not wanted.startswith(("https://huggingface.co/", "https://hf.co/")):
        return wanted
    parts = [unquote(part) for part in urlsplit(wanted).path.split("/") if part]
    file = ":" + "/".join(parts[4:]) if len(parts) > 4 and parts[2] in ("blob", "resolve") else ""
    return "/".join(parts[:2]) + file


def _name(path: Path) -> str:
    return path.name.removesuffix(".gguf")
