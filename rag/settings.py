"""Settings from the environment, read once and frozen. Importing this does nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from rag.errors import BadSetting

CHECKOUT = Path(__file__).resolve().parent.parent
_SPACES_HOME = Path(tempfile.gettempdir()) / "footnote"  # a Space's disk does not last, wherever it is
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Settings:
    """What a person can set. Empty `embedder` or `writer`: the one that ships; `reranker` or `nli`: none; `port` 0:
    the first free one.

    A `writer` that is an address is a server with the model `writer_model` ("": its only one) and the key `writer_key`.
    `question_writer` is another writer, which asks about the posts for the embedder to be tuned on; "": nobody does.

    `password` is what the page and every door ask for, "": nothing. `space`: this is a Hugging Face Space,
    of `owner` ("": nobody can sign in), under the names `reached_as`; its posts are kept in `snapshot`, a file, a
    folder or a dataset repository (`datasets/owner/name`).

    `cache_bytes` bounds what the writer keeps on disk of passages it has read, `cache_memory_bytes` what in memory.
    """

    home: Path
    embedder: str = ""
    reranker: str = ""
    nli: str = ""
    writer: str = ""
    writer_model: str = ""
    writer_key: str = ""
    question_writer: str = ""
    host: str = "127.0.0.1"
    port: int = 0
    offline: bool = False
    max_file_bytes: int = 25_000_000
    allow_private: bool = False
    cache_bytes: int = 500_000_000
    cache_memory_bytes: int = 100_000_000
    password: str = ""
    space: bool = False
    owner: str = ""
    reached_as: tuple[str, ...] = ()
    snapshot: str = ""

    @property
    def local(self) -> bool:
        """Whether the page is for this machine alone, and may be told of folders on it."""
        return self.host in LOOPBACK

    @property
    def exposed(self) -> bool:
        """Whether anyone could use the page as its owner does; to a Space visitors are meant to come."""
        return not (self.local or self.password or self.space)

    def as_text(self) -> str:
        """Return the settings as they would be typed, for `doctor`."""
        return " ".join(
            (
                f"FOOTNOTE_HOME={self.home}",
                f"FOOTNOTE_EMBEDDER={self.embedder}",
                f"FOOTNOTE_RERANKER={self.reranker}",
                f"FOOTNOTE_NLI={self.nli}",
                f"FOOTNOTE_WRITER={self.writer}",
                f"FOOTNOTE_WRITER_MODEL={self.writer_model}",
                f"FOOTNOTE_WRITER_KEY={'(set)' if self.writer_key else ''}",
                f"FOOTNOTE_QUESTION_WRITER={self.question_writer}",
                f"FOOTNOTE_HOST={self.host}",
                f"FOOTNOTE_PORT={self.port}",
                f"FOOTNOTE_PASSWORD={'(set)' if self.password else ''}",
                f"FOOTNOTE_SNAPSHOT={self.snapshot}",
                f"FOOTNOTE_OFFLINE={int(self.offline)}",
                f"FOOTNOTE_MAX_FILE_MB={self.max_file_bytes / 1e6:g}",
                f"FOOTNOTE_ALLOW_PRIVATE={int(self.allow_private)}",
                f"FOOTNOTE_CACHE_MB={self.cache_bytes / 1e6:g}",
                f"FOOTNOTE_CACHE_MEMORY_MB={self.cache_memory_bytes / 1e6:g}",
            )
        )


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Read the FOOTNOTE_ variables. Raise BadSetting if one cannot be used."""
    home = environment.get("FOOTNOTE_HOME", "").strip()
    space = environment.get("SYSTEM", "") == "spaces"
    told = environment.get("GRADIO_SERVER_NAME", "") if space else ""
    # without a secret of its own, the seal of whoever has signed in could be made by anyone
    sealed = bool(environment.get("OAUTH_CLIENT_ID") and environment.get("OAUTH_CLIENT_SECRET"))
    return Settings(
        home=_folder(home) if home else _SPACES_HOME if space else CHECKOUT / "data",
        embedder=environment.get("FOOTNOTE_EMBEDDER", "").strip(),
        reranker=environment.get("FOOTNOTE_RERANKER", "").strip(),
        nli=environment.get("FOOTNOTE_NLI", "").strip(),
        writer=_writer(environment, "FOOTNOTE_WRITER"),
        writer_model=environment.get("FOOTNOTE_WRITER_MODEL", "").strip(),
        writer_key=environment.get("FOOTNOTE_WRITER_KEY", "").strip(),
        question_writer=_writer(environment, "FOOTNOTE_QUESTION_WRITER"),
        host=environment.get("FOOTNOTE_HOST", "").strip() or told or "127.0.0.1",
        port=int(_number(environment, "FOOTNOTE_PORT", default=0, low=0, high=65535, whole=True)),
        offline=_switch(environment, "FOOTNOTE_OFFLINE"),
        max_file_bytes=int(1e6 * _number(environment, "FOOTNOTE_MAX_FILE_MB", default=25, low=0.001, high=2000)),
        allow_private=_switch(environment, "FOOTNOTE_ALLOW_PRIVATE"),
        cache_bytes=int(1e6 * _number(environment, "FOOTNOTE_CACHE_MB", default=500, low=0, high=1e6)),
        cache_memory_bytes=int(1e6 * _number(environment, "FOOTNOTE_CACHE_MEMORY_MB", default=100, low=0, high=1e6)),
        password=environment.get("FOOTNOTE_PASSWORD", "").strip(),
        space=space,
        owner=environment.get("SPACE_AUTHOR_NAME", "").strip() if sealed else "",
        reached_as=tuple(name.strip().lower() for name in environment.get("SPACE_HOST", "").split(",") if name.strip()),
        snapshot=environment.get("FOOTNOTE_SNAPSHOT", "").strip(),
    )


def _writer(environment: Mapping[str, str], name: str) -> str:
    """Return a writer's setting, an address without what must not stand in it."""
    value = environment.get(name, "").strip()
    if not value.startswith(("http://", "https://")):
        return value
    try:
        parts = urlsplit(value)
        sound = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        sound = False
    if not sound or parts.username is not None or parts.query or parts.fragment:
        raise BadSetting(
            f"{name} cannot be used. Set it to a server's address such as http://127.0.0.1:8080, and its key, "
            "if it has one, as FOOTNOTE_WRITER_KEY."
        )
    return value


def _folder(value: str) -> Path:
    try:
        return Path(value).expanduser().resolve()
    except (RuntimeError, OSError, ValueError) as error:
        raise BadSetting(
            f"FOOTNOTE_HOME={value} cannot be used ({error}). Set it to a folder, or leave it out."
        ) from error


def _number(
    environment: Mapping[str, str], name: str, *, default: float, low: float, high: float, whole: bool = False
) -> float:
    value = environment.get(name, "").strip() or str(default)
    try:
        number = int(value) if whole else float(value)
    except ValueError:
        number = None
    if number is None or not low <= number <= high:
        kind = "whole number" if whole else "number"
        raise BadSetting(
            f"{name}={value} cannot be used. Set it to a {kind} from {low:g} to {high:g}, or leave it out."
        )
    return number


def _switch(environment: Mapping[str, str], name: str) -> bool:
    value = environment.get(name, "").strip().lower()
    if value in ("", "0", "false", "no", "off"):
        return False
    if value in ("1", "true", "yes", "on"):
        return True
    raise BadSetting(f"{name}={value} cannot be used. Set it to 1 or 0, or leave it out.")
