"""The posts that the tests tell their stories with."""

from __future__ import annotations

from rag.passages import split
from rag.records import Hit, Passage, Post

SOURDOUGH = """\
# Keeping a sourdough starter

A starter is only flour and water that went sour. Feed it every morning at eight with 50 grams of rye flour.

## When it smells of vinegar

A sharp smell of vinegar means that the starter is hungry. Feed it twice a day until the smell is gone.
"""

FLATBREAD = """\
# Flatbread in twenty minutes

Flatbread needs no yeast at all. Mix yoghurt with wheat flour and roll the dough as thin as a coin.

## The pan

A dry iron pan must be smoking hot. Each flatbread stays in it for 90 seconds.
"""

BICYCLE = """\
# A winter with my bicycle

Salt eats the chain of a bicycle in one winter. Wipe the chain after each ride and oil it every Sunday.
"""


def post(text: str, source: str = "", title: str = "") -> Post:
    """Make a post of a story, titled by its first line."""
    title = title or text.splitlines()[0].strip("# ")
    return Post(source=source or f"/blog/{title.lower().replace(' ', '-')}.md", title=title, text=text)


def count_words(texts: list[str]) -> list[int]:
    """Count words, as FakeEmbedder does."""
    return [len(text.split()) for text in texts]


def passages_of(post: Post, max_tokens: int = 256) -> list[Passage]:
    """Split a post with the words as its tokens."""
    return list(split(post, count_words, max_tokens))


def hits_of(post: Post, max_tokens: int = 256) -> list[Hit]:
    """Make a hit of every passage of a post, numbered from 1."""
    return [
        Hit(
            Passage(p.post_id, p.start, p.end, p.text, p.heading, id=number), post.title, post.url, post.date, 1, 0.5, 1
        )
        for number, p in enumerate(passages_of(post, max_tokens), start=1)
    ]
