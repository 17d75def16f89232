"""Models that are not on this machine yet: fetch them from the Hugging Face Hub, checked, or say why not.

Nothing is fetched unless a person names a model. What is large is fetched here, not by the Hub's own library, which
begins anew when it was cut off, cannot be cancelled and checks no hash; it lies in that library's cache all the same,
where other programs find it and it finds theirs."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from threading import Event
from typing import Any

from rag.errors import ModelError, Unreachable
from rag.ports import Progress

_EMBEDDER_FILES = ("*.json", "*.txt", "*.model", "*.safetensors", "1_Pooling/*", "2_Dense/*", "3_Normalize/*")
_NEVER = ("onnx/*", "openvino/*", "*.gguf", "*.bin", "*.onnx")
_EXAMPLES = {
    "FOOTNOTE_EMBEDDER": "Snowflake/snowflake-arctic-embed-m",
    "FOOTNOTE_RERANKER": "cross-encoder/ms-marco-MiniLM-L6-v2",
    "FOOTNOTE_NLI": "cross-encoder/nli-deberta-v3-small",
}
_REPO_ID = re.compile(r"(?!.*(?:--|\.\.))\w[\w.-]*(?<![.-])/\w[\w.-]*(?<![.-])", re.ASCII)
_CONNECT_S, _READ_S = 5.0, 10.0
"""Seconds to wait for the Hub to be there, and for it to say more. Its own library tries for 23 s."""
_TRIES = 5  # in a row without a single new byte
_CHUNK = 1 << 18
_SPARE = 300_000_000  # bytes that a download leaves free on the disk
_PART = ".incomplete"


@dataclass(frozen=True)
class HubFile:
    """A file of a repository; `sha256` is "" for a small one, which Git keeps under another hash."""

    name: str
    size: int
    sha256: str = ""


@dataclass(frozen=True)
class Repo:
    """A repository as the Hub describes it. `architecture` and `context` are of its GGUF files, if it has any."""

    id: str
    licence: str
    gated: bool
    architecture: str
    context: int
    files: tuple[HubFile, ...]

    def embedder(self) -> tuple[HubFile, ...]:
        """Return the files that make an embedder."""
        return tuple(file for file in self.files if _of_embedder(file.name))


class Hub:
    """The Hugging Face Hub, or one that speaks as it does, and the cache of what came from there."""

    def __init__(self, *, offline: bool = False, endpoint: str | None = None, cache: Path | None = None) -> None:
        """`endpoint` and `cache` are those of the Hub's library if they are not named. Nothing is asked yet."""
        self._offline = offline
        self._endpoint = endpoint
        self._cache = cache

    def describe(self, repo_id: str) -> Repo:
        """Ask the Hub what a repository holds. Raise ModelError, within seconds where there is no network."""
        self._require_network(repo_id)
        from huggingface_hub import HfApi

        with _explained(repo_id):
            info: Any = HfApi(endpoint=self._endpoint).model_info(repo_id, files_metadata=True, timeout=_patience())
            card: Any = info.card_data.to_dict() if info.card_data else {}
            said: Any = info.gguf if isinstance(info.gguf, dict) else {}
            return Repo(
                repo_id,
                str(card.get("license_name") or card.get("license") or "")[:60],
                bool(info.gated),
                str(said.get("architecture", ""))[:60],
                int(said.get("context_length") or 0),
                tuple(_file(sibling) for sibling in info.siblings or ()),
            )

    def fetch(self, repo: Repo, files: Sequence[HubFile], stop: Event, report: Progress) -> bool:
        """Download files, going on where it was cut off; say whether all are there, False if `stop` was set.

        `report` is told (bytes, of how many). A file whose hash is wrong is deleted. Raise ModelError.
        """
        from huggingface_hub import snapshot_download
        from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

        disable_progress_bars()  # what it does is seconds, and `report` tells of the rest
        large = [file for file in files if file.sha256]
        total, done = sum(file.size for file in files), 0
        self._require_space(repo.id, large, total)
        with _explained(repo.id):
            for file in large:
                if not self._large(repo.id, file, stop, lambda size, done=done: report(done + size, total)):  # type: ignore[misc]
                    return False
                done += file.size
            # the small ones, and links to the large ones, which it finds where it would have put them
            names = [file.name for file in files]
            folder = snapshot_download(
                repo.id, allow_patterns=names, cache_dir=self._cache, endpoint=self._endpoint, etag_timeout=_READ_S
            )
        for name in names:
            _verify_small(repo.id, Path(folder) / name)
        report(total, total)
        return True

    def snapshot(self, repo_id: str) -> Path | None:
        """Return the folder in which the files of a repository lie, None where there is none."""
        folder = self._folder(repo_id)
        try:
            commit = (folder / "refs" / "main").read_text(encoding="utf-8").strip()
        except OSError:
            return None
        found = folder / "snapshots" / commit
        return found if commit and found.is_dir() else None

    def part(self, repo_id: str) -> int:
        """Return how many bytes lie here of downloads that were cut off."""
        size = 0
        for path in (self._folder(repo_id) / "blobs").glob(f"*{_PART}"):
            with suppress(OSError):  # one that ends meanwhile has another name
                size += path.stat().st_size
        return size

    def remove(self, repo_id: str, name: str = "") -> int:
        """Delete a file of a repository, or all that makes an embedder, and what was cut off; return the bytes freed.

        What other programs keep of the repository stays.
        """
        folder = self._folder(repo_id)
        before = _bytes_in(folder)
        for part in (folder / "blobs").glob(f"*{_PART}"):
            part.unlink(missing_ok=True)
        blobs = set()
        for snapshot in folder.glob("snapshots/*"):
            for link in [path for path in snapshot.rglob("*") if path.is_file() or path.is_symlink()]:
                own = link.relative_to(snapshot).as_posix()
                if own == name or (not name and _of_embedder(own)):
                    blobs.add(os.path.realpath(link))
                    link.unlink()
        kept = {os.path.realpath(path) for path in folder.glob("snapshots/**/*")}
        for blob in blobs - kept:  # two files alike share one
            Path(blob).unlink(missing_ok=True)
        if not any(path.is_file() for path in folder.glob("snapshots/**/*")):
            shutil.rmtree(folder, ignore_errors=True)
        return before - _bytes_in(folder)

    def _large(self, repo_id: str, file: HubFile, stop: Event, report: Callable[[int], None]) -> bool:
        """Download one file to where it is known by its hash; say whether it is there."""
        target = self._folder(repo_id) / "blobs" / file.sha256
        if target.exists():
            return True
        part = target.with_name(target.name + _PART)
        part.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
        failures = 0
        while (have := part.stat().st_size) < file.size:
            try:
                self._stream(repo_id, file, part, stop, report)
                ended: Exception | None = None
            except _transport_errors() as error:
                ended = error
            if stop.is_set():
                return False
            failures = 0 if part.stat().st_size > have else failures + 1
            if failures >= _TRIES:
                raise ended or ModelError(f"{repo_id} could not be downloaded whole. Wait a little and try again.")
            if ended:
                stop.wait(1)
        if part.stat().st_size != file.size or sha256(part) != file.sha256:
            part.unlink()
            raise _damaged(repo_id, file.name)
        part.replace(target)
        return True

    def _stream(self, repo_id: str, file: HubFile, part: Path, stop: Event, report: Callable[[int], None]) -> None:
        """Write more of a file behind what is there, until it ends, breaks off or `stop` is set."""
        from huggingface_hub import get_session, hf_hub_url
        from huggingface_hub.utils import build_hf_headers, hf_raise_for_status  # type: ignore[attr-defined]

        have = part.stat().st_size
        url = hf_hub_url(repo_id, file.name, endpoint=self._endpoint)
        headers = {**build_hf_headers(), "Accept-Encoding": "identity", "Range": f"bytes={have}-"}
        with get_session().stream("GET", url, headers=headers, timeout=_patience()) as response:
            hf_raise_for_status(response)
            if have and response.status_code == 200:  # it gives the whole or nothing
                have = 0
            with part.open("r+b") as opened:
                opened.seek(have)
                opened.truncate()
                for chunk in response.iter_bytes(_CHUNK):
                    opened.write(chunk)
                    have += len(chunk)
                    report(have)
                    if stop.is_set() or have > file.size:
                        return

    def _folder(self, repo_id: str) -> Path:
        """Return where the Hub's library keeps a repository."""
        if self._cache is None:
            from huggingface_hub.constants import HF_HUB_CACHE

            return Path(HF_HUB_CACHE) / f"models--{repo_id.replace('/', '--')}"
        return self._cache / f"models--{repo_id.replace('/', '--')}"

    def _require_network(self, repo_id: str) -> None:
        if self._offline:
            raise Unreachable(
                f"{repo_id} is not on this machine, and FOOTNOTE_OFFLINE is on. "
                "Unset it once to download the model, or leave the setting out to use the one that ships."
            )

    def _require_space(self, repo_id: str, files: Iterable[HubFile], total: int) -> None:
        folder = self._folder(repo_id)
        blobs = folder / "blobs"
        there = sum(
            path.stat().st_size
            for file in files
            for path in (blobs / file.sha256, blobs / (file.sha256 + _PART))
            if path.exists()
        )
        free = _free(folder)
        if total - there + _SPARE > free:
            raise ModelError(
                f"{repo_id} needs {(total - there + _SPARE) / 1e6:,.0f} MB more on the disk, and {free / 1e6:,.0f} MB "
                f"are free at {folder}. "
                "Free some, and download it again."
            )


