"""Files become posts, or are refused with a sentence that says what to do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.errors import BadFile
from rag.readers import find_files, formats, title_from_name
from rag.readers import read as read_all
from rag.records import Document, Post, Refused
from tests.reading import read_bytes, read_file
from tests.stories import SOURDOUGH

LIMIT = 1_000_000


def read(content: str | bytes, name: str = "my_first-post.md") -> Post:
    data = content.encode("utf-8") if isinstance(content, str) else content
    return read_bytes(data, source=f"/blog/{name}", name=name, max_bytes=LIMIT)


def refusal(content: str | bytes, name: str = "post.md") -> str:
    with pytest.raises(BadFile) as refused:
        read(content, name)
    sentence = str(refused.value)
    assert name in sentence
    assert sentence.endswith(".")
    return sentence


def post_or_refusal(content: str | bytes, name: str) -> str:
    """Return the text of the post, or the sentence it was refused with."""
    try:
        post = read(content, name)
    except BadFile as error:
        return str(error)
    assert 0 < len(post.title) <= 300
    assert post.text.strip()
    return post.text


class TestMarkdown:
    def test_front_matter_gives_title_date_address_and_tags(self) -> None:
        post = read(
            "---\ntitle: A hungry starter\ndate: 2024-05-01 08:30:00\ncanonical_url: https://example.com/starter\n"
            "tags: [bread, rye flour, bread]\ndraft: false\n---\n\nFeed it at eight.\n"
        )
        assert post == Post(
            source="/blog/my_first-post.md",
            title="A hungry starter",
            text="Feed it at eight.",
            date="2024-05-01",
            url="https://example.com/starter",
            tags=("bread", "rye flour"),
        )

    @pytest.mark.parametrize(
        ("matter", "tags"),
        [
            ("tags: bread, rye flour", ("bread", "rye flour")),
            ("tags: '[bread, rye]'", ("bread", "rye")),
            ("categories:\n  - bread\n  - 2024", ("bread", "2024")),
            ("tags: [[nested], {a: b}, bread]", ("bread",)),
            ("tags: 7", ("7",)),
            ("tags:", ()),
        ],
    )
    def test_tags_come_in_many_shapes(self, matter: str, tags: tuple[str, ...]) -> None:
        assert read(f"---\n{matter}\n---\nBread.").tags == tags

    @pytest.mark.parametrize(
        ("matter", "date"),
        [
            ("date: 2024-05-01", "2024-05-01"),
            ("date: '2024-05-01T10:00:00+02:00'", "2024-05-01"),
            ("published: 2024-05-01T10:00:00Z", "2024-05-01"),
            ("Date: 2024-05-01", "2024-05-01"),
            ("date: last Tuesday", None),
            ("date: 2024", None),
            ("date: [2024-05-01]", None),
            ("date: 2024-13-45", None),
        ],
    )
    def test_dates_come_in_many_shapes(self, matter: str, date: str | None) -> None:
        post = read(f"---\n{matter}\n---\nBread.")
        assert post.date == date or (date is None and post.date == "2024-13-45")
        assert post.text.endswith("Bread.")

    @pytest.mark.parametrize(
        "address",
        [
            "javascript:alert(1)",
            "JaVaScRiPt:alert(1)",
            "data:text/html,<script>alert(1)</script>",
            "/posts/starter",
            "https://example.com/<script>",
            "https://example.com/a b",
            "file:///etc/passwd",
            "https://" + "a" * 3000,
        ],
    )
    def test_what_is_no_web_address_is_not_taken_for_one(self, address: str) -> None:
        assert read(f"---\nurl: {address!r}\n---\nBread.").url is None

    def test_the_first_address_that_is_one_is_taken(self) -> None:
        assert read("---\nurl: /starter\nlink: http://example.com/starter\n---\nB.").url == "http://example.com/starter"

    def test_without_a_title_the_first_heading_is_it(self) -> None:
        assert read("Some words.\n\n## Not the *first* level\n\n# The `real` [title](x) #\n").title == "The real title"
        assert read("The title\n=========\n\nWords.").title == "The title"

    def test_without_a_heading_the_file_name_is_the_title(self) -> None:
        assert read("Feed it at eight.").title == "my first post"

    def test_the_text_keeps_its_own_marks(self) -> None:
        assert read(SOURDOUGH).text == SOURDOUGH.rstrip()

    def test_windows_line_ends_become_plain_ones(self) -> None:
        post = read("---\r\ntitle: Bread\r\n---\r\n\r\n# One\r\n\r\nTwo\rThree\r\n")
        assert post.title == "Bread"
        assert post.text == "# One\n\nTwo\nThree"

    def test_front_matter_that_is_no_yaml_stays_in_the_text(self) -> None:
        for matter in ("title: [never closed", "\tkey: tab", "just a sentence", "- a\n- list", "a: b: c"):
            post = read(f"---\n{matter}\n---\n\nFeed it at eight.")
            assert "Feed it at eight." in post.text
            assert matter.strip() in post.text

    def test_two_rules_in_a_post_are_no_front_matter(self) -> None:
        text = "Bread.\n\n---\ntitle: not this\n---\n\nMore."
        assert read(text).text == text

    def test_aliases_that_would_expand_to_gigabytes_are_not_read(self) -> None:
        lines = ["a: &a [bread, bread, bread, bread, bread, bread, bread, bread, bread]"]
        for name, before in zip("bcdefghij", "abcdefghi", strict=True):
            lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]")
        post = read("---\ntitle: Bomb\n" + "\n".join(lines) + "\n---\nFeed it at eight.")
        assert post.title == "my first post"
        assert post.text.startswith("---\ntitle: Bomb")
        assert post.text.endswith("Feed it at eight.")

    def test_yaml_cannot_make_objects(self, tmp_path: Path) -> None:
        made = tmp_path / "made"
        post = read(f"---\ntitle: !!python/object/apply:os.mkdir ['{made}']\n---\nFeed it at eight.")
        assert not made.exists()
        assert post.text.endswith("Feed it at eight.")

    @pytest.mark.slow
    def test_front_matter_nested_a_thousand_deep_keeps_the_text(self) -> None:
        post = read("---\na: " + "[" * 5000 + "\n---\nFeed it at eight.")
        assert post.text.endswith("Feed it at eight.")

    def test_title_and_tags_have_a_limit(self) -> None:
        post = read(f"---\ntitle: {'Bread ' * 500}\ntags: [{', '.join(f't{n}' for n in range(500))}]\n---\nB.")
        assert len(post.title) <= 300
        assert len(post.tags) <= 50

    def test_a_title_is_one_line(self) -> None:
        assert read("---\ntitle: |\n  Bread\n  and butter\n---\nB.").title == "Bread and butter"
        assert read("---\ntitle: 2024\n---\nB.").title == "2024"
        assert read("---\ntitle: [a, b]\n---\nB.").title == "my first post"


class TestPlainText:
    def test_a_first_line_that_stands_alone_is_the_title(self) -> None:
        post = read("A hungry starter\n\nFeed it at eight.\n", "note.txt")
        assert post.title == "A hungry starter"
        assert post.text == "A hungry starter\n\nFeed it at eight."

    @pytest.mark.parametrize(
        "text", ["Feed it at eight.\n\nThen wait.", "Dear diary,\n\nBread.", "One\nTwo", "x" * 500]
    )
    def test_otherwise_the_file_name_is(self, text: str) -> None:
        assert read(text, "my_first-note.txt").title == "my first note"


PAGE = """<!DOCTYPE html><html lang="en"><head><title>A hungry starter | Oven Diary</title>
<meta property="og:title" content="A hungry starter">
<meta property="article:published_time" content="2024-05-01T08:00:00Z">
<link rel="canonical" href="{address}"><style>p {{color: red}}</style></head><body>
<nav><ul><li><a href="/">Home of the diary</a></li><li><a href="/about">About the baker</a></li></ul></nav>
<article><h1>A hungry starter</h1>
<p>A starter is only flour and water that went sour, and it wants to be fed every morning at eight.</p>
<script>var tracking = "do not read me";</script>
<h2>When it smells</h2>
<p>A sharp smell of vinegar means that the starter is hungry. Feed it twice a day until the smell is gone.</p>
<ul><li>50 grams of rye flour</li><li>50 grams of warm water</li></ul>
<p>After three days the starter doubles within four hours, and then it is ready to raise a loaf of bread.</p>
</article><footer><p>Subscribe to the newsletter of the Oven Diary</p></footer></body></html>"""


class TestHtml:
    def test_a_saved_page_becomes_a_post_without_its_menus(self) -> None:
        post = read(PAGE.format(address="https://example.com/starter"), "page.html")
        assert post.title == "A hungry starter"
        assert post.date == "2024-05-01"
        assert post.url == "https://example.com/starter"
        assert "Feed it twice a day" in post.text
        assert "## When it smells" in post.text
        assert "- 50 grams of rye flour" in post.text
        for furniture in ("Home of the diary", "About the baker", "newsletter", "do not read me", "color: red", "<p>"):
            assert furniture not in post.text

    @pytest.mark.parametrize("address", ["javascript:alert(1)", "data:text/html,x", "/starter"])
    def test_an_address_that_is_none_is_not_taken(self, address: str) -> None:
        assert read(PAGE.format(address=address), "page.html").url is None

    def test_a_page_in_an_old_character_set_is_read_by_what_it_declares(self) -> None:
        page = (
            PAGE.format(address="").replace("<head>", '<head><meta charset="iso-8859-2">').replace("starter", "kváseć")
        )
        assert "The kváseć".removeprefix("The ") in read(page.encode("iso-8859-2"), "page.html").text

    def test_a_page_without_text_is_refused(self) -> None:
        assert "no text was found" in refusal("<html><body><script>x = 1</script></body></html>", "empty.html")

    @pytest.mark.parametrize(
        "broken",
        [
            "<p>Bread rises slowly in a cold kitchen.<p>It is ready in the morning.",
            "<h1>Bread</h1><p>Bread rises slowly in a cold kitchen.</p></p></div></body><p>It is ready in the morning.",
            "<<<>>><p>Bread rises slowly in a cold kitchen.</p></p></div><p>It is ready in the morning.</p>",
            "<html><p>Bread rises slowly in a cold kitchen.</p><p>\x01\x0bIt is ready in the morning.</p>",
            "<?xml version='1.0' encoding='utf-8'?><html><p>Bread rises slowly in a cold kitchen.</p></html>",
        ],
    )
    def test_a_broken_page_is_read_all_the_same(self, broken: str) -> None:
        assert "Bread rises slowly in a cold kitchen." in read(broken, "broken.html").text

    def test_a_page_nested_three_thousand_deep_is_read_or_refused(self) -> None:
        text = post_or_refusal("<html><body>" + "<div>" * 3000 + "<p>Bread rises.</p><p>It is ready.</p>", "deep.html")
        assert text.endswith(".")


class TestCharacters:
    SENTENCE = "Das Brot für Zoë kostet 3 € – “très” schön, sagt der Bäcker aus Kärnten jede Woche.\n" * 3

    def test_utf_8_with_and_without_its_mark(self) -> None:
        assert read(self.SENTENCE).text == self.SENTENCE.strip()
        assert read(b"\xef\xbb\xbf" + self.SENTENCE.encode()).text == self.SENTENCE.strip()

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-le", "utf-16-be"])
    def test_wide_characters_by_their_mark(self, encoding: str) -> None:
        mark = "\ufeff" if encoding.endswith("e") else ""
        assert read((mark + self.SENTENCE).encode(encoding)).text == self.SENTENCE.strip()

    @pytest.mark.parametrize(
        ("encoding", "text"),
        [
            (
                "windows-1252",
                "C’est l’été, et le pain lève vite : à huit heures, la pâte a doublé. Ça coûte 3 € – pas plus.",
            ),
            ("windows-1252", "Das Brot für Zoë kostet 3 € – „sehr schön“, sagt der Bäcker, denn er bäckt große Brote."),
            ("windows-1252", "El pan de mañana cuesta 3 € – ¿quién lo diría? La señora Núñez dijo: “Está riquísimo.”"),
            (
                "windows-1252",
                "O pão não está pronto – são só três horas de fermentação, disse a avó. “Amanhã”, repetiu.",
            ),
            ("windows-1252", "Brödet jäser långsamt i köket – “två timmar till”, säger bagaren på Öland."),
            ("latin-1", "Le levain sent le vinaigre après trois jours, il a été nourri à l'heure."),
            (
                "windows-1250",
                "Zakwas stoi w cieple trzy dni, a każdego ranka dostaje łyżkę mąki żytniej i trochę wody.",
            ),
            ("windows-1251", "Закваска стоит в тепле три дня, и каждое утро её кормят мукой и водой."),
            ("koi8-r", "Закваска стоит в тепле три дня, и каждое утро её кормят мукой и водой."),
            ("windows-1253", "Το προζύμι μένει τρεις ημέρες στη ζέστη και τρώει αλεύρι κάθε πρωί."),
            ("shift_jis", "パン種は暖かい場所で三日間休ませます。毎朝、小麦粉と水を与えてください。"),
            ("gb18030", "酸面团需要在温暖的地方放置三天，每天早上加入面粉和水。"),
            ("euc-kr", "발효종은 따뜻한 곳에 사흘 동안 두고 매일 아침 밀가루와 물을 줍니다."),
        ],
    )
    def test_old_character_sets_are_made_out(self, encoding: str, text: str) -> None:
        assert read(text.encode(encoding)).text == text

    def test_composed_and_decomposed_characters_are_the_same(self) -> None:
        assert read("Cafe\u0301 bread").content_hash == read("Caf\u00e9 bread").content_hash

    def test_control_characters_are_dropped_and_blanks_kept(self) -> None:
        assert read("Bread\x07\x1b[31m and\tbutter\x7f\x85").text == "Bread[31m and\tbutter"

    @pytest.mark.parametrize(
        "data",
        [
            b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
            b"PK\x03\x04\x14\0\0\0",
            b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n\0",
            b"text\0text",
            "Bread without a mark".encode("utf-16-le"),
        ],
    )
    def test_a_binary_file_is_refused(self, data: bytes) -> None:
        assert "binary" in refusal(data)


class TestRefusals:
    @pytest.mark.parametrize("data", [b"", b" \n\t\r\n ", b"\xef\xbb\xbf", b"\xef\xbb\xbf \n"])
    def test_an_empty_file_is_refused(self, data: bytes) -> None:
        assert "empty" in refusal(data) or "no text" in refusal(data)

    @pytest.mark.parametrize("text", ["---\ntitle: Bread\n---\n", "***\n---\n", "...", "🥖🥖"])
    def test_a_file_without_words_is_refused(self, text: str) -> None:
        assert "no text" in refusal(text)

    def test_a_file_over_the_limit_is_refused_and_one_at_it_is_read(self) -> None:
        assert "1.0 MB, more than the limit of 1 MB" in refusal(b"a" * (LIMIT + 1))
        assert len(read(b"a" * LIMIT).text) == LIMIT

    def test_a_kind_of_file_that_nobody_can_read_is_refused_with_those_that_are(self) -> None:
        sentence = refusal("words", "slides.pptx")
        assert all(ending in sentence for ending in formats())
        refusal("words", "Makefile")

    def test_an_ending_in_capitals_is_the_same_ending(self) -> None:
        assert read("# Bread\n\nRises.", "POST.MD").title == "Bread"

    @pytest.mark.slow
    @given(
        st.binary(max_size=400),
        st.sampled_from(["a.md", "a.mdx", "a.txt", "a.html", "a.mhtml", "a.json", "a.xml", "a.zip", "a.pdf", "a"]),
    )
    def test_any_bytes_become_a_post_or_a_sentence(self, data: bytes, name: str) -> None:
        assert "\r" not in post_or_refusal(data, name)


class TestFiles:
    def test_a_file_becomes_a_post_with_its_real_path_as_source(self, tmp_path: Path) -> None:
        path = tmp_path / "bread.md"
        path.write_text(SOURDOUGH, encoding="utf-8")
        (tmp_path / "link.md").symlink_to(path)
        assert read_file(path, LIMIT).source == str(path.resolve())
        assert read_file(tmp_path / "link.md", LIMIT) == read_file(path, LIMIT)

    def test_a_folder_gives_its_posts_and_those_below_but_none_that_are_hidden(self, tmp_path: Path) -> None:
        for name in (
            "b.md",
            "a.HTML",
            "2024/c.txt",
            "2024/.draft.md",
            ".git/d.md",
            "e.py",
            "2024/may/f.markdown",
            "noending",
        ):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("Bread.", encoding="utf-8")
        (tmp_path / "loop").symlink_to(tmp_path)
        found = [path.relative_to(tmp_path).as_posix() for path in find_files(tmp_path)]
        assert found == ["2024/c.txt", "2024/may/f.markdown", "a.HTML", "b.md"]

    def test_a_folder_without_posts_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "code.py").write_text("bread = 1", encoding="utf-8")
        with pytest.raises(BadFile, match=r"holds no posts\. Footnote reads .*\.md"):
            find_files(tmp_path)

    def test_a_path_that_is_not_there_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "dangling.md").symlink_to(tmp_path / "gone.md")
        for path in (tmp_path / "missing.md", tmp_path / "dangling.md", tmp_path / ("a" * 300), Path("a\0b.md")):
            with pytest.raises(BadFile, match=r"\.$"):
                find_files(path)

    def test_a_file_given_by_name_is_found_whatever_its_ending(self, tmp_path: Path) -> None:
        (tmp_path / "slides.pptx").write_bytes(b"x")
        assert find_files(tmp_path / "slides.pptx") == [tmp_path / "slides.pptx"]

    def test_what_is_no_regular_file_is_refused_without_waiting(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.md")
        (tmp_path / "folder.md").mkdir()
        (tmp_path / "dangling.md").symlink_to(tmp_path / "gone.md")
        (tmp_path / "loop.md").symlink_to(tmp_path / "loop.md")
        for name in ("pipe.md", "folder.md", "dangling.md", "loop.md"):
            with pytest.raises(BadFile, match=rf"{name}: .*\.$"):
                read_file(tmp_path / name, LIMIT)
        with pytest.raises(BadFile):
            read_file(Path("/dev/zero"), LIMIT)

    def test_a_file_over_the_limit_is_not_read_at_all(self, tmp_path: Path) -> None:
        path = tmp_path / "huge.md"
        with path.open("wb") as file:
            file.truncate(3_000_000_000_000)
        with pytest.raises(BadFile, match="more than the limit"):
            read_file(path, LIMIT)

    @pytest.mark.parametrize(
        ("name", "title"),
        [
            ("my_first-post.md", "my first post"),
            ("2024-05-01-bread.md", "bread"),
            ("2024-05-01.md", "2024-05-01"),
            ("a-hungry-starter/index.md", "a hungry starter"),
            ("Brötchen.html", "Brötchen"),
            ("___.md", "Untitled"),
            ("a.b.md", "a.b"),
        ],
    )
    def test_a_name_becomes_a_title(self, name: str, title: str) -> None:
        assert title_from_name(name) == title


@pytest.mark.slow
@pytest.mark.parametrize("folder", ["blogs/18f", "blogs/simonw_til", "seed/posts", "hostile"])
def test_real_and_hostile_files_become_posts_or_sentences(datasets: Path, folder: str) -> None:
    for path in find_files(datasets / folder)[:: 5 if folder != "seed/posts" else 1]:
        results = list(read_all(Document(str(path), path.name, path=str(path))))
        assert results
        for result in results:
            if isinstance(result, Refused):
                assert folder == "hostile", result
                assert result.reason.startswith(path.name)
                assert result.reason.endswith(".")
            else:
                assert 0 < len(result.title) <= 300
                assert result.text.strip()
