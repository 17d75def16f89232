"""What the tab Models shows, as HTML: what is in use, what can be chosen, and how far a download is.

As in render.py, every word that Footnote did not write is escaped here."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from rag.amounts import size
from rag.choosing import Choosing, Fetching
from rag.records import Model, ModelKind
from rag.ui.render import done, duration, short, trouble, waiting

TITLES: dict[ModelKind, str] = {"writer": "Writers", "embedder": "Search models"}
_ROLES: dict[ModelKind, str] = {"writer": "Writes the answers", "embedder": "Searches your posts"}
_FITS = {
    "fits": "fits this machine",
    "tight": "a tight fit for this machine's memory",
    "too large": "too large for this machine's memory",
    "": "",
}
_LONGEST = 90  # characters of a name that are shown
_CONFIRM = "This deletes it from this machine."


def in_use(choosing: Choosing) -> str:
    """Render the two models in use."""
    cards = "".join(_card(model, choosing.fixed(model.kind)) for model in choosing.in_use())
    missing = choosing.missing()
    lost = trouble(f"The writer that you chose, {missing}, is not here any more. Download it again.") if missing else ""
    return f"<div class='cards'>{cards}</div>{lost}"


def lists(choosing: Choosing, confirming: str = "") -> str:
    """Render what can be chosen; `confirming` names the one whose removal is to be confirmed."""
    used = {(model.kind, model.place) for model in choosing.in_use()}
    parts = []
    for kind in TITLES:
        rows = "".join(row(model, choosing, (kind, model.place) in used, confirming) for model in choosing.offers(kind))
        parts.append(f"<h2>{TITLES[kind]}</h2><ul class='models'>{rows}</ul>")
    return "".join(parts)


def found(models: Sequence[Model], choosing: Choosing, confirming: str) -> str:
    """Render what was meant by what a person typed; `confirming` as in `lists`."""
    used = {(model.kind, model.place) for model in choosing.in_use()}
    rows = "".join(row(model, choosing, (model.kind, model.place) in used, confirming) for model in models)
    return f"<ul class='models'>{rows}</ul>" if rows else ""


def row(model: Model, choosing: Choosing, in_use: bool, confirming: str) -> str:
    """Render one model, and what can be done with it."""
    about = f"<span class='about'>{escape(_sentence(model.about))}</span>" if model.about else ""
    why = trouble(choosing.troubles[model.setting]) if model.setting in choosing.troubles else ""
    return (
        f"<li{' class=here' if in_use else ''}><div class='what'><span class='title'>{_short(model.name)}</span>{about}"
        f"<span class='meta'>{_facts(model, choosing.fit(model))}</span>{why}</div>"
        f"<div class='acts'>{_acts(model, choosing, in_use, confirming)}</div></li>"
    )


def doing(choosing: Choosing) -> str:
    """Render what goes on, and what came of what went on last."""
    parts = []
    if choosing.fetching.running and choosing.download:
        parts.append(_download(choosing.download))
    elif choosing.fetching.failure:
        parts.append(trouble(choosing.fetching.failure))
    if choosing.changing.running:
        stop = _button("stop", "Cancel") if choosing.stage.startswith("Reading") else ""
        parts.append(
            f"<div class='going'>{waiting(f'{choosing.stage}…' if choosing.stage else 'One moment…')}{stop}</div>"
        )
    elif choosing.changing.failure:
        parts.append(trouble(choosing.changing.failure))
    if choosing.asking.running:
        parts.append(waiting("Asking the Hub…"))
    elif choosing.asking.failure:
        parts.append(trouble(choosing.asking.failure))
    if choosing.said:
        refused = choosing.refused
        insist = _button("anyway", "Use it anyway", refused) if refused and not choosing.changing.running else ""
        parts.append(f"<div class='going'>{done(choosing.said)}{insist}</div>")
    return "".join(parts)


def _card(model: Model, variable: str) -> str:
    span = _span(model)
    facts = [
        ("Size", size(model.size) if model.size else ""),
        ("Licence", model.licence or "unknown"),
        ("Context" if model.kind == "writer" else "Vectors", span),
        ("Lies in", model.place),
    ]
    rows = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in facts if value)
    fixed = (
        f"<p class='note'>Set by {variable}, which wins over a choice made here.</p>"
        if variable
        else f"<p class='note'>{escape(_sentence(model.about))}</p>"
        if model.about
        else ""
    )
    return (
        f"<section class='card'><h3>{_ROLES[model.kind]}</h3><p class='title'>{_short(model.name)}</p>{fixed}"
        f"<dl>{rows}</dl></section>"
    )


def _facts(model: Model, fit: str) -> str:
    """Say how large a model is, what it needs and what it may be used for."""
    what = "" if model.place else " to download"
    facts = [
        f"{size(model.size)}{what}" if model.size else "size not known yet",
        f"about {size(model.memory)} of memory" + (f", {_FITS[fit]}" if fit else "") if model.memory else "",
        _span(model),
        f"licence {model.licence}" if model.licence else "licence unknown",
        "asks for permission on its page" if model.gated and not model.place else "",
        f"{size(model.part)} of it are here" if model.part else "",
    ]
    return escape(" · ".join(fact for fact in facts if fact))


def _acts(model: Model, choosing: Choosing, in_use: bool, confirming: str) -> str:
    if in_use:
        return "<span class='mark'>in use</span>"
    if confirming and confirming == model.setting:
        return f"<span class='meta'>{_CONFIRM}</span>{_button('sure', 'Delete it', model)}{_button('keep', 'Keep it')}"
    acts = []
    if model.place:
        acts.append("" if choosing.fixed(model.kind) else _button("use", "Use", model))
    elif choosing.fit(model) == "too large":
        acts.append("")  # it would not load
    else:
        acts.append(_button("fetch", "Go on" if model.part else "Download", model))
    if model.setting and (model.place or model.part):
        acts.append(_button("remove", "Remove", model))
    return "".join(acts)


def _download(going: Fetching) -> str:
    share = f"{size(going.done)} of {size(going.total)}" if going.total else "asking the Hub…"
    pace = ""
    if going.speed:
        pace = f", {going.speed / 1e6:.1f} MB a second"
        pace += f", {duration(going.seconds_left)} left" if going.seconds_left is not None else ""
    total = going.total or 1
    return (
        f"<div class='going'><p class='status' role='status'><span class='dot'></span>Downloading "
        f"{_short(going.model.name)}: {share}{pace}</p>{_button('cancel', 'Cancel')}</div>"
        f"<progress max='{total}' value='{min(going.done, total)}' aria-label='downloaded'></progress>"
    )


def _button(act: str, label: str, model: Model | None = None) -> str:
    of = f" data-kind='{model.kind}' data-setting='{escape(model.setting, quote=True)}'" if model else ""
    about = f" aria-label='{label} {_short(model.name)}'" if model else ""
    return f"<button type='button' class='model-act' data-act='{act}'{of}{about}>{label}</button>"


def _span(model: Model) -> str:
    if not model.span:
        return ""
    return f"{model.span:,} tokens" if model.kind == "writer" else f"{model.span:,} numbers"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _short(name: str) -> str:
    return escape(short(name, _LONGEST), quote=True)
