"""What blogs write into Markdown that is no Markdown - Liquid tags, Hugo shortcodes, Obsidian links, JSX, HTML - made
readable or taken out; code stays as it is.

All of it is done in one pass whose time grows with the length of the post: no pattern here looks back far or again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html import unescape

from rag.errors import BadFile

Change = Callable[[str], str]

_LONGEST_TAG = 5_000  # characters; what is longer is not taken for a tag
_HTML_BLOCKS = 50  # tables and the like that are converted, each by a call of 10 ms; a hostile post may have millions
_UNCLOSED = 20  # after so many pictures without an end nobody looks for more ends: each look may go through megabytes

# ---- where code is -------------------------------------------------------------------------------------------------

_LIST_ITEM = re.compile(r"(?:[-*+]|\d{1,9}[.)])(?:[ \t]+|$)")
_OPENING = re.compile(
    r"\{%-?[ \t]*(?P<liquid>highlight|codeblock|raw|verbatim|comment)\b(?P<arguments>[^%\n]{0,300})%\}"
    r"|\{\{[<%][ \t]*(?P<hugo>highlight)\b(?P<options>[^>\n]{0,300}?)[>%]\}\}"
    r"|<(?P<html>pre|table|script|style|svg)(?=[\s>])"
    r"|(?P<comment><!--)"
    r"|(?P<aside>^[ \t]{0,3}%%[ \t]*$)",
    re.I | re.M,
)


def segments(text: str, tags: bool = False) -> Iterator[tuple[bool, str]]:
    """Split Markdown into (is code, text): fenced and indented code is code.

    With `tags` so is what stands for it (Liquid's highlight, HTML's pre), and it comes out fenced; HTML tables come out
    as Markdown; comments, scripts and styles are left out.
    """
    missing: set[str] = set()  # ends that do not come any more
    converted = 0
    at = start = end = 0
    blank, listed = True, False
    while at < len(text):
        fresh = at == 0 or text[at - 1] == "\n"
        if at >= end:
            end = text.find("\n", at) + 1 or len(text)
        if fresh and (stop := _code_end(text, at, end, blank and not listed)):
            yield False, text[start:at]
            yield True, text[at:stop]
            at = start = stop
            blank = False
        elif tags and (opening := _opening(text, at, end)) and (closing := _closing(text, opening, missing)):
            yield False, text[start : opening.start()]
            converted += bool(opening["html"])
            yield _stand_in(text, opening, closing, converted)
            at = start = closing.end()
            blank = False
        else:
            if fresh and (line := text[at:end]).strip():
                item = bool(_LIST_ITEM.match(line.lstrip(" \t")))
                listed = item or (listed and (not blank or line[0] in " \t"))
            blank = fresh and not text[at:end].strip()
            at = end
    yield False, text[start:]


def _code_end(text: str, at: int, end: int, alone: bool) -> int:
    """Return where the code ends that the line at:end begins, 0 if it begins none.

    `alone`: the line may be indented code, for it stands behind a blank line and in no list.
    """
    line = text[at:end]
    if fence := _fence(line.lstrip(" \t>")):
        return _fence_end(text, end, fence)
    indented = alone and line.startswith(("    ", "\t")) and line.strip()
    return _indented_end(text, end) if indented else 0


def outside_code(text: str, change: Change) -> str:
    """Return the Markdown with `change` made to all of it that is neither a code block nor inline code."""
    return "".join(piece if code else _around_spans(piece, change) for code, piece in segments(text))


def _fence(words: str) -> str:
    """Return the fence that opens on this line, "" if none does."""
    if item := _LIST_ITEM.match(words):
        words = words[item.end() :].lstrip(" \t")
    if not words.startswith(("```", "~~~")):
        return ""
    rest = words.lstrip(words[0])
    return "" if words[0] == "`" and "`" in rest else words[: len(words) - len(rest)]


def _fence_end(text: str, at: int, fence: str) -> int:
    while at < len(text):
        end = text.find("\n", at) + 1 or len(text)
        line = text[at:end].strip(" \t>\n")
        if line.startswith(fence) and not line.strip(fence[0]):
            return end
        at = end
    return len(text)


def _indented_end(text: str, at: int) -> int:
    last = at
    while at < len(text):
        end = text.find("\n", at) + 1 or len(text)
        line = text[at:end]
        if line.startswith(("    ", "\t")) and not line.isspace():
            last = end
        elif not line.isspace():
            break
        at = end
    return last


def _opening(text: str, at: int, end: int) -> re.Match[str] | None:
    opening = _OPENING.search(text, at, end)
    # a tag in inline code is spoken of, not used
    return opening if opening and text.count("`", at, opening.start()) % 2 == 0 else None


def _closing(text: str, opening: re.Match[str], missing: set[str]) -> re.Match[str] | None:
    """Return the end of the block that was opened, None if it has none."""
    if name := (opening["liquid"] or "").lower():
        pattern = rf"\{{%-?[ \t]*end{name}[ \t]*-?%\}}"
    elif opening["hugo"]:
        pattern = r"\{\{[<%][ \t]*/[ \t]*highlight[ \t]*[>%]\}\}"
    elif name := (opening["html"] or "").lower():
        pattern = rf"</{name}[ \t]*>"
    else:
        pattern = "-->" if opening["comment"] else r"^[ \t]{0,3}%%[ \t]*$"
    if pattern in missing:
        return None
    found = re.compile(pattern, re.I | re.M).search(text, opening.end())
    if not found:
        missing.add(pattern)
    return found


def _stand_in(text: str, opening: re.Match[str], closing: re.Match[str], converted: int) -> tuple[bool, str]:
    """Return what is read in place of a block."""
    liquid = (opening["liquid"] or "").lower()
    inside = text[opening.end() : closing.start()]
    if liquid in ("raw", "verbatim"):  # where it holds back no tags it is only a habit
        return "{{" in inside or "{%" in inside, inside
    if liquid in ("highlight", "codeblock") or opening["hugo"]:
        language = re.match(r"[ \t]*(?:lang:)?([\w+#.-]{0,30})", opening["arguments"] or opening["options"] or "")
        fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", inside)), default=0))
        code = inside.strip("\n")
        return True, f"\n{fence}{language.group(1) if language else ''}\n{code}\n{fence}\n"
    if (opening["html"] or "").lower() not in ("pre", "table"):
        return True, ""
    block = text[opening.start() : closing.end()]
    return True, _as_markdown(block) if converted <= _HTML_BLOCKS else block


def _as_markdown(block: str) -> str:
    # imported here: pandoc.py knows this module
    from rag.readers.pandoc import fragment_to_markdown

    try:
        return f"\n\n{fragment_to_markdown(block)}\n\n"
    except BadFile:
        return block


_MASK = re.compile("\0([0-9]+)\0")


def _around_spans(prose: str, change: Change) -> str:
    """Make a change to the prose around inline code: each span is covered, and uncovered afterwards."""
    if "`" not in prose:
        return change(prose)
    prose = prose.replace("\0", "")
    runs = list(re.finditer("`+", prose))
    partner: dict[int, int] = {}
    seen: dict[int, int] = {}
    for number in range(len(runs) - 1, -1, -1):
        length = runs[number].end() - runs[number].start()
        if length in seen:
            partner[number] = seen[length]
        seen[length] = number
    spans: list[str] = []
    covered: list[str] = []
    at = number = gap = 0
    while number < len(runs):
        other = partner.get(number)
        if 0 <= gap < runs[number].end():
            gap = prose.find("\n\n", runs[number].end())  # inline code ends with its paragraph
        if other is None or 0 <= gap < runs[other].start():
            number += 1
            continue
        covered += prose[at : runs[number].start()], f"\0{len(spans)}\0"
        at = runs[other].end()
        spans.append(prose[runs[number].start() : at])
        number = other + 1
    changed = change("".join([*covered, prose[at:]]))
    return _MASK.sub(lambda match: spans[int(match.group(1))], changed)


# ---- what is not code ----------------------------------------------------------------------------------------------


def readable(text: str, mdx: bool = False) -> str:
    """Return Markdown without what is only for a site generator or an app; `mdx` takes JSX and its imports out too."""
    changes: tuple[Change, ...] = (_hugo, _liquid, *((_mdx,) if mdx else ()), _pictures, _obsidian, _html, _leftovers)

    def change(prose: str) -> str:
        before = prose
        for each in changes:
            prose = each(prose)
        return prose if prose == before else re.sub(r"\n[ \t]*\n(?:[ \t]*\n)+", "\n\n", prose)

    pieces = [""]
    for code, piece in segments(text, tags=True):
        piece = piece if code else _around_spans(piece, change)
        # where a block was taken out, the blank lines around it become one
        pieces.append(piece.lstrip("\n") if pieces[-1].endswith("\n\n") else piece)
        if not pieces[-1]:
            pieces.pop()
    return "".join(pieces)


_ARGUMENT = re.compile(r"""(?:([\w-]{1,60})\s*=\s*)?(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|`([^`]*)`|“([^”]*)”)""", re.S)
_NAME = re.compile(r"[-\s/]*([\w.-]{0,60})")
_TELLING = {"alt", "caption", "title", "text", "quote", "label", "heading", "description", "summary", "attr", "cite"}
_PICTURES = re.compile(r"image|img|figure|picture|photo|thumb", re.I)


def _replaced(
    text: str,
    opening: re.Pattern[str],
    end_of: Callable[[str, int], int],
    change: Callable[[re.Match[str], str], str | None],
    misses: int = _UNCLOSED,
) -> str:
    """Replace each stretch that an opening begins by what `change` makes of it; None leaves it alone.

    `end_of(text, at)` says where the stretch ends whose opening ends at `at`, -1 if it does not; `misses`: how often.
    """
    pieces: list[str] = []
    done = 0
    for match in opening.finditer(text):
        if match.start() < done:
            continue
        end = end_of(text, match.end())
        misses -= end < 0
        if misses < 0:
            break
        new = change(match, text[match.start() : end]) if end >= 0 else None
        if new is not None:
            pieces += text[done : match.start()], new
            done = end
    return "".join([*pieces, text[done:]])


def _between(text: str, opening: str, closing: str, change: Callable[[str], str | None]) -> str:
    """Replace each stretch from `opening` to `closing` by what `change` makes of its inside; None leaves it alone."""

    def end_of(text: str, at: int) -> int:
        end = text.find(closing, at, at + _LONGEST_TAG)
        return end + len(closing) if end >= 0 else -1

    def inside(_: re.Match[str], stretch: str) -> str | None:
        return change(stretch[len(opening) : -len(closing)])

    return _replaced(text, re.compile(re.escape(opening)), end_of, inside, len(text)) if closing in text else text


def _words_of(tag: str) -> str:
    """Return what a tag's arguments say to a reader: alternative texts, captions, titles."""
    name = _NAME.match(tag)
    picture = bool(name and _PICTURES.match(name.group(1))) or bool(re.match(r"\s*include\s+\S*(?:image|fig|img)", tag))
    found, last = [], ""
    for argument in _ARGUMENT.finditer(tag):
        value = next((value for value in argument.groups()[1:] if value is not None), "").replace('\\"', '"').strip()
        if (argument.group(1) or "").lower() in _TELLING:
            found.append(value)
        elif not argument.group(1):
            last = value
    if picture and not found and last and not re.search(r"^\S*[/.]\S*$", last):
        found.append(last)
    told = list(dict.fromkeys(" ".join(unescape(words).split()) for words in found if not _is_filename(words)))
    return " - ".join(words for words in told if words)


_FILENAME = re.compile(
    r"\s*(?:\S{0,200}\.(?:png|jpe?g|gif|webp|svg|avif|bmp|tiff?)|image|(?=\S{0,200}[\d_])\S{8,200})?\s*", re.I
)


def _is_filename(words: str) -> bool:
    """Whether an alternative text is only the name of the picture's file, or nothing."""
    return bool(_FILENAME.fullmatch(words))


def _alternative(words: str) -> str:
    """Return what an alternative text says, "" if that is only a name."""
    words = " ".join(words.split())
    return "" if _is_filename(words) else words


def _hugo(prose: str) -> str:
    def change(inside: str) -> str:
        if match := re.fullmatch(r"\s*/\*(.*)\*/\s*", inside, re.S):
            return "{{<" + match.group(1) + ">}}"  # a shortcode that is shown, not run
        if match := re.match(r"\s*(?:ref|relref)\s+[\"']?([^\s\"']+)", inside):
            return match.group(1)
        return _words_of(inside)

    return _between(_between(prose, "{{<", ">}}", change), "{{%", "%}}", change)


_LOGIC = re.compile(r"-?\s*(?:assign|set|if|elsif|elif|unless|for|case|when|capture|block|extends|cycle)\b")
_SITE = re.compile(r"-?\s*(?:site|page|include|post|layout|paginator|forloop|content|baseurl|seo)\b(?:[.\w\[\]\"'-]*)")


def _liquid(prose: str) -> str:
    def tag(inside: str) -> str | None:
        if not re.match(r"-?\s*[a-zA-Z]", inside):
            return None
        if match := re.match(r"-?\s*(?:link|post_url)\s+(\S+)", inside):
            return match.group(1)
        return "" if _LOGIC.match(inside) else _words_of(inside)

    def output(inside: str) -> str | None:
        if match := re.match(r"-?\s*(?:\"([^\"]*)\"|'([^']*)')\s*(?:-?\s*$|\|(.*))", inside, re.S):
            shown = not re.search(r"photo|image|img|icon|embed|asset", match.group(3) or "")
            return (match.group(1) or match.group(2) or "") if shown else ""
        if re.match(r"-?\s*[\w.]+\s*\|\s*\w", inside) or _SITE.match(inside):
            return ""
        return None

    return _between(_between(prose, "{%", "%}", tag), "{{", "}}", output)


_MODULE_LINES = re.compile(r"^(?:import|export)[ \t][^\n]*(?:\n[^\n]+)*", re.M)


def _mdx(prose: str) -> str:
    prose = _between(_MODULE_LINES.sub("", prose), "{/*", "*/}", lambda _: "")
    prose = _jsx(prose)
    prose = re.sub(r"\{\s*(?:\"([^\"{}\n]{0,500})\"|'([^'{}\n]{0,500})')\s*\}", r"\1\2", prose)
    return re.sub(r"\{[A-Za-z_][\w.]{0,100}(?:\([^(){}\n]{0,200}\))?\}", "", prose)


_JSX = re.compile(r"</?(?:[A-Za-z][\w.]*|(?=>))")


def _jsx(prose: str) -> str:
    """Take out JSX tags, whatever their attributes hold; what they say to a reader stays."""

    def words(_: re.Match[str], tag: str) -> str | None:
        plain = re.fullmatch(r"</?[a-z][a-z0-9]*(?:\s[^{}]*)?/?>", tag)  # HTML: known to _html
        return None if plain else _words_of(tag[1:-1])

    return _replaced(prose, _JSX, _tag_end, words, 10 * _UNCLOSED)


def _tag_end(text: str, at: int) -> int:
    depth, quote = 0, ""
    for match in re.compile(r"[{}\"'`>\n]").finditer(text, at, min(len(text), at + _LONGEST_TAG)):
        mark = match.group()
        if quote:
            quote = "" if mark == quote else quote
        elif mark in "\"'`":
            quote = mark
        elif mark == ">" and depth == 0:
            return match.end()
        else:
            depth += {"{": 1, "}": -1}.get(mark, 0)
    return -1


