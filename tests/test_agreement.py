"""Numbers, names, units and "not" must agree, whatever two sentences have in common."""

from __future__ import annotations

import pytest

from rag.answering.agreement import contradicts, names_in, new_words, numbers_in, swaps, turns_round
from rag.words import stems_of

RYE = "The rye dough rests for 12 hours before it is baked."


@pytest.mark.parametrize(
    ("claim", "evidence"),
    [
        ("The rye dough rests for 4 hours.", RYE),
        ("The rye dough rests for 12 minutes.", RYE),
        ("The rye dough rests for two hours.", RYE),
        ("The rye dough does not rest for 12 hours.", RYE),
        ("The rye dough rests after it is baked.", RYE),
        ("Flatbread needs yeast.", "Flatbread needs no yeast at all."),
        ("The starter can be fed at night.", "The starter cannot be fed at night."),
        ("The starter isn't sour.", "The starter is sour."),
        ("Rye has less fibre than wheat.", "Rye has more fibre than wheat."),
        ("I feed it twice a day.", "I feed it once a day, before breakfast."),
        ("I feed it once a day.", "I feed it twice a day."),
        ("I feed it once a week.", "I feed it once a day."),
        ("I feed it daily.", "I feed it every week."),
        ("I feed it every day.", "I feed it every other day."),
        ("It must stay at 18 degrees.", "It must stay at -18 degrees."),
        ("It costs €30.", "It costs $30."),
        ("It costs 30%.", "It costs $30."),
        ("It costs $30 billion.", "It costs $30 million."),
        ("The bar opens at 9 am.", "The bar opens at 9 p.m."),
        ("Rye rests for 4 hours.", "Rye rests for 12 hours, wheat for 4."),
        ("Use 3/4 cup of milk.", "Use 1/2 cup of milk and 3/4 cup of sugar."),
        ("We water the tomatoes every week.", "We water the tomatoes every day and the roses every week."),
        ("All of my readers hated it.", "Some of my readers hated it."),
        ("Since 2015 the mill was run by water.", "Until 2015 the mill was run by water."),
    ],
)
def test_what_is_changed_contradicts(claim: str, evidence: str) -> None:
    assert contradicts(claim, evidence)


@pytest.mark.parametrize(
    ("claim", "evidence"),
    [
        ("The rye dough rests for 12 hours.", RYE),
        ("Before it is baked, the rye dough must rest.", RYE),
        ("It sold 1,000 loaves in three days.", "In 3 days it sold 1000 loaves."),
        ("Flatbread needs no yeast.", "Flatbread needs no yeast at all."),
        ("The age varies between 14 and 18.", "The age varies between 14 and 18, and elsewhere there is no limit."),
        ("The starter isn't sour.", "The starter is not sour."),
        ("Wheat rests for 4 hours.", "Rye rests for 12 hours, wheat for 4."),
        ("We water the roses every week.", "We water the tomatoes every day and the roses every week."),
        ("The club won the cup in 1995.", "In 1990, 1995 and 2000 the club won the cup."),
        ("She was born in 1985.", "She was born on March 3, 1985 in Berlin, and died in 2001."),
        ("It costs 30 million dollars.", "It costs $30 million."),
        ("It costs 30 percent.", "It costs 30% of the price."),
        ("It is cold: minus 18 degrees.", "It is -18 degrees cold."),
        ("I feed it daily.", "I feed it every day."),
        ("It is fed two times a day.", "I feed it twice a day."),
        ("The bar opens at 9 pm.", "The bar opens at 9 p.m. and closes at 2 am."),
    ],
)
def test_what_says_the_same_does_not(claim: str, evidence: str) -> None:
    assert not contradicts(claim, evidence)


def test_what_is_denied_around_the_evidence_may_be_denied() -> None:
    claim = "It needs no yeast, and the pan must be hot."
    assert contradicts(claim, "The pan must be hot.")
    assert not contradicts(claim, "The pan must be hot.", "The pan must be hot. Flatbread needs no yeast.")


def test_numbers_have_one_form() -> None:
    assert numbers_in("1,000 loaves, 2.5 grams and three rolls, one by one") == {"1000", "2.5", "3"}
    assert numbers_in("1/2 cup at −5 degrees, 10-20 minutes on 3/4/2024") == {"1/2", "-5", "10", "20", "3", "4", "2024"}


def test_a_capital_at_the_beginning_makes_no_name_nor_does_a_small_word() -> None:
    assert names_in("Bread is baked by Anna Berger, and It rises.") == {"anna", "berger"}


def test_numbers_that_changed_places_are_seen() -> None:
    told = "The loaf takes 40 minutes at 230 degrees, the rolls 15."
    assert swaps("The rolls take 40 minutes, the loaf 15 at 230 degrees.", told)
    assert swaps("It is baked at 230 degrees for 40 minutes.", told)  # the same, but only partly proven
    for same in (told, "The loaf takes 40 minutes.", "Forty minutes, then 15.", "Nothing is baked for 7 minutes."):
        assert not swaps(same, told)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("Anna wrote a long letter to Ben, who lived in Rome.", "Ben wrote a letter to Anna."),
        ("We took the train from Graz to Berlin.", "They took the train from Berlin to Graz."),
        ("Flask replaced Django in March.", "In March Django replaced Flask."),
    ],
)
def test_names_that_changed_places_round_the_same_word_are_seen(told: str, said: str) -> None:
    assert turns_round(said, told)
    assert not turns_round(told, told)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("In March we moved to Lisbon.", "We moved to Lisbon in March."),
        ("On Monday Anna bakes rye bread for the market.", "Anna bakes rye bread for the market on Monday."),
        ("At the market in Graz, Anna sold forty loaves.", "Anna sold forty loaves at the market in Graz."),
        ("Ben and Anna opened the bakery.", "Anna and Ben opened the bakery."),
        ("It runs the tests with GitHub Actions and deploys to Heroku.", "It deploys to Heroku with GitHub Actions."),
    ],
)
def test_what_comes_first_in_a_sentence_may_come_last(told: str, said: str) -> None:
    assert not turns_round(said, told)


def test_words_of_its_own_are_those_that_may_be_the_verb() -> None:
    known = stems_of("Ben bought three ovens in May and sold 1000 loaves.")
    assert new_words("Ben painted three ovens.", known) == {"paint"}
    for same in ("According to the post, Ben bought 3 ovens.", "In May, Ben both bought ovens and sold 1,000 loaves."):
        assert new_words(same, known) == frozenset()
