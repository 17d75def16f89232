"""Setting Footnote up: what is done once, what is not done twice, and what is said when it cannot go on."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest

import install

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
LLAMA = next(d for d in install.read_dependencies(PYPROJECT) if d.startswith("llama-cpp-python"))


@pytest.fixture
def checkout(tmp_path: Path) -> ModuleType:
    """The install.py of a checkout of its own, with an empty environment and an app that only says where it runs."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    for name in ("install.py", "pyproject.toml", "Makefile"):
        shutil.copy(ROOT / name, folder)
    (folder / "app.py").write_text("import sys\nprint('The app runs in', sys.prefix)\n")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / ".venv"], check=True)
    return load(folder)


def load(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("install_elsewhere", folder / "install.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_install(folder: Path, *arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": os.environ["PATH"] if path is None else path}
    command = [sys.executable, "install.py", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


class TestASecondRun:
    def test_runs_nothing_and_touches_nothing(self, checkout):
        checkout.STAMP.write_text(checkout.fingerprint(True))
        before = {path: path.lstat().st_mtime_ns for path in checkout.VENV.rglob("*")}
        done = run_install(checkout.ROOT, "--test", path="/nonexistent")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("Footnote is set up.")
        assert {path: path.lstat().st_mtime_ns for path in checkout.VENV.rglob("*")} == before

    def test_with_run_only_starts_the_app_in_its_environment(self, checkout):
        checkout.STAMP.write_text(checkout.fingerprint(False))
        done = run_install(checkout.ROOT, "--run", path="/nonexistent")
        assert done.stdout == f"The app runs in {checkout.VENV}\n"
        assert done.returncode == 0

    @pytest.mark.parametrize(
        ("had_tests", "wants_tests", "ready"),
        [(False, False, True), (True, False, True), (True, True, True), (False, True, False)],
    )
    def test_needs_no_more_if_the_extras_of_the_tests_are_there_or_not_wanted(
        self, checkout, had_tests, wants_tests, ready
    ):
        checkout.STAMP.write_text(checkout.fingerprint(had_tests))
        assert checkout.is_ready(wants_tests) is ready

    def test_sets_up_again_what_was_interrupted(self, checkout):
        assert not checkout.is_ready(False)

    def test_sets_up_again_when_the_dependencies_changed(self, checkout):
        checkout.STAMP.write_text(checkout.fingerprint(True))
        changed = PYPROJECT.replace('"torch>=', '"einops",\n    "torch>=')
        assert changed != PYPROJECT
        checkout.PYPROJECT.write_text(changed)
        assert not checkout.is_ready(False)

    def test_sets_up_again_when_the_checkout_was_moved(self, checkout, tmp_path):
        checkout.STAMP.write_text(checkout.fingerprint(True))
        moved = load(checkout.ROOT.rename(tmp_path / "elsewhere"))
        assert moved.STAMP.exists()
        assert not moved.is_ready(False)

    def test_sets_up_again_when_the_python_of_the_environment_is_gone(self, checkout):
        checkout.STAMP.write_text(checkout.fingerprint(True))
        checkout.PYTHON.unlink()
        assert not checkout.is_ready(False)


class TestAnInterruptedRun:
    def test_forgets_half_installed_packages_and_keeps_whole_ones(self, checkout):
        packages = next(checkout.VENV.glob("lib/python*/site-packages"))
        for name, files in (("half-1.0.dist-info", ["METADATA"]), ("whole-1.0.dist-info", ["METADATA", "INSTALLER"])):
            (packages / name).mkdir()
            for file in files:
                (packages / name / file).touch()
        checkout.forget_half_installed()
        assert [path.name for path in packages.glob("*.dist-info")] == ["whole-1.0.dist-info"]

    @pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
    def test_stops_what_it_had_started(self, checkout, tmp_path, ending):
        started = tmp_path / "started"
        code = f"""
import install
install.is_ready = lambda _: False
install.install = lambda _: install.run("sh", "-c", "echo $$ > {started}.new; mv {started}.new {started}; sleep 60")
raise SystemExit(install.main([]))
"""
        process = subprocess.Popen(
            [sys.executable, "-c", code], cwd=checkout.ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        deadline = time.monotonic() + 20
        while not started.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(ending)
        said = process.communicate(timeout=20)[1]
        assert (process.returncode, said) == (1, "\nStopped. Run this again to go on where it stopped.\n")
        with pytest.raises(ProcessLookupError):
            os.killpg(int(started.read_text()), 0)


class TestTheCompiler:
    def test_missing_is_told_with_what_to_install_and_the_wheels_that_do_without(self, monkeypatch, tmp_path):
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("CXX", raising=False)
        with pytest.raises(install.SetUpError) as caught:
            install.require_compiler(LLAMA)
        message = str(caught.value)
        assert message.startswith("There is no C++ compiler")
        assert f'--index-url https://abetlen.github.io/llama-cpp-python/whl/cpu "{LLAMA}"' in message
        assert "https://github.com/abetlen/llama-cpp-python/releases" in message
        assert "AVX2" in message

    @pytest.mark.parametrize(
        ("system", "advice"),
        [
            ("Linux", "sudo apt install build-essential cmake"),
            ("Linux", "sudo dnf install"),
            ("FreeBSD", "build-essential"),
            ("Darwin", "xcode-select --install"),
            ("Windows", "Visual Studio Build Tools"),
        ],
    )
    def test_advice_fits_the_system(self, system, advice):
        assert advice in install.compiler_advice(LLAMA, system)

    @pytest.mark.parametrize(("code", "accepted"), [(0, True), (1, False)])
    def test_must_answer_and_not_just_be_there(self, monkeypatch, tmp_path, code, accepted):
        compiler = tmp_path / "c++"
        compiler.write_text(f"#!/bin/sh\nexit {code}\n")
        compiler.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("CXX", raising=False)
        if accepted:
            install.require_compiler(LLAMA)
        else:
            with pytest.raises(install.SetUpError, match="no C\\+\\+ compiler"):
                install.require_compiler(LLAMA)

    def test_gets_the_flags_that_the_person_set_and_those_that_go_around_amx(self, monkeypatch):
        monkeypatch.setattr("platform.machine", lambda: "x86_64")
        monkeypatch.setenv("CFLAGS", "-O2")
        monkeypatch.delenv("CXXFLAGS", raising=False)
        monkeypatch.setenv("CMAKE_ARGS", "-DGGML_BLAS=ON")
        environment = install.build_environment("-DGGML_NATIVE=OFF")
        assert environment["CFLAGS"] == "-O2 -U__AMX_INT8__"
        assert environment["CXXFLAGS"] == "-U__AMX_INT8__"
        assert environment["CMAKE_ARGS"] == "-DGGML_BLAS=ON -DGGML_NATIVE=OFF"
        assert install.build_environment()["CMAKE_ARGS"] == "-DGGML_BLAS=ON"

    def test_gets_no_flags_for_amx_where_there_is_none(self, monkeypatch):
        monkeypatch.setattr("platform.machine", lambda: "arm64")
        monkeypatch.delenv("CFLAGS", raising=False)
        assert "CFLAGS" not in install.build_environment()


class TestTheTrial:
    def test_succeeds_with_the_model_that_ships(self):
        done = subprocess.run([sys.executable, "-c", install.TRIAL], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    @pytest.fixture
    def dies(self, checkout, monkeypatch, tmp_path):
        """Let the trial break a number of times in a way of one's choice; return the builds that followed."""
        builds = []

        def die(times: int, how: str) -> list[str]:
            deaths = tmp_path / "deaths"
            deaths.write_text("")
            monkeypatch.setattr(checkout, "PYTHON", sys.executable)
            monkeypatch.setattr(
                checkout,
                "TRIAL",
                f"import os, sys\nfile = open({str(deaths)!r}, 'r+')\nif len(file.read()) < {times}:\n"
                f"    file.write('x')\n    file.close()\n    {how}\n",
            )
            monkeypatch.setattr(checkout, "compile_llama", lambda *_, cmake_option: builds.append(cmake_option))
            return builds

        return die

    def test_that_kills_a_prebuilt_wheel_compiles_for_this_machine(self, checkout, dies):
        builds = dies(1, "os.kill(os.getpid(), 9)")
        checkout.try_out(LLAMA, compiled=False)
        assert builds == [""]

    def test_that_kills_a_compiled_one_compiles_for_any_machine(self, checkout, dies):
        builds = dies(1, "os.kill(os.getpid(), 9)")
        checkout.try_out(LLAMA, compiled=True)
        assert builds == ["-DGGML_NATIVE=OFF"]

    def test_that_kills_every_build_is_reported(self, checkout, dies):
        builds = dies(9, "os.kill(os.getpid(), 9)")
        with pytest.raises(checkout.SetUpError, match=r"does not run here \(exit code -9\)"):
            checkout.try_out(LLAMA, compiled=False)
        assert builds == ["", "-DGGML_NATIVE=OFF"]

    def test_whose_library_does_not_load_compiles(self, checkout, dies):
        builds = dies(1, "sys.exit(\"Failed to load shared library 'libllama.so': libc.musl-x86_64.so.1\")")
        checkout.try_out(LLAMA, compiled=False)
        assert builds == [""]

    def test_that_fails_otherwise_compiles_nothing_and_shows_why(self, checkout, dies):
        builds = dies(1, "sys.exit('The model file is missing.')")
        with pytest.raises(checkout.SetUpError, match=r"The model file is missing\."):
            checkout.try_out(LLAMA, compiled=False)
        assert builds == []


class TestAFailure:
    def test_of_a_full_disk_says_to_free_some(self):
        said = str(install.failure("It failed.", "ERROR: [Errno 28] No space left on device"))
        assert said == f"It failed. The disk is full. Free about 3 GB. {install.GO_ON}"

    def test_without_a_network_says_to_check_it(self):
        output = (
            "WARNING: Retrying after connection broken by 'NewConnectionError'\nERROR: No matching distribution found"
        )
        said = str(install.failure("It failed.", output))
        assert said == f"It failed. The package index could not be reached. Check the network. {install.GO_ON}"

    def test_of_another_kind_shows_the_last_15_lines_and_keeps_them_all(self, checkout):
        output = "".join(f"line {number}\n" for number in range(1, 41))
        said = str(checkout.failure("It failed.", output, "Do this."))
        shown = [line.strip() for line in said.splitlines()[1:-1]]
        assert shown == [f"line {number}" for number in range(26, 41)]
        assert said.startswith("It failed. The end of .venv")
        assert said.endswith("\nDo this.")
        assert checkout.LOG.read_text() == output

    def test_of_an_old_python_is_one_line(self):
        code = "import install\ninstall.OLDEST_PYTHON = (99, 0)\nraise SystemExit(install.main([]))"
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
        assert (done.returncode, done.stdout) == (1, "")
        assert re.fullmatch(r"Footnote needs Python 3\.10 or later; this is Python [\d.]+\S*\n", done.stderr)

    def test_can_be_told_by_a_python_as_old_as_3_8(self):
        ast.parse((ROOT / "install.py").read_text("utf-8"), feature_version=(3, 8))


class TestTheDependencies:
    def test_of_a_space_are_those_of_the_project(self):
        written = (ROOT / "requirements.txt").read_text("utf-8")
        assert written == install.requirements_text(PYPROJECT), "Run: python install.py --requirements"

    def test_of_a_space_come_with_the_index_of_llama_wheels_and_none_for_torch(self):
        lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
        indexes = [line for line in lines if line.startswith(("--extra-index-url", "--index-url", "-i "))]
        assert indexes == ["--extra-index-url https://abetlen.github.io/llama-cpp-python/whl/cpu"]
        assert LLAMA in lines

    def test_are_the_same_without_a_toml_parser(self):
        tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no TOML parser to compare with.")
        named = tomllib.loads(PYPROJECT)["project"]["dependencies"]
        assert len(named) > 10
        assert install.read_dependencies_plainly(PYPROJECT) == named
        assert install.read_dependencies(PYPROJECT) == named


class TestTheMakefile:
    def test_runs_with_one_command(self):
        assert make("-n", "run").split() == ["python3", "install.py", "--run"]

    def test_tests_all_after_the_install_the_lint_and_the_types(self):
        lines = make("-n", "test").splitlines()
        assert lines[0].endswith("install.py --test")
        assert [line.replace(".venv/bin/", "") for line in lines[1:]] == [
            "ruff check .",
            "ruff format --check .",
            "mypy",
            'pytest -m "not slow" -n auto',
            "CPU_CORES=1 pytest -m slow -n auto --dist loadfile --no-loadscope-reorder",
        ]

    def test_checks_the_same_without_what_is_slow(self):
        assert make("-n", "check").splitlines() == make("-n", "test").splitlines()[:-1]

    def test_says_in_a_line_each_what_it_can_do(self):
        assert [line.split()[:2] for line in make().splitlines()] == [["make", t] for t in ("run", "test", "check")]

    def test_finds_the_data_sets_beside_the_checkout(self, checkout, tmp_path):
        assert self.datasets_seen_in(checkout.ROOT) == ""
        (tmp_path / "shared/data").mkdir(parents=True)
        assert self.datasets_seen_in(checkout.ROOT) == str(tmp_path / "shared/data")
        assert self.datasets_seen_in(checkout.ROOT, FOOTNOTE_DATASETS="/of/mine") == "/of/mine"

    def datasets_seen_in(self, folder: Path, **variables: str) -> str:
        (folder / "show.mk").write_text("show:\n\t@echo $$FOOTNOTE_DATASETS\n")
        return make("-f", "Makefile", "-f", "show.mk", "show", folder=folder, **variables).strip()


class TestTheContinuousIntegration:
    def test_is_a_script_that_stops_at_the_first_error_and_ends_with_the_tests(self):
        script = ROOT / ".ci/run"
        lines = script.read_text().splitlines()
        assert lines[0] == "#!/usr/bin/env bash"
        assert "set -euo pipefail" in lines
        assert lines[-1] == "make test"
        assert os.access(script, os.X_OK)
        assert subprocess.run(["bash", "-n", script]).returncode == 0

    def test_names_no_host(self):
        assert re.findall(r"://|\b[\w-]+\.(?:org|com|io|net)\b", (ROOT / ".ci/run").read_text()) == []


def make(*arguments: str, folder: Path = ROOT, **variables: str) -> str:
    not_ours = ("FOOTNOTE_", "MAKE", "MFLAGS", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(not_ours)}
    command = ["make", "--no-print-directory", *arguments]
    done = subprocess.run(command, cwd=folder, env={**kept, **variables}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
