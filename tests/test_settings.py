"""Settings come from the environment; one that cannot be used is refused by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from rag.errors import BadSetting
from rag.settings import CHECKOUT, Settings, read_settings
from tests.house import ROOT


def test_with_nothing_set_everything_stays_on_this_machine() -> None:
    settings = read_settings({})
    assert settings == Settings(home=ROOT / "data")
    assert (settings.host, settings.port, settings.offline) == ("127.0.0.1", 0, False)
    assert (settings.embedder, settings.writer) == ("", "")
    assert settings.max_file_bytes == 25_000_000
    assert CHECKOUT == ROOT


def test_every_variable_is_read(tmp_path: Path) -> None:
    settings = read_settings(
        {
            "FOOTNOTE_HOME": f" {tmp_path}/house ",
            "FOOTNOTE_EMBEDDER": "Snowflake/snowflake-arctic-embed-m",
            "FOOTNOTE_WRITER": "/models/writer.gguf",
            "FOOTNOTE_HOST": "0.0.0.0",
            "FOOTNOTE_PORT": "7860",
            "FOOTNOTE_OFFLINE": "1",
            "FOOTNOTE_MAX_FILE_MB": "1.5",
            "FOOTNOTE_CACHE_MB": "20",
            "FOOTNOTE_CACHE_MEMORY_MB": "0",
            "FOOTNOTE_PASSWORD": " rye and water ",
            "SYSTEM": "spaces",
        }
    )
    assert settings == Settings(
        home=tmp_path.resolve() / "house",
        embedder="Snowflake/snowflake-arctic-embed-m",
        writer="/models/writer.gguf",
        host="0.0.0.0",
        port=7860,
        offline=True,
        max_file_bytes=1_500_000,
        cache_bytes=20_000_000,
        cache_memory_bytes=0,
        password="rye and water",
        space=True,
    )


def test_a_blank_variable_is_one_that_is_not_set() -> None:
    names = ("HOME", "EMBEDDER", "WRITER", "HOST", "PORT", "OFFLINE", "MAX_FILE_MB")
    assert read_settings({f"FOOTNOTE_{name}": "  " for name in names}) == read_settings({})


def test_the_home_of_the_person_may_be_written_as_a_tilde() -> None:
    assert read_settings({"FOOTNOTE_HOME": "~/footnote"}).home == Path.home().resolve() / "footnote"


def test_on_a_space_the_host_that_gradio_is_told_is_taken() -> None:
    told = {"GRADIO_SERVER_NAME": "0.0.0.0", "SYSTEM": "spaces"}
    assert read_settings(told).host == "0.0.0.0"
    assert read_settings({**told, "FOOTNOTE_HOST": "127.0.0.1"}).host == "127.0.0.1"
    assert read_settings({"GRADIO_SERVER_NAME": "0.0.0.0"}).host == "127.0.0.1"


@pytest.mark.parametrize(("value", "on"), [("yes", True), ("TRUE", True), ("on", True), ("0", False), ("No", False)])
def test_a_switch_is_on_or_off(value: str, on: bool) -> None:
    assert read_settings({"FOOTNOTE_OFFLINE": value}).offline is on


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FOOTNOTE_PORT", "eighty"),
        ("FOOTNOTE_PORT", "70000"),
        ("FOOTNOTE_PORT", "-1"),
        ("FOOTNOTE_PORT", "80.5"),
        ("FOOTNOTE_MAX_FILE_MB", "lots"),
        ("FOOTNOTE_MAX_FILE_MB", "0"),
        ("FOOTNOTE_MAX_FILE_MB", "nan"),
        ("FOOTNOTE_MAX_FILE_MB", "inf"),
        ("FOOTNOTE_OFFLINE", "maybe"),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(BadSetting, match=rf"^{name}={value} cannot be used\. Set it to .*, or leave it out\.$"):
        read_settings({name: value})


def test_a_home_that_nobody_has_is_refused_by_name() -> None:
    with pytest.raises(BadSetting, match="FOOTNOTE_HOME"):
        read_settings({"FOOTNOTE_HOME": "~nobody-of-that-name/footnote"})


def test_settings_can_be_shown_as_they_would_be_typed(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, port=7860, offline=True)
    typed = dict(pair.split("=", 1) for pair in settings.as_text().split(" "))
    assert read_settings(typed) == settings


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "footnote.lan", "127.0.0.1.evil.example"])
def test_a_page_that_others_can_reach_needs_a_password_but_on_a_space(host: str) -> None:
    assert read_settings({"FOOTNOTE_HOST": host}).exposed
    assert not read_settings({"FOOTNOTE_HOST": host, "FOOTNOTE_PASSWORD": "rye"}).exposed
    assert not read_settings({"FOOTNOTE_HOST": host, "SYSTEM": "spaces"}).exposed
    assert not read_settings({}).exposed


def test_the_password_is_told_to_nobody() -> None:
    assert "rye" not in read_settings({"FOOTNOTE_PASSWORD": "rye"}).as_text()
