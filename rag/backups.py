"""Backups of the whole library: saved while others read and write, restored in one step, the index made anew from it.

On its own, because a restore replaces what every other part holds on to."""

from __future__ import annotations

from pathlib import Path

from rag.errors import Busy, StoreError
from rag.indexing import Indexing
from rag.jobs import Jobs
from rag.ports import Vault
from rag.records import Snapshot


class Backups:
    """The library as one file. Safe to call from several threads."""

    def __init__(self, vault: Vault | None, indexing: Indexing, jobs: Jobs) -> None:
        """Join the parts; a library without a vault (one that is only in memory, say) is never saved."""
        self._vault = vault
        self._indexing = indexing
        self._jobs = jobs

    def save(self, file: Path, *, public: bool = False) -> Snapshot:
        """Write the library to `file`; see Vault.save."""
        return self._need().save(file, public=public)

    def restore(self, file: Path, *, force: bool = False) -> int:
        """Put the library from `file` in the place of this one; return how many posts it has now. See Vault.restore.

        Raise Busy while posts are being brought in.
        """
        if self._jobs.busy:
            raise Busy("Posts are being brought in. Wait until that has ended, or cancel it, and try again.")
        emptied = False

        def first() -> None:
            nonlocal emptied
            emptied = True
            self._indexing.empty()  # first: its ids would mean other passages; a kill after it costs a rebuild

        with self._indexing.changing:
            try:
                posts = self._need().restore(file, force=force, first=first)
                self._indexing.scrub()
                return posts
            finally:
                if emptied and self._indexing.prepared:
                    self._indexing.reindex()

    def _need(self) -> Vault:
        if self._vault is None:
            raise StoreError("This library is not kept, so that it has no backups. Save the one that its owner has.")
        return self._vault
