"""How much a writer can read: five passages, or only the best sentence. Tried once for each writer, in idle time.

A small model is lost among five passages; an able one is held back by one sentence. Which it is cannot be told from
its size alone, so it is asked a few questions both ways."""

from __future__ import annotations

from contextlib import closing
from threading import Event

from rag.ports import Catalogue, Writer
from rag.prompt import prompt_of
from rag.records import Prompt
from rag.words import words_in

MANY, ONE = 5, 1
KNOWN = {"SmolLM2-135M-Instruct": ONE}
"""Writers that were measured with more than this: see prompt.compose."""
_PIECES = 40  # of an answer; what it was to say is said by then, or never
_ASKED: tuple[tuple[str, str, str], ...] = (  # a question, the words any of which is right, the passage that says it
    (
        "When did the bakery in Marle open?",
        "1974",
        "The bakery in Marle opened in 1974, in what had been a stable. Its oven came from a monastery and still burns "
        "beech. On Fridays people queue for the rye bread, which is sold out before nine.",
    ),
    (
        "Who repaired the bicycle?",
        "Ines",
        "My bicycle stood in the cellar for two winters with a bent wheel. Ines repaired it in one afternoon, with a "
        "spoke key and a lot of patience, and would not take any money for it.",
    ),
    (
        "How long does the soup have to simmer?",
        "forty 40",
        "The soup has to simmer for forty minutes. Then the beans are soft but still whole, and the broth has become "
        "thick by itself. Salt comes last, or the skins stay hard.",
    ),
    (
        "Which river floods the lower garden?",
        "Orla",
        "In March the Orla floods the lower garden, sometimes up to the third row of currants. The upper garden stays "
        "dry, and that is where the bees have to stand.",
    ),
    (
        "What colour did we paint the boat?",
        "green",
        "We sanded the boat for three days and painted it green, because that was the only paint that the shop in the "
        "harbour still had. By the summer it looked as if it had never been anything else.",
    ),
    (
        "How many people came to the reading?",
        "seventeen 17",
        "Seventeen people came to the reading, two of them by mistake. The heating had failed, so everybody kept their "
        "coats on, and the questions were short.",
    ),
)


class Trial:
    """Finds out, and keeps, how many passages a writer is given."""

    def __init__(self, catalogue: Catalogue, writer: Writer) -> None:
        """Join the parts; nothing is asked yet."""
        self._catalogue = catalogue
        self._writer = writer
        self._right: list[tuple[bool, bool]] = []  # of each question so far: among many passages, and alone

    @property
    def settled(self) -> bool:
        """Whether it is known how much this writer can read."""
        return self._known is not None

    def apply(self) -> None:
        """Give the writer what it was found to be able to read, if that is known."""
        if self._known is not None:
            self._writer.passages = self._known

    def run(self, stop: Event) -> None:
        """Ask the questions both ways and keep what came of it; if `stop` is set, the next run goes on from there.

        Raise ModelError.
        """
        for place in range(len(self._right), len(_ASKED)):
            question, answer, passage = _ASKED[place]
            others = [text for _, _, text in (*_ASKED[place + 1 :], *_ASKED[:place])][: MANY - 1]
            best = passage.partition(".")[0] + "."
            many = self._answers(prompt_of(question, [*others, passage], best=best), answer, stop)
            alone = self._answers(prompt_of(question, [best]), answer, stop)
            if stop.is_set():
                return
            self._right.append((many, alone))
        many_right, alone_right = (sum(right) for right in zip(*self._right, strict=True))
        self._catalogue.note(self._fact, str(MANY if many_right >= alone_right else ONE))
        self.apply()

    @property
    def _fact(self) -> str:
        return f"passages for {self._writer.name}"

    @property
    def _known(self) -> int | None:
        noted = self._catalogue.fact(self._fact)
        return KNOWN.get(self._writer.name) or (int(noted) if noted in (str(ONE), str(MANY)) else None)

    def _answers(self, prompt: Prompt, answer: str, stop: Event) -> bool:
        said = ""
        with closing(self._writer.write(prompt, stop)) as pieces:  # type: ignore[type-var]
            for number, piece in enumerate(pieces, start=1):
                said += piece
                if number == _PIECES:
                    break
        return bool(set(answer.lower().split()) & set(words_in(said)))
