"""Footnote's front door: reads the settings, joins the parts, and serves the page or runs one command."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

from models.embedder import SentenceTransformerEmbedder
from models.machine import usable_cores
from models.writer import LlamaWriter
from rag import commands, handover
from rag.engine import Engine
from rag.errors import BadSetting, FootnoteError
from rag.records import Check
from rag.settings import CHECKOUT, Settings, read_settings
from store.library import SqliteLibrary, free_bytes
from store.lock import hold
from store.vectors import ChromaIndex


def build_engine(settings: Settings) -> Engine:
    """Join library, index, embedder and writer; no model is loaded yet."""
    return Engine(
        SqliteLibrary(settings.home / "library.sqlite3"),
        ChromaIndex(settings.home / "index"),
        SentenceTransformerEmbedder(settings.embedder, offline=settings.offline),
        LlamaWriter(settings.writer, offline=settings.offline),
        max_file_bytes=settings.max_file_bytes,
    )


def machine_checks(settings: Settings) -> list[Check]:
    """Describe the machine: versions, processor features, disk space, settings."""
    packages = ("gradio", "sentence-transformers", "torch", "chromadb", "llama-cpp-python", "huggingface-hub")
    free = free_bytes(settings.home)
    return [
        Check(
            "versions", True, f"Python {platform.python_version()}, " + ", ".join(f"{p} {version(p)}" for p in packages)
        ),
        Check("processor", True, f"{platform.machine()}, {usable_cores()} cores, {_processor_features()}"),
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
        stdout = sys.stdout
        with contextlib.redirect_stdout(sys.stderr):  # whatever a library prints, stdout holds the result alone
            events = _events(settings, parsed.command, commands.arguments_of(parsed))
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
    lock = hold(settings.home)
    if lock is None:
        server = handover.find(settings.home)
        print(f"Footnote is already open at {server.url}")
        webbrowser.open(server.url)
        return 0
    handover.withdraw(settings.home)  # what a killed process left there leads nowhere
    engine = build_engine(settings)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a system that shuts down ends it as Ctrl-C does
    try:
        app = launch(engine, settings, lambda: machine_checks(settings))
        threading.Thread(target=_warm_up, args=(engine,), daemon=True).start()
        webbrowser.open(app.local_url)
        app.block_thread()
    finally:
        handover.withdraw(settings.home)
        engine.close()
        lock.release()
    return 0


def launch(engine: Engine, settings: Settings, checks: Callable[[], list[Check]]) -> Any:
    """Start the page's server and the door for commands; return the running gr.Blocks."""
    uploads = settings.home / "uploads"
    shutil.rmtree(uploads, ignore_errors=True)  # what a killed process left there
    os.environ["GRADIO_TEMP_DIR"] = str(uploads)
    # imported here: it takes seconds, and no command needs it
    from rag.ui import build_ui, guard, launch_options

    announced: list[handover.Server] = []
    door = handover.route(
        lambda: announced[0] if announced else None,
        lambda command, arguments: commands.run(engine, command, arguments, checks),
    )
    app = build_ui(engine, CHECKOUT / "samples")
    try:
        app.launch(
            server_name=settings.host,
            server_port=settings.port or None,
            app_kwargs={"routes": [door], "middleware": guard(settings.host)},
            max_file_size=8 * settings.max_file_bytes,  # up to here the engine refuses with a sentence of its own
            prevent_thread_lock=True,
            **launch_options(),
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


def _warm_up(engine: Engine) -> None:
    try:
        engine.warm_up()
    except FootnoteError as error:
        engine.trouble = str(error)  # the page shows it; asking says it again


def _events(settings: Settings, command: str, arguments: commands.Arguments) -> Iterator[commands.Event]:
    if command == "eval":
        with tempfile.TemporaryDirectory(prefix="footnote-eval-") as home:
            engine = build_engine(replace(settings, home=Path(home)))
            yield from commands.run(engine, command, arguments, list)
            engine.close()
        return
    lock = hold(settings.home)
    if lock is None:
        yield from handover.send(settings.home, command, arguments)
        return
    try:
        handover.withdraw(settings.home)  # what a killed process left there leads nowhere
        engine = build_engine(settings)
        yield from commands.run(engine, command, arguments, lambda: machine_checks(settings))
        engine.close()
    finally:
        lock.release()


def _processor_features() -> str:
    """Name what makes models fast here, as the kernel lists it."""
    wanted = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "asimd", "i8mm", "bf16")
    try:
        words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return platform.processor() or "features unknown"
    return " ".join(name for name in wanted if name in words) or "no vector features"


def _dump(result: Any) -> str:
    return json.dumps(result)  # escaped beyond ASCII: right on every terminal


def _writer_to(stream: TextIO) -> Callable[[str], None]:
    def write(text: str) -> None:
        stream.write(text.encode(stream.encoding, "replace").decode(stream.encoding))
        stream.flush()

    return write


if __name__ == "__main__":
    raise SystemExit(main())
