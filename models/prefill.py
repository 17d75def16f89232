"""What a writer has read before it need not read again: the passages' part of llama.cpp's memory, kept by their text.

On a processor the wait for the first word is the reading of the passages. Each is read once, behind the part of the
prompt that all questions share, in a sequence of its own; what the model made of it is kept. For a question these
states are put one behind the other, shifted to their places; the last passage, the best one, is read whole. What stands
in the memory then stays there: a question with the same passages is read alone. A state that is not there, is damaged,
or is of another model is made anew."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ANSWERS, SPARE = 0, 1  # the sequence that is answered from, and the one in which a passage is read or loaded
_SHARED = 4  # states of what stands before the passages: one for each form of prompt in use
_MAGIC = b"Footnote state 1\n"


@dataclass(frozen=True)
class Part:
    """A piece of a prompt: its tokens and, if it is a passage, its text."""

    tokens: tuple[int, ...]
    passage: str | None = None


class States:
    """States by (context, text): the last used in memory, more on disk, both within bounds. Safe for several threads.

    The context says what made a state (model, library, what stands before the passage). Nothing here raises: a disk
    that is full or gone only means that a passage is read again.
    """

    def __init__(self, folder: Path | None = None, *, disk_bytes: int = 0, memory_bytes: int = 100_000_000) -> None:
        """Keep states in `folder`; None or 0 bytes: only in memory."""
        self._folder, self._disk_bytes, self._memory_bytes = folder, disk_bytes, memory_bytes
        self._bounded = False  # whether the folder was held against the bound, which may be another today
        self._memory: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._unsaved: dict[tuple[str, str], bytes] = {}
        self._lock = threading.RLock()
        self.forgotten = 0  # how often something was: what was begun before is not kept

    def get(self, context: str, text: str) -> bytes | None:
        """Return a state, or None."""
        with self._lock:
            state = self._memory.get((context, text)) or self._unsaved.get((context, text))
            if state is None and (state := self._from_disk(context, text)) is None:
                return None
            self._remember(context, text, state)
            return state

    def put(self, context: str, text: str, state: bytes, begun: int) -> None:
        """Keep a state, unless something was forgotten since `forgotten` was `begun`. `save` brings it to the disk."""
        with self._lock:
            if begun == self.forgotten:
                self._remember(context, text, state)
                if self._folder and self._disk_bytes:
                    self._unsaved[context, text] = state

    def drop(self, context: str, text: str) -> None:
        """Let go of one state that did not load."""
        with self._lock:
            self._memory.pop((context, text), None)
            self._unsaved.pop((context, text), None)
            if self._folder:
                _unlink(self._folder / _name(context, text))

    def save(self) -> None:
        """Write what is new to the disk and delete what was not used for longest, so that the bound holds."""
        with self._lock:
            for (context, text), state in self._unsaved.items():
                if self._folder and len(state) < self._disk_bytes:
                    _write(self._folder / _name(context, text), _packed(_name(context, text), state))
            if self._unsaved or not self._bounded:
                self._shrink()
            self._unsaved.clear()
            self._bounded = True

    def forget(self) -> None:
        """Delete every state: nothing of a removed post stays, whatever part was read. They are soon made again."""
        with self._lock:
            self.forgotten += 1
            self._memory.clear()
            self._unsaved.clear()
            for file in self._files():
                _unlink(file)

    def _remember(self, context: str, text: str, state: bytes) -> None:
        self._memory[context, text] = state
        self._memory.move_to_end((context, text))
        while sum(map(len, self._memory.values())) > self._memory_bytes:
            self._memory.popitem(last=False)

    def _from_disk(self, context: str, text: str) -> bytes | None:
        if not self._folder:
            return None
        file = self._folder / _name(context, text)
        try:
            state = _unpacked(file.name, file.read_bytes())
            if state is None:
                file.unlink()
            else:
                os.utime(file)  # its time says when it was last used
        except OSError:
            return None
        return state

    def _shrink(self) -> None:
        used = []
        for file in self._files():
            with contextlib.suppress(OSError):
                stat = file.stat()
                used.append((stat.st_mtime, stat.st_size, file))
        total = sum(size for _, size, _ in used)
        for _, size, file in sorted(used):
            if total <= self._disk_bytes:
                break
            _unlink(file)
            total -= size

    def _files(self) -> list[Path]:
        return list(self._folder.glob("*.state*")) if self._folder else []  # halves of a killed process, too


class Prefill:
    """Reads the beginning of a prompt into a model's memory, from states where there are any. One thread at a time.

    All but the first passage were read without what now stands before them. SmolLM2-135M, five passages, 120 questions
    of xquad_en, 2026-11-26: 40 % right, 44 % read anew (difference -4.2 points, 95 % -10.8 to +2.5), the first token
    after 0.31 of the time, and after 0.10 where the same passages stand there already. To read the first 16 tokens of
    each again: -2.5 points, 0.41. The last passage from its state, too: more is lost (benchmarks/RESULTS.md). With one
    passage, or a quote, nothing is moved and nothing lost.
    """

    def __init__(self, model: Any, name: str, states: States) -> None:
        """`model` is a llama_cpp.Llama with two sequences in one memory; `name` identifies its file."""
        import llama_cpp

        self._llama, self._model, self._states = llama_cpp, model, states
        self._context, self._memory = model._ctx.ctx, llama_cpp.llama_get_memory(model._ctx.ctx)
        self._name = f"{name} {llama_cpp.__version__} {model.context_params.type_k} {model.context_params.type_v}"
        self._shared: OrderedDict[str, bytes] = OrderedDict()
        self._held: list[int] = []  # the tokens with which the answers' sequence begins, as they were put together
        self._forgotten = states.forgotten
        own = model._model.model
        self.able = bool(
            self._memory
            and llama_cpp.llama_memory_can_shift(self._memory)
            and llama_cpp.llama_n_seq_max(self._context) > SPARE
            and model.context_params.kv_unified
            and not llama_cpp.llama_model_is_recurrent(own)  # its one state is no row of tokens, though it says it can
            and not llama_cpp.llama_model_is_hybrid(own)
            and not llama_cpp.llama_model_has_encoder(own)
        )

    def read(self, parts: Sequence[Part], begun: int) -> int:
        """Read a prompt up to the end of its last kept passage; return how many of these tokens had been read before.

        The model is left so that `generate` reads on from there; as if nothing was read where nothing can be kept.
        `begun` is what `States.forgotten` was before. Raise RuntimeError if it is aborted.
        """
        end = _end_of_passages(parts)
        tokens = [token for part in parts[:end] for token in part.tokens]
        if not self.able or not _shared(parts[:end]) or not any(part.tokens for part in parts[end:]):
            self._held = []
            return 0  # something must be left to read: the first word is told by the last token
        kept = len(tokens)
        if self._held != tokens or self._forgotten != self._states.forgotten:
            try:
                kept = self._assemble(parts[:end], begun)
            except _NotLoadedError:
                self._clear()
                return 0
        self._model.input_ids[: len(tokens)] = tokens
        self._model.n_tokens = len(tokens)
        self._held = tokens
        return kept

    def _known(self, parts: Sequence[Part], begun: int) -> _Known:
        """Return the states of all passages but the last; those that were not there are made now."""
        shared = _shared(parts)
        known = _Known(hashlib.sha256(f"{self._name} {shared}".encode()).hexdigest())
        known.shared = self._read_shared(shared, known)
        for part in parts[:-1]:
            if part.passage is None or part.passage in known.passages:
                continue
            state = self._states.get(known.context, part.passage)
            if state is None:
                state = self._read_passage(part, len(shared), known.shared)
                known.made += len(part.tokens)
                self._states.put(known.context, part.passage, state, begun)
            known.passages[part.passage] = state
        return known

    def _read_shared(self, tokens: tuple[int, ...], known: _Known) -> bytes:
        """Return the state of what stands before the passages; it may hold earlier turns, so no disk sees it."""
        if self._forgotten != self._states.forgotten:
            self._forgotten = self._states.forgotten
            self._shared.clear()
        if known.context not in self._shared:
            self._clear()
            self._decode(tokens, 0, ANSWERS)
            self._shared[known.context] = self._state_of(ANSWERS)
            known.made += len(tokens)
            while len(self._shared) > _SHARED:
                self._shared.popitem(last=False)
        self._shared.move_to_end(known.context)
        return self._shared[known.context]

    def _read_passage(self, part: Part, start: int, shared: bytes) -> bytes:
        """Read a passage behind what stands before the passages, and return its part of the memory alone."""
        self._clear()
        self._load(shared, SPARE)
        self._decode(part.tokens, start, SPARE)
        self._llama.llama_memory_seq_rm(self._memory, SPARE, 0, start)
        return self._state_of(SPARE)

    def _assemble(self, parts: Sequence[Part], begun: int) -> int:
        """Put the states behind each other, read what is between and the last; return how many tokens had been read."""
        known = self._known(parts, begun)
        start = at = kept = len(_shared(parts))
        self._clear()
        self._load(known.shared, ANSWERS)
        pending: list[int] = []
        for part in parts[_first_passage(parts) : -1]:
            if part.passage is None:
                pending += part.tokens
                continue
            self._decode(pending, at, ANSWERS)
            at, pending = at + len(pending), []
            self._join(part, known, start, at)
            at += len(part.tokens)
            kept += len(part.tokens)
        self._decode([*pending, *parts[-1].tokens], at, ANSWERS)
        return max(0, kept - known.made)

    def _join(self, part: Part, known: _Known, start: int, place: int) -> None:
        """Load a passage that was read at `start`, and move it to `place` in the answer's sequence."""
        lib, memory = self._llama, self._memory
        try:
            self._load(known.passages[str(part.passage)], SPARE)
        except _NotLoadedError:
            self._states.drop(known.context, str(part.passage))
            raise
        if place != start:
            lib.llama_memory_seq_add(memory, SPARE, start, -1, place - start)
        lib.llama_memory_seq_cp(memory, SPARE, ANSWERS, -1, -1)
        lib.llama_memory_seq_rm(memory, SPARE, -1, -1)

    def _decode(self, tokens: Sequence[int], place: int, sequence: int) -> None:
        """Read tokens into a sequence; what comes next is not asked for. Raise RuntimeError if it is aborted."""
        most = int(self._model.n_batch)
        batch = self._llama.llama_batch_init(min(len(tokens), most) or 1, 0, 1)
        try:
            for first in range(0, len(tokens), most):
                some = tokens[first : first + most]
                batch.n_tokens = len(some)
                for row, token in enumerate(some):
                    batch.token[row], batch.pos[row] = token, place + first + row
                    batch.n_seq_id[row], batch.seq_id[row][0], batch.logits[row] = 1, sequence, 0
                if (code := self._llama.llama_decode(self._context, batch)) != 0:
                    raise RuntimeError(f"llama_decode returned {code}")
        finally:
            self._llama.llama_batch_free(batch)

    def _state_of(self, sequence: int) -> bytes:
        size = self._llama.llama_state_seq_get_size(self._context, sequence)
        buffer = (ctypes.c_uint8 * size)()
        written = self._llama.llama_state_seq_get_data(self._context, buffer, size, sequence)
        return bytes(memoryview(buffer)[:written])

    def _load(self, state: bytes, sequence: int) -> None:
        buffer = (ctypes.c_uint8 * len(state)).from_buffer_copy(state)
        if not state or self._llama.llama_state_seq_set_data(self._context, buffer, len(state), sequence) == 0:
            raise _NotLoadedError

    def _clear(self) -> None:
        self._llama.llama_memory_clear(self._memory, False)
        self._model.reset()
        self._held = []


