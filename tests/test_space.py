"""A whole Space, as near as a machine without a Hub comes: what `space` would send, in an environment of its own, run
by a user who may write nothing but a home.

FOOTNOTE_SPACE_ENVIRONMENT=1 installs requirements.txt afresh (minutes, 2 GB; llama-cpp-python as this machine's pip
builds it, for its ready-made wheel lies elsewhere). Without it a bare environment borrows the packages of this one."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import itsdangerous
import pytest

from install import build_environment
from rag import space
from rag.settings import Settings
from store.backup import is_public
from tests.house import ROOT, House
from tests.stories import FLATBREAD, SOURDOUGH
from tests.test_tuning import DISHES, story
from tests.visitor import Visitor, a_post

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
NOBODY = 65534
SEAL = "the secret that the Hub gives to this Space"
HARBOUR = a_post("Harbour", "My boat is called Nordlicht and lies at pier seven in the harbour of Kiel.")
GARDEN = a_post("Garden", "The pear tree by the well was planted by Aunt Hedwig in 1961.")


@dataclass
class Space:
    """A checkout that cannot be written, an environment, and a home that goes when the Space sleeps."""

    folder: Path
    python: Path
    user: dict[str, Any]
    more: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None
    url: str = ""

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text("utf-8", "replace")

    def environment(self) -> dict[str, str]:
        home = str(self.folder / "home")
        return {
            "PATH": os.defpath,
            "HOME": home,
            "TMPDIR": f"{home}/tmp",
            "HF_HOME": f"{home}/.cache/huggingface",
            "PYTHONUNBUFFERED": "1",
            "SYSTEM": "spaces",
            "SPACE_ID": "baker/posts",
            "SPACE_HOST": "baker-posts.hf.space",
            "SPACE_AUTHOR_NAME": "baker",
            "CPU_CORES": os.environ.get("CPU_CORES", "2"),
            "OAUTH_CLIENT_ID": "an-id",
            "OAUTH_CLIENT_SECRET": SEAL,
            "OAUTH_SCOPES": "openid profile",
            "OPENID_PROVIDER_URL": "http://127.0.0.1:9",
            "HF_ENDPOINT": "http://127.0.0.1:9",
            "GRADIO_SERVER_NAME": "127.0.0.1",
            "GRADIO_SERVER_PORT": str(free_port()),
            "FOOTNOTE_SNAPSHOT": str(self.folder / "bucket"),
            **self.more,
        }

    def start(self) -> None:
        self.sleep()
        shutil.rmtree(self.folder / "home", ignore_errors=True)  # a Space's disk does not last
        (self.folder / "home" / "tmp").mkdir(parents=True)
        for path in (self.folder / "home", self.folder / "home" / "tmp", self.folder / "bucket"):
            if self.user:
                os.chown(path, NOBODY, NOBODY)
        with (self.folder / "log").open("w") as log:
            self.process = subprocess.Popen(
                [self.python, "app.py"],
                cwd=self.folder / "app",
                env=self.environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
                **self.user,
            )
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline and self.process.poll() is None:
            if found := re.search(r"Footnote is open at (http://\S+?)/?\s", self.log):
                self.url = found[1]
                return
            time.sleep(0.3)
        raise AssertionError(self.log)

    def sleep(self) -> None:
        """End it as a Space ends: at once."""
        if self.process and self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def owner(self, **more: Any) -> Visitor:
        return Visitor(self.url, "/owner/", {"session": signed(**more)})


def signed(seal: str = SEAL, name: str = "baker", expires_in: float = 3600) -> str:
    """Return a session as Gradio seals one when the Hub has signed somebody in."""
    person = {"preferred_username": name, "name": name, "profile": "", "picture": ""}
    session = {"oauth_info": {"access_token": "t", "userinfo": person, "expires_at": time.time() + expires_in}}
    key = hashlib.sha256(f"{seal}-v4".encode()).hexdigest()
    return itsdangerous.TimestampSigner(key).sign(base64.b64encode(json.dumps(session).encode())).decode()


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A folder that other users can reach, too."""
    made = Path(subprocess.check_output(["mktemp", "-d", "/tmp/footnote-space-XXXXXX"], text=True).strip())
    made.chmod(0o755)
    yield made
    subprocess.run(["chmod", "-R", "u+w", str(made)], check=False)
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture(scope="module")
def python(place: Path) -> Path:
    """A Python in an environment of its own."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    bases = [sys._base_executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"]  # type: ignore[attr-defined]
    base = next((found for found in bases if found and Path(found).exists() and may_run(found)), None)
    if base is None:
        pytest.skip(f"there is no {version} that another user may run: the Space is not tested")
    subprocess.run([base, "-m", "venv", "--without-pip", place / "env"], check=True)
    made = place / "env" / "bin" / "python"
    if os.environ.get("FOOTNOTE_SPACE_ENVIRONMENT"):
        lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
        wanted = place / "requirements.txt"
        wanted.write_text("\n".join(line for line in lines if not line.startswith("--extra-index-url")), "utf-8")
        pip = [sys.executable, "-m", "pip", "--python", str(made), "install", "--quiet", "-r", str(wanted)]
        subprocess.run(pip, check=True, timeout=1500, env=build_environment())
    else:
        [packages] = (place / "env" / "lib").glob("python*/site-packages")
        (packages / "borrowed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", "utf-8")
    return made


def may_run(program: str) -> bool:
    if os.geteuid() != 0:
        return True
    try:
        ran = subprocess.run([program, "-c", ""], user=NOBODY, group=NOBODY, extra_groups=[], cwd="/")
    except PermissionError:
        return False
    return ran.returncode == 0


@pytest.fixture(scope="module")
def sent(place: Path) -> Path:
    """A checkout as `space` would send it, that its user cannot write."""
    app = place / "app"
    for name, path in space.plan(ROOT, Settings(ROOT / "data"), None, is_public).files:
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, app / name)
    subprocess.run(["chmod", "-R", "a+rX,a-w", str(app)], check=True)
    return app


@pytest.fixture(scope="module")
def snapshot(place: Path) -> Path:
    """A public backup with two posts."""
    house = House(place / "made", real_stores=True)
    for name, text in (("sourdough.md", SOURDOUGH), ("flatbread.md", FLATBREAD)):
        house.write_and_add(name, text)
    house.engine.backups.save(place / "made" / "footnote.backup", public=True)
    house.close()
    return place / "made" / "footnote.backup"


@pytest.fixture(scope="module")
def here(place: Path, python: Path, sent: Path, snapshot: Path) -> Iterator[Space]:
    user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    made = Space(place, python, user)
    (place / "bucket").mkdir()
    shutil.copyfile(snapshot, place / "bucket" / "footnote.backup")
    made.start()
    yield made
    made.sleep()


def wait_for(visitor: Visitor, title: str) -> None:
    deadline = time.monotonic() + 120
    while title not in visitor.posts():
        assert time.monotonic() < deadline, visitor.posts()
        time.sleep(0.5)


def test_it_starts_and_answers(here: Space) -> None:
    visitor = Visitor(here.url)
    said = visitor.ask("Why does the starter smell of vinegar?")
    assert "starter is hungry" in said
    assert "Keeping a sourdough starter" in said
    assert not list((here.folder / "app").rglob("__pycache__"))


def test_visitors_have_no_models_no_quality_no_addresses(here: Space) -> None:
    shown = json.dumps(Visitor(here.url).config)
    for name in ("Quality", "Models", "Or take a whole blog", "Save a snapshot"):
        assert name not in shown, name


def test_nothing_that_the_page_does_by_itself_fails(here: Space) -> None:
    visitor = Visitor(here.url)
    by_itself = [d for d in visitor.config["dependencies"] if {e for _, e in d["targets"]} & {"load", "tick"}]
    quick = [d for d in by_itself if not d["queue"]]
    assert len(quick) >= 4
    for fn in quick:
        sent = {"data": [None] * len(fn["inputs"]), "fn_index": fn["id"], "session_hash": visitor.session}
        assert visitor.http.post("/gradio_api/run/predict", json=sent).status_code == 200, fn["api_name"]
    assert "Traceback" not in here.log.replace("`spaces` package is required", "").partition("Footnote is open")[2]


def test_two_visitors_stay_apart(here: Space) -> None:
    anna, ben = Visitor(here.url), Visitor(here.url)
    anna.add(HARBOUR)
    wait_for(anna, "Harbour")
    assert "Nordlicht" in anna.ask("What is my boat in the harbour called?")
    id_ = re.search(r'"id": "([0-9a-f]+)", "title": "Harbour"', anna.posts())[1]  # type: ignore[index]
    assert "Nordlicht" in anna.posts(id_)
    for other in (ben, Visitor(here.url, cookies={"footnote-visitor": "anna.0000"})):
        assert "Harbour" not in other.posts()
        assert "Nordlicht" not in other.ask("What is my boat in the harbour called?")
        with pytest.raises(RuntimeError):
            other.posts(id_)
    assert "Harbour" not in here.owner().posts()
    assert "Nordlicht" not in here.log
    assert "Harbour" not in here.log


def test_a_session_of_another_visitor_is_refused(here: Space) -> None:
    anna, ben = Visitor(here.url), Visitor(here.url)
    anna.ask("How is the starter fed?")
    for answered in (
        ben.join(ben.named("posts"), "", session=anna.session),
        ben.http.get(f"/gradio_api/queue/data?session_hash={anna.session}"),
        ben.http.get(f"/gradio_api/heartbeat/{anna.session}"),
    ):
        assert answered.status_code == 403
        assert answered.text == "This page belongs to another visit. Reload it."


@pytest.mark.parametrize(
    "session",
    [
        "",
        base64.b64encode(b'{"oauth_info": {"userinfo": {"preferred_username": "baker"}}}').decode(),
        signed(seal=""),
        signed(seal="another"),
        signed(name="Baker"),
        signed(name="mallory"),
        signed(expires_in=-1),
    ],
)
def test_who_only_says_to_be_the_owner_is_not_let_in(here: Space, session: str) -> None:
    forged = Visitor(here.url, "/owner/", {"session": session})
    assert forged.page.status_code == 401
    for path in ("config", "gradio_api/startup-events", "footnote/gold.jsonl", "gradio_api/file=/etc/passwd"):
        assert forged.http.get(f"/owner/{path}").status_code == 401
    assert forged.http.post("/owner/gradio_api/queue/join", json={}).status_code == 401


def test_another_site_cannot_use_a_visitors_or_the_owners_browser(here: Space) -> None:
    for path in ("/gradio_api/queue/join", "/owner/gradio_api/queue/join"):
        for origin in ("https://evil.example", "http://["):
            answered = here.owner().http.post(path, json={}, headers={"Origin": origin})
            assert answered.status_code == 403


def test_no_file_of_the_machine_is_given_away(here: Space) -> None:
    anna, ben = Visitor(here.url), Visitor(here.url)
    anna.add(GARDEN)
    wait_for(anna, "Garden")
    kept = [path for path in (here.folder / "home").rglob("*") if path.is_file()]
    assert any(path.name == "library.sqlite3" and "visitors" in path.parts for path in kept)
    for path in [*kept, here.folder / "app" / "app.py", Path("/etc/passwd")]:
        for place in (str(path), f"{here.folder}/app/../{path.relative_to('/')}"):
            answered = ben.http.get(f"/gradio_api/file={place}")
            assert answered.status_code in (403, 404), path


def test_a_path_in_an_uploads_name_leads_nowhere(here: Space) -> None:
    anna = Visitor(here.url)
    anna.add(("../../../../escaped.md", HARBOUR[1]))
    wait_for(anna, "Harbour")
    assert "upload:escaped.md" in anna.posts()
    assert not [path for path in here.folder.rglob("escaped.md") if "home" not in path.parts]


def test_what_is_over_the_limits_is_refused_in_a_sentence(here: Space) -> None:
    anna = Visitor(here.url)
    assert "A visitor may add 20 files" in anna.add(*[a_post(f"Post {n}", f"Number {n}.") for n in range(21)])
    refused = anna.upload(("large.md", b"x" * 26_000_000))
    assert (refused.status_code, refused.text) == (
        413,
        "This is more than 25 MB, the limit for visitors. Send fewer or smaller files.",
    )
    stranger = Visitor(here.url)
    stranger.http.cookies.clear()
    assert "Your browser keeps no cookie" in stranger.upload(GARDEN).text


def test_what_the_owner_saved_outlasts_the_machine(here: Space) -> None:
    owner = here.owner()
    owner.add(GARDEN)
    wait_for(owner, "Garden")
    said = json.dumps(owner.call(owner.on("save-snapshot", "click")))
    assert f"3 posts saved in {here.folder / 'bucket'}" in said
    here.start()
    assert "Aunt Hedwig" in Visitor(here.url).ask("Who planted the pear tree by the well?")


def test_the_owner_tunes_the_search_while_visitors_ask(here: Space) -> None:
    owner = here.owner()
    dishes = [(f"{dish}.md", story(dish, number).encode()) for number, dish in enumerate(DISHES)]
    owner.add(*dishes)
    wait_for(owner, DISHES[-1])
    owner.call(owner.on("tune", "click"), None, None, 1, False)
    tick = next(d for d in owner.config["dependencies"] if owner.id("tune") in d["outputs"] and is_tick(d))
    shown, deadline = "", time.monotonic() + 900
    while "data-state=" not in shown:
        assert time.monotonic() < deadline, shown
        assert "starter is hungry" in Visitor(here.url).ask("Why does the starter smell of vinegar?")
        time.sleep(5)
        shown = json.dumps(owner.call(tick, None, None))
    assert "384 numbers" in shown
    assert list((here.folder / "home").rglob("models/*/README.md"))


def is_tick(fn: dict[str, Any]) -> bool:
    return {event for _, event in fn["targets"]} == {"tick"}


def damaged(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-2000] + b"\0" * 2000)


def newer(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        facts, data = json.loads(archive.read("footnote.json")), archive.read("library.sqlite3")
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("footnote.json", json.dumps({**facts, "format": 99}))
        archive.writestr("library.sqlite3", data)


@pytest.mark.parametrize(("spoil", "why"), [(damaged, "is damaged or was cut short"), (newer, "by a newer Footnote")])
def test_a_snapshot_that_cannot_be_read_is_said_and_kept(here: Space, snapshot: Path, spoil: Any, why: str) -> None:
    kept = here.folder / "bucket" / "footnote.backup"
    shutil.copyfile(snapshot, kept)
    spoil(kept)
    before = kept.read_bytes()
    here.start()
    visitor = Visitor(here.url)
    assert "Keeping a sourdough starter" not in visitor.posts()
    assert why in here.log
    owner = here.owner()
    assert why in json.dumps(owner.config)
    said = json.dumps(owner.call(owner.on("save-snapshot", "click")))
    assert "could not be read, and would be replaced" in said
    assert kept.read_bytes() == before
