"""Removes from a title the symbols that are no words: emoji, stars, arrows, signs of money without an amount. No letter goes.

The ranges are written out, so that training and serving agree whatever Unicode version their Python knows.
"""

import re

SOFT_MARKS = re.compile("[\u00ad\u200b\u200e\u200f\u2060-\u2064\ufeff]")
"""Soft hyphens, zero-width spaces and direction marks: they show nothing, and split a word for whoever compares it."""
_HIDDEN = re.compile("[\u200c\u200d\u202a-\u202e\u2066-\u206f\ufe00-\ufe0f\U000e0100-\U000e01ef\U000e0020-\U000e007f]")
_KEYCAP = re.compile("[0-9#*]\ufe0f?\u20e3")
_MONEY = re.compile(r"[$\u00a3\u20ac]+(?!\s?[\d$\u00a3\u20ac])|[$\u00a3\u20ac](?=[$\u00a3\u20ac])")
_SYMBOLS = re.compile(
    "(?:[\u00a6\u00a8\u00a9\u00ac\u00ae-\u00b0\u00b8\u00f7"
    "\u2020-\u2023\u203b\u2043\u2117\u211e\u2120\u2122\u212e"
    "\u2190-\u2211\u2213-\u245f\u2500-\u2bff\u3004\u3012\u3013\u3030\u303d\ufffc\ufffd"  # \u2212 is a minus
    "\ue000-\uf8ff\U0001f000-\U0001fbff\U000f0000-\U0010ffff]|(?<!\\d)\u00d7|\u00d7(?!\\d))+"
)
_LOOK_ALIKES = {0x00B4: "'", 0x2212: "-"}


def drop_symbols(text: str) -> str:
    """Return a text with a space for each run of symbols. Where nothing else is left, it stays as it is."""
    left = text
    if not text.isascii():
        left = _HIDDEN.sub("", _KEYCAP.sub(" ", text)).translate(_LOOK_ALIKES)
        left = _SYMBOLS.sub(" ", left)
    if "$" in left or not left.isascii():
        left = _MONEY.sub(" ", left)
    return left if left.strip() else text
