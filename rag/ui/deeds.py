"""What can be done with an answer, and the list of kept conversations, as HTML: others' words are escaped here."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from rag.conversations import as_text
from rag.records import Talk, Thumb
from rag.ui.conversation import Exchange

CLICKS = """
const copy = async (button) => {
  try { await navigator.clipboard.writeText(button.dataset.copy); }
  catch {  // a page that is served over http in a home network may not
    const field = document.createElement("textarea");
    field.value = button.dataset.copy;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  const said = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = said; }, 1500);
};
element.addEventListener("click", (event) => {
  const button = event.target.closest && event.target.closest("button.deed");
  if (!button || button.disabled) return;
  if (button.dataset.act === "copy") { if (button.textContent !== "Copied") copy(button); }
  else trigger("like", {...button.dataset});
});
"""
TELL = "watch('value', () => document.dispatchEvent(new Event('kept')));"
"""Lets the list know that an answer was kept."""
LIST = """
const box = element.querySelector("details.fold"), field = box.querySelector("input");
const rows = box.querySelector(".rows-of-talks");
let asked = 0, all = "", sure = null;
const here = () => (document.querySelector("#deeds [data-talk]") || {dataset: {}}).dataset.talk;
const fill = async (trouble) => {
  const mine = ++asked, found = await server.talks({search: field.value, all});
  if (mine !== asked) return;
  rows.innerHTML = (trouble || "") + found;
  const row = here() && rows.querySelector(`li[data-talk="${here()}"]`);
  if (row) row.classList.add("here");
};
const rename = (row) => {
  const title = row.querySelector(".title"), typed = document.createElement("input");
  typed.value = title.textContent;
  typed.maxLength = 200;
  typed.setAttribute("aria-label", "New title");
  title.replaceWith(typed);
  row.querySelector(".choices").hidden = true;
  typed.focus();
  typed.select();
  typed.addEventListener("keydown", async (event) => {
    event.stopPropagation();
    if (event.key === "Enter") fill(await server.rename({talk: row.dataset.talk, title: typed.value}));
    if (event.key === "Escape") fill();
  });
  typed.addEventListener("blur", () => setTimeout(() => { if (typed.isConnected) fill(); }, 500));
};
box.addEventListener("toggle", () => { if (box.open) { all = ""; fill(); } });
document.addEventListener("kept", () => { if (box.open) fill(); });
// a reload goes on with the conversation of before, once what it broke off is kept
const remembered = sessionStorage;
let leaving = false;  // until what was there is gone from the page
const forget = () => { delete remembered.talk; delete remembered.question; };
const remember = () => {
  if (leaving && here()) return;
  leaving = false;
  const typed = document.querySelector("#question textarea");
  if (document.querySelector("#answer .status")) remembered.question = typed.value;
  if (here() > 0) { remembered.talk = here(); remembered.question = ""; }
};
const pause = () => new Promise((then) => setTimeout(then, 500));
const resume = async (talk, question) => {
  while (!document.querySelector("#answer")) await pause();
  for (let tries = 0; question && tries < 12; tries++) {
    const found = await server.asked({question});
    if (found) { talk = found; break; }
    await pause();
  }
  forget();  // it is remembered again once it is there: another tab may have deleted it
  if (talk && !document.querySelector("#answer").textContent.trim()) trigger("like", {talk});
};
if (remembered.talk || remembered.question) resume(remembered.talk, remembered.question);
new MutationObserver(remember).observe(document.documentElement, {childList: true, subtree: true});
document.addEventListener("click", (event) => {
  if (event.target.closest(".topic button, .example")) { forget(); leaving = true; }
});
let later = 0;
field.addEventListener("input", () => { clearTimeout(later); later = setTimeout(() => fill(), 150); });
rows.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-act]"), row = event.target.closest("li[data-talk]");
  rows.querySelectorAll(".choices").forEach((one) => { if (!row || !row.contains(one)) one.hidden = true; });
  if (!button) return;
  const act = button.dataset.act;
  if (act === "all") { all = "all"; fill(); }
  if (act === "open") { trigger("like", {talk: row.dataset.talk}); box.open = false; }
  if (act === "more") row.querySelector(".choices").hidden = !row.querySelector(".choices").hidden;
  if (act === "rename") rename(row);
  if (act === "delete" && sure !== button) { sure = button; button.textContent = "Really delete?"; }
  else if (act === "delete") {
    const shown = here() === row.dataset.talk;
    const trouble = await server.remove({talk: row.dataset.talk});
    if (shown && !trouble) { forget(); trigger("click"); }
    fill(trouble);
  }
});
"""
PANEL = (
    "<details class='fold'><summary>Conversations</summary><input type='search' aria-label='Search in conversations' "
    "placeholder='Search in them' maxlength='200'><div class='rows-of-talks'></div></details>"
)
FIRST = 30  # conversations that are listed before all are asked for
_THUMB = (
    "<svg viewBox='0 0 20 20' width='16' height='16' aria-hidden='true'><path d='M2 9h3v9H2zM7 9l4-7c1.6 0 2.1 1 1.8 "
    "2.5L12 8h5c1 0 1.7 1 1.4 2l-2 7c-.2.6-.7 1-1.4 1H7z'/></svg>"
)


def deeds(
    exchange: Exchange, talk: int, offered: Sequence[str] = (), *, editing: bool = False, trouble: str = ""
) -> str:
    """Render what can be done with the last answer, and what could be asked next."""
    again = _deed("again", "Ask again") + (_deed("keep", "Do not edit") if editing else _deed("edit", "Edit"))
    note = "<p class='note'>What you ask now takes the place of this question.</p>" if editing else ""
    failed = f"<p class='trouble' role='alert'>{escape(trouble)}</p>" if trouble else ""
    chips = "".join(_deed("ask", escape(one), f" data-question='{escape(one)}'") for one in offered)
    more = f"<div class='offers'><span class='meta'>Ask next</span>{chips}</div>" if offered and not editing else ""
    return f"<div class='deeds' data-talk='{talk}'>{_judging(exchange)}{again}</div>{note}{failed}{more}"


def earlier(exchange: Exchange) -> str:
    """Render what can be done with an answer that is not the last one."""
    return f"<div class='deeds'>{_judging(exchange)}</div>"


def listed(talks: Sequence[Talk], search: str, *, whole: bool) -> str:
    """Render the kept conversations, the last changed first."""
    if not talks:
        none = "No conversation has these words." if search else "What you ask is kept here, on this machine."
        return f"<p class='note'>{none}</p>"
    shown = talks if whole else talks[:FIRST]
    rest = len(talks) - len(shown)
    more = f"<button type='button' class='quiet' data-act='all'>Show {rest:,} more</button>" if rest else ""
    return f"<ul class='talks'>{''.join(map(_talk, shown))}</ul>{more}"


def _judging(exchange: Exchange) -> str:
    copied = f" data-copy='{escape(as_text(exchange.answer))}'"
    thumbs = _thumb(exchange, "up", "Good answer") + _thumb(exchange, "down", "Bad answer")
    return thumbs + _deed("copy", "Copy with footnotes", copied)


def _thumb(exchange: Exchange, thumb: Thumb, label: str) -> str:
    pressed = "true" if exchange.thumb == thumb else "false"
    facts = f" data-number='{exchange.number}' aria-pressed='{pressed}' aria-label='{label}' title='{label}'"
    return _deed(thumb, _THUMB, facts) if exchange.kept else ""


def _deed(act: str, label: str, facts: str = "") -> str:
    return f"<button type='button' class='deed' data-act='{act}'{facts}>{label}</button>"


def _talk(talk: Talk) -> str:
    title = escape(talk.title)
    files = "".join(
        f"<a href='footnote/conversations/{talk.id}.{ending}' download>{label}</a>"
        for ending, label in (("md", "Save as Markdown"), ("json", "Save as JSON"))
    )
    return (
        f"<li data-talk='{talk.id}'>"
        f"<button type='button' class='title' data-act='open' title='{title}'>{title}</button>"
        f"<span class='meta'>{escape(talk.changed[:10])}</span>"
        "<button type='button' class='more' data-act='more' aria-label='More about this conversation'>⋯</button>"
        f"<div class='choices' hidden><button type='button' data-act='rename'>Rename</button>{files}"
        "<button type='button' data-act='delete'>Delete</button></div></li>"
    )