_PICTURE = re.compile(r"!\[((?:[^\[\]\\]|\\.|\[[^\[\]\n]{0,300}\]){0,2000})\](?=[(\[])", re.S)


def _pictures(prose: str) -> str:
    """Leave of each picture its alternative text, and of a link around a picture without one nothing."""
    if "![" in prose:
        prose = _replaced(prose, _PICTURE, _target_end, lambda match, _: _alternative(match.group(1)))
        prose = re.sub(r"(?<![\]\w\\])\[\s{0,20}\]\([^()\s]{0,2000}\)", "", prose)
    if "data:" in prose:
        prose = re.sub(r"^[ ]{0,3}\[[^\[\]\n]{1,300}\]:[ \t]{0,20}<?data:[^\n]*\n?", "", prose, flags=re.M)
        prose = re.sub(r"\[([^\[\]\n]{0,500})\]\(\s{0,20}data:[^()\s]*\)", r"\1", prose)
        prose = re.sub(r"data:[\w.+-]{1,60}/[\w.+-]{1,60}(?:;[\w=-]{1,60}){0,5};base64,[A-Za-z0-9+/=%]{40,}", "", prose)
    return prose


def _target_end(text: str, at: int) -> int:
    """Return where a link's target ends that begins at `at` with "(" or "[", -1 if it does not."""
    if text[at] == "[":
        end = text.find("]", at, at + 1000)
        return end + 1 if end > 0 else -1
    depth = 0
    for match in re.compile(r"\\.|[()]|\n[ \t]*\n", re.S).finditer(text, at):
        mark = match.group()
        if mark[0] == "\n":
            return -1
        depth += {"(": 1, ")": -1}.get(mark, 0)
        if depth == 0:
            return match.end()
    return -1


