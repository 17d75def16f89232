"""A Hugging Face Space, and the dataset repository that keeps its posts: sent to the Hub, and taken back from there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from models.card import answered
from models.hub import is_repo_id
from rag.errors import ModelError, StoreError
from rag.records import SNAPSHOT

_OURS = "rag/engine.py"  # a Space that has it is one of Footnote's


def send_space(folder: Path, repo: str, variables: Mapping[str, str], secrets: Mapping[str, str]) -> str:
    """Make a Space what is in a folder, created (private) if need be; return its address. Raise ModelError."""
    _require_id(repo)
    with _explained(repo) as api:
        address = api.create_repo(repo, repo_type="space", space_sdk="gradio", private=True, exist_ok=True)
        there = api.list_repo_files(repo, repo_type="space")
        if _OURS not in there and any(name.endswith(".py") for name in there):
            raise ModelError(f"The Space {repo} holds another program, which this would replace. Give another name.")
        for name, value in variables.items():
            api.add_space_variable(repo, name, value)
        for name, value in secrets.items():
            api.add_space_secret(repo, name, value)
        gone = [name for name in there if name != SNAPSHOT]  # what the Space answers from stays, unless another comes
        api.upload_folder(
            repo_id=repo, folder_path=folder, repo_type="space", delete_patterns=gone, commit_message="Footnote"
        )
    return str(address)


def send_snapshot(file: Path, repo: str) -> None:
    """Keep a snapshot in a dataset repository, created (private) if need be. Raise ModelError."""
    _require_id(repo)
    with _explained(repo) as api:
        api.create_repo(repo, repo_type="dataset", private=True, exist_ok=True)
        api.upload_file(
            path_or_fileobj=file,
            path_in_repo=SNAPSHOT,
            repo_id=repo,
            repo_type="dataset",
            commit_message="A snapshot of Footnote's posts",
        )


def fetch_snapshot(repo: str) -> Path | None:
    """Return the snapshot that a dataset repository keeps, None if it keeps none yet. Raise ModelError."""
    _require_id(repo)
    with _explained(repo) as api:
        if SNAPSHOT not in api.list_repo_files(repo, repo_type="dataset"):
            return None
        return Path(api.hf_hub_download(repo, SNAPSHOT, repo_type="dataset"))


def announce_gpu() -> None:
    """Tell a ZeroGPU Space that there is a function for its GPU: without one it does not start.

    Called before torch is imported, as the package wants it; where it is not installed, nothing is done. The models
    run on the processor here, too: they are small, and a GPU that is lent for a minute would be gone between questions.
    """
    try:
        import spaces  # type: ignore[import-not-found]  # only on a Space
    except ImportError:
        return
    spaces.GPU(_on_gpu)


def _on_gpu() -> None:
    """Use a GPU for nothing."""


def _require_id(repo: str) -> None:
    if not is_repo_id(repo):
        raise ModelError(f"{repo} is no name of a repository. Give one such as your-name/my-posts.")


@contextmanager
def _explained(repo: str) -> Iterator[Any]:
    """Lend what speaks to the Hub, and turn what it raises into sentences."""
    # imported here, like all of the Hub's: only a Space, and who sends one, needs it
    import httpx2
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        yield HfApi()
    except LocalEntryNotFoundError as error:
        raise ModelError(f"{repo} could not be reached. Check the network, and start again.") from error
    except HfHubHTTPError as error:
        raise ModelError(answered(repo, error)) from error
    except HFValidationError as error:
        raise ModelError(f"{repo} is no name of a repository. Give one such as your-name/my-posts.") from error
    except httpx2.HTTPError as error:
        name = type(error).__name__
        raise ModelError(f"The Hub could not be reached, or the connection broke ({name}). Try again later.") from error
    except OSError as error:
        raise StoreError(f"{repo} could not be read or written ({error.strerror or error}). Try again.") from error
    except ValueError as error:
        raise ModelError(f"The Hub did not take what was sent to {repo} ({error}). Try again.") from error
