"""What becomes of hostile files: `python -m benchmarks.hostile [--family NAME]... [--quick] [--name PART]`.

Everything under `hostile` in the data sets, and the traps of tests/hostile.py, go through the real reading room, and
what was read is split into passages. Every document must end as posts or as one clear sentence, with nothing written
anywhere, no file followed, and no reader that crashed; what was not so is listed below the table."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from types import FrameType
from urllib.parse import quote

from benchmarks.common import datasets, print_table
from rag.errors import BadFile
from rag.passages import split
from rag.readers import printable
from rag.readers.room import ReadingRoom
from rag.records import Document, Post, Refused
from rag.settings import CHECKOUT
from tests.hostile import CANARY, Trap, make, traps

SPLIT_SECONDS = 5.0
"""Splitting one document into passages may take so long; more is a finding."""
MAX_TOKENS = 250
FATES = ("read", "refused", "timed out", "memory", "surprised", "crashed", "silent")
COLUMNS = ("family", "files", *FATES, "posts", "slowest s", "largest MB")

FETCHED = {"feedparser_tests", "html5lib_tests", "defusedxml", "html", "xml", "json", "text"}
"""Families of what an address may answer with: their outlines are asked for, too."""

FETCHED_BYTES = 50_000_000

Case = tuple[str, str, Document]
"""(family, name, document)."""


@dataclass
class Outcome:
    """What became of one document: `fate` in a word, what a reader of the table must know in `remarks`."""

    fate: str
    posts: int = 0
    seconds: float = 0.0
    memory: int = 0
    reason: str = ""
    remarks: list[str] = field(default_factory=list)


def fate_of(parts: Sequence[Post | Refused]) -> str:
    """Return how a document ended: read, refused, timed out, crashed, too much memory, surprised or silent."""
    reasons = " ".join(part.reason for part in parts if isinstance(part, Refused))
    for words, fate in (
        ("ended its reader", "crashed"),
        ("makes no sense", "crashed"),
        ("was stopped after", "timed out"),
        ("MB of memory", "memory"),
        ("more memory than", "memory"),
        ("surprised Footnote", "surprised"),
        ("no reader understands", "surprised"),
    ):
        if words in reasons:
            return fate
    if not parts:
        return "silent"
    return "read" if any(isinstance(part, Post) for part in parts) else "refused"


def remarks_on(parts: Sequence[Post | Refused]) -> Iterator[str]:
    """Yield what is wrong with posts and sentences, whatever the fate."""
    sources = Counter(part.source for part in parts if isinstance(part, Post))
    if sources and sources.most_common(1)[0][1] > 1:
        yield f"two posts have the same source {sources.most_common(1)[0][0]!r}"
    for part in parts:
        if isinstance(part, Refused):
            one_line = part.reason.isprintable() and len(part.reason) < 1000
            if not one_line or ": " not in part.reason or not part.reason.endswith((".", "!", "?")):
                yield f"this is no clear sentence: {part.reason[:300]!r}"
            continue
        whole = f"{part.title} {part.text} {part.tags} {part.author} {part.url} {part.date}"
        if CANARY in whole or "root:x:0" in whole:
            yield "a file beside it was read"
        if len(part.title) > 1000 or len(part.tags) > 1000 or "\n" in part.title:
            yield f"its title has {len(part.title)} characters, and it has {len(part.tags)} tags"
        if any(ord(c) < 32 and c not in "\n\t" for c in part.title + part.text):
            yield "control characters are left in it"
        if not any(c.isalnum() for c in part.text):
            yield "a post without text"


def judge(room: ReadingRoom, document: Document) -> Outcome:
    """Read one document, split its posts, and say what became of it."""
    started = time.perf_counter()
    parts: list[Post | Refused] = list(room.read(document))
    outcome = Outcome(fate_of(parts), seconds=time.perf_counter() - started)
    outcome.reason = next((part.reason[:300] for part in parts[::-1] if isinstance(part, Refused)), "")
    outcome.posts = sum(isinstance(part, Post) for part in parts)
    outcome.remarks = list(dict.fromkeys(remarks_on(parts)))
    if outcome.fate not in ("read", "refused"):
        outcome.remarks.append(outcome.reason)
    started = time.perf_counter()
    for part in parts:
        if isinstance(part, Post) and time.perf_counter() - started < SPLIT_SECONDS * 2:
            outcome.remarks += _split(part)
    seconds = time.perf_counter() - started
    if seconds > SPLIT_SECONDS:
        outcome.remarks.append(f"slow: splitting {outcome.posts} posts took {seconds:.1f} s")
    return outcome


def look(room: ReadingRoom, document: Document) -> list[str]:
    """Ask for the outline of a document as if it had been fetched; return what there is to remark on."""
    started = time.perf_counter()
    data = Path(document.path).read_bytes() if document.path else document.data
    address = f"https://bread.example/{quote(document.name.encode('utf-8', 'surrogateescape'))}"
    try:
        outline = room.outline(Document(source=address, name=document.name, data=data, address=address))
    except BadFile as error:
        refused = Refused(address, str(error))
        fate = fate_of([refused])
        return list(remarks_on([refused])) + [f"outline: {fate}: {error!s:.300}"] * (fate != "refused")
    seconds = time.perf_counter() - started
    posts = [entry.post for entry in outline.entries if entry.post]
    return list(remarks_on(posts)) + [f"slow: outline took {seconds:.1f} s"] * (seconds > SPLIT_SECONDS)


def _split(post: Post) -> list[str]:
    def stop(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, stop)
    signal.alarm(60)
    try:
        passages = list(split(post, lambda texts: [len(text.split()) for text in texts], MAX_TOKENS))
    except TimeoutError:
        return [f"slow: splitting {len(post.text):,} characters was stopped after 60 s"]
    except Exception as error:
        return [f"splitting raised {error!r:.200}"]
    finally:
        signal.alarm(0)
    lost = any(post.text[passage.start : passage.end] != passage.text for passage in passages)
    return ["a passage does not stand where it says"] * lost + ["no passages"] * (not passages)


def data_set_cases(folder: Path) -> Iterator[Case]:
    """Yield every document of the data sets under `hostile`."""
    for path in sorted(folder.glob("feedparser_tests/**/*")):
        if path.suffix in (".xml", ".json"):
            yield _of_file("feedparser_tests", path, folder)
    for path in sorted(folder.glob("html5lib_tests/**/*")):
        for number, page in enumerate(_html5lib(path)):
            yield _of_bytes("html5lib_tests", f"{path.stem}-{number}.html", page)
    specification = (folder / "commonmark/spec.txt").read_text(encoding="utf-8")
    for number, example in enumerate(re.findall(r"^`{32} example\n(.*?)^\.$", specification, re.S | re.M)):
        content = example.replace("→", "\t")
        yield _of_bytes("commonmark", f"{number}.md", content.encode())
    for name in ("spec.txt", "alternative-html-blocks.txt"):
        yield _of_bytes("commonmark", f"{name}.md", (folder / "commonmark" / name).read_bytes())
    for path in sorted(folder.glob("defusedxml/xmltestdata/*")):
        for ending in ("xml", "rss", "html", "xhtml", "md", "rst", "ipynb"):
            yield _of_bytes("defusedxml", f"{path.name}.{ending}", path.read_bytes())
    for number, text in enumerate(json.loads((folder / "blns/blns.json").read_text(encoding="utf-8"))):
        for ending, content in (
            ("md", f"---\ntitle: {json.dumps(text)}\ntags: [{json.dumps(text)}]\n---\n\n{text}\n"),
            ("html", f"<title>{text}</title><article><h1>{text}</h1><p>{text}</p></article>"),
            ("txt", f"{text}\n\n{text}\n"),
        ):
            yield _of_bytes("blns", f"{number}.{ending}", content.encode("utf-8", "surrogatepass"))
    for family in ("pdf_samples", "pypdf_resources"):
        for path in sorted(folder.glob(f"{family}/**/*.*")):
            yield _of_file(family, path, folder)
    for path in sorted(folder.glob("owasp_xss/**/*.md")):
        yield _of_file("owasp_xss", path, folder)
    attacks = json.loads((folder / "bipia/text_attack_train.json").read_text(encoding="utf-8"))
    for kind, texts in attacks.items():
        for number, text in enumerate(texts):
            yield _of_bytes("bipia", f"{kind}-{number}.md", f"# {kind}\n\n{text}\n".encode())


def trap_cases(folder: Path, chosen: Sequence[Trap]) -> Iterator[Case]:
    """Yield the traps, each made when it is asked for and removed afterwards."""
    for trap in chosen:
        try:
            path = make(trap, folder)
        except (OSError, ValueError) as error:
            print(f"{trap.family}/{trap.name!r} cannot be made here: {error}", file=sys.stderr)
            continue
        yield trap.family, trap.name, document_at(path)
        if path.is_file() and not path.is_symlink():
            path.unlink()


def document_at(path: Path) -> Document:
    """Return the document that a file is."""
    return Document(source=printable(str(path)), name=path.name, path=str(path))


def _of_file(family: str, path: Path, folder: Path) -> Case:
    return family, str(path.relative_to(folder)), document_at(path)


def _of_bytes(family: str, name: str, data: bytes) -> Case:
    return family, name, Document(source=f"/{family}/{name}", name=name, data=data)


def _html5lib(path: Path) -> Iterable[bytes]:
    if path.suffix == ".dat":
        return re.findall(rb"^#data\n(.*?)\n#(?:errors|encoding)$", path.read_bytes(), re.S | re.M)
    if path.suffix == ".test" and "tokenizer" in path.parts:
        found = json.loads(path.read_text(encoding="utf-8"))
        tests = found.get("tests") or found.get("xmlViolationTests") or []
        return [test["input"].encode("utf-8", "surrogatepass") for test in tests]
    return []


class Memory:
    """Watches how much memory the readers and what they start take together, while the processes are there to ask."""

    def __init__(self) -> None:
        self.largest = 0
        threading.Thread(target=self._watch, daemon=True).start()

    def take(self) -> int:
        """Return the largest sum since the last call, in bytes."""
        largest, self.largest = self.largest, 0
        return largest

    def _watch(self) -> None:
        while True:
            self.largest = max(self.largest, sum(self._below(os.getpid())))
            time.sleep(0.05)

    def _below(self, pid: int) -> Iterator[int]:
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            with suppress(OSError):  # it may end while it is looked at
                for child in map(int, task.read_text().split()):
                    yield from self._below(child)
                    # a process that has just been split off still shows the memory of the one it comes from
                    if Path(f"/proc/{child}/cmdline").read_bytes() != Path(f"/proc/{pid}/cmdline").read_bytes():
                        status = Path(f"/proc/{child}/status").read_text()
                        yield sum(int(kb) * 1024 for kb in re.findall(r"^VmHWM:\s+(\d+) kB", status, re.M))


@contextmanager
def nothing_is_written(around: Path) -> Iterator[Path]:
    """Yield a folder to put traps into, and assert at the end that nothing was written beside it or their way."""
    inside = around / "inside"
    inside.mkdir()
    places = (around, CHECKOUT, Path.home(), Path(tempfile.gettempdir()))
    before = {path for place in places for path in place.glob("*escaped*")}
    yield inside
    assert [path.name for path in around.iterdir() if path.name != "scratch"] == ["inside"]
    after = {path for place in places for path in place.glob("*escaped*")} | set(inside.rglob("escaped*"))
    assert after == before, f"something was written: {sorted(after - before)}"


def main() -> None:
    options = _options()

    def wanted(family: str, name: str) -> bool:
        return (not options.family or family in options.family) and options.name in name

    outcomes: dict[str, list[Outcome]] = {}
    memory = Memory()
    remarks: list[str] = []
    chosen = [trap for trap in traps() if not (trap.large and options.quick) and wanted(trap.family, trap.name)]
    with tempfile.TemporaryDirectory(prefix="footnote-hostile-") as around, nothing_is_written(Path(around)) as folder:
        scratch = Path(around, "scratch")
        scratch.mkdir()
        os.environ["TMPDIR"] = str(scratch)  # of the readers: what they leave behind shows up here
        room = ReadingRoom(seconds=options.seconds)
        for family, name, document in chain(data_set_cases(datasets() / "hostile"), trap_cases(folder, chosen)):
            if not wanted(family, name):
                continue
            outcome = judge(room, document)
            if family in FETCHED and (not document.path or Path(document.path).stat().st_size < FETCHED_BYTES):
                outcome.remarks += look(room, document)
            outcome.memory = memory.take()
            outcomes.setdefault(family, []).append(outcome)
            line = f"{family}/{name!a}: {outcome.fate}, {outcome.seconds:.1f} s"
            remarks += [f"{line}: {remark}" for remark in outcome.remarks]
            if options.verbose or outcome.remarks:
                print(" | ".join([line, *(outcome.remarks or [outcome.reason])]), file=sys.stderr, flush=True)
        room.close()
        assert not list(scratch.iterdir()), f"something was written: {list(scratch.iterdir())}"
    print_table(COLUMNS, [_row(family, found) for family, found in outcomes.items()])
    print("\nNothing was written. " + (f"{len(remarks)} remarks:\n" if remarks else "Nothing else to remark."))
    print("\n".join(f"- {remark}" for remark in remarks))


def _row(family: str, outcomes: list[Outcome]) -> list[object]:
    fates = Counter(outcome.fate for outcome in outcomes)
    return [
        family,
        len(outcomes),
        *(fates[fate] for fate in FATES),
        sum(outcome.posts for outcome in outcomes),
        f"{max(outcome.seconds for outcome in outcomes):.1f}",
        max(outcome.memory for outcome in outcomes) // 1_000_000,
    ]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--family", action="append", default=[], help="only this family; may be given again")
    parser.add_argument("--name", default="", help="only documents with this in their names")
    parser.add_argument("--quick", action="store_true", help="leave the large traps out")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long a post may take")
    parser.add_argument("--verbose", action="store_true", help="print what became of each document")
    return parser.parse_args()


if __name__ == "__main__":
    main()
