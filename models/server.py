"""The writer on another machine, or in another program: any server that speaks OpenAI's chat completions.

llama-server, vLLM, LM Studio, Ollama and the like. Posts go to that server and nowhere else; a person chose it."""

from __future__ import annotations

import math
import queue
import re
import threading
from collections.abc import Callable, Iterator
from functools import cached_property
from threading import Event
from typing import Any
from urllib.parse import urlsplit

from rag.errors import ModelError
from rag.ports import Read, unread
from rag.records import Check, Prompt

CONNECT_S = 5.0  # also for what a server says of its models, however slowly it sends that
FIRST_S = 120.0  # a large model may have to be loaded first, and reads for long
BETWEEN_S = 30.0  # from one piece to the next
TRIES = 3  # before the first piece; what has begun is never asked for twice
ANSWER = 512  # tokens an answer may have
CONTEXT = 8192  # tokens of a server that does not say
PASSAGES = 5  # what is customary
_MOST_CONTEXT = 32_768  # tokens; no prompt needs more
_NO_LIST = (404, 405, 501)  # what a server answers that has no list of models
_CHARACTERS_A_TOKEN = 3.0  # English prose has about four: rather too many tokens are counted than too few
_PART_TOKENS = 8  # what a chat template puts around each message
_POLL_S = 0.05
_LATE = "The writer at {} did not answer in time. See whether it is busy, and ask again."
_CUT = "has stopped in the middle. Ask again."
_CONTROL = re.compile(
    r"<[|｜][^|｜<>]{1,40}[|｜]>|</?s>|\[/?(?:INST|SYSTEM_PROMPT)\]|<</?SYS>>|<(?:start|end)_of_turn>"
    r"|</?(?:think|tool_call|tool_response)>",
    re.IGNORECASE,
)
_THOUGHT, _THOUGHT_ENDS = "<think>", "</think>"
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x9b\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class ServerWriter:
    """Writes text with the model of a server. One answer at a time: a second caller waits for the first."""

    def __init__(self, address: str, model: str = "", key: str = "") -> None:
        """Name the server ("http://127.0.0.1:8080" or ".../v1"), its model ("": its only one), and its key."""
        self._address = address.rstrip("/")
        self.passages = PASSAGES
        self._wanted = model
        self._key = key
        self._lock = threading.Lock()
        self._reached = False

    @property
    def name(self) -> str:
        """The model's name, for people."""
        return self._wanted or self._host

    @property
    def ready(self) -> bool:
        """Whether the server has been reached."""
        return self._reached

    @property
    def budget(self) -> int:
        """How many tokens a prompt may have, so that the answer still fits behind it."""
        return max(self._context - ANSWER, ANSWER)

    def load(self) -> None:
        """Ask the server for its models. Raise ModelError if it cannot be used."""
        _ = self._model
        self._reached = True

    def count_tokens(self, prompt: Prompt) -> int:
        """Estimate the tokens of the prompt, rather too many than too few."""
        return sum(_PART_TOKENS + math.ceil(_weight(message["content"])) for message in _messages(prompt))

    def write(self, prompt: Prompt, stop: Event, read: Read = unread) -> Iterator[str]:
        """Yield the answer piece by piece. Setting `stop` ends it at once and lets go of the connection.

        Raise ModelError if the server fails; what came until then stays.
        """
        while not self._lock.acquire(timeout=_POLL_S):
            if stop.is_set():
                return
        try:
            if not stop.is_set():
                yield from self._pieces(prompt, stop, read)
        finally:
            self._lock.release()

    def warm(self, prompt: Prompt, stop: Event) -> None:
        """Do nothing: what a server remembers is its own affair."""

    def forget(self) -> None:
        """Do nothing: nothing is kept here."""

    def checks(self) -> list[Check]:
        """Say whether the server answers and has the model."""
        try:
            self.load()
        except ModelError as error:
            return [Check("writer", False, str(error))]
        return [Check("writer", True, f"{self._model} at {self._host}, context {self._context}")]

    @property
    def _host(self) -> str:
        return urlsplit(self._address).netloc.rpartition("@")[2]

    def _client(self) -> Any:
        """Return a new client: closing it ends what is being answered, also before anything came."""
        import openai

        timeout = openai.Timeout(FIRST_S, connect=CONNECT_S)
        path = "" if urlsplit(self._address).path.strip("/") else "/v1"
        return openai.OpenAI(
            api_key=self._key or "none",
            organization="",  # what the environment names is for another server
            project="",
            base_url=self._address + path,
            timeout=timeout,
            max_retries=TRIES - 1,
            # a redirect could lead the posts anywhere; nor does the environment choose a proxy for them
            http_client=openai.DefaultHttpxClient(timeout=timeout, follow_redirects=False, trust_env=False),
        )

    @cached_property
    def _listed(self) -> list[Any]:
        import openai

        with _Explained(self):
            try:
                return list(self._told(lambda client: client.models.list()).data or [])
            except (openai.NotFoundError, openai.InternalServerError) as error:
                if self._wanted and error.status_code in _NO_LIST:
                    return []  # it is asked for what the person named, and will say itself if it has none such
                raise

    def _told(self, ask: Callable[[Any], Any]) -> Any:
        """Return what a server says of itself. Raise what the client raises, or ModelError if it takes too long."""
        told: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue()
        client = self._client()

        def hear() -> None:
            try:
                told.put((ask(client.with_options(timeout=CONNECT_S, max_retries=0)), None))
            except Exception as error:  # raised where somebody waits for it
                told.put((None, error))

        threading.Thread(target=hear, daemon=True).start()
        try:
            said, error = told.get(timeout=CONNECT_S)
        except queue.Empty:
            raise ModelError(_LATE.format(self._host)) from None
        finally:
            client.close()
        if error:
            raise error
        return said

    def _forget_models(self) -> None:
        """Ask the server for its models anew, the next time: it may have been started with another."""
        for known in ("_listed", "_model", "_context"):
            self.__dict__.pop(known, None)

    @cached_property
    def _model(self) -> str:
        names = [name for model in self._listed if (name := str(getattr(model, "id", "") or ""))]
        if self._wanted and (self._wanted in names or not names):
            return self._wanted
        if not self._wanted and len(names) == 1:
            return names[0]
        offered = ", ".join(_clean(name)[:80] for name in names[:10]) or "none"
        raise ModelError(f"Set FOOTNOTE_WRITER_MODEL to one of the models that {self._host} offers: {offered}.")

    @cached_property
    def _context(self) -> int:
        for model in self._listed:
            if getattr(model, "id", "") == self._model:
                meta = getattr(model, "meta", None)
                meant = meta.get("n_ctx") if isinstance(meta, dict) else None
                for said in (getattr(model, "max_model_len", None), meant):
                    if isinstance(said, int) and said > 0:
                        return min(said, _MOST_CONTEXT)
        return self._context_of_props() or CONTEXT

    def _context_of_props(self) -> int:
        """Return what llama-server says of its context beside OpenAI's paths, 0 if this is another server."""
        parts = urlsplit(self._address)
        address = f"{parts.scheme}://{parts.netloc}{parts.path.removesuffix('/v1')}/props"
        try:
            said = self._told(lambda client: client.get(address, cast_to=object))
            context = said["default_generation_settings"]["n_ctx"]
        except Exception:  # a server that has no such page may send anything
            return 0
        return min(context, _MOST_CONTEXT) if isinstance(context, int) and context > 0 else 0

    def _pieces(self, prompt: Prompt, stop: Event, read: Read) -> Iterator[str]:
        """Yield what the server sends; it is read in a thread of its own, so that a stop never waits for it."""
        self.load()
        coming: queue.Queue[str | BaseException | None] = queue.Queue()
        client, ended = self._client(), Event()
        threading.Thread(target=self._receive, args=(client, prompt, coming, ended), daemon=True).start()
        waited, first = 0.0, True
        try:
            while not stop.is_set():
                try:
                    piece = coming.get(timeout=_POLL_S)
                except queue.Empty:
                    waited += _POLL_S
                    if waited > (FIRST_S if first else BETWEEN_S):
                        raise ModelError(f"{self._host} {_CUT}") from None
                    continue
                if isinstance(piece, BaseException):
                    with _Explained(self):
                        raise piece
                if piece is None:
                    if first:
                        raise ModelError(f"{self._host} sent an empty answer. Ask again, or choose another model.")
                    return
                if first:
                    read(self.count_tokens(prompt), 0)
                waited, first = 0.0, False
                yield piece
        finally:
            ended.set()
            client.close()

    def _receive(
        self, client: Any, prompt: Prompt, coming: queue.Queue[str | BaseException | None], ended: Event
    ) -> None:
        try:
            stream = client.chat.completions.create(
                model=self._model, messages=_messages(prompt), stream=True, temperature=0, max_tokens=ANSWER
            )
            for piece in _thoughtless(self._said(stream)):
                if ended.is_set():
                    return
                coming.put(piece)
            coming.put(None)
        except Exception as error:  # raised where somebody waits for it
            coming.put(error)

    def _said(self, stream: Any) -> Iterator[str]:
        """Yield the pieces of an answer. Raise ModelError if it is cut off."""
        length, finished = 0, True
        for chunk in stream:
            if not chunk.choices:
                continue
            finished = bool(chunk.choices[0].finish_reason)
            piece = _clean(chunk.choices[0].delta.content or "")
            length += len(piece)
            if piece:
                yield piece
            if finished or length > ANSWER * 20:  # a server need not obey max_tokens
                return
        if not finished:
            raise ModelError(f"{self._host} {_CUT}")