_CALLOUT = re.compile(
    r"^([ \t]{0,3}>[> \t]{0,20})\[!([A-Za-z][\w -]{0,30})(?:\|[^\]\n]{0,60})?\][+-]?[ \t]*([^\n]*)$", re.M
)
_WIKILINK = re.compile(r"(!?)\[\[([^\[\]\n]{1,400})\]\](?!\()")


def _obsidian(prose: str) -> str:
    if "[!" in prose:
        prose = _CALLOUT.sub(
            lambda m: f"{m.group(1)}**{m.group(3).strip() or m.group(2).strip().capitalize()}**", prose
        )
    if "[[" in prose:
        prose = _WIKILINK.sub(_wikilink, prose)
    if "%%" in prose:
        prose = re.sub(r"%%[^%\n]{1,2000}%%", "", prose)
    if "==" in prose:
        prose = re.sub(r"(?<![=\w])==(?![\s=])([^=\n]{1,500})(?<!\s)==(?![=\w])", r"\1", prose)
    return re.sub(r"[ \t]\^[0-9a-z]{6}$", "", prose, flags=re.M) if "^" in prose else prose


def _wikilink(match: re.Match[str]) -> str:
    target, _, alias = match.group(2).partition("|")
    target, alias = target.rstrip("\\"), alias.rpartition("|")[2].strip()
    if match.group(1) and (_is_filename(target) or re.fullmatch(r"\d+(?:x\d+)?", alias)):
        return "" if re.fullmatch(r"[\dx]*", alias) else alias
    note, _, heading = target.partition("#")
    note = note.rpartition("/")[2].partition("^")[0].strip()
    heading = "" if heading.startswith("^") else heading.replace("#", " > ").strip()
    return alias or " > ".join(part for part in (note, heading) if part)


