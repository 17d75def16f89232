"""What the Tune section shows, as HTML: the pairs, a tuning as it goes, what it came to, and what search uses.

As in render.py, every word that Footnote did not write is escaped here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from html import escape

from rag.amounts import counted, size
from rag.markup import plain
from rag.records import Pair, PairOrigin
from rag.tuning.exam import LEAST
from rag.tuning.run import LEARNING, STAGES, Plan, Stage
from rag.tuning.shelf import Tuned, Use
from rag.ui import plots
from rag.ui.figures import day, table
from rag.ui.render import duration, short

INTRO = (
    "<h2>Tune search to your posts</h2><p class='note'>The search model learns the words and matters of your posts, "
    "from questions that Footnote makes of them. A fifth of your posts is put aside first, and both models are asked "
    "about those: only what finds more there is offered to you. It takes about ten minutes at most, unless you allow "
    "more. Nothing leaves this machine, questions are answered meanwhile, and you can go back.</p>"
)
_ORIGINS: dict[PairOrigin, str] = {
    "text": "from the text",
    "writer": "by the writer",
    "file": "from your file",
    "asked": "asked, with a thumbs-up",
}
_STATES = {
    "ready": "passed, not in use",
    "refused": "refused",
    "installed": "in use",
    "former": "in use before",
    "gone": "deleted",
}
_EXAMPLES = 3  # of what was refused for one reason
_PASSAGE = 180  # characters of a pair's passage that are shown
_QUESTION = 200
_OTHERS = (("accuracy@1", 100, 0), ("accuracy@10", 100, 0), ("mrr@10", 1, 3))  # metrics, times what, digits
_BYTES = 4  # of a number in the index


def planned(plan: Plan, struck: Collection[str], shown: int, *, idle: bool) -> str:
    """Render what a tuning will do: its pairs, `shown` of them to be looked at and struck out, and what was refused."""
    kept, sifted, recipe = len(plan.sifted.kept), plan.sifted, plan.recipe
    left = sum(pair.question not in struck for pair in plan.pairs)
    out = f" ({len(plan.pairs) - left:,} struck out)" if left < len(plan.pairs) else ""
    often = "once" if recipe.epochs == 1 else f"{recipe.epochs} times over"
    said = (
        f"<p>{sifted.made:,} pairs of a question and the passage that answers it were made, and {kept:,} are fit to "
        f"train on. It will train on {left:,} of them{out}, {often}, and measure what came of it: about "
        f"{duration(plan.seconds)} in all.</p>"
    )
    rows = "".join(_pair(pair, pair.question in struck, idle=idle) for pair in plan.pairs[:shown])
    rest = len(plan.pairs) - shown
    more = f"<p>{_button('more', f'Show {min(rest, shown):,} more of {rest:,}')}</p>" if rest > 0 else ""
    return (
        f"{said}<details class='more' id='pairs'><summary>Look at the pairs it learns from</summary>"
        f"<ul class='pairs'>{rows}</ul>{more}</details>{_refused(plan)}"
    )


def going(stage: Stage, losses: Sequence[float], *, stopping: bool) -> str:
    """Render how far it is: what is done, which step of how many, how long it takes, and the loss so far."""
    left = stage.step.seconds_left if stage.step else None
    parts = [stage.what or "Beginning"]
    if stage.total:
        parts.append(f"{'step ' if stage.step else ''}{stage.done:,} of {stage.total:,}")
    if left is not None:
        parts.append(f"about {duration(left)} left, then it is measured")
    said = "Stopping…" if stopping else " · ".join(parts) + ("" if stage.total else "…")
    bar = f"<progress max='{stage.total}' value='{stage.done}' aria-label='done'></progress>" if stage.total else ""
    curve = ""
    if losses and stage.what in STAGES[STAGES.index(LEARNING) :]:
        done, total = (stage.done, stage.total) if stage.step else (len(losses), len(losses))
        curve = _figure("The loss of the training", plots.losses(losses, max(1, done - len(losses) + 1), total))
    status = f"<p class='status' role='status'><span class='dot'></span>{escape(said)}</p>"
    return f"{_phases(stage)}{status}{bar}{curve}"


def result(run: Tuned, passages: int, former: str, *, idle: bool) -> str:
    """Render what came of a tuning: in words, what can be done with it, the table and the curves of before and after.

    `passages` are in the index, `former` is what can be gone back to; unless `idle`, nothing can be done just now.
    """
    width = max(run.after)
    before, after = run.before.get(width, {}).get("ndcg@10"), run.after[width]["ndcg@10"]
    asked = sum(run.questions.values())
    moved = f"{after:.3f}" if before is None else f"from {before:.3f} to {after:.3f}"
    about = f"NDCG@10 of meaning alone went {moved}, on {counted(asked, 'question')} about posts it was not tuned on"
    sure = f"; better with a confidence of {_percent(run.confidence)}" if asked >= LEAST else ""
    notes = [f"(sample of {asked:,}, {day(run.moment)}{sure})"]
    if before is not None and abs(run.current - before) > 0.0005:  # another was in use then
        notes.append(f"What was in use then found {run.current:.3f}; that is what it had to beat.")
    if run.lost:
        notes.append(f"It was measured without {counted(run.lost, 'passage')}, removed or changed while it trained.")
    said = "".join(f"<p class='note'>{note}</p>" for note in notes)
    first, then = ({dim: found["ndcg@10"] for dim, found in metrics.items()} for metrics in (run.before, run.after))
    curve = _figure(
        "How well it finds and how large the index is, by the numbers of a vector",
        plots.by_width(first, then, passages * _BYTES),
    )
    return (
        f"<section id='tuned' data-model='{escape(run.model)}' data-state='{run.state}'>"
        f"<p class='reading'>{escape(_verdict(run))}</p><p class='note'>{about}.</p>{said}"
        f"{_deeds(run, former, idle=idle)}{_before_and_after(run, passages)}{curve}{_told(run)}</section>"
    )


def in_use(use: Use, passages: int, *, idle: bool) -> str:
    """Render what search uses, and what else it could."""
    whole = use.widths[0]
    part = f"all {whole}" if use.width == whole else f"the first {use.width} of {whole}"
    picks = "".join(
        _button(
            "width",
            f"{width} · {size(width * passages * _BYTES)}",
            f" data-width='{width}' aria-pressed='{'true' if width == use.width else 'false'}'",
            idle=idle,
        )
        for width in use.widths
    )
    back = _button("rollback", f"Roll back to {escape(use.former)}", idle=idle) if use.former else ""
    unused = ""
    if use.unused:
        what = f"Delete {counted(len(use.unused), 'unused model')}, {size(use.unused_bytes)}"
        unused = _button("clear", what, " data-sure='Really delete?'", idle=idle)
    others = f"<p>{back} {unused}</p>" if back or unused else ""
    takes = size(use.width * passages * _BYTES)
    return (
        f"<h3>In use</h3><p>Search uses <strong>{escape(use.name)}</strong>, {part} numbers of its vectors: an "
        f"index of {takes}.</p><p class='note'>Fewer numbers make the index smaller "
        f"and find a little less. Nothing is embedded anew for that.</p><p class='picks'>{picks}</p>{others}"
    )


def history(runs: Sequence[Tuned]) -> str:
    """Render the tunings that are remembered, newest first."""
    head = ["When (UTC)", "Began with", "Pairs", "NDCG@10", "As a whole", "Confidence", "Now", ""]
    return table(head, "".join(map(_run, runs)))


def _run(run: Tuned) -> str:
    width = max(run.after)
    before = run.before.get(width, {}).get("ndcg@10", 0.0)
    cells = (
        escape(run.moment[:16].replace("T", " ")),
        escape(run.base or run.model.partition("-tuned-")[0]),
        f"{run.trained_on:,}",
        f"{before:.3f} → {run.after[width]['ndcg@10']:.3f}",
        f"{run.hybrid_before:.3f} → {run.hybrid_after:.3f}",
        _percent(run.confidence),
        _STATES[run.state],
        _button("show", "Show", f" data-model='{escape(run.model)}'"),
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _pair(pair: Pair, struck: bool, *, idle: bool) -> str:
    act = "Put back" if struck else "Strike out"
    asked = escape(plain(short(pair.question, _QUESTION)))
    facts = f" data-question='{escape(pair.question)}' aria-label='{act}: {asked}'"
    return (
        f"<li class='{'struck' if struck else ''}'><strong>{asked}</strong> "
        f"<span class='meta'>{_ORIGINS[pair.origin]}</span> {_button('strike', act, facts, idle=idle)}"
        f"<div class='meta'>{escape(plain(short(pair.passage, _PASSAGE)))}</div></li>"
    )


def _refused(plan: Plan) -> str:
    counts = plan.sifted.counts
    if not counts:
        return ""
    rows = ""
    for reason, examples in plan.sifted.examples(_EXAMPLES).items():
        quoted = "".join(f"<div class='meta'>“{escape(one)}”</div>" for one in examples)
        rows += f"<li><strong>{counts[reason]:,}</strong> {escape(reason)}{quoted}</li>"
    return (
        f"<details class='more' id='refused-pairs'><summary>{sum(counts.values()):,} were refused, and why</summary>"
        f"<ul class='pairs'>{rows}</ul></details>"
    )


def _phases(stage: Stage) -> str:
    if stage.what not in STAGES:
        return ""
    now = STAGES.index(stage.what)
    listed = "".join(
        f"<li{' aria-current=step' if place == now else ''} class='{'done' if place < now else ''}'>{name}</li>"
        for place, name in enumerate(("Pairs", "Timing", "Training", "Measuring before", "and after"))
    )
    return f"<ol class='phases' aria-label='What is done'>{listed}</ol>"


def _verdict(run: Tuned) -> str:
    if run.state == "ready":
        return "It finds more in posts it was not tuned on. It is yours to install."
    if run.state == "refused":
        return f"Not installed. {run.reason}"
    if run.state == "installed":
        return "It is in use." if not run.reason else f"It is in use, as you wanted. {run.reason}"
    return "It was in use before, and can be gone back to." if run.state == "former" else "This model was deleted."


def _deeds(run: Tuned, former: str, *, idle: bool) -> str:
    model = f" data-model='{escape(run.model)}'"
    sure = f"{model} data-sure='Really discard?'"
    deeds = {
        "ready": _button("install", "Install", model, idle=idle, kind="act")
        + " "
        + _button("discard", "Discard", sure, idle=idle),
        "refused": _button("install", "Install anyway", model, idle=idle)
        + " "
        + _button("discard", "Discard", sure, idle=idle),
        "installed": _button("rollback", f"Roll back to {escape(former)}", idle=idle) if former else "",
        "former": _button("rollback", "Go back to it", idle=idle),
    }.get(run.state, "")
    return f"<p>{deeds}</p>" if deeds else ""


def _before_and_after(run: Tuned, passages: int) -> str:
    head = ["Numbers", "Index", "NDCG@10 before", "after", "", "First, %", "In ten, %", "MRR@10"]
    rows = ""
    for width in sorted({*run.before, *run.after}, reverse=True):
        before, after = run.before.get(width, {}), run.after.get(width, {})
        rows += (
            f"<tr><th>{width}</th><td>{size(width * passages * _BYTES)}</td>"
            f"{_change(before.get('ndcg@10'), after.get('ndcg@10'))}"
            + "".join(f"<td>{_both(before, after, name, times, digits)}</td>" for name, times, digits in _OTHERS)
            + "</tr>"
        )
    if run.hybrid_before or run.hybrid_after:
        moved = _change(run.hybrid_before, run.hybrid_after)
        rows += f"<tr><th>As a whole</th><td></td>{moved}<td></td><td></td><td></td></tr>"
    return table(head, rows) + (
        "<p class='note'>NDCG@10 is 1 where the right passage always comes first, and 0 where it is never among the "
        "first ten. “As a whole” is the search you use, words and meaning together.</p>"
    )


def _change(before: float | None, after: float | None) -> str:
    first, then = ("" if value is None else f"{value:.3f}" for value in (before, after))
    moved = "" if before is None or after is None else f"{after - before:+.3f}".replace("-", "−")
    return f"<td>{first}</td><td><strong>{then}</strong></td><td>{moved}</td>"


def _both(before: Mapping[str, float], after: Mapping[str, float], name: str, times: int, digits: int) -> str:
    return " → ".join(f"{times * values[name]:.{digits}f}" for values in (before, after) if name in values)


def _told(run: Tuned) -> str:
    """Render how it was tuned."""
    asked = ", ".join(f"{count:,} by {escape(kind)}" for kind, count in run.questions.items() if count)
    refused = ", ".join(f"{count:,} {escape(reason)}" for reason, count in run.refused.items())
    why = f" Refused: {refused}." if refused else ""
    curve = _figure("The loss of the training", plots.losses(run.losses, 1, len(run.losses))) if run.losses else ""
    return (
        f"<details class='more'><summary>How it was tuned</summary><p class='note'>Of {run.made:,} pairs "
        f"{run.kept:,} were fit, and it was trained on {run.trained_on:,}; all in all it took {duration(run.seconds)}."
        f"{why} Measured with {asked}.</p>{curve}"
        f"<p class='note'>{escape(run.model)}</p></details>"
    )


def _figure(caption: str, drawn: str) -> str:
    return f"<figure><figcaption class='meta'>{caption}</figcaption>{drawn}</figure>"


def _button(act: str, label: str, facts: str = "", *, idle: bool = True, kind: str = "mark") -> str:
    still = "" if idle else " disabled"
    return f"<button type='button' class='judge {kind}' data-act='{act}'{facts}{still}>{label}</button>"


def _percent(share: float) -> str:
    return "more than 99.9 %" if share > 0.999 else f"{100 * share:.1f} %"
