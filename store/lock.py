"""One process holds the data: an operating-system lock on FOOTNOTE_HOME, let go even after a kill."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

from rag.errors import StoreError


def hold(home: Path) -> FileLock | None:
    """Take the lock on the folder `home`, made if need be; return None if another process has it.

    Raise StoreError if the folder cannot be written.
    """
    try:
        home.mkdir(parents=True, exist_ok=True)
        lock = FileLock(home / "lock", thread_local=False)  # whoever holds it may let go in another thread
        lock.acquire(timeout=0)
    except Timeout:
        return None
    except OSError as error:
        raise StoreError(
            f"{home} cannot be used ({error.strerror or error}). Check its permissions, or set another FOOTNOTE_HOME."
        ) from error
    return lock
