"""Footnote's front door: reads the settings, joins the parts, and serves the page or runs one command."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlsplit

from models.cross_encoder import CrossEncoderNli, CrossEncoderReranker
from models.embedder import SentenceTransformerEmbedder
from models.hub import Hub
from models.machine import usable_cores, vector_features
from models.prefill import States
from models.server import ServerWriter
from models.space import announce_gpu, fetch_snapshot, send_snapshot, send_space
from models.stock import HubStock
from models.workshop import SentenceTransformerWorkshop
from models.writer import LlamaWriter
from rag import commands, handover, space
from rag.choosing import chosen, searching
from rag.doors import routes as doors
from rag.doors import tools
from rag.engine import Engine
from rag.errors import BadAddress, BadSetting, FootnoteError, StoreError
from rag.incoming.fetch import PAGE_BYTES, Fetcher
from rag.ports import Readers, Writer
from rag.readers.limits import Limits
from rag.readers.room import ReadingRoom
from rag.records import Check
from rag.settings import CHECKOUT, Settings, read_settings
from rag.shown import diagnosis
from rag.threads import attempt
from rag.tuning.command import CONFIRM
from rag.ui import import_gradio
from rag.visitors import Allowed, Visitors
from store.backup import SqliteVault, is_public
from store.catalogue import SqliteCatalogue
from store.conversations import SqliteConversations
from store.gold import SqliteGold
from store.library import SqliteLibrary, free_bytes
from store.lock import hold
from store.vectors import ChromaIndex

_GARBAGE = gc.get_threshold()  # after how many new objects Python looks for some, if nobody says otherwise
_SCHEDULE_S = 600  # how often it is asked whether a source is due


def build_engine(settings: Settings) -> Engine:
    """Join library, index, embedder and writer; no model is loaded yet."""
    library = SqliteLibrary(settings.home / "library.sqlite3")
    index = ChromaIndex(settings.home / "index")
    catalogue = SqliteCatalogue(library)
    notes, tuned, states = settings.home / "machine.json", settings.home / "models", _states(settings)
    if _is_server(settings.writer):
        states.forget()  # what a writer that ran here has read: a server's would leave it there for ever
    most = settings.max_file_bytes
    limits = Limits(post_bytes=most, export_bytes=max(Limits.export_bytes, 4 * most))
    stock = HubStock(
        Hub(offline=settings.offline),
        lambda setting: LlamaWriter(setting, offline=settings.offline, states=states),
        lambda setting: SentenceTransformerEmbedder(setting, offline=settings.offline, notes=notes),
    )
    base = settings.embedder or chosen("embedder", catalogue, stock)
    workshop = SentenceTransformerWorkshop(base, offline=settings.offline, notes=notes)
    return Engine(
        library,
        catalogue,
        SqliteGold(library),
        SqliteConversations(library),
        index,
        stock.embedder(searching(index.stored(), settings.embedder, catalogue, stock, tuned)),
        _writer(settings, stock, chosen("writer", catalogue, stock)),
        ReadingRoom(limits),
        Fetcher(allow_private=settings.allow_private, max_bytes=max(PAGE_BYTES, most)),
        workshop,
        models=tuned,
        stock=stock,
        fixed={"writer": settings.writer, "embedder": settings.embedder},
        inbox=settings.home / "inbox",
        reranker=CrossEncoderReranker(settings.reranker, offline=settings.offline) if settings.reranker else None,
        nli=CrossEncoderNli(settings.nli, offline=settings.offline) if settings.nli else None,
        question_writer=_question_writer(settings, stock),
        vault=SqliteVault(library),
    )


def _question_writer(settings: Settings, stock: HubStock) -> Writer | None:
    """Return the writer that is set to write the questions to tune on, if one is."""
    if not settings.question_writer:
        return None
    answers, asks = urlsplit(settings.writer).netloc, urlsplit(settings.question_writer).netloc
    if answers and answers != asks:  # the key is for the server that answers alone
        settings = replace(settings, writer_model="", writer_key="")
    return _writer(replace(settings, writer=settings.question_writer), stock)


def _writer(settings: Settings, stock: HubStock, other: str = "") -> Writer:
    """Return the writer that is set: a server's, or one that runs here; the other one where none is."""
    if _is_server(settings.writer):
        return ServerWriter(settings.writer, settings.writer_model, settings.writer_key)
    return stock.writer(settings.writer or other)


def _is_server(writer: str) -> bool:
    return writer.startswith(("http://", "https://"))


def _states(settings: Settings) -> States:
    """Return what the writer keeps of passages it has read."""
    folder = settings.home / "prefill"
    return States(folder, disk_bytes=settings.cache_bytes, memory_bytes=settings.cache_memory_bytes)


