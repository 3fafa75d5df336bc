"""Decodes HTML in bounded time: entities are decoded and tags removed until nothing changes. Markdown is in `markdown.py`.

The standard library's HTML parser takes seconds for a megabyte of hostile text. These patterns never read a part of it twice.
"""

import html
import re
from html.entities import html5
from itertools import islice

MAX_MARKUP = 10_000
"""How many `&` and `<` of a text are read, over all rounds. What follows is no markup any more. Real texts have far fewer."""
MAX_ROUNDS = 8
"""How often a text is decoded. What is still escaped then was made to be."""
_PLAIN_ASCII, _PLAIN = range(0x20, 0x7F), range(0xA0, 0xD800)
_MAX_ENTITY = 20  # Python refuses to read a number of thousands of digits


def _split(names: str) -> frozenset[str]:
    return frozenset(names.split())


_COMMON = {"&nbsp;": " ", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#39;": "'", "&amp;": "&"}
_ESCAPED_AGAIN = re.compile(r"&(?:(?:[aA]mp|AMP|#0{0,9}38|#[xX]0{0,9}26);)++")  # &amp;amp;lt; at once, however deep
_LEGACY = sorted((name for name in html5 if not name.endswith(";")), key=len, reverse=True)
_WORDS = _split("acute divide eth micro not pound shy thorn uml yen ETH THORN")
_BEGINNINGS = _split("AMP COPY GT LT QUOT REG amp cedil cent copy curren deg gt lt macr ordf para quot reg sect times")
_WITHOUT_SEMICOLON = "|".join(
    (
        r"amp(?!l|er|h|o|u)|lt(?!d\b)|gt|quot(?!e|a|i)",  # "&ampNurse", but "Audio&amplifier", "Smith&ltd"
        *(name for name in _LEGACY if name not in _WORDS | _BEGINNINGS),
        *(rf"{name}(?![a-zA-Z0-9=])" for name in _LEGACY if name in _BEGINNINGS),  # "Legal&regulatory"
    )
)
_LEGACY_ENTITY = re.compile(rf"&(?:{_WITHOUT_SEMICOLON})")
_ENTITY = re.compile(rf"(&(?:#(?:[0-9]+|[xX][0-9a-fA-F]+);?|[a-zA-Z][a-zA-Z0-9]{{1,31}};|(?:{_WITHOUT_SEMICOLON})))")

_INLINE = _split(
    "a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd label mark nobr q s samp small span strike strong sub "
    "sup time tt u var wbr"
)
_BLOCK = _split(
    "address applet area article aside audio base blockquote body br button canvas caption center col colgroup dd details dialog "
    "dir div dl dt embed fieldset figcaption figure footer form frame frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html "
    "iframe img input legend li link main map menu meta nav noscript object ol optgroup option output p param picture pre "
    "progress rp rt ruby script search section select source style summary svg table tbody td template textarea tfoot th thead "
    "title tr track ul video"
)
_TAG = re.compile(r"""(<[a-zA-Z/!?](?:[^<>=]++|=\s*+(?:"[^"<]*+"|'[^'<]*+')?+)*+>)""")
_NAME = re.compile(r"[\w:.-]*+(?<!:)(?=[\s/>])")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_CDATA = re.compile(r"<!\[CDATA\[(.*?)\]\]>", re.DOTALL)
_CODE = tuple(
    (re.compile(rf"<{name}\b[^<>]*>.*?</{name}\s*>", re.DOTALL | re.IGNORECASE), re.compile(rf"</{name}\s*>", re.IGNORECASE))
    for name in ("script", "style")
)


def decode_markup(text: str, *, between: str) -> str:
    """Return a text without HTML. `between` stands where a tag separates words; a tag that may stand in a word leaves nothing.

    What only looks like HTML stays: `C++ <-> C#`, `<3 years`, `AT&T`, `<Java>`. Decoding the result changes nothing.
    """
    left = MAX_MARKUP
    for _ in range(MAX_ROUNDS):
        if not (count := _count_markup(text)):
            return text
        if count > left:
            text = _limit_markup(text, left)
        left -= count
        before, text = text, _decode_once(text, between)
        if text == before:
            return text
    return break_markup(text)


def is_free_of_markup(text: str) -> bool:
    """Return whether a text holds no character with which HTML begins."""
    return "&" not in text and "<" not in text


def break_markup(text: str) -> str:
    """Return a text in which nothing is HTML any more. No word is lost."""
    return text.replace("&", " ").replace("<", " ")


def _count_markup(text: str) -> int:
    return text.count("&") + text.count("<")


def _limit_markup(text: str, limit: int) -> str:
    for entity, char in _COMMON.items():
        text = text.replace(entity, char)
    last = next(islice(re.finditer("[&<]", text), max(limit, 0), None), None)
    return text[: last.start()] + break_markup(text[last.start() :]) if last else text


def _decode_once(text: str, between: str) -> str:
    if "&" in text:
        text = _decode_entities(_ESCAPED_AGAIN.sub("&", text))
    return _drop_tags(_drop_hidden(text, between), between) if "<" in text and ">" in text else text


def _decode_entities(text: str) -> str:
    parts = _ENTITY.split(text)
    decoded = {entity: _decode_entity(entity) for entity in set(parts[1::2])}
    parts[1::2] = map(decoded.__getitem__, parts[1::2])
    return "".join(parts)


def _decode_entity(entity: str) -> str:
    if entity[1] == "#":
        return _decode_number(entity) if len(entity) < _MAX_ENTITY else "\ufffd"
    name = entity[1:]
    if not name.endswith(";"):
        return html5[name]
    return html5.get(name) or html5.get(name.lower()) or _LEGACY_ENTITY.sub(lambda found: html5[found[0][1:]], entity)


def _decode_number(entity: str) -> str:
    digits = entity[2:].rstrip(";")
    number = int(digits[1:], 16) if digits[0] in "xX" else int(digits)
    return (
        chr(number) if number in _PLAIN or number in _PLAIN_ASCII else html.unescape(entity)
    )  # which reads old code pages, and refuses what is no character


def _drop_tags(text: str, between: str) -> str:
    parts = _TAG.split(text)
    names = {tag: _read_name(tag) for tag in set(parts[1::2])}
    closed = {name for tag, name in names.items() if tag[1] == "/"}
    kept = {tag: _drop_tag(tag, name, between, is_closed=name in closed) for tag, name in names.items()}
    parts[1::2] = map(kept.__getitem__, parts[1::2])
    return "".join(parts)


def _read_name(tag: str) -> str:
    found = _NAME.match(tag, 2 if tag[1] == "/" else 1)
    return found[0].lower() if found else ""


def _drop_tag(tag: str, name: str, between: str, *, is_closed: bool) -> str:
    """Return what stands for a tag: itself, if it is no HTML and nothing closes it, as in "Engineer <Java>"."""
    if name in _INLINE:
        return ""
    if not name:
        return between if tag[1] in "!?" else tag
    is_tag = is_closed or name in _BLOCK or ":" in name or "-" in name or tag.endswith("/>") or "=" in tag
    return between if is_tag else tag


def _drop_hidden(text: str, between: str) -> str:
    """Remove comments, scripts and styles. Each is looked for only before the last one's end, so that no search is in vain."""
    if "<!" in text:
        text = _sub_before(_CDATA, r" \1 ", text, end=text.rfind("]]>") + 3)
        text = _sub_before(_COMMENT, "", text, end=text.rfind("-->") + 3)
    for element, closing in _CODE:
        if ends := [found.end() for found in closing.finditer(text)]:
            text = _sub_before(element, between, text, end=ends[-1])
    return text


def _sub_before(pattern: re.Pattern[str], by: str, text: str, *, end: int) -> str:
    return pattern.sub(by, text[:end]) + text[end:]
