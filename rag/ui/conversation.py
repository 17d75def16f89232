"""What was asked in one tab of a browser since its last new topic: what a follow-up may lean on, what stays readable.

A module of its own, because asking, asking anew in mid-answer, and a new topic meet here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from threading import Event

from rag.finding.query import parse
from rag.records import Answer, Thumb, Turn

REMEMBERED = 6  # questions before the one that is asked; a follow-up leans on the last ones
SHOWN = 50  # exchanges of a conversation that stay on the page; all are kept
BROKEN_OFF = "This answer was broken off."
LISTED = 20  # posts of an answer that is over; they may be thousands


@dataclass(frozen=True)
class Exchange:
    """A question and its answer as far as it is written; `number` tells it from every other of its tab.

    `alone`: the person wanted it taken on its own; nothing before it counts any more. `kept` is the id under which the
    library has it, 0 until it has; `replaces` is the id of the one that goes for it.
    """

    number: int
    answer: Answer
    alone: bool = False
    replaces: int = 0
    kept: int = 0
    thumb: Thumb = ""


@dataclass(frozen=True)
class Asking:
    """A question that is being answered: the turns that it may lean on, the exchange whose place it takes, if it takes
    one's, and what ends its answer."""

    question: str
    number: int
    turns: tuple[Turn, ...]
    alone: bool
    replaced: Exchange | None = None
    stop: Event = field(default_factory=Event)


class Conversation:
    """The exchanges of one tab, oldest first. At most one question is being answered at a time."""

    def __init__(self) -> None:
        """Begin without any."""
        self.exchanges: tuple[Exchange, ...] = ()
        self.talk = 0
        """The id under which the library keeps it, 0 until it does."""
        self.editing = False
        """Whether the next question takes the place of the last one."""
        self._asking: Asking | None = None
        self._count = 0

    def begin(self, question: str, *, alone: bool = False) -> Asking:
        """Begin an answer; whatever was being written ends. Raise BadQuestion for a filter that is none.

        The last question asked again takes its own place: it never leans on itself.
        """
        self.interrupt()
        said, last = unfiltered(question).casefold(), self.exchanges[-1] if self.exchanges else None
        again = last is not None and unfiltered(last.answer.question).casefold() == said
        if last and (again or self.editing):
            alone = alone or last.alone
            self.exchanges = self.exchanges[:-1]
        self.exchanges = self.exchanges[-SHOWN:]
        self._count += 1
        replaced = last if again or self.editing else None
        self._asking = Asking(question, self._count, () if alone else self.turns(), alone, replaced)
        self.editing = False
        return self._asking

    def keep(self, asking: Asking, answer: Answer) -> bool:
        """Keep an answer as it grows; return False, and keep nothing, if it was interrupted."""
        if asking is not self._asking:
            return False
        kept = replace(answer, status="", posts=answer.posts[:LISTED])
        gone = asking.replaced.kept or asking.replaced.replaces if asking.replaced else 0
        self.exchanges = (*self._without(asking), Exchange(asking.number, kept, asking.alone, gone))
        return True

    def drop(self, asking: Asking) -> bool:
        """Forget a question that could not be answered; return False if that was interrupted.

        The exchange whose place it was to take has it again.
        """
        if asking is not self._asking:
            self.exchanges = self._without(asking)
            return False
        self.exchanges = (*self._without(asking), *([asking.replaced] if asking.replaced else []))
        return True

    def last_of(self, asking: Asking) -> Exchange | None:
        """Return the exchange of a question, None if something else has taken its place."""
        if asking is not self._asking:
            return None
        return next((exchange for exchange in self.exchanges if exchange.number == asking.number), None)

    def turns(self) -> tuple[Turn, ...]:
        """Return what the next question may lean on."""
        since = max((at for at, exchange in enumerate(self.exchanges) if exchange.alone), default=0)
        return tuple(_turn(exchange.answer) for exchange in self.exchanges[since:][-REMEMBERED:])

    def before(self) -> tuple[Exchange, ...]:
        """Return the exchanges before the one that is shown as the last."""
        shown = self._asking.number if self._asking else self._count
        return tuple(exchange for exchange in self.exchanges if exchange.number != shown)

    def ready(self) -> tuple[Exchange, ...]:
        """Return the exchanges that the library has not yet and that grow no more."""
        growing = self._asking.number if self._asking else 0
        return tuple(
            replace(exchange, answer=_broken_off(exchange.answer))
            for exchange in self.exchanges
            if not exchange.kept
            and (exchange.answer.text or exchange.answer.note)
            and (exchange.answer.done or exchange.number != growing)
        )

    def change(self, changed: Exchange) -> None:
        """Put an exchange in the place of the one of its number."""
        self.exchanges = tuple(changed if one.number == changed.number else one for one in self.exchanges)

    def reopen(self, talk: int, exchanges: Sequence[Exchange]) -> None:
        """Go on with a conversation that was kept."""
        self.clear()
        self.talk = talk
        self.exchanges = tuple(replace(one, number=self._count + n) for n, one in enumerate(exchanges[-SHOWN:], 1))
        self._count += len(self.exchanges)

    def halt(self) -> None:
        """End the answer that is being written, if any is; what there is of it is still kept."""
        if self._asking:
            self._asking.stop.set()

    def interrupt(self) -> None:
        """End the answer that is being written for something else to take its place."""
        self.halt()
        self._asking = None

    def clear(self) -> None:
        """Begin a new topic."""
        self.interrupt()
        self.exchanges = ()
        self.talk, self.editing = 0, False

    def _without(self, asking: Asking) -> tuple[Exchange, ...]:
        return tuple(exchange for exchange in self.exchanges if exchange.number != asking.number)


def unfiltered(question: str) -> str:
    """Return a question without its filters, whole where it has nothing else. Raise BadQuestion."""
    return parse(question).text or question


def _broken_off(answer: Answer) -> Answer:
    """Return an answer that something else took the place of without what was not yet held against the posts."""
    if answer.done:
        return answer
    end = answer.sentences[-1].end if answer.sentences else 0
    return replace(answer, text=answer.text[:end], note=answer.note or BROKEN_OFF, done=True)


def _turn(answer: Answer) -> Turn:
    # the words of "12 posts mention rye" are Footnote's own: they are not carried along
    return Turn(unfiltered(answer.question), "" if answer.refused or answer.posts else answer.text)