def fetch_folder(repo_id: str, *, offline: bool, variable: str = "FOOTNOTE_EMBEDDER") -> Path:
    """Return the folder of a sentence-transformers model of the Hub, downloaded if need be. Raise ModelError.

    `variable` is the setting that names it.
    """
    require_repo_id(repo_id, variable, f"a folder, or a Hub id such as {_EXAMPLES[variable]}")
    hub = Hub(offline=offline)
    folder = hub.snapshot(repo_id)
    names = names_in(folder) if folder else []
    here = folder if folder and is_safe(names) else None
    if here and (variable != "FOOTNOTE_EMBEDDER" or "modules.json" in names or _has_no_modules(here).exists()):
        return here
    try:  # another program may have fetched a part of it; without modules.json it would be pooled as nobody meant it
        repo = hub.describe(repo_id)
        require_safe(repo_id, [file.name for file in repo.embedder()], variable)
    except ModelError:
        if here is None:
            raise
        return here
    if here is None or any(file.name == "modules.json" for file in repo.files):
        hub.fetch(repo, repo.embedder(), Event(), _on_terminal)
        here = _there(hub, repo_id)
    if "modules.json" not in names_in(here):
        note = _has_no_modules(here)
        note.parent.mkdir(parents=True, exist_ok=True)
        note.touch()
    return here