def machine_checks(settings: Settings) -> list[Check]:
    """Describe the machine: versions, processor features, disk space, settings."""
    packages = ("gradio", "sentence-transformers", "torch", "chromadb", "llama-cpp-python", "huggingface-hub")
    free = free_bytes(settings.home)
    return [
        Check(
            "versions", True, f"Python {platform.python_version()}, " + ", ".join(f"{p} {version(p)}" for p in packages)
        ),
        Check("processor", True, f"{platform.machine()}, {usable_cores()} cores, {vector_features()}"),
        Check(
            "disk",
            free > 500e6,
            f"{free / 1e9:.1f} GB free at {settings.home}" + ("" if free > 500e6 else "; free some"),
        ),
        Check("settings", True, settings.as_text()),
    ]


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parsed = commands.parser().parse_args(argv)
    try:
        settings = read_settings(os.environ)
        if settings.offline:
            os.environ["HF_HUB_OFFLINE"] = "1"  # read by the Hub's library when it is imported
        if parsed.command is None:
            return serve(settings)
        if parsed.command == "mcp":
            return tools.serve_stdio(
                tools.Hand(lambda: _taken(settings), lambda *asked: handover.send(settings.home, *asked))
            )
        stdout = sys.stdout
        with contextlib.redirect_stdout(sys.stderr):  # whatever a library prints, stdout holds the result alone
            events = _events(settings, parsed.command, commands.arguments_of(parsed), as_json=parsed.json)
            return commands.present(events, _writer_to(stdout), as_json=parsed.json, dump=_dump)
    except FootnoteError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
    except KeyboardInterrupt:
        sys.stderr.write("Stopped.\n")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on; not an error to report
    return 1


def serve(settings: Settings) -> int:
    """Serve the page until it is interrupted; if another process already does, open its page."""
    if settings.space:
        announce_gpu()
    if settings.exposed:
        raise BadSetting(
            f"FOOTNOTE_HOST={settings.host} opens the page to others. Set FOOTNOTE_PASSWORD to what it shall ask them "
            "for, or leave FOOTNOTE_HOST out."
        )
    lock = hold(settings.home)
    if lock is None:
        server = handover.find(settings.home)
        print(f"Footnote is already open at {server.url}")
        webbrowser.open(server.url)
        return 0
    handover.withdraw(settings.home)  # what a killed process left there leads nowhere
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a system that shuts down ends it as Ctrl-C does
    try:
        with _engine(settings) as engine:
            engine.resume()  # first: later, what a person has just begun would look as if it had been interrupted
            if settings.space:
                return serve_visitors(engine, settings)
            app = launch(engine, settings, lambda: machine_checks(settings))
            threading.Thread(target=_work_behind, args=(engine,), daemon=True).start()
            webbrowser.open(app.local_url)
            app.block_thread()
    finally:
        handover.withdraw(settings.home)
        lock.release()
    return 0


def serve_visitors(owner: Engine, settings: Settings) -> int:
    """Serve a Space's pages until it is interrupted: visitors read what the owner has, brought back first."""
    _set_uploads(settings)
    kept = space.Kept(owner.backups, CHECKOUT, settings, fetch_snapshot, send_snapshot)
    trouble = "" if owner.count()[0] else kept.bring_back()
    import_gradio()
    # imported here: it takes seconds, and no command needs it
    from rag.ui.space import launch as launch_space

    allowed = Allowed()
    readers = ReadingRoom(Limits(post_bytes=allowed.file_bytes))
    folders = settings.home / "visitors", settings.home / "uploads"
    visitors = Visitors(owner, readers, lambda folder, few: _aside(owner, folder, few), *folders)
    if trouble:
        print(f"The posts could not be brought back, and the Space begins empty. {trouble}", flush=True)
        visitors.notice = "This Space could not bring its posts back. Its owner finds the reason on the owner's page."
    visitors.watch()
    try:
        app = launch_space(visitors, settings, CHECKOUT / "samples", kept.save, trouble)
        threading.Thread(target=_work_behind, args=(owner,), daemon=True).start()
        print(f"Footnote is open at {app.local_url}", flush=True)
        app.block_thread()
    finally:
        visitors.close()
    return 0


def _aside(owner: Engine, folder: Path, readers: Readers) -> Engine:
    """Join an engine of a visitor's own posts, beside the owner's."""
    library = SqliteLibrary(folder / "library.sqlite3")
    kept = (SqliteCatalogue(library), SqliteGold(library), SqliteConversations(library))
    return owner.aside(library, *kept, ChromaIndex(folder / "index"), readers, folder)


