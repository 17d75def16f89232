"""Zip archives, and archives within them: each file that may be a post, in memory and never on disk.

Nothing that an archive says about itself is believed: sizes are counted while it expands, and names are only names."""

from __future__ import annotations

import io
import stat
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO

from rag.errors import BadFile
from rag.readers import exports
from rag.readers.decode import printable
from rag.readers.folders import inside_left_out, may_be_post
from rag.readers.limits import LISTS, Exhausted, Limits
from rag.records import Document, Post, Refused

Inner = Callable[[Document, bytes, Limits], Iterable[Post | Refused]]
"""Reads one file of an archive; yields nothing for a file that is no post and was never meant to be one."""

_BLOCK = 1 << 18
_DIRECTORY = 600  # bytes that the list of contents may have for each file that an archive may hold
_BROKEN = (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ValueError, KeyError, zlib.error)
_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others can expand a block of input to gigabytes at once


@dataclass
class Budget:
    """How many bytes and files may still come out of an archive and all within it."""

    bytes: int
    files: int


def read(
    document: Document,
    file: IO[bytes],
    limits: Limits,
    endings: Collection[str],
    inner: Inner,
    budget: Budget | None = None,
    depth: int = 1,
) -> Iterator[Post | Refused]:
    """Yield what `inner` reads of each file with one of the `endings`, nested archives included.

    An archive that Substack or Medium made is read as the export that it is.
    """
    budget = budget or Budget(limits.archive_bytes, limits.archive_files)
    archive = Archive(file, document.name, limits, budget)
    if (exported := exports.read_archive(document, archive, limits)) is not None:
        yield from exported
        return
    found = False
    for path in archive.names:
        name = PurePosixPath(path)
        if inside_left_out(name) or not may_be_post(name.name, endings):
            continue
        part = Document(f"{document.source}#{printable(path)}", printable(path), address=document.address)
        ending = name.suffix.lower()
        try:
            data = archive.read(path, limits.export_bytes if ending in LISTS else limits.post_bytes)
            if ending != ".zip":
                results = inner(part, data, limits)
            elif depth < limits.depth:
                results = read(part, io.BytesIO(data), limits, endings, inner, budget, depth + 1)
            else:
                raise BadFile(f"{part.name}: archives are packed into each other too deeply. Unpack it and add that.")
            for result in results:
                found = True
                yield result
        except Exhausted:
            raise
        except BadFile as error:
            found = True
            yield Refused(part.source, str(error))
    for path in archive.leading_out:
        found = True
        name_shown = printable(path)
        yield Refused(
            f"{document.source}#{name_shown}",
            f"{name_shown}: this file of the archive is a link or its name leads out of it. Add the file by itself.",
        )
    if not found:
        raise BadFile(
            f"{document.name}: this archive holds no posts. Check what is in it, or add its files one by one."
        )


class Archive:
    """A zip opened for reading: the paths of its files in `names`, links and names that lead out in `leading_out`."""

    def __init__(self, file: IO[bytes], name: str, limits: Limits, budget: Budget) -> None:
        self.name = name
        self._budget = budget
        self._limits = limits
        _check_directory(file, name, limits)
        try:
            self._zip = zipfile.ZipFile(file)
        except _BROKEN as error:
            raise BadFile(f"{name}: this archive is damaged. Download or make it again.") from error
        self._infos: dict[str, zipfile.ZipInfo] = {}
        self.leading_out: list[str] = []
        for info in self._zip.infolist():
            path = _path(info)
            if _leads_out(info, path):
                self.leading_out.append(path)
            elif not info.is_dir():
                self._infos[path] = info
        self.names = self._infos.keys()
        if len(self.names) > limits.archive_files:
            raise _too_many(name, limits)

    def read(self, path: str, limit: int) -> bytes:
        """Return a file's content. Raise BadFile if it is over `limit`, encrypted or damaged."""
        info = self._infos[path]
        shown = printable(path)
        if info.flag_bits & 1:
            raise BadFile(f"{shown}: this file is encrypted. Unpack the archive with its password and add the folder.")
        if info.compress_type not in _PLAIN:
            raise BadFile(
                f"{shown}: this file is packed in a way that is not read. Unpack the archive and add the folder."
            )
        self._budget.files -= 1
        if self._budget.files < 0:
            raise _too_many(self.name, self._limits)
        try:
            with self._zip.open(info) as file:
                return b"".join(self._blocks(file, shown, limit))
        except _BROKEN as error:
            raise BadFile(f"{shown}: this file of the archive is damaged. Make the archive again.") from error

    def _blocks(self, file: IO[bytes], shown: str, limit: int) -> Iterator[bytes]:
        size = 0
        while block := file.read(_BLOCK):
            size += len(block)
            self._budget.bytes -= len(block)
            if self._budget.bytes < 0:
                raise Exhausted(
                    f"{self.name}: this archive expands to more than {self._limits.archive_bytes / 1e6:g} MB; the rest "
                    "of it was not read. Unpack it and add the folder."
                )
            if size > limit:
                raise BadFile(
                    f"{shown}: this file expands to more than the limit of {limit / 1e6:g} MB. "
                    "Split it, or raise FOOTNOTE_MAX_FILE_MB."
                )
            yield block


def _too_many(name: str, limits: Limits) -> Exhausted:
    return Exhausted(
        f"{name}: this archive holds more than the {limits.archive_files:,} files that are read. "
        "Unpack it and add the folder."
    )


def _check_directory(file: IO[bytes], name: str, limits: Limits) -> None:
    """Refuse an archive whose list of contents alone would fill the memory."""
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - 66_000))
    tail = file.read(66_000)
    end = tail.rfind(b"PK\5\6")
    length = int.from_bytes(tail[end + 12 : end + 16], "little") if end >= 0 else 0
    wide = tail.rfind(b"PK\6\6")  # zip64 keeps its own list's length
    if length == 0xFFFFFFFF and wide >= 0:
        length = int.from_bytes(tail[wide + 40 : wide + 48], "little")
    if length > limits.archive_files * _DIRECTORY:
        raise _too_many(name, limits)
    file.seek(0)


def _path(info: zipfile.ZipInfo) -> str:
    """Return a file's path with slashes; names that were packed as UTF-8 without saying so are read as such."""
    name = info.filename
    if not info.flag_bits & 0x800:
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/")


def _leads_out(info: zipfile.ZipInfo, path: str) -> bool:
    parts = path.split("/")
    linked = stat.S_ISLNK(info.external_attr >> 16)
    return linked or path.startswith("/") or ".." in parts or (len(parts[0]) == 2 and parts[0].endswith(":"))