_INLINE = "a|abbr|acronym|b|bdi|bdo|big|button|cite|center|del|dfn|em|font|i|iframe|img|ins|kbd|label|mark|picture|"
_INLINE += (
    "q|s|samp|small|source|span|strike|strong|sub|sup|time|tt|u|var|video|audio|wbr|code|embed|object|param|input"
)
_BLOCK = "address|article|aside|body|blockquote|br|caption|dd|details|div|dl|dt|figcaption|figure|footer|form|header|"
_BLOCK += "head|hr|html|h[1-6]|li|link|main|meta|nav|noscript|ol|p|section|summary|ul"
_TAG = re.compile(rf"<(/?)({_INLINE}|{_BLOCK})(?=[\s/>])([^<>]*)>", re.I)
_STARTS = {"li": "\n- ", "dd": "\n", "br": "\n", **{f"h{level}": f"\n\n{'#' * level} " for level in range(1, 7)}}
_MARKS = {"b": "**", "strong": "**", "i": "*", "em": "*", "code": "`"}
_BREAKS = re.compile(_BLOCK, re.I)
_INDENTED_TAG = re.compile(rf"^[ \t]{{1,40}}(?=</?(?:{_BLOCK})[\s/>])", re.I | re.M)


def _html(prose: str) -> str:
    """Take HTML tags out and leave what they say; those that begin a line of their own begin one here too."""
    if "<" not in prose:
        return prose
    linked: list[str] = []  # the address of the link that is open, if one is

    def stand_in(match: re.Match[str]) -> str:
        closing, name, attributes = match.group(1), match.group(2).lower(), match.group(3)
        if name == "img":
            return _alternative(_attribute(attributes, "alt"))
        if name == "a":
            address = _attribute(attributes, "href")
            if closing:
                return f"]({linked.pop()})" if linked else ""
            if linked or not re.fullmatch(r"(?:https?:/|/|\.)[^\s()<>]+", address):
                return ""
            linked.append(address)
            return "["
        if name in _MARKS:
            return _MARKS[name]
        return _break(match) if _BREAKS.fullmatch(name) else ""

    prose = _TAG.sub(stand_in, _INDENTED_TAG.sub("", prose))
    return re.sub(r"(?<=\n)[ \t]+(?=\n)", "", prose) if "\n" in prose else prose


