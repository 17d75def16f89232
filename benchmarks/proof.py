"""What a footnote is worth: `python -m benchmarks.proof`.

True sentences are held against the passage that says the same, then again with a number, date, name, verb or negation
changed, with two numbers or names exchanged, and against a passage about something else. clapnq_half: people's own
words about a passage, hardly ever a copy; xquad_en: the passage's own sentences. A true sentence is kept with "yes" or
"partly"; a changed one is caught with "no". In brackets the share that is at least marked: "partly" or "no" (for true
ones: a plain "yes").

Beside it RAGFlow's way in the same run: a sentence is cited where its likeness to a passage (nine tenths cosine, one
tenth shared words) is at least 0.63, or, where nothing of an answer is, at least what that falls to in steps of 0.8
until something is, but 0.3."""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.common import datasets, print_table
from models.cross_encoder import CrossEncoderNli
from models.embedder import SentenceTransformerEmbedder
from rag import passages as splitting
from rag.citations import Verifier
from rag.ports import Embedder, Nli
from rag.records import Hit, Post, Support
from rag.sentences import sentence_spans
from rag.words import stems_of

SETS = ("clapnq_half", "xquad_en")
RAGFLOW, LEAST, FALLS, BY_MEANING = 0.63, 0.3, 0.8, 0.9
_MONTH = "January|February|March|April|May|June|July|August|September|October|November|December"
_DATE = re.compile(rf"\b(?:1[0-9]\d\d|20\d\d)\b|\b(?:{_MONTH})\b")
_NUMBER = re.compile(r"\b\d[\d,]*(?:\.\d+)?\b")
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][a-z]{3,}(?= |,|\.|$)")
_AUXILIARY = re.compile(r"\b(is|are|was|were|can|could|will|would|has|have|had|does|did|do|must|should)\b")
_VERB = re.compile(r"(?<![-\w])(?!need|indeed|seed|speed|breed|hundred|bed|red|shed)[a-z]{2,}ed\b")
_NOTHING = re.compile(r"(?!)")
_NOT = re.compile(r"\b(?:is|are|was|were|can|could|will|would|has|have|had|does|did|do|must|should) not\b")


@dataclass(frozen=True)
class Claim:
    """A true sentence, the question it answers, the passage that says it, and one about something else."""

    question: str
    sentence: str
    passage: str
    other: str


Change = Callable[[str, random.Random, Sequence[str]], str | None]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--limit", type=int, default=300, help="true sentences of each set (300)")
    parser.add_argument("--nli", help="also a row with this cross-encoder: a folder, or its id on the Hub")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    chosen = parser.parse_args()
    embedder = SentenceTransformerEmbedder()
    nli = CrossEncoderNli(chosen.nli) if chosen.nli else None
    tables = {name: measured(list(claims(name))[: chosen.limit], embedder, nli) for name in SETS}
    if chosen.json:
        print(json.dumps(tables))
        return
    columns = ["set", "way", *next(iter(tables["clapnq_half"].values()))]
    rows = [[name, way, *row.values()] for name, ways in tables.items() for way, row in ways.items()]
    print_table(columns, rows)


def measured(claims: Sequence[Claim], embedder: Embedder, nli: Nli | None) -> dict[str, dict[str, str]]:
    """Return for each way a row of shares: true sentences kept, changed ones caught."""
    kinds: dict[str, list[Claim]] = {"true": list(claims)}
    for kind, (change, taken) in CHANGES.items():
        chance = random.Random(kind)
        others = sorted({word for claim in claims for word in taken.findall(claim.passage)})
        changed = [(claim, change(claim.sentence, chance, others)) for claim in claims]
        kinds[kind] = [
            Claim(c.question, text, c.passage, c.other) for c, text in changed if text and text not in c.passage
        ]
    kinds["another passage"] = [Claim(c.question, c.sentence, c.other, c.passage) for c in claims]
    ways: dict[str, Callable[[Claim], Support]] = {
        "Footnote": lambda claim: footnoted(claim, embedder),
        "RAGFlow's way": lambda claim: ragflow(claim, embedder),
    }
    if nli:
        ways["Footnote, NLI"] = lambda claim: footnoted(claim, embedder, nli)
    return {
        way: {f"{kind} ({len(of)})": _share(kind, [judge(claim) for claim in of]) for kind, of in kinds.items()}
        for way, judge in ways.items()
    }


def claims(name: str) -> Iterator[Claim]:
    """Yield the true sentences of a set."""
    folder = datasets() / "retrieval" / name
    corpus = {row["_id"]: row for row in _rows(folder / "corpus.jsonl")}
    judged = dict(line.split("\t")[:2] for line in (folder / "qrels.tsv").read_text().splitlines()[1:])
    ids, chance = sorted(corpus), random.Random(name)
    for query in _rows(folder / "queries.jsonl"):
        if not query.get("answers") or query["_id"] not in judged:
            continue
        here = corpus[judged[query["_id"]]]
        there = corpus[chance.choice([id_ for id_ in ids if corpus[id_]["title"] != here["title"]])]
        for sentence in _said(query["answers"], here["text"], own=name == "clapnq_half"):
            yield Claim(
                query["text"], sentence, f"{here['title']}\n{here['text']}", f"{there['title']}\n{there['text']}"
            )