class _Explained:
    """Turns what the client library raises into sentences. Neither the key nor what a server wrote is repeated."""

    def __init__(self, writer: ServerWriter) -> None:
        self._writer = writer

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, ModelError):
            model = self._writer.__dict__.get("_model", self._writer.name)
            self._writer._forget_models()
            raise ModelError(_sentence(self._writer._host, model, error)) from error


def _sentence(host: str, model: str, error: Exception) -> str:
    import openai

    if isinstance(error, openai.APITimeoutError):
        return _LATE.format(host)
    if isinstance(error, openai.APIConnectionError):
        return f"The writer at {host} cannot be reached. Start its server, or leave FOOTNOTE_WRITER out."
    if isinstance(error, openai.APIStatusError):
        status = error.status_code
        reasons = {
            401: "refused the key. Set FOOTNOTE_WRITER_KEY",
            403: "refused the key. Set FOOTNOTE_WRITER_KEY",
            404: f"does not know the model {model[:80]}, or its address is another. Ask again, or check "
            "FOOTNOTE_WRITER_MODEL",
            413: "says that the question is too long. Ask a shorter one",
            429: "is asked too much. Wait a little and ask again",
        }
        what = reasons.get(status, f"failed (status {status}). Look into its log, and ask again")
        return f"The writer at {host} {what}."
    if type(error) is openai.APIError:  # said in the middle of an answer
        return f"The writer at {host} reported an error. Look into its log, and ask again."
    return f"The writer at {host} sent something that is no answer. Check that FOOTNOTE_WRITER is such a server."


