"""The nouns of the house. Frozen, without behaviour beyond what follows from their own fields."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

SearchMode = Literal["hybrid", "dense", "lexical"]
Support = Literal["yes", "partly", "no"]
Coverage = Literal["covered", "maybe", "not covered"]
PairOrigin = Literal["text", "writer", "file", "asked"]
_FOLDED = str.maketrans(dict.fromkeys('-_"“”„‟«»＂', " "))


def id_of(source: str) -> str:
    """Return the id that is made of a source: 12 hex digits that do not tell it."""
    return hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def folded(text: str) -> str:
    """Return a tag or a title as it is compared: case, hyphens, underscores and quotation marks do not matter."""
    return " ".join(text.casefold().translate(_FOLDED).split())


@dataclass(frozen=True)
class Post:
    """One blog post: readable text (Markdown) and what is known about it.

    `source` says where it came from (a path, an address, an upload's name) and decides identity: the same source read
    again is the same post, whatever its text has become. `pages` are the offsets at which the pages of a paged document
    begin in `text`, first page first; empty where there are none.
    """

    source: str
    title: str
    text: str
    date: str | None = None
    url: str | None = None
    tags: tuple[str, ...] = ()
    author: str | None = None
    pages: tuple[int, ...] = ()

    @property
    def id(self) -> str:
        """Return the id a post from this source gets when it is first added: 12 hex digits."""
        return id_of(self.source)

    @property
    def content_hash(self) -> str:
        """Return the SHA-256 of the text alone: the same words are the same content under any title."""
        return hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Document:
    """What a reader is given: a file at `path`, or `data` that was fetched, before anything is known about it.

    `source` becomes the identity of its post, or the first part of it where it holds several. `name` is a file name
    whose ending says the format. `address` is where it was fetched from, None for a file.
    """

    source: str
    name: str
    data: bytes = b""
    path: str = ""
    address: str | None = None


@dataclass(frozen=True)
class Refused:
    """A document, or a part of one (a file in an archive), that did not become a post: why, and what to do next."""

    source: str
    reason: str


@dataclass(frozen=True)
class Entry:
    """A post that a feed or a sitemap names; `post` is the post itself where a feed carries its whole text.

    `date` is the day, or the moment, at which it was published or last changed, as the list says it.
    """

    address: str
    title: str = ""
    date: str | None = None
    post: Post | None = None


@dataclass(frozen=True)
class Outline:
    """What a fetched document is to someone who looks for posts.

    A feed or a sitemap has `entries`; a sitemap of sitemaps has them in `sitemaps`; a page has the `feeds` that its
    link tags name, the `links` in its text, and in `reason` why it is no post (a login wall, say), "" if it may be one.
    `following` is the next part of a feed that comes in parts. `file`: anything else; a reader will say.
    """

    kind: Literal["feed", "sitemap", "page", "file"]
    title: str = ""
    entries: tuple[Entry, ...] = ()
    sitemaps: tuple[str, ...] = ()
    feeds: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    following: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Passage:
    """A stretch of a post: `post.text[start:end] == passage.text`, offsets in characters.

    `heading` is the post's title and the headings above the passage, joined by " › ".
    `id` is 0 until the library has stored it.
    """

    post_id: str
    start: int
    end: int
    text: str
    heading: str
    id: int = 0

    @property
    def embedded_text(self) -> str:
        """Return what the embedder reads: the heading path on a line of its own, then the text."""
        return f"{self.heading}\n{self.text}" if self.heading else self.text

    @property
    def hash(self) -> str:
        """Return the SHA-256 of `embedded_text`; vectors are kept under it."""
        return hashlib.sha256(self.embedded_text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class StoredPost:
    """A post as the library lists it, without its text."""

    id: str
    source: str
    title: str
    url: str | None
    date: str | None
    tags: tuple[str, ...]
    passages: int


@dataclass(frozen=True)
class Label:
    """What a hit shows of its post."""

    title: str
    url: str | None = None
    date: str | None = None
    pages: tuple[int, ...] = ()


@dataclass(frozen=True)
class Filters:
    """What narrows a search; an empty field narrows nothing.

    `tags`: a post must have them all, as `folded` compares. `after`, `before`: its day must not lie before the one or
    after the other (ISO days; a post without a date has none). `posts`: each must be its id or be part of its title, as
    `folded` compares. `phrases`: a passage, or the headings above it, must have each of them word for word, in any
    case. `without`: words that neither may have, endings aside.
    """

    tags: tuple[str, ...] = ()
    after: str | None = None
    before: str | None = None
    posts: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    without: tuple[str, ...] = ()


NO_FILTERS = Filters()


@dataclass(frozen=True)
class Hit:
    """A passage that search found.

    `score` orders the hits of one question (0..1). `cosine` is the embedder's own similarity (-1..1), comparable
    between questions, None where it is unknown. `lexical` is BM25 scaled to 0..1 for the question. `lexical_rank` and
    `dense_rank` say where in each leg it stood (1 is the best), None where it was not among its best. `pages` are the
    post's own: see Post.
    """

    passage: Passage
    title: str
    url: str | None
    date: str | None
    score: float
    cosine: float | None
    lexical: float
    pages: tuple[int, ...] = ()
    lexical_rank: int | None = None
    dense_rank: int | None = None

    def page_of(self, offset: int) -> int | None:
        """Return the page that holds a place in the post, 1 is the first; None if the post has no pages."""
        return bisect_right(self.pages, offset) or None if self.pages else None


@dataclass(frozen=True)
class Found:
    """What search brought: hits, best first, and how likely it is that the posts answer the question.

    `question` is what was searched for: it stands alone where the one that was typed did not. `words` are those of it
    that tell what it is about. `filters` are those that were typed. `probability` is calibrated (0..1), None where not
    both searches ran; `coverage` follows from it.
    """

    question: str
    hits: tuple[Hit, ...] = ()
    coverage: Coverage = "not covered"
    probability: float | None = None
    words: tuple[str, ...] = ()
    filters: Filters = NO_FILTERS


@dataclass(frozen=True)
class Turn:
    """An earlier question of a conversation, and what was answered."""

    question: str
    answer: str = ""


@dataclass(frozen=True)
class Mark:
    """A place in a post that a person says answers a question, as it was then: `post.text[start:end] == quote`."""

    post_id: str
    start: int
    end: int
    quote: str


@dataclass(frozen=True)
class Judged:
    """A question of the gold set and the places that answer it; without any, no passage does."""

    question: str
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True)
class Segment:
    """A part of a prompt. `trusted` text is Footnote's own; the rest comes from posts and questions and must
    reach the model as plain characters, never as control tokens. `passage`: the text of a passage, whose reading the
    writer may remember for another question."""

    role: Literal["system", "user"]
    text: str
    trusted: bool
    passage: bool = False


@dataclass(frozen=True)
class Prompt:
    """What the writer is asked: segments in order, the hits they hold, and their length in tokens."""

    segments: tuple[Segment, ...]
    hits: tuple[Hit, ...]
    tokens: int


@dataclass(frozen=True)
class Citation:
    """A footnote: `quote` stands at `start:end` in the text of the post, on `page` (from 1) if that has pages."""

    number: int
    passage_id: int
    post_id: str
    title: str
    url: str | None
    date: str | None
    quote: str
    start: int
    end: int
    page: int | None = None


@dataclass(frozen=True)
class Sentence:
    """A sentence of an answer, `start:end` in its text; `citation` is a footnote's number, or None when no
    passage supports the sentence ("no"); "partly": what the footnote says leaves a part of it open."""

    text: str
    start: int
    end: int
    citation: int | None
    support: Support = "no"


@dataclass(frozen=True)
class Timings:
    """Seconds from the question to each moment (search, first quote, first token, end) and tokens read and written.

    Of the prompt's tokens `prefill_tokens` were read for this answer; `cached_tokens` had been read before.
    """

    search_s: float = 0.0
    first_quote_s: float = 0.0
    first_token_s: float = 0.0
    total_s: float = 0.0
    prompt_tokens: int = 0
    prefill_tokens: int = 0
    cached_tokens: int = 0
    answer_tokens: int = 0


@dataclass(frozen=True)
class Answer:
    """A growing answer: each one the engine yields replaces the last; `done` marks the final one.

    `status` says in a few words what is going on until then. `note` is a sentence for the person (the writer
    failed, was stopped, is missing). `refused`: the posts do not cover the question and nothing was written.
    `failed`: the writer could not write; the text is a quote then. `asked` is the question as it was searched for, and
    answered: it stands alone. `coverage` and `probability` say whether the posts answer it, see Found. `posts` are what
    a question about posts found, every one; the text is the library's own then. `quotes` are the sentences of the posts
    that answer best, each a footnote of its own; `citations` are the footnotes of the text.
    """

    question: str
    status: str = ""
    text: str = ""
    sentences: tuple[Sentence, ...] = ()
    citations: tuple[Citation, ...] = ()
    quotes: tuple[Citation, ...] = ()
    hits: tuple[Hit, ...] = ()
    posts: tuple[StoredPost, ...] = ()
    asked: str = ""
    coverage: Coverage = "covered"
    probability: float | None = None
    refused: bool = False
    failed: bool = False
    note: str = ""
    done: bool = False
    timings: Timings = field(default_factory=Timings)


FileState = Literal[
    "waiting",
    "reading",
    "indexing",
    "opened",
    "added",
    "updated",
    "unchanged",
    "vanished",
    "removed",
    "failed",
    "stopped",
]
ENDED: frozenset[FileState] = frozenset({"added", "updated", "unchanged", "vanished", "removed", "failed", "stopped"})


@dataclass(frozen=True)
class FileProgress:
    """What has become of one file or page, or of one post of it, while posts are brought in.

    `opened`: it holds several posts, each with a row of its own. `same_as`: the title of the post that it is a copy of,
    under another address or name. `vanished`: its source no longer has it; `removed`: nor has the library any more.
    `stopped`: the person cancelled before it.
    """

    source: str
    state: FileState
    post_id: str = ""
    title: str = ""
    passages: int = 0
    error: str = ""
    same_as: str = ""


@dataclass(frozen=True)
class Way:
    """A way to a post: the source under which a file or an address gives it. A post with copies has several."""

    source: str
    post_id: str
    title: str


SourceKind = Literal["file", "folder", "page", "feed", "site"]


@dataclass(frozen=True)
class Source:
    """Where posts come from, remembered so that it can be read again. `checked` is when that was last done (ISO)."""

    id: str
    kind: SourceKind
    location: str
    posts: int = 0
    checked: str | None = None


@dataclass(frozen=True)
class Item:
    """A file or a page of a source, as it was when it was last read.

    `mark` is what its content is known by; `etag` and `modified` are what its server calls it. An item that is
    `waiting` was listed and not read yet: a kill or a full disk came between.
    """

    place: str
    state: Literal["waiting", "done", "failed"] = "waiting"
    mark: str = ""
    etag: str = ""
    modified: str = ""


@dataclass(frozen=True)
class Check:
    """One line of `doctor`."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class InUse:
    """An embedder as an index has it: the first `dimension` numbers of its vectors.

    The one that ships: nothing else is set, nor where the environment names one. One chosen on the page: `setting`. One
    tuned here: `model` is its name, `base` what the environment named while it was tuned.
    """

    fingerprint: str
    dimension: int
    model: str = ""
    base: str = ""
    setting: str = ""


@dataclass(frozen=True)
class Manifest:
    """What an index was built with; an index with another manifest is another index.

    `former` is the embedder that was in use before this one, if a person may go back to it.
    """

    embedder: InUse
    prompts: Mapping[str, str]
    splitter: str
    former: InUse | None = None

    @property
    def fingerprint(self) -> str:
        """Return the embedder's fingerprint."""
        return self.embedder.fingerprint

    @property
    def dimension(self) -> int:
        """Return the width of the vectors."""
        return self.embedder.dimension

    def as_dict(self) -> dict[str, Any]:
        """Return the manifest as it is written to disk."""
        former = {"former": asdict(self.former)} if self.former else {}
        return {**asdict(self.embedder), "prompts": dict(self.prompts), "splitter": self.splitter, **former}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Manifest:
        """Read a manifest. Raise TypeError or KeyError if it is none."""
        names = ("fingerprint", "dimension", "model", "base", "setting")
        former = stored.get("former")
        return cls(
            InUse(**{name: stored[name] for name in names if name in stored}),
            dict(stored["prompts"]),
            str(stored["splitter"]),
            InUse(**former) if former else None,
        )


ModelKind = Literal["writer", "embedder"]


@dataclass(frozen=True)
class Model:
    """A model that can be used. `setting` names it as FOOTNOTE_WRITER or FOOTNOTE_EMBEDDER does, "" the one that ships.

    `size` is what it takes on the disk, `memory` about what it takes while it is used, in bytes; 0: not known. `span`
    is the context of a writer in tokens, or the width of an embedder's vectors. `place` is where it lies, "" if it is
    not here; then `part` is how many bytes of it are. `about` says in a few words what it is for.
    """

    kind: ModelKind
    setting: str
    name: str
    licence: str = ""
    size: int = 0
    memory: int = 0
    span: int = 0
    place: str = ""
    part: int = 0
    about: str = ""
    gated: bool = False


Thumb = Literal["", "up", "down"]
REMOVED = "This post was removed."
"""Stands for the title of a post that is gone where a conversation keeps a footnote to it."""
REMOVED_WORDS = "[From a post that was removed.]"
"""Stands for a sentence of an answer that had words of such a post."""


@dataclass(frozen=True)
class Said:
    """A piece of an answer's text as it is kept: a sentence, or what stands between two; then `support` is None.

    `posts` are the ids of those whose words it has: it goes with them.
    """

    text: str
    posts: tuple[str, ...] = ()
    citation: int | None = None
    support: Support | None = None


@dataclass(frozen=True)
class KeptHit:
    """A hit as it is kept, without words: which passage it was, `start:end` of its post, and how it was ranked."""

    passage_id: int
    post_id: str
    start: int
    end: int
    score: float
    cosine: float | None = None
    lexical: float = 0.0
    lexical_rank: int | None = None
    dense_rank: int | None = None


@dataclass(frozen=True)
class KeptTurn:
    """A question of a conversation that is kept, and its answer; the fields are Answer's own, `hits` best first.

    `asked_at` is a moment (ISO, UTC). `alone`: nothing before it counts. `id` is 0 until it is stored.
    """

    question: str
    asked_at: str
    said: tuple[Said, ...] = ()
    citations: tuple[Citation, ...] = ()
    quotes: tuple[Citation, ...] = ()
    hits: tuple[KeptHit, ...] = ()
    posts: tuple[StoredPost, ...] = ()
    asked: str = ""
    coverage: Coverage = "covered"
    probability: float | None = None
    refused: bool = False
    failed: bool = False
    note: str = ""
    alone: bool = False
    thumb: Thumb = ""
    id: int = 0

    @property
    def post_ids(self) -> frozenset[str]:
        """Return the ids of the posts whose words it has."""
        shown = {cited.post_id for cited in (*self.citations, *self.quotes)} | {post.id for post in self.posts}
        return frozenset(shown.union(*(piece.posts for piece in self.said)))

    def without(self, post_id: str) -> KeptTurn:
        """Return the turn without the words of a post."""
        return replace(
            self,
            said=tuple(replace(said, text=REMOVED_WORDS) if post_id in said.posts else said for said in self.said),
            citations=tuple(_without(cited, post_id) for cited in self.citations),
            quotes=tuple(_without(cited, post_id) for cited in self.quotes),
            posts=tuple(post for post in self.posts if post.id != post_id),
        )


def _without(cited: Citation, post_id: str) -> Citation:
    if cited.post_id != post_id:
        return cited
    return replace(cited, title=REMOVED, url=None, date=None, quote="", start=0, end=0, page=None)


@dataclass(frozen=True)
class Talk:
    """A conversation as it is listed; `begun` and `changed` are moments (ISO, UTC), `turns` is how many it has."""

    id: int
    title: str
    begun: str
    changed: str
    turns: int


@dataclass(frozen=True)
class Pair:
    """A question and the text that answers it, as the embedder reads both: what a model is tuned on.

    `negatives` are texts that look alike and do not answer it. `post_id` is the post that the passage stands in.
    """

    question: str
    passage: str
    origin: PairOrigin
    post_id: str = ""
    negatives: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """How a model is tuned. `dims` are the widths its vectors may be cut to, () for those that fit the model.

    `taken` is how much of what it learned it keeps: its weights are averaged with those it had before, 1 for its own
    alone (WiSE-FT, Wortsman et al. 2022).
    """

    epochs: int = 3
    batch: int = 16
    learning_rate: float = 5e-5
    dims: tuple[int, ...] = ()
    seed: int = 7
    taken: float = 1.0


@dataclass(frozen=True)
class Step:
    """How far a training is: steps done and to do, the loss so far, seconds left."""

    done: int
    total: int
    epoch: float
    loss: float | None
    seconds_left: float | None


@dataclass(frozen=True)
class Pace:
    """What training costs here, in seconds: to begin and to end, for each pair, and for each epoch besides."""

    start: float
    pair: float
    epoch: float

    def seconds(self, pairs: int, epochs: int) -> float:
        """Return how long so many epochs over so many pairs take."""
        return self.start + epochs * (pairs * self.pair + self.epoch)


@dataclass(frozen=True)
class Snapshot:
    """A library written into one file: its name, how many posts it has, its size and what it hashes to."""

    file: str
    posts: int
    bytes: int
    sha256: str


SNAPSHOT = "footnote.backup"
"""The name of a library written into one file, in a Space, a folder or a dataset repository."""
