"""Questions about posts, not passages: "which posts mention X?", "what did I write in March?", "my first post about X".

Recognised by rules and answered from the library by dates, tags and counts, where a language model would guess. A
question that no rule matches from its first word to its last goes the usual way; benchmarks/overview.py counts both."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal

from rag.amounts import counted
from rag.finding.days import Days, take_days
from rag.finding.query import Query, described
from rag.ports import Library
from rag.records import NO_FILTERS, Filters, StoredPost, folded
from rag.words import words_of

Wanted = Literal["list", "latest", "first", "tags"]
Needs = Literal["nothing", "days", "days, a topic or a tag"]  # what a question must name to be one about posts
_TAGS_SAID = 50  # of the most used

_POST = "(?:(?:blog|diary) ?)?(?:posts?|psots|articles?|entry|entries|essays?)"
_WRITE = "(?:write|wrote|written|writen|blog|blogged|post|posted|publish|published)"
_WRITING = "(?:writing|blogging|posting|publishing)"
_MENTION = (
    "(?:mention(?:s|ed)?|talk(?:s|ed)? about|discuss(?:es|ed)?|cover(?:s|ed)?|deal(?:s|t)? with|refer(?:s|red)? to|"
    "say something about)"
)
_I_WROTE = f"(?:that )?i(?:'ve| have)? (?:ever )?{_WRITE}"
_I_HAVE = f"(?: (?:do i have|have i got|i have|are there|there are|(?:have|did) i (?:ever )?{_WRITE}|{_I_WROTE}))?"
_TOPIC = "(?P<topic>.+?)"
_ABOUT = (
    "(?: (?:about|on|regarding|concerning|mentioning|containing|with the words?|(?:that |which )?(?:is|are) about|"
    f"(?:that |which |where i |do i )?(?:{_MENTION}|contains?)) {_TOPIC}"
    "|(?: that| which)?(?: are| is)? (?:tagged|tagd|labell?ed|with (?:the )?tag|under the tag|in the category)"
    "(?: with| as)? (?P<tag>.+?))"
)
_SHOW = "(?:(?:(?:show|list|give|find|get)(?: me)?(?: (?:a )?list)?(?: of)?|what are) )"
_ALL = "(?:all|everything|anything|stuff|things)"
_WHICH = "(?:(?:in )?(?:which|wich|what)(?: of)? )"
_MY = "(?:(?:all|of|the|my|any|every) )*"
_IS = f"(?:(?:what(?:'s| is| was| are| were)?|whats|which (?:is|was)|when was) |{_SHOW})?(?:(?:my|the|of) )*"
_TAGS = "(?:tags|categories)(?: (?:do i (?:use|have)|did i use|have i used|i (?:use|have|used)|are there|there are))"


def _of_an_end(end: str, adverb: str) -> tuple[str, ...]:
    """Return the patterns of questions for the newest posts, or for the oldest."""
    return (
        f"{_IS}{end} {_POST}(?: {_I_WROTE}| about)?{_ABOUT}?",
        f"{_IS}{end} (?P<before>.+?) {_POST}",
        f"{_IS}{end} thing {_I_WROTE}(?: about {_TOPIC})?",
        f"which {_POST}{_ABOUT} (?:is|was) (?:my |the )*{end}",
        f"(?:when was )?(?:the )?{end} time (?:that )?i (?:{_MENTION} {_TOPIC}|{_WRITE})",
        f"(?:when was )?(?:the )?{end} time (?:that )?i {_WRITE} about {_TOPIC}",
        f"when did i {adverb} (?:{_MENTION} {_TOPIC}|(?:{_WRITE}|{_WRITING})(?: anything| something)?)",
        f"when did i {adverb} (?:{_WRITE}|{_WRITING})(?: anything| something)? about {_TOPIC}",
        f"what (?:did|have) i {adverb} {_WRITE}(?: about)?(?: {_TOPIC})?",
    )


_PATTERNS: tuple[tuple[Wanted, Needs, tuple[str, ...]], ...] = (
    (
        "latest",
        "nothing",
        (
            *_of_an_end("(?:latest|lastest|newest|most recent|last)", "(?:last|most recently|recently)"),
            f"what have i (?:been )?(?:{_WRITE}|{_WRITING})(?: about)? (?:lately|recently)",
        ),
    ),
    ("first", "nothing", _of_an_end("(?:(?:very )?first(?: ever)?|oldest|earliest)", "(?:first|start|begin)")),
    (
        "list",
        "days",
        (f"what (?:all )?(?:did|have|was) i (?:been )?(?:{_WRITE}|{_WRITING})(?: about(?: {_TOPIC})?)?",),
    ),
    (
        "list",
        "days, a topic or a tag",
        (
            f"{_SHOW}?{_WHICH}?{_MY}{_POST}{_I_HAVE}{_ABOUT}?{_I_HAVE}",
            f"(?:{_SHOW}{_ALL}|{_ALL} {_I_WROTE}){_I_HAVE}{_ABOUT}?",
        ),
    ),
    (
        "list",
        "nothing",
        (
            f"{_SHOW}{_MY}posts{_I_HAVE}",
            f"all (?:the |my )?posts{_I_HAVE}",
            f"{_WHICH}posts (?:do i have|are there)",
            f"(?:{_SHOW}all (?:the )?|{_SHOW}?(?:all )?(?:of )?my )(?P<before>.+?) posts{_I_HAVE}",
            f"{_ALL} tagged (?:with |as )?(?P<tag>.+)",
            f"(?:do i have|(?:is|are) there|have i got) (?:any |some |a )?(?:{_POST}|anything|something){_ABOUT}",
            f"(?:have|did) i (?:ever |already )*{_WRITE}(?: anything| something| a {_POST})? about {_TOPIC}",
            f"(?:have|did|do) i (?:ever |already )*(?:mention|mentioned) {_TOPIC}",
            f"do any(?: of)? my {_POST} (?:{_MENTION}|contain) {_TOPIC}",
            f"where (?:do|did|have) i (?:ever )?(?:{_MENTION}|{_WRITE} about) {_TOPIC}",
            f"(?:how many|(?:the )?(?:total )?number of|count(?: of)?) {_MY}{_POST}{_I_HAVE}{_ABOUT}?{_I_HAVE}",
            f"how many {_MY}(?P<before>.+?) posts (?:do i have|are there|(?:did|have) i {_WRITE})",
            f"how (?:many times|often) (?:have|did|do) i (?:ever )?(?:{_MENTION}|{_WRITE} about) {_TOPIC}",
        ),
    ),
    (
        "tags",
        "nothing",
        (
            f"(?:{_WHICH}|how many |{_SHOW}){_MY}{_TAGS}(?: (?:the )?most(?: often)?)?",
            f"(?:{_SHOW}|what's |whats )?(?:all |all the |all my |my )(?:most used )?(?:tags|categories)",
        ),
    ),
)
_RULES = [
    (wanted, needs, re.compile(pattern, re.IGNORECASE)) for wanted, needs, patterns in _PATTERNS for pattern in patterns
]
_OF_POSTS = re.compile(rf"\b{_POST}\b|\btags?\b", re.IGNORECASE)
_MARKS = " \t?!.,;:…\"“”'"
_BEFORE = re.compile(
    r"\A(?:(?:please|hey|hi|ok|so|and|(?:can|could) you|i want to (?:know|see)|i'd like to see|tell me)\b[, ]*)+",
    re.IGNORECASE,
)
_AFTER = re.compile(
    r"(?:,? (?:please|thanks|(?:on|in) (?:my|this|the) (?:blog|posts)|so far|at all|anywhere|yet|overall|in total))+$",
    re.IGNORECASE,
)
_NO_TOPIC = re.compile(
    r"(?:it|this|that|them|him|her|these|those)$|(?:in|on|at|from|to|for|with|of|by) "
    r"|.*\b(?:is|are|was|were|am|do|does|did|has|have|had|can|could|should|would|will|need|needs|made|why|when|because|"
    r"if|me|we|you|they|that|which|who|per|should)\b",
    re.IGNORECASE,
)
_LONG_TOPIC = 8  # words; more of them are a question of another kind
_LONG_QUESTION = 25


@dataclass(frozen=True)
class Overview:
    """What the library itself answers: a sentence or two, and every post they are about. `empty`: there is nothing."""

    text: str
    posts: tuple[StoredPost, ...] = ()
    empty: bool = False


@dataclass(frozen=True)
class Understood:
    """A question about posts as it was understood: what of them is wanted, and which; without a topic, any."""

    wanted: Wanted
    topic: str = ""
    filters: Filters = NO_FILTERS


def overview(query: Query, library: Library, today: date) -> Overview | None:
    """Answer a question about posts, or one of filters alone; None for any other, and where there are no posts."""
    asked = understood(query, today)
    if asked is None or not library.count()[0]:
        return None
    if asked.wanted == "tags":
        return _tags(library.mentioning([], asked.filters))
    posts, how = _about(asked, library)
    beside = replace(asked.filters, phrases=tuple(p for p in asked.filters.phrases if p not in asked.topic))
    which = ", ".join(part for part in (how, described(beside)) if part)
    if not posts:
        return Overview(f"You have no posts {which}. Try other words, dates or tags.", empty=True)
    if asked.wanted == "list":
        return Overview(f"You have {counted(len(posts), 'post')} {which}".rstrip() + ".", tuple(posts))
    return _end(posts, which, asked.wanted)


def understood(query: Query, today: date) -> Understood | None:
    """Say what a question about posts asks for; None if it is another question."""
    if not query.text:
        return Understood("list", filters=query.filters) if query.filters != NO_FILTERS else None
    titles = any(_OF_POSTS.search(phrase) for phrase in query.filters.phrases)  # What is “My first post” about?
    if titles or len(query.text.split()) > _LONG_QUESTION:
        return None
    plain = _BEFORE.sub("", query.text.replace("’", "'").strip(_MARKS))
    days = take_days(plain, today)
    text = _AFTER.sub("", days.text.strip(_MARKS)).strip(_MARKS)
    dated = bool(days.after or days.before)
    for wanted, needs, pattern in _RULES:
        if match := pattern.fullmatch(text):
            said = {name: value.strip(_MARKS) for name, value in match.groupdict().items() if value}
            tag = said.pop("tag", "")
            topic = next(iter(said.values()), "")
            enough = needs == "nothing" or dated or (needs != "days" and bool(tag or topic))
            if enough and all(map(_is_topic, filter(None, (tag, topic)))):
                return Understood(wanted, topic, _narrowed(query.filters, days, tag))
    return None


def tags_of(posts: Sequence[StoredPost]) -> list[tuple[str, int]]:
    """Return the tags of posts, as the first of them spells it, with how many have it; the most used first."""
    names = {folded(tag): tag for post in reversed(posts) for tag in post.tags}
    counts = Counter(tag for post in posts for tag in {folded(tag) for tag in post.tags})
    return [(names[tag], count) for tag, count in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))]


def _is_topic(said: str) -> bool:
    """Say whether words can be what a post is about, rather than the rest of another question."""
    return not _NO_TOPIC.match(said) and len(said.split()) <= _LONG_TOPIC


def _narrowed(filters: Filters, days: Days, tag: str) -> Filters:
    return replace(
        filters,
        tags=(*filters.tags, tag) if tag else filters.tags,
        after=max(filter(None, (filters.after, days.after)), default=None),
        before=min(filter(None, (filters.before, days.before)), default=None),
    )


def _about(asked: Understood, library: Library) -> tuple[list[StoredPost], str]:
    """Return the posts about a topic, newest first, and in words how they were found."""
    if not asked.topic:
        return library.mentioning([], asked.filters), ""
    mentioned: dict[str, StoredPost] = {}
    tagged: dict[str, StoredPost] = {}
    apart = False
    for name in _names(asked.topic):
        found = library.mentioning([name], asked.filters)
        labelled = library.mentioning([], replace(asked.filters, tags=(*asked.filters.tags, name)))
        if not found and not labelled and len(words_of(name)) > 1:
            found = library.mentioning(words_of(name), asked.filters)
            apart |= bool(found)
        mentioned |= {post.id: post for post in found}
        tagged |= {post.id: post for post in labelled}
    posts = sorted({**mentioned, **tagged}.values(), key=lambda post: (post.title, post.id))
    posts.sort(key=lambda post: post.date or "", reverse=True)
    one = len(posts) == 1
    if apart:
        return posts, f"with all the words of “{asked.topic}”, though not in a row"
    tag_too = f" or {'has' if one else 'have'} it as a tag" if tagged.keys() - mentioned.keys() else ""
    return posts, f"that {'mentions' if one else 'mention'} “{asked.topic}”{tag_too}"


def _names(topic: str) -> Iterator[str]:
    """Yield what is looked for: "the election or the vote" is either, without its articles."""
    for name in re.split(r" or ", topic, flags=re.IGNORECASE):
        yield re.sub(r"^(?:(?:the|a|an|my|our|some) )+(?=.)", "", name.strip(_MARKS), flags=re.IGNORECASE) or name


def _end(posts: Sequence[StoredPost], which: str, wanted: Wanted) -> Overview:
    """Say which post is the latest or the first; all come with it, that one on top."""
    dated = [post for post in posts if post.date]
    undated = [post for post in posts if not post.date]
    if not dated:
        return Overview(f"You have {counted(len(posts), 'post')} {which}".rstrip() + ", without a date.", tuple(posts))
    dated = dated if wanted == "latest" else dated[::-1]
    whole = f"The {wanted} of {counted(len(posts), 'post')}" if len(posts) > 1 else "The only post"
    sentence = f"{' '.join(f'{whole} {which}'.split())} is “{dated[0].title}”, of {dated[0].date}."
    doubt = f" {len(undated):,} of them {'has' if len(undated) == 1 else 'have'} no date." if undated else ""
    return Overview(sentence + doubt, (*dated, *undated))


def _tags(posts: Sequence[StoredPost]) -> Overview:
    """Say which tags the posts have, the most used first."""
    tags = tags_of(posts)
    if not tags:
        sentence = "None of your posts has a tag. Give them tags where you write them, and add them again."
        return Overview(sentence, empty=True)
    said = ", ".join(f"{tag} ({count:,})" for tag, count in tags[:_TAGS_SAID])
    more = f" and {len(tags) - _TAGS_SAID:,} more" if len(tags) > _TAGS_SAID else ""
    return Overview(f"You use {counted(len(tags), 'tag')}: {said}{more}.")