def footnoted(claim: Claim, embedder: Embedder, nli: Nli | None = None) -> Support:
    """Return what Footnote says of a sentence, its hits the passages of the post."""
    title, text = claim.passage.split("\n", 1)
    post = Post(source="post", title=title, text=text)
    passages = splitting.split(post, embedder.count_tokens, embedder.max_tokens)
    hits = [Hit(passage, title, None, None, 0.5, None, 0.0) for passage in passages]
    sentences, _ = Verifier(claim.question, hits, embedder, nli).verify(claim.sentence, done=True)
    supports = {sentence.support for sentence in sentences}
    return "no" if "no" in supports else "partly" if "partly" in supports else "yes"


def ragflow(claim: Claim, embedder: Embedder) -> Support:
    """Return what RAGFlow's rule says of a sentence that is a whole answer: cited or not."""
    passage = embedder.encode_documents([claim.passage])[0]
    words = stems_of(claim.sentence)
    shared = len(words & stems_of(claim.passage)) / max(1, len(words))
    likeness = BY_MEANING * float(embedder.encode_documents([claim.sentence])[0] @ passage) + (1 - BY_MEANING) * shared
    threshold = RAGFLOW
    while threshold > LEAST and likeness < threshold:
        threshold *= FALLS
    return "yes" if likeness >= max(threshold, LEAST) else "no"


def _said(answers: Sequence[str], passage: str, *, own: bool) -> list[str]:
    """Return the sentences of people's own answers, or those of the passage that hold the answer."""
    if own:
        said = [answers[0][start:end] for start, end in sentence_spans(answers[0])]
        return [sentence for sentence in said if stems_of(sentence)]
    sentences = [passage[start:end] for start, end in sentence_spans(passage)]
    return [sentence for sentence in sentences if answers[0] in sentence][:1]


def _other_number(sentence: str, chance: random.Random, _: Sequence[str]) -> str | None:
    numbers = [m for m in _NUMBER.finditer(sentence) if not _DATE.fullmatch(m.group())]
    if not numbers:
        return None
    match = chance.choice(numbers)
    digits = "".join(
        str((int(sign) + chance.randint(1, 8)) % 9 + 1) if sign.isdigit() else sign for sign in match.group()
    )
    return sentence[: match.start()] + digits + sentence[match.end() :]


def _other_date(sentence: str, chance: random.Random, _: Sequence[str]) -> str | None:
    dates = list(_DATE.finditer(sentence))
    if not dates:
        return None
    match = chance.choice(dates)
    was = match.group()
    months = [month for month in _MONTH.split("|") if month != was]
    now = str(int(was) + chance.choice((-7, -3, -1, 1, 2, 10))) if was.isdigit() else chance.choice(months)
    return sentence[: match.start()] + now + sentence[match.end() :]


def _other_name(sentence: str, chance: random.Random, names: Sequence[str]) -> str | None:
    found = [m for m in _NAME.finditer(sentence) if m.group() not in _MONTH.split("|")]
    if not found:
        return None
    match = chance.choice(found)
    return sentence[: match.start()] + chance.choice([n for n in names if n not in sentence]) + sentence[match.end() :]


def _exchanged(word: re.Pattern[str]) -> Change:
    """Return what lets two of a sentence's words change places."""

    def change(sentence: str, chance: random.Random, _: Sequence[str]) -> str | None:
        found = list({match.group(): match for match in word.finditer(sentence)}.values())
        if len(found) < 2:
            return None
        one, other = sorted(chance.sample(found, 2), key=lambda match: match.start())
        between = sentence[one.end() : other.start()]
        return sentence[: one.start()] + other.group() + between + one.group() + sentence[other.end() :]

    return change


def _other_verb(sentence: str, chance: random.Random, verbs: Sequence[str]) -> str | None:
    found = list(_VERB.finditer(sentence))
    if not found:
        return None
    match = chance.choice(found)
    return sentence[: match.start()] + chance.choice([v for v in verbs if v not in sentence]) + sentence[match.end() :]


def _negated(sentence: str, chance: random.Random, _: Sequence[str]) -> str | None:
    if match := _NOT.search(sentence):
        return sentence[: match.end() - 4] + sentence[match.end() :]
    found = list(_AUXILIARY.finditer(sentence))
    if not found:
        return None
    match = chance.choice(found)
    return sentence[: match.end()] + " not" + sentence[match.end() :]


CHANGES: dict[str, tuple[Change, re.Pattern[str]]] = {  # each with what of other passages may take a word's place
    "number changed": (_other_number, _NOTHING),
    "date changed": (_other_date, _NOTHING),
    "name changed": (_other_name, _NAME),
    "verb changed": (_other_verb, _VERB),
    "negation changed": (_negated, _NOTHING),
    "numbers exchanged": (_exchanged(_NUMBER), _NOTHING),
    "names exchanged": (_exchanged(_NAME), _NOTHING),
}


def _share(kind: str, supports: Sequence[Support]) -> str:
    if not supports:
        return "-"
    kept, marked = (
        sum(s in wanted for s in supports) / len(supports)
        for wanted in ((("yes", "partly"), ("yes",)) if kind == "true" else (("no",), ("no", "partly")))
    )
    return f"{kept:.3f} ({marked:.3f})"


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main()