class _NotLoadedError(Exception):
    """A state that llama.cpp does not take."""


@dataclass
class _Known:
    """What one prompt is put together from: the states, and how many tokens were read just now to make them."""

    context: str
    shared: bytes = b""
    passages: dict[str, bytes] = field(default_factory=dict)
    made: int = 0


def _end_of_passages(parts: Sequence[Part]) -> int:
    return max((place for place, part in enumerate(parts) if part.passage is not None), default=-1) + 1


def _first_passage(parts: Sequence[Part]) -> int:
    return next((place for place, part in enumerate(parts) if part.passage is not None), len(parts))


def _shared(parts: Sequence[Part]) -> tuple[int, ...]:
    """Return the tokens before the first passage."""
    return tuple(token for part in parts[: _first_passage(parts)] for token in part.tokens)


def _name(context: str, text: str) -> str:
    return hashlib.sha256(f"{context}\n{text}".encode("utf-8", "surrogatepass")).hexdigest()[:40] + ".state"


def _packed(key: str, state: bytes) -> bytes:
    """Return a file: its mark, its digest, the state."""
    return _MAGIC + _digest(key, state) + state


def _unpacked(key: str, packed: bytes) -> bytes | None:
    """Return the state in a file, or None if the file is not whole or is another's."""
    digest, state = packed[len(_MAGIC) :][:32], packed[len(_MAGIC) + 32 :]
    return state if packed.startswith(_MAGIC) and digest == _digest(key, state) else None


def _digest(key: str, state: bytes) -> bytes:
    digest = hashlib.blake2b(key.encode(), digest_size=32)
    digest.update(state)
    return digest.digest()


def _write(file: Path, data: bytes) -> None:
    """Write a file whole or not at all; without room it is not written."""
    new = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        new.write_bytes(data)
        os.replace(new, file)
    except OSError:
        _unlink(new)


def _unlink(file: Path) -> None:
    with contextlib.suppress(OSError):
        file.unlink()
