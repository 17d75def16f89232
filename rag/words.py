"""Words and their stems: what a text is about, told by its words alone.

On its own, because search, follow-ups and citations must take the same words for the same."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import pairwise

from snowballstemmer.english_stemmer import EnglishStemmer

STOP_WORDS = frozenset(
    "a about after all also am an and any are as at be because been before being but by can could did do does "
    "doing for from get got had has have having he her here hers him his how i if in into is it its just know "
    "let like make me mean more most much my no nor not of off on one only or other our out over own please "
    "really same say she should so some such tell than that the their them then there these they thing things "
    "this those through to too under up us use used very was way we were what when where which while who whom "
    "whose why will with would you your don didn doesn isn aren wasn weren couldn shouldn wouldn hasn haven "
    "hadn".split()
)
_STRAIGHT = str.maketrans("‘’‚“”„", "'''\"\"\"")
_WORD = re.compile(r"[^\W_]+")
_TAIL = re.compile(r"(?<=\w)['’](?:s|t|d|ll|m|re|ve)\b")  # what's, don't: FTS5 would take the tail for a word
_BEYOND_ENGLISH = re.compile(r"[^\x00-\xbf\u2010-\u206f]")  # more than ASCII and typographic signs
_UNSPACED = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]{3,}")


def words_of(text: str) -> list[str]:
    """Return the distinct words that tell what a text is about, in order, lower case, stop words left out.

    A text of stop words alone keeps them all.
    """
    words = words_in(text)
    return [word for word in words if word not in STOP_WORDS] or words


def words_in(text: str) -> list[str]:
    """Return the distinct words of a text, in order, lower case."""
    return list(dict.fromkeys(_words(text)))


def sound(text: str) -> str:
    """Return a text without halves of characters, which no model, file or database takes."""
    return text.encode("utf-8", "replace").decode("utf-8")


def same_words(one: str, other: str) -> bool:
    """Say whether two texts are the same, but for capitals and the shape of their quotation marks."""
    return one.translate(_STRAIGHT).casefold() == other.translate(_STRAIGHT).casefold()


def stems_of(text: str) -> frozenset[str]:
    """Return the stems of the words that carry meaning: "writes", "writing" and "write" are one."""
    return frozenset(map(stem, words_of(text)))


def stems_in_order(text: str) -> list[str]:
    """Return the stem of every word, stop words among them, as often as it stands there."""
    return [stem(word) for word in _words(text)]


def _words(text: str) -> list[str]:
    """Cut a text into words as FTS5 does: small, without accents; scripts that have no spaces into pairs of signs."""
    text = _TAIL.sub(" ", text.lower())
    if _BEYOND_ENGLISH.search(text):
        text = "".join(sign for sign in unicodedata.normalize("NFD", text) if not unicodedata.combining(sign))
        text = _UNSPACED.sub(lambda run: " ".join(map("".join, pairwise(run.group()))), text)
    return _WORD.findall(text)


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """Return a word without its endings; `word` is in lower case."""
    return str(EnglishStemmer().stemWord(word))  # a new one each time: it is not safe between threads
