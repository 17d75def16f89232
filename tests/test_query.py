"""What is typed is taken apart into a question and filters; whatever is not surely a filter stays in the question."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.errors import BadQuestion
from rag.finding.query import Query, described, narrowing, parse
from rag.records import Filters, folded


@pytest.mark.parametrize(
    ("typed", "text", "filters"),
    [
        ("tag:bread how long does it rise?", "how long does it rise?", Filters(tags=("bread",))),
        ('starter tag:"rye bread" tag:#Oven', "starter", Filters(tags=("rye bread", "Oven"))),
        ("starter tag:“rye bread”", "starter", Filters(tags=("rye bread",))),
        ("TAG:c++ compilers", "compilers", Filters(tags=("c++",))),
        ("after:2023 oven", "oven", Filters(after="2023-01-01")),
        ("after:2023-03 oven", "oven", Filters(after="2023-03-01")),
        ("oven before:2023-03", "oven", Filters(before="2023-03-31")),
        ("oven before:2024-2?", "oven", Filters(before="2024-02-29")),
        ("oven after:2023/3/15 before:2023-03-15", "oven", Filters(after="2023-03-15", before="2023-03-15")),
        (
            "oven after:2022 after:2023 before:2025 before:2024",
            "oven",
            Filters(after="2023-01-01", before="2024-12-31"),
        ),
        ("after:" + '"2023-03" oven', "oven", Filters(after="2023-03-01")),
        ('post:"Keeping a starter" vinegar', "vinegar", Filters(posts=("Keeping a starter",))),
        ("vinegar post:3f2a91c07b5e", "vinegar", Filters(posts=("3f2a91c07b5e",))),
        (
            'how long is the "cold proof" of rye?',
            "how long is the cold proof of rye?",
            Filters(phrases=("cold proof",)),
        ),
        ("„cold  proof“ rye", "cold proof rye", Filters(phrases=("cold proof",))),
        ('"smell of vinegar"', "smell of vinegar", Filters(phrases=("smell of vinegar",))),
        ("bread -rye", "bread", Filters(without=("rye",))),
        ("-rye bread -self-raising flour -AI", "bread flour", Filters(without=("rye", "self-raising", "AI"))),
        ("How do I bake bread -rye -spelt?", "How do I bake bread ?", Filters(without=("rye", "spelt"))),
        ("tag:bread", "", Filters(tags=("bread",))),
        ("after:2023, -rye!", "", Filters(after="2023-01-01", without=("rye",))),
    ],
)
def test_filters_are_taken_out_of_the_question(typed: str, text: str, filters: Filters) -> None:
    assert parse(typed) == Query(text, filters)


@pytest.mark.parametrize(
    "typed",
    [
        "note: this is about bread",
        "tag: you're it",
        "before: what? after:",
        "What comes after:lunch?",
        "e-mail, state-of-the-art, don't, -5 degrees, - and --force",
        "How do I use find -name to list the files?",
        "What does ls -la show, and git commit -m?",
        "in code `tag:bread -rye after:1` is text",
        "https://bread.example/after:2023?tag:x see also a-b",
        'a 5" pan and a 6" pan',
        '"',
        '""',
        "“…” and \"_\" and ''",
        '"How do I feed a sourdough starter?"',
        "“Which flour do I feed it”",
        '"one two three four five six seven eight nine"',
        "What is “A post whose title was too long to…” about?",
        'say("hello world")',
        'NEAR(a b, 5) AND (c OR d*) ^e {f}: "g',
        "'; DROP TABLE posts; --",
        'tag:_ post:… tag:"',
        "粉 água мука 🥖 -🥖",
        "",
    ],
)
def test_an_ordinary_question_keeps_its_text(typed: str) -> None:
    assert parse(typed) == Query(typed)


@pytest.mark.parametrize("typed", ["2023-02-31", "2023-13", "31.12.2023", "0000", "23", "2023-", "2023-00-01", "99999"])
@pytest.mark.parametrize("key", ["after", "before", "AFTER"])
def test_a_date_that_is_none_is_refused_with_the_form_to_use(key: str, typed: str) -> None:
    with pytest.raises(BadQuestion, match=rf"^“{typed}” is no date.*Type .*2023, 2023-03 or 2023-03-15\.$"):
        parse(f"bread {key}:{typed}")


def test_filters_are_said_in_words() -> None:
    filters = Filters(("bread",), "2023-01-01", "2023-12-31", ("Starter",), ("cold proof",), ("rye",))
    assert described(Filters()) == ""
    assert described(filters) == (
        "tagged “bread”, called “Starter”, from 2023-01-01 to 2023-12-31, with the words “cold proof”, without “rye”"
    )


def test_what_is_chosen_is_typed_for_the_person() -> None:
    assert narrowing("", " ", "") == ""
    assert narrowing("rye “and” spelt", "2023", " 2024-02 ") == 'tag:"rye and spelt" after:2023 before:2024-02'
    assert parse(f"oven {narrowing('rye “and” spelt', '2023', '')}") == Query(
        "oven", Filters(tags=("rye and spelt",), after="2023-01-01")
    )
    with pytest.raises(BadQuestion, match="no date"):
        narrowing("", "last spring", "")


@given(st.text())
def test_any_tag_can_be_chosen(tag: str) -> None:
    [found] = parse(f"oven {narrowing(tag, '', '')}").filters.tags or [tag]
    assert folded(found).lstrip("#") == folded(tag).lstrip("#") or not any(map(str.isalnum, tag))


PIECES = st.sampled_from(
    [
        "tag:",
        "post:",
        "after:",
        "before:",
        '"',
        "“",
        "”",
        "`",
        "-",
        ":",
        " ",
        "\n",
        "rye",
        "is",
        "?",
        "2023",
        "-02-31",
        "…",
    ]
)


@given(st.one_of(st.text(), st.lists(PIECES, max_size=40).map("".join)))
def test_nothing_typed_raises_but_a_date(typed: str) -> None:
    try:
        query = parse(typed)
    except BadQuestion:
        assert "after:" in typed or "before:" in typed
        return
    assert query.text == typed or query.filters != Filters()
    assert (described(query.filters) == "") == (query.filters == Filters())
    assert "" not in query.filters.tags + query.filters.posts + query.filters.phrases + query.filters.without


@pytest.mark.slow
@given(st.lists(st.from_regex(r"[a-zA-Zé]{1,9}(['’-][a-z]{1,5})?[,.;:?]?", fullmatch=True)))
def test_plain_words_stay_as_they_are(words: list[str]) -> None:
    assert parse(" ".join(words)) == Query(" ".join(words))


@pytest.mark.parametrize("piece", ['"', 'tag:"', "-a-", "`", '"a ', 'tag:"_', "-word ", "after:2023 ", "“a” ", "a-b: "])
def test_100_000_characters_of_anything_come_to_an_end(piece: str) -> None:
    parse(piece * (100_000 // len(piece)))  # 0.1 s; a pattern that looks back over and over takes hours
