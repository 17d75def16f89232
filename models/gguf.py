"""What a GGUF file says of itself at its beginning, read without loading it.

So an embedding model, one part of several, or a file that is something else is told before llama.cpp has to do with
it, which answers each of them with the same words, or with an end of the whole process."""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FORMATS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MOST_KEYS, _MOST_ITEMS, _KEPT_ITEMS = 4_096, 4_000_000, 512
_LONGEST_KEPT = 1_000  # bytes of a text that are kept; a chat template is not needed here
_DAMAGED = "a damaged GGUF file"
ENCODERS = ("bert", "t5encoder", "embedding")
"""Parts of the names of architectures that turn text into vectors."""


@dataclass(frozen=True)
class Header:
    """A model as its file describes it: `context` in tokens, `cell` the bytes of memory that each of them takes.

    `parts`: in how many files it comes. `embeds`: it turns text into vectors and writes none.
    """

    architecture: str
    context: int
    cell: int
    licence: str
    parts: int
    embeds: bool


def read_header(file: Path) -> Header:
    """Read the beginning of a GGUF file. Raise ValueError if it is none, OSError if it cannot be read."""
    with file.open("rb") as opened:
        if opened.read(4) != b"GGUF":
            raise ValueError("no GGUF file")
        with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                keys = _keys(data)
            except (struct.error, LookupError, OverflowError) as error:
                raise ValueError(_DAMAGED) from error
    try:
        return _header(keys)
    except (TypeError, ValueError, OverflowError) as error:  # a text where a number belongs
        raise ValueError(_DAMAGED) from error


def _header(keys: dict[str, Any]) -> Header:
    architecture = str(keys.get("general.architecture", ""))

    def of(name: str, default: Any = 0) -> Any:
        return keys.get(f"{architecture}.{name}", default)

    heads = _most(of("attention.head_count"))
    width = int(of("attention.key_length")) or int(of("embedding_length")) // max(heads, 1)
    layers, kept_heads = int(of("block_count")), _most(of("attention.head_count_kv")) or heads
    encoder = any(word in architecture for word in ENCODERS)
    return Header(
        architecture,
        int(of("context_length")),
        layers * kept_heads * width * 2 * 2,  # a key and a value, of two bytes each
        str(keys.get("general.license", "")),
        int(keys.get("split.count", 1)) or 1,
        encoder or bool(of("pooling_type")) or of("attention.causal", True) is False,
    )


def _most(heads: Any) -> int:
    """Return a number that some models give for each of their layers."""
    return int(max(heads or [0])) if isinstance(heads, list) else int(heads)


def _keys(data: mmap.mmap) -> dict[str, Any]:
    version, _, count = struct.unpack_from("<IQQ", data, 4)
    if version not in (2, 3) or count > _MOST_KEYS:
        raise ValueError("a GGUF file of an unknown form")
    at, keys = 24, {}
    for _ in range(count):
        key, at = _value(data, at, _STRING)
        (kind,) = struct.unpack_from("<I", data, at)
        keys[key], at = _value(data, at + 4, kind)
    return keys


def _value(data: mmap.mmap, at: int, kind: int) -> tuple[Any, int]:
    """Return (the value at a place, the place behind it); of a long list only its beginning."""
    if kind == _STRING:
        (length,) = struct.unpack_from("<Q", data, at)
        end = at + 8 + length
        if end > len(data):
            raise IndexError(end)
        return data[at + 8 : min(end, at + 8 + _LONGEST_KEPT)].decode("utf-8", "replace"), end
    if kind != _ARRAY:
        form = "<" + _FORMATS[kind]
        return struct.unpack_from(form, data, at)[0], at + struct.calcsize(form)
    inner, length = struct.unpack_from("<IQ", data, at)
    at += 12
    if length > _MOST_ITEMS or inner == _ARRAY:
        raise IndexError(length)
    items: list[Any] = []
    for _ in range(length):
        item, at = _value(data, at, inner)
        if len(items) < _KEPT_ITEMS:
            items.append(item)
    return items, at
