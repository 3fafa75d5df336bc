"""Removes Markdown's marks from a body in bounded time, so that its words stay. HTML is in `schemas/markup.py`.

A text here has no white space at the start or end of a line, and no two spaces meet; see `squeeze_lines`.
"""

import re
from itertools import islice

MAX_MARKS = 10_000
"""How many characters of a text may be marks of Markdown. What follows is read as plain words. Real texts have far fewer."""
MAX_ROUNDS = 6
"""How often marks are removed. What is still marked then was made to be."""

_SPACES = "\t\x0b\x0c\x1c\x1d\x1e\x1f"
_OTHER_SPACES = "\x85\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
MARKS = "\\`*_~[]#|>"
LINE_MARKS = ("-", "+", "=")
"""Marks at the beginning of a line only."""
_MARK = re.compile(r"[\\`*_~\[\]#|>]|\n[-+=]")
_BULLETS = "*+\u2022\u25cf\u25aa\u25e6\u2043\u00b7-"
_END = r"(?=\n|\Z)"

_ESCAPE = re.compile(r"(?<!\\)\\++(?=[`*_{}\[\]()#+.!|~<>&-])")
_FENCE = re.compile(r"\n(?:```+|~~~+)[^\n`]*")
_CODE = re.compile(r"`(?<!\w`)(`{0,2})([^`\n]+)`\1(?!\w)")
_LINK = re.compile(r"""!?\[([^\[\]]*)\](?:\((?:[^()\s]|\([^()\s]*\))*(?:\s(?:"[^"\n]*"|'[^'\n]*'))?\s?\)|\[[^\[\]\n]*\])""")
_REFERENCE = re.compile(r"\n\[[^\[\]\n]+\]: <?(?:https?:|www\.|mailto:|[/#])[^\n]*")
_ADDRESS = re.compile(r"<((?:https?://|mailto:|[\w.+-]+@)[^<>\s]+)>")
_HEADING = re.compile(rf"\n#{{1,6}} ([^\n]*?)(?: #+)?{_END}")
_LINE_START = re.compile(rf"\n(?:>+ ?|[{_BULLETS}](?: |{_END})|\[[ xX]\] )++")
_RULE = re.compile(rf"\n(?:[-*_=] ?){{3,}}+{_END}")
_STRONG = re.compile(r"\*\*(\*?)(?=[^\s*])([^*\n]*[^\s*])\*\*\1")
_STRUCK = re.compile(r"~~()(?=[^\s~])([^~\n]*[^\s~])~~")
_EMPHASIS = re.compile(r"\*(?<![\w*]\*)(?=[^\s*])([^*\n]*[^\s*])\*(?![\w*])")
_UNDERLINED = re.compile(r"(_(?<!\w_)_{0,2})(?=[^\s_])((?:[^_\n]|(?<=[^\W_])_(?=[^\W_]))*+)(?<!\s)\1(?!\w)")
_TABLE_RULE = re.compile(rf"\n(?:\|(?: ?:?-+:? ?\|)++(?: ?:?-+:?)?|:?-+:? ?\|(?: ?:?-+:? ?\|)*+(?: ?:?-+:?)?){_END}")
_ROW = re.compile(r"\n\|[^\n]*")
_LINE_WITH_PIPE = re.compile(r"\n[^\n|]*\|[^\n]*")


def squeeze_lines(text: str) -> str:
    """Return a text with single spaces and at most one blank line in a row, without white space around lines."""
    if "\n" not in text and text.isascii() and "\r" not in text:
        return " ".join(text.split()) if any(space in text for space in ("  ", *_SPACES)) else text.strip()
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    for space in _SPACES if text.isascii() else _SPACES + _OTHER_SPACES:
        text = text.replace(space, " ")
    text = text.replace("\u2028", "\n").replace("\u2029", "\n")
    while "  " in text:
        text = text.replace("  ", " ")
    text = text.replace(" \n", "\n").replace("\n ", "\n")
    while "\n\n\n" in text:
        text = text.replace("\n\n\n", "\n\n")
    return text.strip()


def drop_markdown(text: str) -> str:
    """Return a squeezed text without the marks of headings, lists, emphasis, links, code, quotes and tables.

    The words of a link stay, its address goes. `C#`, `5 * 3`, `snake_case` and `[brackets]` are no marks. Dropping the marks of
    the result changes nothing.
    """
    text = _limit_marks(text)
    for _ in range(MAX_ROUNDS):
        before = "\n" + text
        after = _drop_once(before)
        if after == before:
            return text
        text = squeeze_lines(after)
    return squeeze_lines(break_markdown(text))


def break_markdown(text: str) -> str:
    """Return a text in which nothing is Markdown any more: one line without marks. No word is lost."""
    text = text.replace("\n", " ")
    for mark in MARKS:
        text = text.replace(mark, " ")
    return text.lstrip(f" ={_BULLETS}")


def _limit_marks(text: str) -> str:
    if len(text) <= MAX_MARKS or sum(map(text.count, MARKS)) + text.count("\n") <= MAX_MARKS:
        return text
    first = next(islice(_MARK.finditer(text), MAX_MARKS, None), None)
    return squeeze_lines(f"{text[: first.start()]} {break_markdown(text[first.start() :])}") if first else text


def _drop_once(text: str) -> str:
    if "\\" in text:
        text = _ESCAPE.sub("", text)
    if "`" in text or "~~~" in text:
        text = _CODE.sub(r"\2", _FENCE.sub("", text))
    if "\n[" in text:
        text = _REFERENCE.sub("", text)
    if "](" in text or "][" in text:
        text = _LINK.sub(r"\1", text)
    if "<" in text:
        text = _ADDRESS.sub(r"\1", text)
    return _drop_emphasis(_drop_line_marks(_drop_tables(text)))


def _drop_tables(text: str) -> str:
    if "|" not in text:
        return text
    rows = _LINE_WITH_PIPE if _TABLE_RULE.search(text) else _ROW
    return rows.sub(lambda found: found[0].replace("|", " "), _TABLE_RULE.sub("", text))


def _drop_line_marks(text: str) -> str:
    text = _HEADING.sub(r"\n\1", text) if "\n#" in text else text
    return _LINE_START.sub("\n", _RULE.sub("\n", text))


def _drop_emphasis(text: str) -> str:
    if "*" in text:
        text = _STRONG.sub(_keep_words, _EMPHASIS.sub(r"\1", text))
    if "~~" in text:
        text = _STRUCK.sub(_keep_words, text)
    return _UNDERLINED.sub(r"\2", text) if "_" in text else text


def _keep_words(found: re.Match[str]) -> str:
    """Return the words between two marks, apart from the words beside them: marks are often all that is left of a line's end."""
    text, inner = found.string, found[2]
    before, after = text[found.start() - 1 : found.start()].isalnum(), text[found.end() : found.end() + 1].isalnum()
    if before and after and inner.isalpha():
        return inner  # it is a part of one word
    return f"{' ' * before}{inner}{' ' * after}"