def _attribute(attributes: str, name: str) -> str:
    found = re.search(rf"\b{name}\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", attributes, re.I)
    return unescape(found.group(1) or found.group(2) or "") if found else ""


def _break(match: re.Match[str]) -> str:
    """Return what stands for a tag that breaks the line."""
    name = match.group(2).lower()
    before = match.string[max(0, match.start() - 2000) : match.start()]
    if before.rpartition("\n")[2].lstrip(" ").startswith("|"):
        return " "  # a cell of a table has no lines
    if not match.group(1) and name in _STARTS:
        return _STARTS[name]
    return "" if not before or before.endswith("\n") or name in ("li", "dd", "br") else "\n\n"


_ATTRIBUTES = re.compile(r"^[ \t]{0,3}(?:[-*][ \t]+TOC[ \t]*\n)?[ \t]{0,3}\{:[^{}\n]{0,500}\}[ \t]*$", re.M)


def _leftovers(prose: str) -> str:
    """Take out kramdown's attribute lists and the ids behind headings; write entities as the characters they are."""
    if "{:" in prose:
        prose = _ATTRIBUTES.sub("", prose)
        prose = re.sub(r"(?<=[\w)\]*_>\"'\0.,!?])\{:[^{}\n]{0,500}\}", "", prose)
    if "{#" in prose or "{." in prose:
        prose = re.sub(r"^(#{1,6}[ \t][^\n{]{1,500})\{[#.][^{}\n]{0,200}\}[ \t]*$", r"\1", prose, flags=re.M)
    if "&" in prose:
        prose = re.sub(r"&(?!(?:lt|gt|amp);)[A-Za-z]{2,31};", lambda m: unescape(m.group()), prose).replace("\xa0", " ")
    return prose
