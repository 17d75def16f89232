"""Every format that posts come in becomes posts with title, date, tags, address and author where it has them."""

# ruff: noqa: E501 - samples of files are plainer on their own lines

from __future__ import annotations

import io
import json
import re
import subprocess
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from rag.errors import BadFile
from rag.readers import Limits, find_files, formats, read
from rag.readers.pandoc import Converted, convert, fragment_to_markdown
from rag.records import Document, Post, Refused

pytestmark = pytest.mark.slow

STORY = "Feed it at eight, and again when the smell of vinegar comes."


def results(data: bytes | str, name: str, address: str | None = None, limits: Limits | None = None) -> list[Any]:
    content = data.encode("utf-8") if isinstance(data, str) else data
    return list(read(Document(f"/blog/{name}", name, content, address=address), limits))


def posts(data: bytes | str, name: str, address: str | None = None) -> list[Post]:
    found = results(data, name, address)
    assert all(isinstance(result, Post) for result in found), found
    return found


def post(data: bytes | str, name: str, address: str | None = None) -> Post:
    found = posts(data, name, address)
    assert len(found) == 1
    return found[0]


def refusal(data: bytes | str, name: str, limits: Limits | None = None) -> str:
    found = results(data, name, limits=limits)
    assert len(found) == 1
    assert isinstance(found[0], Refused)
    assert found[0].reason.startswith(name)
    assert found[0].reason.endswith(".")
    return found[0].reason


