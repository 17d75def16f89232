"""Models that are not on this machine yet: fetch them from the Hugging Face Hub, checked, or say why not.

Nothing is fetched unless a setting names a model of the Hub and it is not in the Hub's cache."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rag.errors import ModelError

Fetched = TypeVar("Fetched", bound=str)

_EMBEDDER_FILES = ("*.json", "*.txt", "*.model", "*.safetensors", "1_Pooling/*", "2_Dense/*", "3_Normalize/*")
_NEVER = ("onnx/*", "openvino/*", "*.gguf", "*.bin", "*.onnx")
_EXAMPLES = {
    "FOOTNOTE_EMBEDDER": "Snowflake/snowflake-arctic-embed-m",
    "FOOTNOTE_RERANKER": "cross-encoder/ms-marco-MiniLM-L6-v2",
    "FOOTNOTE_NLI": "cross-encoder/nli-deberta-v3-small",
}
_REPO_ID = re.compile(r"(?!.*(?:--|\.\.))\w[\w.-]*(?<![.-])/\w[\w.-]*(?<![.-])", re.ASCII)


def fetch_folder(repo_id: str, *, offline: bool, variable: str = "FOOTNOTE_EMBEDDER") -> Path:
    """Return the folder of a sentence-transformers model of the Hub, downloaded if need be. Raise ModelError.

    `variable` is the setting that names it.
    """
    _require_repo_id(repo_id, variable, f"a folder, or a Hub id such as {_EXAMPLES[variable]}")
    # imported here, like all of the Hub's: without a Hub model nothing of it is needed
    from huggingface_hub import snapshot_download

    def get(local: bool) -> str:
        return snapshot_download(
            repo_id, allow_patterns=list(_EMBEDDER_FILES), ignore_patterns=list(_NEVER), local_files_only=local
        )

    folder = Path(_cached_or_fetched(repo_id, get, offline))
    if not (folder / "config.json").exists() or not any(folder.glob("**/*.safetensors")):
        raise ModelError(
            f"{repo_id} holds no model that sentence-transformers can load safely (config.json and .safetensors). "
            f"Set {variable} to another model."
        )
    return folder


def fetch_file(setting: str, *, offline: bool) -> Path:
    """Return the file that "repo/id:file.gguf" names, downloaded if need be. Raise ModelError."""
    repo_id, _, name = setting.partition(":")
    _require_repo_id(
        repo_id, "FOOTNOTE_WRITER", "a .gguf file, or a Hub file such as Qwen/Qwen2.5-0.5B-Instruct-GGUF:name.gguf"
    )
    from huggingface_hub import hf_hub_download

    def get(local: bool) -> str:
        return hf_hub_download(repo_id, name, local_files_only=local)

    return Path(_cached_or_fetched(repo_id, get, offline))


def _cached_or_fetched(repo_id: str, get: Callable[[bool], Fetched], offline: bool) -> Fetched:
    """Take what the Hub's cache holds; else download it and check the hash of every large file."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return get(True)
    except LocalEntryNotFoundError:
        if offline:
            raise ModelError(
                f"{repo_id} is not on this machine, and FOOTNOTE_OFFLINE is on. "
                "Unset it once to download the model, or leave the setting out to use the one that ships."
            ) from None
    with _explained(repo_id):
        fetched = get(False)
    _verify(repo_id, Path(fetched))
    return fetched


def _verify(repo_id: str, fetched: Path) -> None:
    """Hash every large file: its name in the Hub's cache is its SHA-256. A damaged one is deleted."""
    for link in fetched.rglob("*") if fetched.is_dir() else [fetched]:
        blob = Path(os.path.realpath(link))
        if blob.is_file() and re.fullmatch(r"[0-9a-f]{64}", blob.name) and sha256(blob) != blob.name:
            link.unlink()
            blob.unlink(missing_ok=True)
            raise ModelError(
                f"{link.name} of {repo_id} arrived damaged and was deleted. Start again to download it anew."
            )


class _explained:
    """Turn the Hub's errors into sentences."""

    def __init__(self, repo_id: str) -> None:
        self._repo_id = repo_id

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        from huggingface_hub.errors import (
            EntryNotFoundError,
            GatedRepoError,
            HfHubHTTPError,
            LocalEntryNotFoundError,
            RepositoryNotFoundError,
        )

        repo = self._repo_id
        if isinstance(error, GatedRepoError):
            reason = f"{repo} asks for permission. Accept its terms on its page, run `hf auth login`, and start again."
        elif isinstance(error, RepositoryNotFoundError):
            reason = f"{repo} is not on the Hub, or it is private. Check the spelling, or run `hf auth login`."
        elif isinstance(error, LocalEntryNotFoundError):
            reason = (
                f"{repo} could not be reached. Check the network, or leave the setting out to use the model that ships."
            )
        elif isinstance(error, EntryNotFoundError):
            reason = f"{repo} has no such file. Check the file's name on its page."
        elif isinstance(error, HfHubHTTPError):
            status = getattr(error.response, "status_code", "an error")
            reason = f"The Hub answered {status} for {repo}. Wait a few minutes and start again."
        elif isinstance(error, OSError):
            reason = f"{repo} could not be downloaded ({error.strerror or error}). Check network and disk space."
        else:
            return
        raise ModelError(reason) from error


def sha256(path: Path) -> str:
    """Return a file's SHA-256 in hex."""
    with path.open("rb") as file:
        return (
            hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(file.read)
        )


def _digest(read: Callable[[int], bytes]) -> str:
    digest = hashlib.sha256()  # Python 3.10 has no file_digest
    while chunk := read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def _require_repo_id(repo_id: str, variable: str, wanted: str) -> None:
    if not _REPO_ID.fullmatch(repo_id):
        raise ModelError(f"{variable}={repo_id} is not there. Set it to {wanted}.")