def _has_no_modules(snapshot: Path) -> Path:
    """Return the file by which the Hub's library remembers that a repository has no modules.json."""
    return snapshot.parent.parent / ".no_exist" / snapshot.name / "modules.json"


def fetch_file(setting: str, *, offline: bool) -> Path:
    """Return the file that "repo/id:file.gguf" names, downloaded if need be. Raise ModelError."""
    repo_id, _, name = setting.partition(":")
    require_repo_id(
        repo_id, "FOOTNOTE_WRITER", "a .gguf file, or a Hub file such as Qwen/Qwen2.5-0.5B-Instruct-GGUF:name.gguf"
    )
    hub = Hub(offline=offline)
    folder = hub.snapshot(repo_id)
    if folder is None or not (folder / name).is_file():
        repo = hub.describe(repo_id)
        files = [file for file in repo.files if file.name == name]
        if not files:
            raise ModelError(f"{repo_id} has no such file. Check the file's name on its page.")
        hub.fetch(repo, files, Event(), _on_terminal)
        folder = _there(hub, repo_id)
    return folder / name


def require_repo_id(repo_id: str, variable: str, wanted: str) -> None:
    """Raise ModelError if something can be no id on the Hub."""
    if not is_repo_id(repo_id):
        raise ModelError(f"{variable}={repo_id} is not there. Set it to {wanted}.")


def is_repo_id(name: str) -> bool:
    """Say whether something can be an id on the Hub."""
    return bool(_REPO_ID.fullmatch(name))


def require_safe(repo_id: str, names: Sequence[str], variable: str = "FOOTNOTE_EMBEDDER") -> None:
    """Raise ModelError if these are not the files of a model that loads without running code of its own."""
    if not is_safe(names):
        raise ModelError(
            f"{repo_id} holds no model that sentence-transformers can load safely (config.json and .safetensors). "
            f"Set {variable} to another model."
        )


