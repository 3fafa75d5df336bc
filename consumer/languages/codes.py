"""Reads the language that a posting states, in whatever spelling, as two-letter codes (ISO 639-1)."""

import re
from functools import lru_cache
from typing import Any

MAX_NESTING = 3
"""How deep in lists and objects a language is looked for."""
MAX_STATED_CHARS = 200
"""A longer text names no language."""
MAX_KEPT = 1_024
"""How many spellings are kept with what they name."""
_NAMES_OF_CODES = ("code", "iso", "iso_code", "isoCode", "locale", "id", "alternateName", "name", "label", "title", "value")
"""Where an object has its language, best first."""
_MARKED = ("@value", "@id", "#text")

_SPELLINGS = """
ar ara arabic العربية
bg bul bulgarian български
ca cat catalan català
cs ces cze czech čeština česky
da dan danish dansk
de deu ger german deutsch allemand alemán tedesco duits
el ell gre greek ελληνικά
en eng english englisch anglais inglés inglese inglês engels engelska angielski
es spa spanish español castellano espagnol spanisch
et est estonian eesti
fa fas per persian farsi فارسی
fi fin finnish suomi
fr fra fre french français französisch francés francese
he heb hebrew עברית
hi hin hindi हिन्दी
hr hrv croatian hrvatski
hu hun hungarian magyar
id ind indonesian
is isl ice icelandic íslenska
it ita italian italiano italienisch italien
ja jpn japanese 日本語
ko kor korean 한국어
lt lit lithuanian lietuvių
lv lav latvian latviešu
ms msa may malay
nb nob bokmål
nl nld dut dutch nederlands niederländisch néerlandais
nn nno nynorsk
no nor norwegian norsk
pl pol polish polski polnisch
pt por portuguese português portugais portugiesisch
ro ron rum romanian română
ru rus russian русский
sk slk slo slovak slovenčina
sl slv slovenian slovenščina
sr srp serbian српски
sv swe swedish svenska schwedisch
th tha thai ไทย
tl tgl tagalog
tr tur turkish türkçe
uk ukr ukrainian українська
ur urd urdu اردو
vi vie vietnamese
zh zho chi cmn chinese mandarin 中文
"""
_CODE_OF = {spelling: words[0] for words in map(str.split, _SPELLINGS.strip().splitlines()) for spelling in words}
_SAME = {"nb": "no", "nn": "no"}
"""Codes of languages that are one to a detector."""
_SEPARATORS = re.compile(r"[,;|/]|\s+(?:and|und|et|y|&)\s+")
_SUBTAGS = re.compile(r"[-_ (].*", re.DOTALL)

CODES = frozenset(_SAME.get(code, code) for code in _CODE_OF.values())
"""The codes of the languages that are known by name."""


def read_languages(value: Any) -> frozenset[str]:  # noqa: ANN401 - any JSON value
    """Return the codes of the languages that a field states: `en-US`, `eng`, `German`, `{"code": "de"}`, a list of such.

    What names no known language is left out.
    """
    return _read(value, MAX_NESTING)


def _read(value: Any, nesting: int) -> frozenset[str]:  # noqa: ANN401 - any JSON value
    if isinstance(value, str):
        return _read_text(value) if len(value) <= MAX_STATED_CHARS else frozenset()
    if nesting == 0:
        return frozenset()
    if isinstance(value, list):
        return frozenset().union(*(_read(item, nesting - 1) for item in value))
    if isinstance(value, dict):
        found = (_read(value[name], nesting - 1) for name in (*_NAMES_OF_CODES, *_MARKED) if name in value)
        return next(filter(None, found), frozenset())
    return frozenset()


@lru_cache(MAX_KEPT)
def _read_text(text: str) -> frozenset[str]:
    codes = (_CODE_OF.get(_SUBTAGS.sub("", part.strip())) for part in _SEPARATORS.split(text.strip().casefold()))
    return frozenset(_SAME.get(code, code) for code in codes if code is not None)
