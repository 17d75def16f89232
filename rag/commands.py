"""The command line: what can be typed and what each command does; shown.py says how its outcome looks.

A command yields events, so that it runs alike in its own process and in the one that serves the page:
`log` (a line for stderr), `text` (for a person, on stdout), `result` (the JSON object; its exit code beside it)."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict
from pathlib import Path
from threading import Event as Flag
from typing import Any, TypeVar

from rag import space, takeaway
from rag.amounts import counted
from rag.engine import Engine
from rag.errors import BadFile, FootnoteError
from rag.evaluate import evaluate
from rag.finding import query
from rag.finding.followups import turns_of
from rag.incoming.sources import described, is_address
from rag.jobs import Job
from rag.ports import Progress
from rag.readers import formats, printable
from rag.records import Answer, Check
from rag.search import SHOWN, clean_question
from rag.shown import (
    answer_json,
    best_quotes,
    coverage_json,
    diagnosis,
    footnotes,
    hit_json,
    hit_lines,
    legs_json,
    post_json,
    progress_json,
    progress_line,
    tally,
)
from rag.tuning import command as tuning

Event = dict[str, Any]
Arguments = dict[str, Any]
ADDED = ("added", "updated", "unchanged", "failed")
"""What can become of a file or page that is added."""
Result = TypeVar("Result")
_TOLD_EVERY_S = 3
_BARE_ADDRESS = re.compile(
    r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+(?P<ending>[a-z]{2,24})(?::\d+)?(?P<path>/.*)?", re.I
)
_ENDINGS_OF_SITES = frozenset(  # those of files ("notes.md", "config.in") are none
    "com org net edu gov io dev app blog me info page site online xyz tech cloud news eu uk us ca au nz ie de at ch fr "
    "it es pt nl be dk se no fi pl cz jp kr br mx ru za co ai".split()
)
_MCP = "Serve the posts to an assistant as MCP tools, on standard input and output."
_COMMANDS_A_TERMINAL = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line; no command means: serve the page."""
    top = argparse.ArgumentParser(
        prog="python app.py",
        description="Footnote answers questions about your blog posts and proves each sentence. "
        "Without a command it opens the page.",
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND")

    def command(name: str, help_: str, example: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=help_, description=help_, epilog=f"example: python app.py {example}")
        made.add_argument("--json", action="store_true", help="print one JSON object on stdout and nothing else")
        return made

    add = command("add", "Add posts: files, folders, a page, a feed or a whole site.", "add ~/blog/posts --json")
    add.add_argument("paths", nargs="+", metavar="PATH|URL")
    add.add_argument("--yes", action="store_true", help="take what is found at an address without asking")
    ask = command("ask", "Ask a question and get an answer with footnotes.", 'ask "How do I feed a sourdough starter?"')
    ask.add_argument("question", metavar="QUESTION")
    ask.add_argument("--history", metavar="FILE", help="JSON with the turns before it, oldest first")
    search = command("search", "List the passages that fit a question best.", 'search "sourdough" --limit 5')
    search.add_argument("question", metavar="QUESTION")
    search.add_argument("--limit", type=_positive, default=SHOWN, metavar="N", help=f"how many ({SHOWN})")
    search.add_argument(
        "--search", choices=("hybrid", "dense", "lexical"), default="hybrid", help="which search (hybrid)"
    )
    search.add_argument("--explain", action="store_true", help="show each leg's rank and score")
    posts = command("posts", "List the posts, or print one whole.", "posts --json")
    posts.add_argument("id", nargs="?", metavar="ID")
    remove = command("remove", "Remove posts by their ids.", "remove 3f2a91c07b5e")
    remove.add_argument("ids", nargs="+", metavar="ID")
    sources = command("sources", "List where posts come from, or forget one.", "sources --forget 3f2a91c0")
    sources.add_argument("--forget", metavar="ID", help="forget this source; its posts stay")
    sources.add_argument("--with-posts", action="store_true", help="remove its posts, too")
    sync = command("sync", "Read sources again: new, changed and vanished posts.", "sync --dry-run --json")
    sync.add_argument("id", nargs="?", metavar="ID", help="one source (all)")
    sync.add_argument("--dry-run", action="store_true", help="only tell what would be done")
    sync.add_argument("--prune", action="store_true", help="remove the posts that have vanished")
    command("reindex", "Rebuild the index from the library.", "reindex")
    command("doctor", "Check models, library, index and machine.", "doctor")
    measured = command(
        "eval", "Measure search on a judged collection in BEIR layout.", "eval ~/scifact --limit 100 --json"
    )
    measured.add_argument("folder", metavar="DIR")
    measured.add_argument("--limit", type=_positive, metavar="N", help="only the first N questions")
    measured.add_argument(
        "--search", choices=("hybrid", "dense", "lexical"), default="hybrid", help="which search (hybrid)"
    )
    measured.add_argument("--embedder", default="", metavar="MODEL", help="another embedder: a folder, or its Hub id")
    measured.add_argument("--dim", type=_positive, metavar="N", help="only the first N numbers of its vectors")
    measured.add_argument("--history", action="store_true", help="put each question with the turns before it")
    measured.add_argument(
        "--outside", metavar="DIR2", help="put the questions of DIR2, too: how well are they refused?"
    )
    tuning.describe(command)
    takeaway.describe(command)
    space.describe(command)
    served = commands.add_parser("mcp", help=_MCP, description=_MCP, epilog="example: python app.py mcp")
    served.set_defaults(json=False)
    return top


def arguments_of(parsed: argparse.Namespace) -> Arguments:
    """Return a command's arguments as plain data, paths made absolute: another process may run it."""
    arguments = {name: value for name, value in vars(parsed).items() if name not in ("command", "json")}
    if "paths" in arguments:
        arguments["paths"] = [_place(path) for path in arguments["paths"]]
    if "ids" in arguments:
        arguments["ids"] = [printable(id_) for id_ in arguments["ids"]]
    if parsed.command == "ask" and parsed.history:
        arguments["history"] = _read_json(Path(parsed.history))
    for name in ("pairs", "file", *(["folder"] if parsed.command == "export" else [])):
        if arguments.get(name):
            arguments[name] = os.path.abspath(os.path.expanduser(arguments[name]))
    if os.path.isdir(base := os.path.expanduser(arguments.get("base") or "")):  # else it is an id on the Hub
        arguments["base"] = os.path.abspath(base)
    if arguments.get("id"):
        arguments["id"] = printable(arguments["id"])
    return arguments


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise BadFile(f"{path} cannot be read: {reason}. Give a JSON file with the turns, oldest first.") from error


def _place(typed: str) -> str:
    """Return a path made absolute, or an address: "example.com/blog" is one where no such file or folder is."""
    if not typed or is_address(typed):
        return typed
    bare = _BARE_ADDRESS.fullmatch(typed)
    ending = bare["ending"].lower() if bare else ""
    likely = bare and f".{ending}" not in formats() and (bare["path"] or ending in _ENDINGS_OF_SITES)
    if likely and not os.path.lexists(typed) and not os.path.lexists(typed.partition("/")[0]):
        return f"https://{typed}"
    return os.path.abspath(os.path.expanduser(typed))


def run(engine: Engine, command: str, arguments: Arguments, machine: Callable[[], list[Check]]) -> Iterator[Event]:
    """Run one command, yielding its events; a FootnoteError ends it as an `error` event."""
    try:
        if command == "doctor":
            yield diagnosis([*engine.checks(), *machine()])
        else:
            yield from COMMANDS[command](engine, **arguments)
    except FootnoteError as error:
        yield {"error": str(error)}


def present(events: Iterable[Event], write: Callable[[str], Any], *, as_json: bool, dump: Callable[[Any], str]) -> int:
    """Show events as they come and return the exit code. With `as_json` only the result goes to `write`."""
    code = 1
    for event in events:
        if "error" in event:
            sys.stderr.write(f"error: {_harmless(' '.join(event['error'].split()))}\n")
            return 1
        if "log" in event:
            sys.stderr.write(_harmless(event["log"]) + "\n")
        if "text" in event and not as_json:
            write(_harmless(event["text"]))
        if "result" in event:
            code = event.get("exit", 0)
            if as_json:
                write(dump(event["result"]) + "\n")
    return code


def choose(
    paths: Sequence[str], look: Callable[[str], Iterable[Event]], ask: Callable[[str], str] | None
) -> Generator[Event, None, list[Any]]:
    """Find out what lies at each address among `paths`, yielding what there is to say; return what to add.

    `ask` puts a question to the person and returns the answer; with None, the likeliest is taken. A site is asked
    about, a page or a feed named by its own address is not.
    """
    chosen: list[Any] = []
    for path in paths:
        if not is_address(path):
            chosen.append(path)
            continue
        found: list[dict[str, Any]] = []
        for event in look(path):
            found += event.get("result", {}).get("found", [])
        if not found:
            chosen.append(path)  # becomes a row that says why
        elif ask is None or found[0]["kind"] == "page" or (len(found) == 1 and found[0]["kind"] == "feed"):
            chosen.append([found[0]["kind"], found[0]["location"]])
        else:
            for number, finding in enumerate(found, start=1):
                yield {"log": f"{number}  {finding['what']}"}
            said = ask(f"Which one? [1-{len(found)}, 1 if you press Enter, n for none] ").strip() or "1"
            if said.isdecimal() and 1 <= int(said) <= len(found):
                chosen.append([found[int(said) - 1]["kind"], found[int(said) - 1]["location"]])
    return chosen


def _harmless(text: str) -> str:
    """Return a text for a terminal: what posts and servers say must not move its cursor or turn its words around."""
    return _COMMANDS_A_TERMINAL.sub("?", text)


def _look(engine: Engine, address: str) -> Iterator[Event]:
    """Say what lies at an address: for `add`, which asks the person in the process that was typed in."""
    found = engine.look(address)
    yield {"result": {"found": [{**asdict(finding), "what": described(finding)} for finding in found]}}


def _add(engine: Engine, paths: list[Any], yes: bool = False) -> Iterator[Event]:  # noqa: ARG001 - `choose` has asked
    job = engine.add(path if isinstance(path, str) else tuple(path) for path in paths)
    outcome = yield from followed(job, ADDED)
    if engine.trouble:
        yield {"log": engine.trouble}
    nothing = not (outcome["added"] or outcome["updated"] or outcome["unchanged"])
    yield {"result": outcome, "exit": int(nothing), "text": tally(outcome)}


def _sync(engine: Engine, id: str | None, dry_run: bool, prune: bool) -> Iterator[Event]:  # noqa: A002 - as typed
    job = engine.sync(id, dry_run=dry_run, prune=prune)
    outcome = yield from followed(job, ("added", "updated", "unchanged", "vanished", "failed"), silent="unchanged")
    nothing = bool(outcome["failed"]) and not any(rows for state, rows in outcome.items() if state != "failed")
    told = ("Dry run, nothing was changed: " if dry_run else "") + tally(outcome)
    yield {"result": outcome, "exit": int(nothing), "text": told}


def followed(
    job: Job, states: Sequence[str], silent: str = ""
) -> Generator[Event, None, dict[str, list[dict[str, Any]]]]:
    """Log what becomes of each file and page; return the rows by state."""
    outcome: dict[str, list[dict[str, Any]]] = {state: [] for state in states}
    for progress in job:
        if progress.state in outcome:
            outcome[progress.state].append(progress_json(progress))
            if progress.state != silent:
                yield {"log": progress_line(progress)}
    return outcome


def _sources(engine: Engine, forget: str | None, with_posts: bool) -> Iterator[Event]:
    if forget is not None:
        removed = engine.forget(forget, with_posts=with_posts)
        yield {"log": f"forgotten, {counted(len(removed), 'post')} removed"}
    sources = engine.sources()
    lines = [f"{s.id}  {s.kind:6}  {s.posts:5} posts  {s.checked or 'never read':25}  {s.location}" for s in sources]
    yield {
        "text": "\n".join([*lines, f"{len(sources)} sources\n"]),
        "result": {"sources": [asdict(s) for s in sources]},
    }


def _ask(engine: Engine, question: str, history: Any) -> Iterator[Event]:
    answer, shown, quoted = Answer(clean_question(question)), "", False
    turns = turns_of(history or [])
    yield from _narrowed(question)
    yield from _preparing(engine)
    for answer in engine.ask(question, turns=turns):
        if answer.quotes and not quoted and not answer.refused:
            quoted = True
            yield {"text": best_quotes(answer)}
        if not answer.text.startswith(shown):
            yield {"text": "\n\nNot all of that is borne out by your posts. What is:\n"}
            shown = ""
        yield {"text": answer.text[len(shown) :]}
        shown = answer.text
    if answer.failed:
        yield {"log": f"error: {answer.note}"}
    yield {"text": footnotes(answer), "result": answer_json(answer), "exit": int(answer.failed)}


def _narrowed(question: str) -> Iterator[Event]:
    """Say which passages a question is put to, if not to all."""
    if filters := query.described(query.parse(clean_question(question)).filters):
        yield {"log": f"Only passages {filters} are searched."}


def _search(engine: Engine, question: str, limit: int, search: Any, explain: bool) -> Iterator[Event]:
    yield from _narrowed(question)
    if search != "lexical":
        yield from _preparing(engine)
    found = engine.search(question, search, limit)
    lines = [hit_lines(hit, explain) for hit in found.hits]
    sure = "" if found.probability is None else f" ({found.probability:.2f})"
    yield {
        "text": "\n".join([*lines, f"{len(found.hits)} passages; {found.coverage}{sure}\n"]),
        "result": {
            "hits": [hit_json(hit) | (legs_json(hit) if explain else {}) for hit in found.hits],
            **coverage_json(found),
        },
    }


def _posts(engine: Engine, id: str | None) -> Iterator[Event]:  # noqa: A002 - the name that is typed
    if id is None:
        posts = engine.posts()
        lines = [f"{post.id}  {post.date or '          '}  {post.passages:4}  {post.title}" for post in posts]
        yield {
            "text": "\n".join([*lines, f"{len(posts)} posts\n"]),
            "result": {"posts": [post_json(p) for p in posts]},
        }
        return
    post = engine.post(id)
    result = {
        "id": id,
        **{name: value for name, value in asdict(post).items() if name != "tags"},
        "tags": list(post.tags),
    }
    yield {"text": f"{post.title}\n\n{post.text}\n", "result": result}


def _remove(engine: Engine, ids: list[str]) -> Iterator[Event]:
    removed = engine.remove(ids)
    yield {"text": f"removed {', '.join(removed)}\n", "result": {"removed": removed}}


def _reindex(engine: Engine) -> Iterator[Event]:
    yield {"log": "Rebuilding the index; the old one answers until the new one is there."}
    started = time.perf_counter()
    passages = yield from _told(engine.reindex)
    seconds = round(time.perf_counter() - started, 3)
    result = {"passages": passages, "embedder": engine.embedder_name, "seconds": seconds}
    yield {"text": f"{passages} passages indexed with {engine.embedder_name} in {seconds} s\n", "result": result}


def _eval(
    engine: Engine,
    folder: str,
    limit: int | None,
    search: Any,
    embedder: str,  # noqa: ARG001 - the engine was made with it
    dim: int | None,
    history: bool,
    outside: str | None,
) -> Iterator[Event]:
    if dim:
        engine.prepare()
        engine.tuning.choose(dim)
    yield {"log": f"Indexing {folder} in a temporary place; your own posts are not touched."}
    other = Path(outside) if outside else None
    result = evaluate(engine, Path(folder), search, limit, history=history, outside=other)
    yield {"text": "".join(f"{name:14} {value}\n" for name, value in result.items()), "result": result}


COMMANDS: dict[str, Callable[..., Iterator[Event]]] = {
    "add": _add,
    "look": _look,
    "ask": _ask,
    "search": _search,
    "posts": _posts,
    "remove": _remove,
    "sources": _sources,
    "sync": _sync,
    "reindex": _reindex,
    "eval": _eval,
    "tune": tuning.tune,
    **takeaway.COMMANDS,
}


def _preparing(engine: Engine) -> Iterator[Event]:
    yield {"log": "Loading the models…"}
    yield from _told(engine.prepare)
    if engine.trouble:
        yield {"log": engine.trouble}


def _told(work: Callable[[Progress], Result]) -> Generator[Event, None, Result]:
    """Do work that may take minutes, yielding how far it is now and then; return its result."""
    reached: list[tuple[int, int]] = []
    left = Flag()

    def report(done: int, total: int) -> None:
        if left.is_set():
            raise KeyboardInterrupt  # in the thread, too: whoever waited has gone
        reached.append((done, total))

    with ThreadPoolExecutor(max_workers=1) as pool:
        try:
            future = pool.submit(work, report)
            while not wait([future], timeout=_TOLD_EVERY_S).done:
                if reached:
                    yield {"log": f"Rebuilding the index: {reached[-1][0]:,} of {reached[-1][1]:,} passages"}
        finally:
            left.set()
    return future.result()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("give a number from 1 up")
    return number