def _set_uploads(settings: Settings) -> None:
    """Let Gradio put uploads below the home, and clear away what a killed process left there."""
    uploads = settings.home / "uploads"
    shutil.rmtree(uploads, ignore_errors=True)
    os.environ["GRADIO_TEMP_DIR"] = str(uploads)


def launch(engine: Engine, settings: Settings, checks: Callable[[], list[Check]]) -> Any:
    """Start the page's server and the door for commands; return the running gr.Blocks."""
    _set_uploads(settings)
    import_gradio()
    # imported here: it takes seconds, and no command needs it
    from rag.ui.guard import guard
    from rag.ui.page import build_ui, launch_options, routes

    announced: list[handover.Server] = []
    door = handover.route(
        lambda: announced[0] if announced else None,
        lambda command, arguments: commands.run(engine, command, arguments, checks),
    )
    app = build_ui(engine, CHECKOUT / "samples", local=settings.local)
    try:
        app.launch(
            server_name=settings.host,
            server_port=settings.port or None,
            app_kwargs={"routes": [door, *routes(engine), *doors(engine)], "middleware": guard(settings)},
            max_file_size=8 * settings.max_file_bytes,  # up to here the engine refuses with a sentence of its own
            prevent_thread_lock=True,
            **launch_options(settings.password),
        )
    except OSError as error:
        raise BadSetting(
            f"Port {settings.port} at {settings.host} cannot be used ({error}). "
            "Set FOOTNOTE_PORT to another, or leave it out."
        ) from error
    reach = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104
    announced.append(handover.announce(settings.home, reach, app.server_port, app.local_url))
    print(f"Footnote is open at {app.local_url}", flush=True)
    return app


def _work_behind(engine: Engine) -> None:
    """Load the models, get to know the writer, then look for new posts once a day, whatever goes wrong."""
    attempt(engine.warm_up)
    gc.freeze()
    gc.set_threshold(*_GARBAGE)  # from here on there is some
    while True:
        attempt(engine.try_writer)
        attempt(engine.sync_if_due)
        time.sleep(_SCHEDULE_S)


def _events(
    settings: Settings, command: str, arguments: commands.Arguments, *, as_json: bool
) -> Iterator[commands.Event]:
    """Run a command where the data is: here, or in the process that serves the page."""
    if command == "space":
        yield from _space(settings, arguments, as_json=as_json)
        return
    if command == "eval":
        embedder = arguments["embedder"] or _embedder_in_use(settings)
        with tempfile.TemporaryDirectory(prefix="footnote-eval-") as home:
            yield from _run_here(replace(settings, home=Path(home), embedder=embedder), command, arguments)
        return
    lock = hold(settings.home)
    if lock is None:
        run = lambda name, given: handover.send(settings.home, name, given)  # noqa: E731
        try:
            yield from _asked(run, command, arguments, as_json=as_json)
        except KeyboardInterrupt:
            sys.stderr.write("What had begun goes on in the open page; cancel it there, on the tab Posts.\n")
            raise
        return
    try:
        handover.withdraw(settings.home)  # what a killed process left there leads nowhere
        if command == "doctor" and (trouble := _library_trouble(settings)):
            yield diagnosis([Check("library", False, trouble), *machine_checks(settings)])
            return
        with _engine(settings) as engine:
            run = lambda name, given: commands.run(engine, name, given, lambda: machine_checks(settings))  # noqa: E731
            yield from _asked(run, command, arguments, as_json=as_json)
    finally:
        lock.release()


def _taken(settings: Settings) -> tuple[tools.Run, Callable[[], None]] | None:
    """Take the data in hand; return how to run a command on it and how to let it go, None if another process has it."""
    lock = hold(settings.home)
    if lock is None:
        return None
    handover.withdraw(settings.home)  # what a killed process left there leads nowhere
    try:
        engine = build_engine(settings)
    except BaseException:
        lock.release()
        raise

    def let_go() -> None:
        engine.close()
        lock.release()

    return lambda command, arguments: commands.run(engine, command, arguments, list), let_go


def _space(settings: Settings, arguments: commands.Arguments, *, as_json: bool) -> Iterator[commands.Event]:
    """Send the checkout, and a snapshot that was named, to a Space; the person is asked first."""
    snapshot = Path(arguments["snapshot"]).expanduser() if arguments["snapshot"] else None
    chosen, tuned = _chosen(settings)
    if tuned:
        yield {"log": f"{tuned}, the tuned embedder in use, stays here. To have it there: tune --push, then name it"}
    planned = space.plan(CHECKOUT, chosen, snapshot, is_public)
    if not (arguments["dry_run"] or arguments["yes"]) and not _agreed(
        space.confirmation(planned, arguments["repo"]), as_json
    ):
        raise BadSetting("Nothing was sent. Add --yes to send it, or --dry-run to see what would be.")
    yield from space.run(planned, arguments["repo"], send_space, dry=arguments["dry_run"])


