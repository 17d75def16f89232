"""The sentences that were read before, so that a post which is asked about again, or while one types, is read once."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock

import numpy as np

from rag.ports import Embedder, Vectors

MOST = 4000  # sentences; 6 MB with the embedder that ships


class Memory:
    """Vectors of sentences, the last used ones. Safe for several threads."""

    def __init__(self) -> None:
        """Know nothing yet."""
        self._known: OrderedDict[bytes, Vectors] = OrderedDict()
        self._lock = Lock()

    def vectors(self, texts: Sequence[str], embedder: Embedder) -> Vectors:
        """Return one unit vector a text, float32, (len(texts), dimension); those not known are read now."""
        keys = [hashlib.sha256(f"{embedder.fingerprint}\n{text}".encode("utf-8", "replace")).digest() for text in texts]
        with self._lock:
            found = {key: self._known[key] for key in keys if key in self._known}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        if missing:
            read = embedder.encode_documents(list(missing.values()))
            # copies, because a view would keep the whole batch
            found.update({key: row.copy() for key, row in zip(missing, read, strict=True)})
        with self._lock:
            self._known.update(found)
            for key in found:
                self._known.move_to_end(key)
            while len(self._known) > MOST:
                self._known.popitem(last=False)
        return np.array([found[key] for key in keys])

    def forget(self) -> None:
        """Let go of everything: nothing of a removed post stays. What is being read just now still comes in."""
        with self._lock:
            self._known.clear()