def zipped(files: Mapping[str, str | bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


class TestFrontMatter:
    def test_toml_gives_what_yaml_gives(self) -> None:
        found = post(
            '+++\ntitle = "A hungry starter"\ndate = 2024-05-01T08:30:00Z\ntags = ["bread", "rye"]\n'
            'author = "Ana"\ndraft = true\n+++\nFeed it at eight.',
            "a.md",
        )
        assert (found.title, found.date, found.tags, found.author) == (
            "A hungry starter",
            "2024-05-01",
            ("bread", "rye"),
            "Ana",
        )
        assert found.text == "Feed it at eight."

    def test_tags_may_stand_among_taxonomies(self) -> None:
        assert post('+++\n[taxonomies]\ntags = ["bread"]\n+++\nFeed it.', "a.md").tags == ("bread",)

    def test_json_is_front_matter_too(self) -> None:
        found = post('{\n"title": "Bread", "date": "2024-05-01"\n}\nFeed it.', "a.md")
        assert (found.title, found.date, found.text) == ("Bread", "2024-05-01", "Feed it.")

    @pytest.mark.parametrize("matter", ['title = "never closed', "a = " + "[" * 5000, "a." * 5000 + "a = 1"])
    def test_what_is_no_toml_stays_in_the_text(self, matter: str) -> None:
        assert post(f"+++\n{matter}\n+++\nFeed it at eight.", "a.md").text.endswith("Feed it at eight.")

    @pytest.mark.parametrize("author", ["Ana", "{name: Ana, email: a@example.com}", "[{name: Ana}]", "[Ana, Ana]"])
    def test_an_author_comes_in_many_shapes(self, author: str) -> None:
        assert post(f"---\nauthor: {author}\n---\nFeed it.", "a.md").author == "Ana"

    @pytest.mark.parametrize(
        "date",
        ["2024/05/01", "2024.5.1", "1 May 2024", "Wed, 01 May 2024 08:30:00 +0200", "May 1st, 2024", "May 1 2024"],
    )
    def test_a_day_comes_in_many_shapes(self, date: str) -> None:
        assert post(f"---\ndate: {date}\n---\nFeed it.", "a.md").date == "2024-05-01"

    def test_a_file_name_gives_day_and_title_where_nothing_else_does(self) -> None:
        found = post("Feed it.", "2024-05-01-a-hungry-starter.md")
        assert (found.date, found.title) == ("2024-05-01", "a hungry starter")
        assert post("---\ndate: 2023-01-01\n---\nFeed it.", "2024-05-01-bread.md").date == "2023-01-01"

    def test_an_index_is_called_by_its_folder(self, tmp_path: Path) -> None:
        path = tmp_path / "2024-05-01-a-hungry-starter" / "index.md"
        path.parent.mkdir()
        path.write_text("Feed it.", encoding="utf-8")
        (found,) = read(Document(str(path), "index.md", path=str(path)))
        assert isinstance(found, Post)
        assert (found.title, found.date) == ("a hungry starter", "2024-05-01")


class TestDialects:
    """What site generators and apps write into Markdown is made readable; code stays."""

    @pytest.mark.parametrize(
        ("written", "read_as"),
        [
            ("See [[Rye flour]] and [[notes/Oven|the oven]].", "See Rye flour and the oven."),
            ("See [[Rye flour#Storing]] and [[#Storing]].", "See Rye flour > Storing and Storing."),
            ("![[loaf.png]]Bread ![[loaf.png|300]]and ![[Rye flour]].", "Bread and Rye flour."),
            ("> [!note] Keep it warm\n> Near the oven.", "> **Keep it warm**\n> Near the oven."),
            ("> [!WARNING]\n> It is hot.", "> **Warning**\n> It is hot."),
            (
                "Feed it %%ask Ana%%at eight.\n\n%%\nnot for readers\n%%\n\nThen wait.",
                "Feed it at eight.\n\nThen wait.",
            ),
            ("Feed it ==at eight==, where a == b == c.", "Feed it at eight, where a == b == c."),
            ('{{< figure src="a.jpg" alt="A loaf" caption="On the table" >}}', "A loaf - On the table"),
            ("{{< youtube abc >}}Feed it {{% notice %}}daily{{% /notice %}}.", "Feed it daily."),
            ('[Rye]({{< ref "rye.md" >}})', "[Rye](rye.md)"),
            ("{{< highlight go >}}\nx := 1\n{{< /highlight >}}\nDone.", "```go\nx := 1\n```\n\nDone."),
            ("Write {{</* figure */>}} for it.", "Write {{< figure >}} for it."),
            ("{% highlight python %}\nx = {{ y }}\n{% endhighlight %}\nDone.", "```python\nx = {{ y }}\n```\n\nDone."),
            ("{% include nav.html %}Feed {{ site.title }}it.{% if page.x %} Well.{% endif %}", "Feed it. Well."),
            ('{% image "assets/loaf.jpg" "A loaf on a table" %}', "A loaf on a table"),
            ('{% include figure.html src="a.jpg" caption="A loaf" %}', "A loaf"),
            (
                "[Rye]({% link _posts/2024-05-01-rye.md %}) [Oven]({{ site.baseurl }}/oven)",
                "[Rye](_posts/2024-05-01-rye.md) [Oven](/oven)",
            ),
            ("[Rye]({{ '/rye/' | relative_url }})", "[Rye](/rye/)"),
            ("{% comment %}not {{ this }}{% endcomment %}Feed it.", "Feed it."),
            ("{% raw %}Write {{ page.title }}.{% endraw %}", "Write {{ page.title }}."),
            ("Say {{ name }} in a template.", "Say {{ name }} in a template."),
            ("## Rye {#rye .big}\n\nFeed it.{: .note}\n{: target='_blank'}", "## Rye \n\nFeed it."),
            ('![A loaf](loaf.jpg "Bread") and ![](x.png).', "A loaf and ."),
            ("[![A loaf](a.jpg)](https://example.com) [![](a.jpg)](b.jpg)Bread", "[A loaf](https://example.com) Bread"),
            ("![A loaf][1] Bread\n\n[1]: data:image/png;base64,AAAA", "A loaf Bread"),
            (f"![A loaf](data:image/png;base64,{'QUJD' * 5000})", "A loaf"),
            ("![IMG_2034.JPG](a.jpg)Bread", "Bread"),
            ('<img src="a.jpg" alt="A loaf">, <b>hot</b><script>x = 1</script>', "A loaf, **hot**"),
            ("<p>One</p>\n<p>Two<br>Three</p>", "One\n\nTwo\nThree"),
            (
                '<!-- hidden\n\nwords -->See <a href="https://example.com/a">this</a> &mdash; now',
                "See [this](https://example.com/a) — now",
            ),
            ("<table><tr><th>Flour</th></tr><tr><td>Rye</td></tr></table>", "| Flour |\n|-------|\n| Rye   |"),
            ("a < b and List<String> and <https://example.com>", "a < b and List<String> and <https://example.com>"),
        ],
    )
    def test_it_is_made_readable(self, written: str, read_as: str) -> None:
        assert post(written, "a.md").text == read_as

    @pytest.mark.parametrize(
        "code",
        [
            "```\n{{ site.x }} [[a]] ![a](b) <b>%%x%%\n```",
            "~~~~ jinja\n{% if x %}\n```\n{% endif %}\n~~~~",
            "    {{ site.x }} and {% include x %}\n\n    <b>",
            "`{{ site.x }}` and ``a ` {% include x %}``",
            "- one\n  ```\n  {{ site.x }}\n  ```",
            "> ```\n> {{ site.x }}\n> ```",
            "Say `{% highlight %}` and `<pre>` and `<!--`.",
        ],
    )
    def test_code_stays_as_it_is(self, code: str) -> None:
        assert post(f"Bread.\n\n{code}\n\nBread.", "a.md").text == f"Bread.\n\n{code}\n\nBread."

    def test_a_heading_in_code_is_no_title(self) -> None:
        assert post("```\n# a comment\n```\n\n# Bread\n", "a.md").title == "Bread"

    def test_mdx_loses_its_imports_and_tags_and_keeps_their_words(self) -> None:
        found = post(
            "import Chart from '../chart'\nexport const meta = {\n  title: 'A hungry starter',\n  date: '2024-05-01'\n}\n\n"
            "Feed it {/* soon */}at {'eight'}.\n\n<Note title=\"Keep it warm\" data={[{a: 1 > 0}]}>\n\nNear the **oven**.\n\n"
            "</Note>\n\n<Chart data={x} />\n\n```jsx\n<Chart data={x} />\n```\n",
            "a.mdx",
        )
        assert (found.title, found.date) == ("A hungry starter", "2024-05-01")
        assert found.text == (
            "Feed it at eight.\n\nKeep it warm\n\nNear the **oven**.\n\n```jsx\n<Chart data={x} />\n```"
        )

    @pytest.mark.parametrize(
        "unit",
        [
            "![",
            "![a](",
            "[[",
            "{% a ",
            "{{ ",
            "{{< a ",
            "<span ",
            "<!-- ",
            "`",
            "``a",
            "%%a",
            "==a",
            "[ ](",
            "<A b={",
            "> [!a",
        ],
    )
    @pytest.mark.parametrize("ending", ["md", "mdx"])
    @pytest.mark.timeout(20)
    def test_marks_without_end_take_no_time(self, unit: str, ending: str) -> None:
        assert len(results("Bread. " + unit * 40_000, f"a.{ending}")) == 1

    def test_a_thousand_tables_are_not_a_thousand_programs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        calls: list[object] = []
        monkeypatch.setattr(
            "rag.readers.pandoc.fragment_to_markdown", lambda html, base="": calls.append(html) or "table"
        )
        post("<table><tr><td>Rye</td></tr></table>\n\n" * 1000, "a.md")
        assert len(calls) == 50


class TestFragments:
    def test_form_stays_and_furniture_goes(self) -> None:
        text = fragment_to_markdown(
            '<h2>Storing</h2><p>Keep it <em>cold</em>, see <a href="/rye">rye</a>.<script>x = 1</script>'
            '<img src="a.jpg" alt="A jar"><img src="b.jpg" alt="b.jpg"></p><style>p {}</style>'
            "<ul><li>flour</li><li>water</li></ul><pre><code class='language-python'>x = 1\n</code></pre>"
            "<figure><img src='data:image/png;base64,AAAA' alt='A loaf'><figcaption>On the table</figcaption></figure>"
            "<table><tr><th>Day</th><th>Flour</th></tr><tr><td><p>One</p><p>Two</p></td><td rowspan='2'>Rye</td></tr>"
            "<tr><td>Three</td></tr></table>",
            "https://example.com/posts/",
        )
        assert text == (
            "## Storing\n\nKeep it *cold*, see [rye](https://example.com/rye).\n\nA jar\n\n- flour\n- water\n\n"
            "``` python\nx = 1\n```\n\nA loaf\n\nOn the table\n\n"
            "| Day     | Flour |\n|---------|-------|\n| One Two | Rye   |\n| Three   |       |"
        )

    def test_relative_links_become_whole_and_those_within_the_text_words(self) -> None:
        html = (
            '<p><a href="rye">rye</a> <a href="../salt?a=1">salt</a> <a href="//[">torn</a> <a href="#1">note</a></p>'
        )
        assert fragment_to_markdown(html, "https://example.com/posts/2024") == (
            "[rye](https://example.com/posts/rye) [salt](https://example.com/salt?a=1) [torn](//%5B) note"
        )

    @pytest.mark.parametrize("depth", [300, 3_000, 30_000])
    def test_words_at_any_depth_are_kept(self, depth: int) -> None:
        assert "deep bread" in fragment_to_markdown("<div>" * depth + "deep bread")

    def test_posts_are_converted_together_and_apart_where_one_is_too_much(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sizes: list[int] = []

        def picky(data: bytes, *args: Any) -> Converted:
            sizes.append(data.count(b"loaf"))
            if b"bomb" in data:
                raise BadFile("too much")
            return convert(data, *args)

        monkeypatch.setattr("rag.readers.pandoc.convert", picky)
        loaves = [f"<p>loaf {number}" for number in range(45)]
        items = [{"id": str(number), "content_html": html} for number, html in enumerate(loaves)]
        feed = {"version": "https://jsonfeed.org/version/1", "items": items}
        assert [found.text for found in posts(json.dumps(feed), "a.json")] == [f"loaf {n}" for n in range(45)]
        assert sizes == [20, 20, 5]
        empty = {"version": "https://jsonfeed.org/version/1", "items": [{"id": str(number)} for number in range(45)]}
        assert len(results(json.dumps(empty), "a.json")) == 45
        assert sizes == [20, 20, 5]  # nothing is started for nothing
        items[2]["content_html"] = "<p>loaf bomb"
        found = results(json.dumps(feed), "a.json")
        assert [number for number, result in enumerate(found) if isinstance(result, Refused)] == [2]

    def test_links_that_run_something_are_only_words(self) -> None:
        assert fragment_to_markdown('<a href="javascript:alert(1)">here</a> <a href="#top">top</a>') == "here top"

    def test_words_are_not_escaped_for_nothing(self) -> None:
        assert fragment_to_markdown('<p>It cost $5 [sic] and a * b, "x" ~ 3, a_b.</p>') == (
            'It cost $5 [sic] and a * b, "x" ~ 3, a_b.'
        )


def made_by_pandoc(form: str, markdown: str, tmp_path: Path) -> bytes:
    import pypandoc

    path = tmp_path / f"made.{form}"
    subprocess.run(
        [pypandoc.get_pandoc_path(), "-f", "markdown", "-s", "-o", str(path)],
        input=markdown.encode(),
        check=True,
        capture_output=True,
    )
    return path.read_bytes()


WRITTEN = (
    "---\ntitle: A hungry starter\nauthor: Ana Baker\ndate: 2024-05-01\nkeywords: [bread, rye]\nsubject: [bread, rye]\n---\n\n"
    "# Feeding\n\nFeed it at eight.\n\n- flour\n- water\n\n| Day | Flour |\n|---|---|\n| One | Rye |\n\n"
    "``` python\nx = 1\n```\n\nLast words[^1].\n\n[^1]: A note.\n"
)


class TestDocuments:
    @pytest.mark.parametrize("form", ["docx", "odt", "epub"])
    def test_office_files_and_books(self, form: str, tmp_path: Path) -> None:
        found = post(made_by_pandoc(form, WRITTEN, tmp_path), f"notes.{form}")
        assert (found.title, found.author) == ("A hungry starter", "Ana Baker")
        for piece in ("# Feeding", "Feed it at eight.", "- flour", "| Rye", "x = 1", "A note."):
            assert piece in found.text
        assert sorted(found.tags) == ["bread", "rye"]
        assert found.date == "2024-05-01" or (form == "odt" and found.date)  # odt: the day on which it was made

    def test_without_a_title_the_first_heading_is_it_and_then_the_name(self, tmp_path: Path) -> None:
        assert post(made_by_pandoc("docx", "# Feeding\n\nAt eight.", tmp_path), "my_notes.docx").title == "Feeding"
        assert post(made_by_pandoc("docx", "At eight.", tmp_path), "my_notes.docx").title == "my notes"

    def test_properties_that_are_a_bomb_are_not_read(self, tmp_path: Path) -> None:
        bomb = b'<!DOCTYPE x [<!ENTITY a "bread"><!ENTITY b "&a;&a;">]><x><title>&b;</title></x>'
        with zipfile.ZipFile(io.BytesIO(made_by_pandoc("docx", "At eight.", tmp_path))) as made:
            files = {name: made.read(name) for name in made.namelist()} | {"docProps/core.xml": bomb}
        assert post(zipped(files), "notes.docx").title == "notes"

    def test_a_document_that_expands_too_far_is_refused(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(io.BytesIO(made_by_pandoc("docx", "At eight.", tmp_path))) as made:
            files = {name: made.read(name) for name in made.namelist()} | {"word/media/a.png": b"\0" * 3_000_000}
        assert "expands to more than 2 MB" in refusal(zipped(files), "bomb.docx", Limits(post_bytes=200_000))

    @pytest.mark.parametrize("form", ["docx", "odt", "epub"])
    @pytest.mark.parametrize(
        "data", [b"PK\3\4 torn", b"no zip at all", zipped({"mimetype": "x"})], ids=["torn", "none", "empty"]
    )
    def test_a_torn_document_is_refused(self, form: str, data: bytes) -> None:
        refusal(data, f"torn.{form}")

    def test_restructured_text(self) -> None:
        found = post(
            "A hungry starter\n================\n\n:Author: Ana\n:Date: 2024-05-01\n\nStoring\n-------\n\n"
            ".. note:: Keep it warm.\n\n.. code-block:: python\n\n   x = 1\n\n.. image:: a.jpg\n   :alt: A jar\n\n"
            ".. include:: /etc/passwd\n\nUse ``flour``.\n",
            "a.rst",
        )
        assert (found.title, found.author, found.date) == ("A hungry starter", "Ana", "2024-05-01")
        for piece in ("# Storing", "Keep it warm.", "``` python\nx = 1\n```", "A jar", "`flour`"):
            assert piece in found.text
        assert "root:" not in found.text

    def test_a_notebook_keeps_words_code_and_results(self) -> None:
        cells = [
            {"cell_type": "markdown", "metadata": {}, "source": ["# Weighing flour\n", "Rye *and* wheat."]},
            {
                "cell_type": "code",
                "metadata": {},
                "execution_count": 1,
                "source": ["print(50)"],
                "outputs": [
                    {"output_type": "stream", "name": "stdout", "text": ["fifty\n"]},
                    {"output_type": "display_data", "metadata": {}, "data": {"image/png": "QUJD" * 500}},
                    {"output_type": "error", "ename": "E", "evalue": "v", "traceback": ["\x1b[0;31mTooMuch\x1b[0m"]},
                ],
            },
        ]
        notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        found = post(json.dumps(notebook), "a.ipynb")
        assert found.title == "Weighing flour"
        for piece in ("Rye *and* wheat.", "``` python\nprint(50)\n```", "fifty", "TooMuch"):
            assert piece in found.text
        assert "QUJD" not in found.text
        assert "[0;31m" not in found.text

    @pytest.mark.parametrize("data", ["{", "[]", '{"cells": 7}', "no json"])
    def test_what_is_no_notebook_is_refused(self, data: str) -> None:
        refusal(data, "a.ipynb")


def pdf(pages: list[list[tuple[float, float, str]]], info: str = "", extra: str = "") -> bytes:
    """Write a PDF with (height on the page, size, text) lines."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "", "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for lines in pages:
        stream = "".join(f"BT /F1 {size} Tf 72 {y} Td ({text}) Tj ET\n" for y, size, text in lines)
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}endstream")
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {len(objects)} 0 R "
            "/Resources << /Font << /F1 3 0 R >> >> >>"
        )
        kids.append(f"{len(objects)} 0 R")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(pages)} >>"
    objects.append(f"<< {info} >>")
    data, places = b"%PDF-1.4\n", []
    for number, content in enumerate(objects, 1):
        places.append(len(data))
        data += f"{number} 0 obj\n{content}\nendobj\n".encode("latin-1")
    start = len(data)
    data += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    data += b"".join(f"{place:010} 00000 n \n".encode() for place in places)
    trailer = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R /Info {len(objects)} 0 R {extra} >>\n"
    return data + f"{trailer}startxref\n{start}\n%%EOF".encode()


def page(*lines: str, number: int = 1) -> list[tuple[float, float, str]]:
    body = [(700 - 14 * index, 11, line) for index, line in enumerate(lines)]
    return [(760, 9, "The Oven Diary"), *body, (40, 9, f"Page {number}")]


class TestPdf:
    def test_lines_become_paragraphs_and_pages_are_known(self) -> None:
        found = post(
            pdf(
                [
                    [
                        (720, 20, "A hungry starter"),
                        *page("A starter is only flour and wa-", "ter that went sour, and it wants", "to be fed.")[1:3],
                        (672, 11, "to be fed at eight."),
                        (640, 11, "Storing it is easy, for it"),
                        (40, 9, "Page 1"),
                    ],
                    page("sleeps in the cold.", "", number=2),
                    page("Bread rises slowly.", number=3),
                    page("It is ready in the morning.", number=4),
                ],
                "/Author (Ana Baker) /CreationDate (D:20240501083000Z) /Keywords (bread, rye)",
            ),
            "a.pdf",
        )
        assert found.title == "A hungry starter"
        assert (found.author, found.date, found.tags) == ("Ana Baker", "2024-05-01", ("bread", "rye"))
        assert found.text == (
            "## A hungry starter\n\nA starter is only flour and water that went sour, and it wants to be fed at eight.\n\n"
            "Storing it is easy, for it sleeps in the cold.\n\nBread rises slowly.\n\nIt is ready in the morning."
        )
        begin = [found.text[start : start + 6] for start in found.pages]
        assert begin == ["## A h", "sleeps", "Bread ", "It is "]

    @pytest.mark.parametrize("title", ["", "untitled", "Microsoft Word - a.doc", "a.dvi", "a"])
    def test_a_title_that_is_none_is_not_taken(self, title: str) -> None:
        assert post(
            pdf([[(700, 11, "Bread rises slowly.")]], f"/Title ({title})"), "my_bread.pdf"
        ).title == "my bread" or (title == "a")

    def test_its_own_title_is_taken(self) -> None:
        assert (
            post(pdf([[(700, 11, "Bread rises.")]], "/Title (A hungry starter)"), "a.pdf").title == "A hungry starter"
        )

    def test_one_without_text_is_refused(self) -> None:
        assert "holds pictures only" in refusal(pdf([[]]), "scan.pdf")

    def test_one_that_is_encrypted_is_refused(self) -> None:
        password = "<" + "00" * 32 + ">"
        extra = (
            f"/ID [{password} {password}] /Encrypt << /Filter /Standard /V 1 /R 2 /O {password} /U {password} /P -4 >>"
        )
        assert "encrypted" in refusal(pdf([[(700, 11, "Bread.")]], extra=extra), "secret.pdf")

    @pytest.mark.parametrize("data", [b"%PDF-1.7\n", b"%PDF-1.7\n%%EOF", b"no pdf", pdf([[(700, 11, "Bread.")]])[:200]])
    def test_one_that_is_torn_is_refused(self, data: bytes) -> None:
        assert "damaged" in refusal(data, "torn.pdf")

    def test_one_of_ten_thousand_pages_is_refused_at_once(self) -> None:
        assert "has 10,000 pages" in refusal(pdf([[(700, 11, "Bread.")]] * 10_000), "long.pdf")


RSS = """<?xml version="1.0" encoding="utf-8"?>
<rss version="2.0" xmlns:content="http://purl.org/rss/1.0/modules/content/" xmlns:dc="http://purl.org/dc/elements/1.1/">
<channel><title>The Oven Diary</title><link>https://example.com/</link>
<item><title>A &lt;b&gt;hungry&lt;/b&gt; starter</title><link>https://example.com/starter</link><guid>tag:starter</guid>
<pubDate>Wed, 01 May 2024 23:30:00 -0700</pubDate><category>bread</category><category>rye</category>
<dc:creator>Ana Baker</dc:creator><description>Short.</description>
<content:encoded><![CDATA[<p>Feed it at <b>eight</b>, see <a href="/rye">rye</a>.</p><script>x = 1</script>
<pre><code>x = 1</code></pre>]]></content:encoded></item>
<item><title>Rye</title><link>javascript:alert(1)</link><description>&lt;p&gt;Rye is dark.&lt;/p&gt;</description></item>
<item><title>Only a link</title><link>https://example.com/link</link></item>
</channel></rss>"""

ATOM = """<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom"><title>The Oven Diary</title>
<entry><id>urn:1</id><title>A hungry starter</title><link href="https://example.com/starter"/><updated>2024-06-01T00:00:00Z</updated>
<published>2024-05-01T08:30:00Z</published><author><name>Ana</name></author><category term="bread"/>
<content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><p>Feed it at eight.</p></div></content></entry></feed>"""

RDF = """<?xml version="1.0"?><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" xmlns="http://purl.org/rss/1.0/"
xmlns:dc="http://purl.org/dc/elements/1.1/"><channel rdf:about="https://example.com/"><title>The Oven Diary</title></channel>
<item rdf:about="https://example.com/starter"><title>A hungry starter</title><link>https://example.com/starter</link>
<dc:date>2024-05-01</dc:date><description>Feed it at eight.</description></item></rdf:RDF>"""

JSON_FEED = json.dumps(
    {
        "version": "https://jsonfeed.org/version/1.1",
        "title": "The Oven Diary",
        "items": [
            {
                "id": "1",
                "url": "https://example.com/starter",
                "title": "A hungry starter",
                "content_html": "<p>Feed it at <i>eight</i>.</p>",
                "date_published": "2024-05-01T08:30:00Z",
                "tags": ["bread"],
                "authors": [{"name": "Ana"}],
            },
            {"id": "2", "content_text": "Rye is dark.\n\nIt keeps."},
        ],
    }
)


class TestFeeds:
    def test_rss(self) -> None:
        starter, rye, link = results(RSS, "feed.xml")
        assert starter == Post(
            source="/blog/feed.xml#tag:starter",
            title="A hungry starter",
            text="Feed it at **eight**, see [rye](https://example.com/rye).\n\n``` text\nx = 1\n```",
            date="2024-05-01",
            url="https://example.com/starter",
            tags=("bread", "rye"),
            author="Ana Baker",
        )
        assert (rye.text, rye.url, rye.source) == ("Rye is dark.", None, "/blog/feed.xml#Rye")
        assert isinstance(link, Refused)
        assert "Add its page, https://example.com/link, instead." in link.reason

    def test_entries_of_a_fetched_feed_are_known_by_their_addresses(self) -> None:
        starter = results(RSS, "feed", address="https://example.com/feed")[0]
        assert starter.source == "https://example.com/starter"

    @pytest.mark.parametrize(
        ("data", "name"), [(ATOM, "a.atom"), (RDF, "a.rdf"), (JSON_FEED, "a.json"), (ATOM, "feed")]
    )
    def test_the_other_kinds(self, data: str, name: str) -> None:
        found = results(data, name)[0]
        assert (found.title, found.date, found.url) == ("A hungry starter", "2024-05-01", "https://example.com/starter")
        assert found.text.replace("*", "") == "Feed it at eight."

    def test_plain_words_of_a_json_feed_keep_their_paragraphs(self) -> None:
        rye = results(JSON_FEED, "a.json")[1]
        assert (rye.text, rye.title, rye.source) == (
            "Rye is dark.\n\nIt keeps.",
            "Rye is dark. It keeps.",
            "/blog/a.json#2",
        )

    def test_an_entry_that_says_that_it_goes_on_elsewhere_is_no_post(self) -> None:
        short = RSS.replace("Rye is dark.", "Rye is dark … &lt;a href='/rye'&gt;Read more&lt;/a&gt;")
        assert isinstance(results(short, "feed.xml")[1], Post)  # it has no page: this is all that there is
        short = short.replace("javascript:alert(1)", "https://example.com/rye")
        assert "Add its page, https://example.com/rye, instead." in results(short, "feed.xml")[1].reason

    def test_two_entries_of_one_name_are_two_posts(self) -> None:
        twice = RSS.replace(
            "<channel>", "<channel><item><title>Rye</title><description>Rye is light.</description></item>"
        )
        sources = [result.source for result in results(twice, "feed.xml")]
        assert len(set(sources)) == len(sources) == 4

    def test_a_feed_without_entries_is_refused(self) -> None:
        assert "empty" in refusal("<rss><channel><title>Bread</title></channel></rss>", "feed.xml")

    def test_a_bomb_and_a_look_at_other_files_come_to_nothing(self) -> None:
        entities = "".join(f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True))
        bomb = f'<!DOCTYPE rss [<!ENTITY a "bread">{entities}<!ENTITY f SYSTEM "file:///etc/passwd">]>'
        for name in ("i", "f"):
            feed = f"{bomb}<rss><channel><item><title>Rye</title><description>Dark &{name};.</description></item></channel></rss>"
            (found,) = results(feed, "feed.xml")
            text = found.text if isinstance(found, Post) else found.reason
            assert "root:" not in text
            assert len(text) < 1000

    @pytest.mark.parametrize(
        "data",
        [
            '<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"></urlset>',
            '<opml version="2.0"></opml>',
            "<note>Bread</note>",
            "not xml",
        ],
    )
    def test_xml_that_lists_no_posts_is_refused(self, data: str) -> None:
        refusal(data, "a.xml")

    @pytest.mark.parametrize("data", ["[]", "{}", "7", '{"version": "https://jsonfeed.org/version/1"}', "[" * 100_000])
    def test_json_that_lists_no_posts_is_refused(self, data: str) -> None:
        refusal(data, "a.json")


WORDPRESS = """<?xml version="1.0" encoding="UTF-8"?><rss version="2.0" xmlns:excerpt="http://wordpress.org/export/1.2/excerpt/"
xmlns:content="http://purl.org/rss/1.0/modules/content/" xmlns:dc="http://purl.org/dc/elements/1.1/"
xmlns:wp="http://wordpress.org/export/1.2/"><channel><title>The Oven Diary</title><wp:wxr_version>1.2</wp:wxr_version>
{}</channel></rss>"""

WORDPRESS_ITEM = """<item><title>{title}</title><link>https://example.com/{slug}/</link><dc:creator>ana</dc:creator>
<content:encoded><![CDATA[{content}]]></content:encoded><excerpt:encoded><![CDATA[A very long excerpt that says nothing.]]></excerpt:encoded>
<wp:post_name>{slug}</wp:post_name><wp:post_date>2024-05-01 08:30:00</wp:post_date><wp:status>{status}</wp:status>
<wp:post_type>{kind}</wp:post_type><category domain="post_tag" nicename="rye">rye</category>
<category domain="category" nicename="uncategorized">Uncategorized</category></item>"""


def wordpress(*contents: str, status: str = "publish", kind: str = "post") -> str:
    items = [
        WORDPRESS_ITEM.format(title=f"Post {number}", slug=f"p{number}", content=content, status=status, kind=kind)
        for number, content in enumerate(contents, 1)
    ]
    return WORDPRESS.format("".join(items))


class TestWordPress:
    def test_the_classic_editor_leaves_paragraphs_and_shortcodes(self) -> None:
        (found,) = posts(
            wordpress(
                'Feed it at eight.\nAnd wait.\n\n[caption id="a" width="3"]<img src="a.jpg" alt="A jar" /> On the table[/caption]\n\n'
                '<h2>Storing</h2>\n\n[gallery ids="1,2"]Keep it [sic] cold.\n\n[code lang="python"]\nif x < 1:\n\n    y = 2\n[/code]'
            ),
            "export.xml",
        )
        assert found.text == (
            "Feed it at eight. And wait.\n\nA jar On the table\n\n## Storing\n\nKeep it [sic] cold.\n\n"
            "``` python\nif x < 1:\n\n    y = 2\n```"
        )
        assert (found.source, found.title, found.date, found.tags, found.author, found.url) == (
            "/blog/export.xml#p1",
            "Post 1",
            "2024-05-01",
            ("rye",),
            "ana",
            "https://example.com/p1/",
        )

    def test_the_block_editor_leaves_its_words(self) -> None:
        (found,) = posts(
            wordpress(
                "<!-- wp:paragraph -->\n<p>Feed it.</p>\n<!-- /wp:paragraph -->\n\n<!-- wp:list -->\n<ul><li>rye</li></ul>\n<!-- /wp:list -->"
            ),
            "export.xml",
        )
        assert found.text == "Feed it.\n\n- rye"

    @pytest.mark.parametrize(("status", "kind"), [("draft", "post"), ("private", "page"), ("publish", "nav_menu_item")])
    def test_what_was_not_published_is_left_out(self, status: str, kind: str) -> None:
        assert "no published post" in refusal(wordpress("Bread.", status=status, kind=kind), "export.xml")

    def test_pages_are_posts_too(self) -> None:
        assert [p.title for p in posts(wordpress("Bread.", "Rye.", kind="page"), "a.xml")] == ["Post 1", "Post 2"]


def ghost(**post_fields: Any) -> str:
    fields = {"id": "1", "title": "A hungry starter", "slug": "starter", "status": "published"}
    fields |= {"published_at": "2024-05-01T08:30:00.000Z"}
    tables = {
        "posts": [fields | post_fields],
        "tags": [{"id": "t", "name": "bread"}, {"id": "h", "name": "#hidden"}],
        "posts_tags": [{"post_id": "1", "tag_id": "t"}, {"post_id": "1", "tag_id": "h"}],
        "users": [{"id": "u", "name": "Ana"}],
        "posts_authors": [{"post_id": "1", "author_id": "u"}],
    }
    return json.dumps({"db": [{"meta": {"exported_on": 1}, "data": tables}]})


LEXICAL = {
    "root": {
        "children": [
            {"type": "extended-heading", "tag": "h2", "children": [{"type": "extended-text", "text": "Storing"}]},
            {
                "type": "paragraph",
                "children": [
                    {"type": "extended-text", "text": "Feed it ", "format": 0},
                    {"type": "extended-text", "text": "daily", "format": 1},
                    {"type": "link", "url": "https://example.com", "children": [{"type": "text", "text": " here"}]},
                ],
            },
            {
                "type": "list",
                "tag": "ul",
                "children": [{"type": "listitem", "children": [{"type": "text", "text": "rye"}]}],
            },
            {"type": "codeblock", "language": "python", "code": "x < 1"},
            {"type": "image", "src": "a.jpg", "alt": "A jar", "caption": ""},
        ]
    }
}
MOBILEDOC = {
    "version": "0.3.1",
    "cards": [["code", {"code": "x < 1", "language": "python"}], ["markdown", {"markdown": "Feed *it*."}]],
    "sections": [
        [1, "h2", [[0, [], 0, "Storing"]]],
        [3, "ul", [[[0, [], 0, "rye"]]]],
        [10, 0],
        [10, 1],
    ],
}


class TestGhost:
    def test_a_post_with_its_html(self) -> None:
        (found,) = posts(ghost(html='<p>Feed <a href="__GHOST_URL__/rye/">rye</a>.</p>'), "ghost.json")
        assert (found.text, found.title, found.date) == ("Feed [rye](/rye/).", "A hungry starter", "2024-05-01")
        assert (found.tags, found.author, found.source) == (("bread",), "Ana", "/blog/ghost.json#starter")

    def test_a_post_with_lexical_cards(self) -> None:
        (found,) = posts(ghost(lexical=json.dumps(LEXICAL)), "ghost.json")
        assert found.text == (
            "## Storing\n\nFeed it **daily** [here](https://example.com)\n\n- rye\n\n``` python\nx < 1\n```\n\nA jar"
        )

    def test_a_post_with_mobiledoc_cards(self) -> None:
        (found,) = posts(ghost(mobiledoc=json.dumps(MOBILEDOC)), "ghost.json")
        assert found.text == "## Storing\n\n- rye\n\n``` python\nx < 1\n```\n\nFeed *it*."

    @pytest.mark.parametrize("torn", ["{", '{"root": 7}', '{"root": {"children": [7]}}'])
    def test_a_torn_post_falls_back_on_its_plain_text(self, torn: str) -> None:
        assert posts(ghost(lexical=torn, plaintext="Feed it.\n\nDaily."), "g.json")[0].text == "Feed it.\n\nDaily."

    def test_drafts_are_left_out(self) -> None:
        assert "no published post" in refusal(ghost(status="draft", html="<p>Bread.</p>"), "ghost.json")


SUBSTACK = {
    "posts.csv": "post_id,post_date,is_published,type,title,subtitle\n"
    '11.starter,2024-05-01T08:30:00.000Z,true,newsletter,"A hungry starter","Feeding, daily"\n'
    "12.draft,,false,newsletter,Draft,\n",
    "posts/11.starter.html": "<p>Feed it at eight.</p>",
    "posts/12.draft.html": "<p>Not yet.</p>",
    "posts/11.starter.opens.csv": "a,b\n",
}
MEDIUM_PAGE = """<!DOCTYPE html><html><head><title>A hungry starter</title></head><body><article class="h-entry"><header>
<h1 class="p-name">A hungry starter</h1></header><section data-field="subtitle" class="p-summary">Feeding</section>
<section data-field="body" class="e-content"><section><h3 class="graf graf--h3 graf--title">A hungry starter</h3>
<p class="graf graf--p">Feed it at eight.</p></section></section><footer><p>By <a href="https://medium.com/@a" class="p-author h-card">Ana</a>
on <a href="x"><time class="dt-published" datetime="2024-05-01T08:30:00.000Z">May 1</time></a>.</p>
<p><a href="https://medium.com/p/1" class="p-canonical">Canonical link</a></p></footer></article></body></html>"""


class TestExportArchives:
    def test_substack(self) -> None:
        (found,) = posts(zipped(SUBSTACK), "substack.zip")
        assert found == Post(
            source="/blog/substack.zip#11.starter",
            title="A hungry starter",
            text="Feeding, daily\n\nFeed it at eight.",
            date="2024-05-01",
        )

    def test_medium(self) -> None:
        (found,) = posts(
            zipped(
                {
                    "README.html": "<p>Your export.</p>",
                    "posts/2024-05-01_A-hungry-starter-1.html": MEDIUM_PAGE,
                    "posts/draft_Rye-2.html": MEDIUM_PAGE,
                    "claps/claps.html": "<p>Clap.</p>",
                }
            ),
            "medium.zip",
        )
        assert found == Post(
            source="/blog/medium.zip#posts/2024-05-01_A-hungry-starter-1.html",
            title="A hungry starter",
            text="Feed it at eight.",
            date="2024-05-01",
            url="https://medium.com/p/1",
            author="Ana",
        )

    def test_what_was_read_before_an_archive_ran_out_is_kept(self) -> None:
        table = SUBSTACK["posts.csv"] + "13.rye,2024-05-02,true,newsletter,Rye,\n"
        packed = zipped(SUBSTACK | {"posts.csv": table, "posts/13.rye.html": "<p>Rye is dark.</p>" * 1000})
        starter, rest = results(packed, "substack.zip", limits=Limits(archive_bytes=2_000))
        assert starter.title == "A hungry starter"
        assert "expands to more than" in rest.reason

    def test_an_export_in_a_zip_in_a_zip(self) -> None:
        (found,) = posts(zipped({"backup/substack.zip": zipped(SUBSTACK)}), "all.zip")
        assert found.source == "/blog/all.zip#backup/substack.zip#11.starter"


class TestArchives:
    def test_each_file_is_read_as_what_it_is(self) -> None:
        found = results(
            zipped(
                {
                    "blog/2024-05-01-bread.md": "Bread rises.",
                    "blog/rye/index.md": "Rye is dark.",
                    "blog/feed.xml": ATOM,
                    "blog/empty.md": "",
                    "blog/package.json": '{"name": "blog"}',
                    "blog/sitemap.xml": "<urlset></urlset>",
                    "blog/style.css": "p {}",
                    "blog/.hidden.md": "Hidden.",
                    "__MACOSX/blog/bread.md": "x",
                    "blog/node_modules/a/README.md": "A package.",
                    "blog/inner.zip": zipped({"oven.txt": "The oven is hot."}),
                }
            ),
            "blog.zip",
        )
        assert {result.source.removeprefix("/blog/blog.zip#"): getattr(result, "title", "") for result in found} == {
            "blog/2024-05-01-bread.md": "bread",
            "blog/rye/index.md": "rye",
            "blog/feed.xml#urn:1": "A hungry starter",
            "blog/empty.md": "",
            "blog/inner.zip#oven.txt": "oven",
        }

    def test_links_and_names_that_lead_out_are_not_followed(self) -> None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            link = zipfile.ZipInfo("link.md")
            link.external_attr = 0o120777 << 16
            archive.writestr(link, "/etc/passwd")
            for name in ("../../evil.md", "/etc/evil.md", "C:/evil.md", "a/../../evil.md", "..\\evil.md"):
                archive.writestr(name, "Evil.")
            archive.writestr("bread.md", "Bread rises.")
        found = results(packed.getvalue(), "a.zip")
        assert [result.text for result in found if isinstance(result, Post)] == ["Bread rises."]
        assert sum("leads out" in getattr(result, "reason", "") for result in found) == 6

    def test_what_expands_is_counted_whatever_the_header_says(self) -> None:
        bomb = bytearray(zipped({"bomb.txt": b"bread " * 2_000_000}))
        place = bomb.find(b"PK\1\2")
        bomb[place + 24 : place + 28] = (10).to_bytes(4, "little")  # what it says of its size
        bomb[22:26] = (10).to_bytes(4, "little")
        assert len(results(bytes(bomb), "a.zip", limits=Limits(post_bytes=1_000_000))) == 1
        sentence = results(zipped({"b.txt": b"bread " * 2_000_000}), "a.zip", limits=Limits(post_bytes=1_000_000))[
            0
        ].reason
        assert "expands to more than the limit of 1 MB" in sentence

    def test_all_together_may_not_expand_too_far(self) -> None:
        inner = zipped({f"{number}.md": "bread " * 20_000 for number in range(10)})
        packed = zipped({f"{number}.zip": inner for number in range(10)})
        found = results(packed, "a.zip", limits=Limits(archive_bytes=500_000))
        assert sum(isinstance(result, Post) for result in found) == 4
        assert "expands to more than 0.5 MB" in found[-1].reason
        assert found[-1].reason.count("\n") == 0

    def test_archives_within_archives_end(self) -> None:
        packed = zipped({"bread.md": "Bread rises."})
        for _ in range(5):
            packed = zipped({"inner.zip": packed})
        (found,) = results(packed, "a.zip")
        assert "packed into each other too deeply" in found.reason

    def test_too_many_files_are_refused(self) -> None:
        packed = zipped({f"{number}.md": "Bread." for number in range(30)})
        assert "more than the 20 files" in refusal(packed, "a.zip", Limits(archive_files=20))

    @pytest.mark.parametrize(
        "data", [b"PK\3\4torn", zipped({"a.md": "Bread."})[:-30], b"PK\5\6" + b"\xff" * 18], ids=["head", "tail", "end"]
    )
    def test_a_torn_archive_is_refused(self, data: bytes) -> None:
        refusal(data, "torn.zip")

    def test_a_torn_and_an_encrypted_file_leave_the_others(self) -> None:
        packed = bytearray(zipped({"secret.md": "Secret bread.", "bread.md": "Bread rises.", "rye.md": "Rye is dark."}))
        for mark, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
            packed[packed.find(mark) + flags] |= 1
        torn = packed.rfind(b"PK\3\4") + 30 + len("rye.md")
        packed[torn : torn + 4] = b"\xff\xff\xff\xff"
        secret, bread, rye = results(bytes(packed), "a.zip")
        assert "encrypted" in secret.reason
        assert bread.text == "Bread rises."
        assert "damaged" in rye.reason

    def test_an_archive_without_posts_is_refused(self) -> None:
        assert "holds no posts" in refusal(zipped({"style.css": "p {}"}), "a.zip")

    def test_names_that_would_disturb_a_page_are_made_visible(self) -> None:
        (found,) = results(zipped({"a\nb\u202egnp.md": "Bread rises."}), "a.zip")
        assert found.source == "/blog/a.zip#a\\nb\\u202egnp.md"

    def test_it_is_read_from_disk_in_place(self, tmp_path: Path) -> None:
        path = tmp_path / "a.zip"
        path.write_bytes(zipped({"bread.md": "Bread rises."}))
        (found,) = read(Document(str(path), "a.zip", path=str(path)))
        assert found.source == f"{path}#bread.md"
        assert list(tmp_path.iterdir()) == [path]


MHTML = """From: <Saved by Blink>
Snapshot-Content-Location: https://example.com/starter
Subject: =?utf-8?Q?A_hungry_starter?=
MIME-Version: 1.0
Content-Type: multipart/related; type="text/html"; boundary="----x"

------x
Content-Type: text/html
Content-Transfer-Encoding: quoted-printable
Content-Location: https://example.com/starter

<html><head><title>A hungry starter</title></head><body><article><h1>A hungry starter</h1>
<p>Br=C3=B6tchen rise slowly in a cold kitchen, and they want to be fed every morning at eight.</p>
<p>A sharp smell of vinegar means that the starter is hungry. Feed it twice a day until it is gone.</p>
</article></body></html>
------x
Content-Type: image/png
Content-Transfer-Encoding: base64

QUJD
------x--
"""


class TestWebArchives:
    def test_a_saved_page_becomes_a_post_with_its_address(self) -> None:
        found = post(MHTML, "page.mhtml")
        assert (found.title, found.url) == ("A hungry starter", "https://example.com/starter")
        assert "Brötchen rise slowly" in found.text
        assert "QUJD" not in found.text

    def test_it_is_known_without_its_ending(self) -> None:
        assert post(MHTML, "page").title == "A hungry starter"

    @pytest.mark.parametrize("data", ["no mail", "MIME-Version: 1.0\n\n", MHTML.replace("text/html", "text/css")])
    def test_one_without_a_page_is_refused(self, data: str) -> None:
        refusal(data, "page.mhtml")


class TestFolders:
    def listed(self, folder: Path, *names: str) -> list[str]:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text("Bread.", encoding="utf-8")
        return [path.relative_to(folder).as_posix() for path in find_files(folder)]

    def test_hidden_and_built_folders_are_left_out(self, tmp_path: Path) -> None:
        assert self.listed(
            tmp_path,
            "a.md",
            "_site/b.md",
            "node_modules/x/c.md",
            ".git/d.md",
            "dist/e.md",
            "venv/f.md",
            "public/g.md",
            "_posts/h.md",
            "robots.txt",
        ) == ["_posts/h.md", "a.md", "public/g.md"]
        (tmp_path / "hugo.toml").touch()
        assert self.listed(tmp_path) == ["_posts/h.md", "a.md"]

    def test_ignore_rules_are_kept_at_every_depth(self, tmp_path: Path) -> None:
        (tmp_path / "drafts").mkdir()
        (tmp_path / ".gitignore").write_text("*.txt\n/private/\nold-*\n!old-good.md\n", encoding="utf-8")
        (tmp_path / "drafts" / ".gitignore").write_text("secret.md\n!keep.txt\n", encoding="utf-8")
        assert self.listed(
            tmp_path,
            "a.md",
            "b.txt",
            "private/c.md",
            "x/private/d.md",
            "old-e.md",
            "old-good.md",
            "secret.md",
            "drafts/secret.md",
            "drafts/keep.txt",
            "drafts/f.md",
        ) == ["a.md", "drafts/f.md", "drafts/keep.txt", "old-good.md", "secret.md", "x/private/d.md"]

    @pytest.mark.timeout(20)
    def test_hostile_rules_take_no_time(self, tmp_path: Path) -> None:
        (tmp_path / ".gitignore").write_bytes(b"*a*a*a*a*a*a*a*a*a*b\n[z-a]\n\xff\xfe\n[[[\n")
        assert self.listed(tmp_path, "a" * 240 + ".md") == ["a" * 240 + ".md"]

    def test_links_out_of_the_folder_and_loops_are_not_followed(self, tmp_path: Path) -> None:
        outside = tmp_path / "outside.md"
        outside.write_text("Secret.", encoding="utf-8")
        blog = tmp_path / "blog"
        blog.mkdir()
        (blog / "out.md").symlink_to(outside)
        (blog / "up").symlink_to(tmp_path)
        (blog / "self.md").symlink_to(blog / "self.md")
        (blog / "z.md").symlink_to(blog / "a.md")
        assert self.listed(blog, "a.md") == ["a.md"]

    def test_xml_and_json_that_list_no_posts_are_left_out(self, tmp_path: Path) -> None:
        (tmp_path / "feed.xml").write_text(RSS, encoding="utf-8")
        (tmp_path / "feed.json").write_text(JSON_FEED, encoding="utf-8")
        (tmp_path / "ghost.json").write_text(ghost(), encoding="utf-8")
        (tmp_path / "export.xml").write_text(wordpress("Bread."), encoding="utf-8")
        assert self.listed(tmp_path, "package.json", "sitemap.xml", "a.md") == [
            "a.md",
            "export.xml",
            "feed.json",
            "feed.xml",
            "ghost.json",
        ]

    def test_odd_names_are_found_and_read(self, tmp_path: Path) -> None:
        for name in (b"a\nb.md", b"caf\xe9.md", "\u202edm.md".encode(), b"aux.md", b"CON.md"):
            Path(str(tmp_path), name.decode("utf-8", "surrogateescape")).write_text("Bread.", encoding="utf-8")
        files = find_files(tmp_path)
        assert len(files) == 5
        for path in files:
            (found,) = read(Document("source", path.name, path=str(path)))
            assert isinstance(found, Post)
            assert not re.search("[\n\u202e\ud800-\udfff]", found.title)


class TestRefusals:
    def test_what_a_file_is_is_seen_without_its_ending(self, tmp_path: Path) -> None:
        book = made_by_pandoc("epub", WRITTEN, tmp_path)
        word = made_by_pandoc("docx", WRITTEN, tmp_path)
        assert {post(data, "download").title for data in (book, word)} == {"A hungry starter"}
        assert post(zipped({"bread.md": "Bread rises."}), "download").title == "bread"
        assert post(pdf([[(700, 11, "Bread rises.")]]), "download").title == "download"
        assert len(results(RSS, "download")) == 3
        assert "cannot read this kind of file" in refusal("just words", "download")

    def test_a_reader_that_stumbles_is_one_sentence(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def stumble(*_: Any, **__: Any) -> Any:
            raise ZeroDivisionError("a bug in a library\nwith its own words")

        monkeypatch.setattr("rag.readers.pdf._pages", stumble)
        assert "no reader understands (ZeroDivisionError)" in refusal(b"%PDF-", "a.pdf")

    def test_a_file_of_300_megabytes_is_not_read(self, tmp_path: Path) -> None:
        path = tmp_path / "huge.txt"
        with path.open("wb") as file:
            file.truncate(300_000_000)
        (found,) = read(Document("huge", "huge.txt", path=str(path)))
        assert isinstance(found, Refused)
        assert "300.0 MB, more than the limit of 25 MB" in found.reason

    def test_every_ending_has_a_reader(self) -> None:
        for ending in formats():
            assert len(results(b"", f"empty{ending}")) == 1