def _messages(prompt: Prompt) -> list[dict[str, str]]:
    """Return the prompt as chat messages; what people and posts wrote loses what a template would take for its own."""
    said: dict[str, list[str]] = {}
    for segment in prompt.segments:
        said.setdefault(segment.role, []).append(segment.text if segment.trusted else _CONTROL.sub(" ", segment.text))
    return [{"role": role, "content": "".join(parts)} for role, parts in said.items()]


def _thoughtless(pieces: Iterator[str]) -> Iterator[str]:
    """Leave out what a model thinks aloud before it answers."""
    held, begun = "", False
    for piece in pieces:
        if begun:
            yield piece
            continue
        held += piece
        said = held.lstrip()
        if said.startswith(_THOUGHT):
            _, ended, said = said.partition(_THOUGHT_ENDS)
            begun = bool(ended)
        else:
            begun = not _THOUGHT.startswith(said)
        if begun and said:
            yield said
    if held and not begun and not held.lstrip().startswith(_THOUGHT):
        yield held


def _weight(text: str) -> float:
    """Return about how many tokens a text has: a third a character, one for each beyond ASCII."""
    plain = sum(sign.isascii() for sign in text)
    return plain / _CHARACTERS_A_TOKEN + (len(text) - plain)


def _clean(text: str) -> str:
    return _UNSEEN.sub("", text)
