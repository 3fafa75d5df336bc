"""How a posting becomes model text. Training and serving both call this, so that they can never disagree."""

import re
import unicodedata

TEMPLATE_ID = "title-v1"
"""Names the rule of `model_text`; stored in every artifact and compared when one is loaded."""

_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]")  # soft hyphens, zero-width and direction marks
_SPACE = re.compile(r"\s+")


def model_text(title: str) -> str:
    """Return the text that the encoder sees for a posting's title: NFKC, no invisible marks, single spaces."""
    return _SPACE.sub(" ", _INVISIBLE.sub("", unicodedata.normalize("NFKC", title))).strip()


def normalise_title(title: str) -> str:
    """Return the key under which two spellings of one title meet: `model_text`, case folded."""
    return model_text(title).casefold()