def is_safe(names: Sequence[str]) -> bool:
    """Say whether these are the files of a model that loads without running code of its own."""
    return "config.json" in names and any(name.endswith(".safetensors") for name in names)


def names_in(folder: Path) -> list[str]:
    """List the files in a folder and below it, as a repository names them."""
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


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


def _file(sibling: Any) -> HubFile:
    """Return what the Hub says of a file. Raise ValueError if it cannot be believed: its hash becomes a file's name."""
    if not sibling.lfs:
        return HubFile(str(sibling.rfilename), int(sibling.size or 0))
    if not re.fullmatch(r"[0-9a-f]{64}", sibling.lfs.sha256):
        raise ValueError("no hash")
    return HubFile(str(sibling.rfilename), int(sibling.lfs.size), sibling.lfs.sha256)


def _on_terminal(done: int, total: int) -> None:
    """Say how far a download is to whoever waits at a terminal."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\rDownloading: {done / 1e6:,.0f} of {total / 1e6:,.0f} MB" + "\n" * (done >= total))


def _there(hub: Hub, repo_id: str) -> Path:
    folder = hub.snapshot(repo_id)
    if folder is None:
        raise ModelError(f"{repo_id} was removed while it was being fetched. Start again to download it anew.")
    return folder


def _of_embedder(name: str) -> bool:
    return any(fnmatch(name, wanted) for wanted in _EMBEDDER_FILES) and not any(fnmatch(name, no) for no in _NEVER)


def _verify_small(repo_id: str, link: Path) -> None:
    """Hold a small file against its name in the Hub's cache: what Git calls it. A damaged one is deleted."""
    blob = Path(os.path.realpath(link))
    if re.fullmatch(r"[0-9a-f]{40}", blob.name):
        data = blob.read_bytes()
        if hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest() != blob.name:
            link.unlink()
            blob.unlink(missing_ok=True)
            raise _damaged(repo_id, link.name)


def _damaged(repo_id: str, name: str) -> ModelError:
    return ModelError(f"{name} of {repo_id} arrived damaged and was deleted. Start again to download it anew.")


def _bytes_in(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _free(folder: Path) -> int:
    """Return the bytes that are free where a folder is, or will be."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    return shutil.disk_usage(there).free


def _patience() -> Any:
    """Return how long the Hub is waited for, as its library's HTTP client takes it."""
    import httpx2

    return httpx2.Timeout(_READ_S, connect=_CONNECT_S)


def _transport_errors() -> tuple[type[Exception], ...]:
    """Return what the Hub's library raises when a connection fails."""
    import httpx2

    return (httpx2.TransportError,)


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
            OfflineModeIsEnabled,
            RepositoryNotFoundError,
        )

        repo, unreachable = self._repo_id, True
        if isinstance(error, GatedRepoError):
            reason = f"{repo} asks for permission. Accept its terms on its page, run `hf auth login`, and start again."
            unreachable = False
        elif isinstance(error, RepositoryNotFoundError):
            reason = f"{repo} is not on the Hub, or it is private. Check the spelling, or run `hf auth login`."
            unreachable = False
        elif isinstance(error, OfflineModeIsEnabled):
            reason = f"{repo} is not on this machine, and HF_HUB_OFFLINE is on. Unset it once to download the model."
        elif isinstance(error, (LocalEntryNotFoundError, *_transport_errors())):
            reason = (
                f"{repo} could not be reached. Check the network, or leave the setting out to use the model that ships."
            )
        elif isinstance(error, EntryNotFoundError):
            reason = f"{repo} has no such file. Check the file's name on its page."
            unreachable = False
        elif isinstance(error, HfHubHTTPError):
            status = getattr(error.response, "status_code", "an error")
            reason = f"The Hub answered {status} for {repo}. Wait a few minutes and start again."
            if status in (401, 403):
                reason = f"The Hub refused {repo} ({status}). Run `hf auth login`, or look whether HF_TOKEN is right."
        elif isinstance(error, OSError):
            reason = f"{repo} could not be downloaded ({error.strerror or error}). Check network and disk space."
        elif isinstance(error, (ValueError, KeyError, TypeError)):  # what answers is no Hub
            reason = f"What was said of {repo} cannot be read. Check the network, and whether HF_ENDPOINT is right."
        else:
            return
        raise (Unreachable if unreachable else ModelError)(reason) from error
