"""What was asked in one tab of a browser since its last new topic: what a follow-up may lean on, what stays readable.

A module of its own, because asking, asking anew in mid-answer, and a new topic meet here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from threading import Event

from rag.query import parse
from rag.records import Answer, Turn

REMEMBERED = 6  # questions before the one that is asked; a follow-up leans on the last ones
LISTED = 20  # posts of an answer that is over; they may be thousands


@dataclass(frozen=True)
class Exchange:
    """A question and its answer as far as it is written; `number` tells it from every other of its tab.

    `alone`: the person wanted it taken on its own; nothing before it counts any more.
    """

    number: int
    answer: Answer
    alone: bool = False


@dataclass(frozen=True)
class Asking:
    """A question that is being answered: the turns that it may lean on, and what ends its answer."""

    question: str
    number: int
    turns: tuple[Turn, ...]
    alone: bool
    stop: Event = field(default_factory=Event)


class Conversation:
    """The exchanges of one tab, oldest first. At most one question is being answered at a time."""

    def __init__(self) -> None:
        """Begin without any."""
        self.exchanges: tuple[Exchange, ...] = ()
        self._asking: Asking | None = None
        self._count = 0

    def begin(self, question: str, *, alone: bool = False) -> Asking:
        """Begin an answer; whatever was being written ends. Raise BadQuestion for a filter that is none.

        The last question asked again takes its own place: it never leans on itself.
        """
        self.interrupt()
        said = unfiltered(question).casefold()
        if self.exchanges and unfiltered(self.exchanges[-1].answer.question).casefold() == said:
            alone = alone or self.exchanges[-1].alone
            self.exchanges = self.exchanges[:-1]
        self.exchanges = self.exchanges[-REMEMBERED:]
        self._count += 1
        self._asking = Asking(question, self._count, () if alone else self._turns(), alone)
        return self._asking

    def keep(self, asking: Asking, answer: Answer) -> bool:
        """Keep an answer as it grows; return False, and keep nothing, if it was interrupted."""
        if asking is not self._asking:
            return False
        kept = replace(answer, status="", posts=answer.posts[:LISTED])
        self.exchanges = (*self._without(asking), Exchange(asking.number, kept, asking.alone))
        return True

    def drop(self, asking: Asking) -> bool:
        """Forget a question that could not be answered; return False if that was interrupted."""
        self.exchanges = self._without(asking)
        return asking is self._asking

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

    def _without(self, asking: Asking) -> tuple[Exchange, ...]:
        return tuple(exchange for exchange in self.exchanges if exchange.number != asking.number)

    def _turns(self) -> tuple[Turn, ...]:
        since = max((at for at, exchange in enumerate(self.exchanges) if exchange.alone), default=0)
        return tuple(_turn(exchange.answer) for exchange in self.exchanges[since:])


def unfiltered(question: str) -> str:
    """Return a question without its filters, whole where it has nothing else. Raise BadQuestion."""
    return parse(question).text or question


def _turn(answer: Answer) -> Turn:
    # the words of "12 posts mention rye" are Footnote's own: they are not carried along
    return Turn(unfiltered(answer.question), "" if answer.refused or answer.posts else answer.text)
