"""How a posting becomes model text. Training and serving both call this, so that they can never disagree."""

import re
import unicodedata

TEMPLATE_ID = "title-v1"
"""Names the rule of `model_text`; stored in every artifact and compared when one is loaded."""

_SPACE = re.compile(r"\s+")


def model_text(title: str) -> str:
    """Return the text that the encoder sees for a posting's title: NFKC, runs of white space folded to one space."""
    return _SPACE.sub(" ", unicodedata.normalize("NFKC", title)).strip()


def normalise_title(title: str) -> str:
    """Return the key under which two spellings of one title meet: `model_text`, case folded."""
    return model_text(title).casefold()
