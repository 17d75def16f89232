"""What is exported can be read by any program, and comes back as it was."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rag.conversations import kept
from rag.errors import BadFile, StoreError
from rag.export import as_markdown, export
from rag.readers import markdown
from rag.readers.decode import tidy
from rag.readers.facts import line, tags_of
from rag.records import Post
from store.library import SqliteLibrary
from tests.house import House, outcomes
from tests.stories import FLATBREAD, SOURDOUGH

pytestmark = pytest.mark.slow

ODD = "\n\n".join(
    [
        "# Tags & entities: &lt;b&gt; stays, &amp;amp; too",
        "A `<div>` and a <span>bare one</span>, {{< shortcode >}}, {% raw %} and [[wiki|links]].",
        "---\nnot: front matter\n---",
        "![a picture](x.png) <!-- a comment -->\n\n    code   with   spaces",
    ]
)


def content(house: House) -> set[tuple[object, ...]]:
    """Return all posts but for where they came from."""
    posts = [house.engine.post(listed.id) for listed in house.engine.posts()]
    return {(post.title, post.text, post.date, post.url, post.tags, post.author, post.pages) for post in posts}


@pytest.fixture
def full(house: House) -> House:
    """A house with odd posts of many kinds and a conversation."""
    house.write("sourdough.md", "---\ndate: 2024-03-02\ntags: [bread, 'rye: flour']\nauthor: Ada\n---\n" + SOURDOUGH)
    house.write("flatbread.md", FLATBREAD)
    house.write("odd.txt", ODD)
    list(house.engine.add([str(house.home / "blog")]))
    paged = Post("/a.pdf", "2021-01-01 was a Friday", "One page.\n\nAnother page.", pages=(0, 11))
    more = Post("/b.pdf", "2021-01-01 was a Friday", "The same title, other words.", url="https://example.com/b?c=d&e")
    slashes = Post("/c", "../../etc/passwd: \"quoted\" # and 'so'", "Text of a title that is a path.")
    list(house.engine.add_posts([paged, more, slashes, Post("/d", "CON", "x y z"), Post("/e", "🥖", "Bread alone.")]))
    house.writer.pieces = ("Feed it every morning at eight with 50 grams of rye flour.",)
    *_, answer = house.engine.ask("How is the starter fed every morning?")
    house.engine.talks.keep(0, answer.question, kept(answer))
    return house


def test_what_is_exported_and_added_again_is_the_same(full: House, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    written = export(full.engine, folder)
    assert (written.posts, written.conversations, written.replaced) == (8, 1, 0)
    again = House(tmp_path / "again", real_stores=True)
    rows = outcomes(again.engine.add([str(folder)]))
    assert [row.state for row in rows] == ["added"] * 8
    assert content(again) == content(full)
    again.close()


def test_files_have_safe_names_and_are_told_apart(full: House, tmp_path: Path) -> None:
    export(full.engine, tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out" / "posts").iterdir())
    assert names[0] == "2024-03-02-keeping-a-sourdough-starter.md"
    assert "etc-passwd-quoted-and-so.md" in names
    assert "untitled.md" in names
    assert len([name for name in names if name.startswith("undated-2021-01-01-was-a-friday")]) == 2
    assert any(name.startswith("con-") for name in names)
    assert {path.name for path in tmp_path.rglob("*") if path.is_file() and "out" not in path.parts} & {
        "passwd"
    } == set()


def test_what_a_strange_backup_brought_stays_inside_the_folder(full: House, tmp_path: Path) -> None:
    if not isinstance(full.library, SqliteLibrary):
        pytest.skip("only a library on disk can be tampered with")
    with full.library.transaction() as db:
        db.execute("UPDATE conversations SET begun = '../../../a'")
        for copy in ("../../../../a", "../../../../b"):
            others = "title, text, date, url, tags, content_hash, author, pages"
            first = "FROM posts ORDER BY id LIMIT 1"
            db.execute(f"INSERT INTO posts (id, source, {others}) SELECT ?, ?, {others} {first}", (copy, copy))
    before = set(tmp_path.rglob("*"))
    export(full.engine, tmp_path / "one" / "two" / "out")
    written = {path.resolve() for path in set(tmp_path.rglob("*")) - before if path.is_file()}
    assert len(written) == 8 + 2 + 3
    assert all(path.is_relative_to(tmp_path / "one" / "two" / "out") for path in written)


def test_front_matter_is_what_other_programs_read(full: House, tmp_path: Path) -> None:
    export(full.engine, tmp_path / "out")
    text = (tmp_path / "out" / "posts" / "2024-03-02-keeping-a-sourdough-starter.md").read_text(encoding="utf-8")
    matter = yaml.safe_load(text.split("---\n")[1])
    assert (matter["title"], str(matter["date"])) == ("Keeping a sourdough starter", "2024-03-02")
    assert (matter["tags"], matter["author"]) == (["bread", "rye: flour"], "Ada")
    assert "Feed it every morning" in text.split("---\n", 2)[2]


def test_conversations_come_along_with_their_footnotes(full: House, tmp_path: Path) -> None:
    export(full.engine, tmp_path / "out")
    [file] = (tmp_path / "out" / "conversations").glob("*.json")
    [turn] = json.loads(file.read_text(encoding="utf-8"))["turns"]
    assert turn["footnotes"][0]["quote"].startswith("Feed it every morning")
    assert "[^1-1]" in file.with_suffix(".md").read_text(encoding="utf-8")


def test_nothing_is_replaced_without_saying_so(full: House, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(BadFile, match="--force"):
        export(full.engine, folder)
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]
    assert export(full.engine, folder, force=True).replaced == 0
    assert export(full.engine, folder, force=True).replaced == 8 + 2
    assert (folder / "mine.txt").read_text(encoding="utf-8") == "mine"
    with pytest.raises(BadFile, match="not an empty folder"):
        export(full.engine, folder / "mine.txt", force=True)
    with pytest.raises(StoreError, match=r"cannot be written"):
        export(full.engine, folder / "mine.txt" / "below")


def test_a_link_in_the_way_is_replaced_and_not_followed(full: House, tmp_path: Path) -> None:
    victim = tmp_path / "victim.md"
    victim.write_text("precious", encoding="utf-8")
    (tmp_path / "out" / "posts").mkdir(parents=True)
    (tmp_path / "out" / "posts" / "untitled.md").symlink_to(victim)
    assert export(full.engine, tmp_path / "out", force=True).replaced == 1
    assert victim.read_text(encoding="utf-8") == "precious"


WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc")) | st.sampled_from("\n#-:'\"<>&{}[]`|"), max_size=200)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=200)
@given(WORDS.filter(line), WORDS, st.dates() | st.none(), st.lists(WORDS, max_size=4))
def test_any_post_comes_back_as_it_was(title: str, text: str, day: object, tags: list[str]) -> None:
    post = Post("/a.md", line(tidy(title)) or "T", tidy(text).strip("\n").rstrip(), str(day) if day else None)
    post = Post(
        post.source, post.title, post.text, post.date, "https://example.com/a", tags_of([tidy(t) for t in tags])
    )
    assert markdown.read(tidy(as_markdown(post)), "/a.md", "name") == post