def _chosen(settings: Settings) -> tuple[Settings, str]:
    """Return the settings with the models that were chosen on the page, and the name of the tuned one in use, or ""."""
    with _notes(settings) as catalogue:
        if catalogue:
            writer, embedder = (
                settings.writer or catalogue.fact("writer"),
                settings.embedder or catalogue.fact("embedder"),
            )
            settings = replace(settings, writer=writer, embedder=embedder)
    index = ChromaIndex(settings.home / "index").stored()
    return settings, index.embedder.model if index else ""


def _embedder_in_use(settings: Settings) -> str:
    """Return the embedder that these posts are searched with, the one that is set where they cannot be opened."""
    stock = HubStock(Hub(offline=True), LlamaWriter, SentenceTransformerEmbedder)
    with contextlib.suppress(StoreError), _notes(settings) as catalogue:
        if catalogue:
            index = ChromaIndex(settings.home / "index").stored()
            return searching(index, settings.embedder, catalogue, stock, settings.home / "models")
    return settings.embedder


@contextlib.contextmanager
def _notes(settings: Settings) -> Iterator[SqliteCatalogue | None]:
    """Lend what was noted of these posts, None where there are none yet; an open page may hold them."""
    file = settings.home / "library.sqlite3"
    if not file.exists():
        yield None
        return
    with contextlib.closing(SqliteLibrary(file)) as library:
        yield SqliteCatalogue(library)


def _agreed(question: str, as_json: bool) -> bool:
    """Ask the person at the terminal; a script, which cannot answer, has not agreed."""
    if as_json or not sys.stdin.isatty():
        return False
    sys.stderr.write(f"{question} Send it? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _run_here(settings: Settings, command: str, arguments: commands.Arguments) -> Iterator[commands.Event]:
    with _engine(settings) as engine:
        yield from commands.run(engine, command, arguments, list)


def _library_trouble(settings: Settings) -> str:
    """Return why the library cannot be opened at all, or nothing."""
    try:
        with _engine(settings):
            return ""
    except StoreError as error:
        return str(error)


@contextlib.contextmanager
def _engine(settings: Settings) -> Iterator[Engine]:
    """Lend an engine; however the command ends, what it does is stopped and its files are let go of."""
    engine = build_engine(settings)
    try:
        yield engine
    except KeyboardInterrupt:
        sys.stderr.write("Stopping…\n")
        raise
    finally:
        engine.close()


def _ask_person(as_json: bool) -> Callable[[str], str]:
    """Return how to put a question to the person at the terminal, or to a script, which cannot answer."""

    def ask(prompt: str) -> str:
        if as_json or not sys.stdin.isatty():
            raise BadAddress("This address leads to more than one page. Add --yes to take the first of these.")
        sys.stderr.write(prompt)
        sys.stderr.flush()
        return sys.stdin.readline() or "n"

    return ask


def _asked(
    run: Callable[[str, commands.Arguments], Iterator[commands.Event]],
    command: str,
    arguments: commands.Arguments,
    *,
    as_json: bool,
) -> Iterator[commands.Event]:
    """Run a command; what an address leads to, and whether to publish, is asked here, where the person is."""
    if command == "add":
        ask = None if arguments["yes"] else _ask_person(as_json)
        chosen = yield from commands.choose(arguments["paths"], lambda url: run("look", {"address": url}), ask)
        arguments = {**arguments, "paths": chosen}
    if command == "tune" and arguments["push"] and not arguments["yes"]:
        arguments = {**arguments, "yes": _agreed(CONFIRM.format(repo=arguments["push"]), as_json)}
    yield from run(command, arguments)


def _dump(result: Any) -> str:
    return json.dumps(result)  # escaped beyond ASCII: right on every terminal


def _writer_to(stream: TextIO) -> Callable[[str], None]:
    def write(text: str) -> None:
        stream.write(text.encode(stream.encoding, "replace").decode(stream.encoding))
        stream.flush()

    return write


if __name__ == "__main__":
    # What is imported is no garbage: to look for some in it, meanwhile and at the end, took a quarter of the time of
    # `search` (12.5 s, now 9.5; mean of three, 2026-11-26).
    gc.set_threshold(100_000, 10, 10)
    code = main()
    gc.freeze()
    raise SystemExit(code)
