"""Nothing leaves the machine: the server process itself is watched, not only the browser."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest

from tests.browser.conftest import CHECKOUT, start, stop

pytestmark = pytest.mark.slow
ADDRESS = re.compile(r'sin_addr=inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"')


def strangers(trace: str) -> list[str]:
    """Return every address beyond loopback that the traced calls name."""
    named = {first or second for first, second in ADDRESS.findall(trace)}
    return sorted(a for a in named if not a.startswith(("127.", "::ffff:127.")) and a not in ("::1", "0.0.0.0", "::"))


def test_the_watch_would_notice_a_connection() -> None:
    seen = 'connect(5, {sa_family=AF_INET, sin_port=htons(443), sin_addr=inet_addr("192.0.2.7")}, 16) = -1'
    assert strangers(seen) == ["192.0.2.7"]


def test_the_server_talks_to_nobody_while_it_adds_and_answers(tmp_path: Path) -> None:
    strace = shutil.which("strace")
    if strace is None and not os.environ.get("CI"):
        pytest.skip("strace is not installed: the server's connections are not watched")
    assert strace, "CI has no strace: install it"
    trace = tmp_path / "calls"
    watch = (strace, "-f", "--seccomp-bpf", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(trace))
    app = start(tmp_path / "home", *watch)
    try:
        assert app.command("add", str(CHECKOUT / "samples"), "--json").returncode == 0
        asked = app.command("ask", "What stays on my machine?", "--json")
        assert json.loads(asked.stdout)["hits"]
    finally:
        stop(app)
    calls = trace.read_text(encoding="utf-8", errors="replace")
    assert "127.0.0.1" in calls, "the watch saw nothing at all"
    assert strangers(calls) == []
