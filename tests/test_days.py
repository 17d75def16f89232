"""Words name days: months and years, "since" and "before", last year; a day that is none stays a word."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rag.finding.days import Days, days_of, take_days

TODAY = date(2025, 8, 14)  # a Thursday


def test_a_year_a_month_and_a_day_have_a_first_and_a_last_day() -> None:
    assert days_of("2023") == ("2023-01-01", "2023-12-31")
    assert days_of(" 2023-4 ") == ("2023-04-01", "2023-04-30")
    assert days_of("2024-02-29") == ("2024-02-29", "2024-02-29")


@pytest.mark.parametrize(
    ("said", "after", "before"),
    [
        ("in March 2023", "2023-03-01", "2023-03-31"),
        ("in 2023-03", "2023-03-01", "2023-03-31"),
        ("from 2023", "2023-01-01", "2023-12-31"),
        ("on the 3rd of march 2023", "2023-03-03", "2023-03-03"),
        ("on March 3, 2023", "2023-03-03", "2023-03-03"),
        ("in march", "2025-03-01", "2025-03-31"),
        ("in september", "2024-09-01", "2024-09-30"),
        ("last august", "2024-08-01", "2024-08-31"),
        ("this august", "2025-08-01", "2025-08-31"),
        ("since 2021", "2021-01-01", None),
        ("from May 2021 onwards", "2021-05-01", None),
        ("after 2020", "2021-01-01", None),
        ("before may 2020", None, "2020-04-30"),
        ("until 2020", None, "2020-12-31"),
        ("after 2020 and before 2022", "2021-01-01", "2021-12-31"),
        ("between May and July 2024", "2024-05-01", "2024-07-31"),
        ("from 2019-03 to 2019-05", "2019-03-01", "2019-05-31"),
        ("in 2019–2021", "2019-01-01", "2021-12-31"),
        ("last year", "2024-01-01", "2024-12-31"),
        ("this month", "2025-08-01", "2025-08-31"),
        ("of last week", "2025-08-04", "2025-08-10"),
        ("in the last year", "2024-08-14", "2025-08-14"),
        ("over the past two weeks", "2025-07-31", "2025-08-14"),
        ("in the last 10 days", "2025-08-04", "2025-08-14"),
        ("yesterday", "2025-08-13", "2025-08-13"),
    ],
)
def test_words_name_days(said: str, after: str | None, before: str | None) -> None:
    assert take_days(f"posts {said} about bread", TODAY) == Days("posts about bread", after, before)
    assert take_days(said.upper(), TODAY) == Days("", after, before)


@pytest.mark.parametrize(
    "said",
    [
        "on 31 february 2023",
        "in 2023-13",
        "in 1914",
        "may I ask",
        "the march of 50 men",
        "before lunch",
        "in 20 years",
        "",
    ],
)
def test_other_words_stay(said: str) -> None:
    assert take_days(said, TODAY) == Days(said)


def test_a_date_before_posts_is_theirs() -> None:
    assert take_days("my March 2023 posts", TODAY) == Days("my posts", "2023-03-01", "2023-03-31")
    assert take_days("last week's posts", TODAY) == Days("posts", "2025-08-04", "2025-08-10")


def test_last_month_in_january_is_in_the_year_before() -> None:
    assert take_days("last month", date(2025, 1, 31)) == Days("", "2024-12-01", "2024-12-31")


@pytest.mark.slow
@given(
    st.text()
    | st.lists(st.sampled_from("since from in last the 2023 -02 31 may 0000 999 past years to and".split())).map(
        " ".join
    )
)
def test_nothing_said_raises(said: str) -> None:
    days = take_days(said, TODAY)
    assert days.after or days.before or days.text == " ".join(said.split())
