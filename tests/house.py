"""A whole house for tests: an engine over real or fake stores, with fakes for the models."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rag.engine import Engine
from rag.incoming.fetch import Fetcher
from rag.records import ENDED, FileProgress, ModelKind
from store.backup import SqliteVault
from store.catalogue import SqliteCatalogue
from store.conversations import SqliteConversations
from store.gold import SqliteGold
from store.library import SqliteLibrary
from store.vectors import ChromaIndex
from tests.fakes import (
    DirectReaders,
    FakeCatalogue,
    FakeConversations,
    FakeEmbedder,
    FakeGold,
    FakeIndex,
    FakeLibrary,
    FakeStock,
    FakeVault,
    FakeWorkshop,
    FakeWriter,
)

ROOT = Path(__file__).resolve().parent.parent


class House:
    """An engine with its parts in reach: fakes for the models, and real or fake stores."""

    def __init__(self, home: Path, *, real_stores: bool) -> None:
        self.home = home
        self.embedder = FakeEmbedder()
        self.writer = FakeWriter("Nothing was scripted.")
        self.workshop = FakeWorkshop(self.embedder)
        self.stock = FakeStock(self.writer, self.embedder)
        self.fixed: dict[ModelKind, str] = {}
        self.readers = DirectReaders()
        self._real = real_stores
        self.library: Any = None if real_stores else FakeLibrary()
        self.catalogue: Any = None
        self.gold: Any = None
        self.conversations: Any = None
        self.index: Any = None if real_stores else FakeIndex()
        self.restart()

    def restart(self) -> None:
        """Let go of the files and open them anew, as a new process would; the models may have been exchanged."""
        if self._real:
            self.close()
            self.library = SqliteLibrary(self.home / "library.sqlite3")
            self.catalogue = SqliteCatalogue(self.library)
            self.gold = SqliteGold(self.library)
            self.conversations = SqliteConversations(self.library)
            self.index = ChromaIndex(self.home / "index")
        elif self.catalogue is None or self.catalogue.library is not self.library:
            self.catalogue, self.gold = FakeCatalogue(self.library), FakeGold(self.library)
            self.conversations = FakeConversations(self.library)
        self.engine = Engine(
            self.library,
            self.catalogue,
            self.gold,
            self.conversations,
            self.index,
            self.embedder,
            self.writer,
            self.readers,
            Fetcher(allow_private=True, delay=0, pause=0),
            self.workshop,
            models=self.home / "models",
            stock=self.stock,
            fixed=self.fixed,
            inbox=self.home / "inbox",
            vault=SqliteVault(self.library) if self._real else FakeVault(self.library),
        )

    def write(self, name: str, text: str) -> Path:
        """Write a file into the folder of the blog and return its path."""
        path = self.home / "blog" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def add(self, *paths: Path) -> list[FileProgress]:
        """Add files; return what became of each."""
        return outcomes(self.engine.add([str(path) for path in paths]))

    def write_and_add(self, name: str, text: str) -> FileProgress:
        """Write one post and add it."""
        [outcome] = self.add(self.write(name, text))
        return outcome

    def close(self) -> None:
        """Let go of the files."""
        for part in (self.index, self.library):
            if part is not None:
                part.close()


def outcomes(progress: Iterable[FileProgress]) -> list[FileProgress]:
    """Return the last word on each file, in the order in which they were spoken."""
    return [step for step in progress if step.state in ENDED]
