"""The command `tune`: what can be typed, what it does, and how that is shown."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from threading import Event
from typing import Any

from rag.engine import Engine
from rag.errors import BadSetting, NotFound
from rag.records import Recipe
from rag.tuning.run import SHOWN, Plan, Stage, Wanted
from rag.tuning.shelf import Tuned

CONFIRM = (
    "The tuned model in use would be sent to the Hub as {repo}, private. Examples with text of your posts are left out "
    "of it, but it has learned from them."
)
_STEPS_TOLD = 5  # of a training; one line each


def describe(command: Callable[[str, str, str], argparse.ArgumentParser]) -> None:
    """Add the command to a command line."""
    standard = Recipe()
    made = command(
        "tune",
        "Tune the embedder on your posts; it is installed only if it finds more in posts it was not tuned on.",
        "tune --minutes 5 --json",
    )
    made.add_argument("--pairs", default="", metavar="FILE", help="your own questions: JSON lines, JSON or CSV")
    made.add_argument("--base", default="", metavar="MODEL", help="what to begin with: a folder, or a Hub id")
    made.add_argument(
        "--epochs",
        type=int,
        default=standard.epochs,
        metavar="N",
        help=f"times that it goes over them ({standard.epochs})",
    )
    made.add_argument("--batch", type=int, default=standard.batch, metavar="N", help=f"pairs ({standard.batch})")
    made.add_argument(
        "--lr",
        type=float,
        default=standard.learning_rate,
        metavar="X",
        help=f"learning rate ({standard.learning_rate:g})",
    )
    made.add_argument("--dims", default="", metavar="a,b,c", help="widths to be cut to (those that fit the model)")
    made.add_argument("--minutes", type=float, metavar="N", help="how long it may take, measuring included (10)")
    made.add_argument(
        "--seed", type=int, default=standard.seed, metavar="N", help=f"what shuffles them ({standard.seed})"
    )
    made.add_argument("--dry-run", action="store_true", help="only show the pairs, and how long it would take")
    made.add_argument("--force", action="store_true", help="install it, whatever the measurement says")
    made.add_argument("--rollback", action="store_true", help="go back to the embedder that was in use before")
    made.add_argument("--clear", action="store_true", help="delete the tuned models that are not in use")
    made.add_argument("--push", default="", metavar="REPO", help="publish the tuned model on the Hub, private")
    made.add_argument("--yes", action="store_true", help="publish without asking")


def tune(engine: Engine, **typed: Any) -> Iterator[dict[str, Any]]:
    """Do what was typed, yielding events as commands do."""
    yield {"log": "Loading the models…"}
    engine.prepare()
    if typed["rollback"]:
        name = engine.tuning.rollback()
        yield {"result": {"model": name}, "text": f"Search uses {name} again.\n"}
    elif typed["clear"]:
        gone = engine.tuning.clear()
        yield {"result": {"deleted": gone}, "text": f"{len(gone)} tuned models were deleted.\n"}
    elif typed["push"]:
        if not typed["yes"]:
            raise BadSetting(CONFIRM.format(repo=typed["push"]) + " Add --yes if you want that.")
        address = engine.tuning.publish(typed["push"])
        yield {"result": {"repo": typed["push"], "url": address}, "text": f"Published at {address}\n"}
    else:
        yield from _tune(engine, _wanted(typed), dry=typed["dry_run"], force=typed["force"])


def _wanted(typed: Mapping[str, Any]) -> Wanted:
    try:
        dims = tuple(int(dim) for dim in typed["dims"].split(",") if dim.strip())
    except ValueError as error:
        raise BadSetting(f"--dims {typed['dims']} are no widths. Give numbers such as 384,256,128.") from error
    for name, least in (("epochs", 1), ("batch", 2), ("lr", 1e-9)):
        if not typed[name] >= least:
            raise BadSetting(f"--{name} {typed[name]} is too small. Give {least:g} or more.")
    if typed["minutes"] is not None and not typed["minutes"] > 0:
        raise BadSetting(f"--minutes {typed['minutes']} is no time to train in. Give 1 or more, or leave it out.")
    recipe = Recipe(typed["epochs"], typed["batch"], typed["lr"], dims, typed["seed"])
    return Wanted(typed["pairs"], typed["base"], recipe, typed["minutes"])


def _tune(engine: Engine, wanted: Wanted, *, dry: bool, force: bool) -> Iterator[dict[str, Any]]:
    stop = Event()
    try:
        if dry:
            plan = engine.tuning.look(wanted, stop)
            yield {"result": {"pairs": _pairs(plan), "seconds": round(plan.seconds)}, "text": _told(plan)}
            return
        told = ""
        tuned: Tuned | None = None
        for event in engine.tuning.tune(wanted, stop, force=force):
            if isinstance(event, Plan):
                yield {"log": _told(event).rstrip()}
            elif isinstance(event, Stage):
                line = _line(event)
                if line and line != told:
                    yield {"log": line}
                    told = line
            else:
                tuned = event
        if tuned is None:
            raise NotFound("The tuning was stopped; what was in use still is. Start it again, and it goes on.")
        yield {"result": _result(tuned), "text": _report(tuned)}
    finally:
        stop.set()


def _line(stage: Stage) -> str:
    step = stage.step
    if step is None or not stage.total:
        return f"{stage.what}…"
    part = stage.done * _STEPS_TOLD // stage.total * stage.total // _STEPS_TOLD
    loss = "" if step.loss is None else f", loss {step.loss:.3f}"
    left = "" if step.seconds_left is None else f", {step.seconds_left:.0f} s left"
    return f"{stage.what}: step {stage.done} of {stage.total}{loss}{left}" if part == stage.done else ""


def _pairs(plan: Plan) -> dict[str, Any]:
    return {"made": plan.sifted.made, "kept": len(plan.sifted.kept), "refused": plan.sifted.counts}


def _told(plan: Plan) -> str:
    lines = [f"{plan.sifted.made} pairs were made, {len(plan.sifted.kept)} are fit to train on."]
    for reason, examples in plan.sifted.examples(1).items():
        lines.append(f"  refused {plan.sifted.counts[reason]:5}  {reason}: {'; '.join(examples)}")
    recipe = plan.recipe
    lines.append(
        f"Training on {len(plan.pairs)} of them, {recipe.epochs} epochs, batches of {recipe.batch}, at widths "
        f"{', '.join(map(str, recipe.dims))}, and measuring it: about {plan.seconds:.0f} s in all."
    )
    return "\n".join(lines) + "\n"


def _result(tuned: Tuned) -> dict[str, Any]:
    def shown(metrics: Mapping[int, Mapping[str, float]]) -> dict[str, dict[str, float]]:
        return {str(dim): {name: round(values[name], 4) for name in SHOWN} for dim, values in metrics.items()}

    return {
        "pairs": {"made": tuned.made, "kept": tuned.kept, "refused": dict(tuned.refused)},
        "before": shown(tuned.before),
        "after": shown(tuned.after),
        "hybrid_before": tuned.hybrid_before,
        "hybrid_after": tuned.hybrid_after,
        "confidence": round(tuned.confidence, 4),
        "installed": tuned.state == "installed",
        "reason": tuned.reason,
        "questions": dict(tuned.questions),
        "seconds": tuned.seconds,
        "model": tuned.model,
    }


def _report(tuned: Tuned) -> str:
    lines = ["NDCG@10 in posts it was not tuned on", "width   before   after"]
    for dim in tuned.after:
        before = f"{tuned.before[dim]['ndcg@10']:.3f}" if dim in tuned.before else ""
        lines.append(f"{dim:5}   {before:>6}   {tuned.after[dim]['ndcg@10']:.3f}")
    lines.append(f"search as a whole: {tuned.hybrid_before:.3f} before, {tuned.hybrid_after:.3f} after")
    lines.append(f"better with a confidence of {100 * tuned.confidence:.0f} %")
    lines.append(f"Installed: {tuned.model}" if tuned.state == "installed" else f"Not installed. {tuned.reason}")
    return "\n".join(lines) + "\n"
