"""Which languages a model version understands: by the setting, else by what the version says, else by its encoder's name."""

import re

from consumer.languages.codes import CODES

ANY = "any"
"""Stands for all languages."""
AUTO = "auto"
"""Stands for what the version says."""
DEFAULT = ("en",)
"""The languages of an encoder that is not known to have others. Cleaning and O*NET's titles are English."""
_MULTILINGUAL = re.compile(r"multilingual|LaBSE|bge-m3|xlm-r|distiluse-base-multi", re.IGNORECASE)
"""Parts of the names of encoders that are trained on many languages."""

Understood = frozenset[str] | None
"""The codes of languages; None for any."""


def parse_languages(text: str) -> tuple[str, ...]:
    """Return the languages of a setting: `auto`, `any`, or codes with commas. Raises ValueError."""
    names = tuple(dict.fromkeys(name.strip().casefold() for name in text.split(",") if name.strip()))
    if names in ((ANY,), (AUTO,)):
        return names
    if not names or (unknown := [name for name in names if name not in CODES]):
        known = ", ".join(sorted(CODES))
        raise ValueError(
            f"{AUTO}, {ANY}, or two-letter codes with commas are expected, not {unknown[0] if names else text!r}: {known}"
        )
    return names


def guess_languages(encoder_id: str) -> tuple[str, ...]:
    """Return the languages of an encoder, by its name."""
    return (ANY,) if _MULTILINGUAL.search(encoder_id) else DEFAULT


def find_understood(setting: tuple[str, ...], stored: tuple[str, ...], encoder_id: str) -> Understood:
    """Return the languages of a version by the setting, else by what its manifest stores, else by its encoder's name."""
    names = setting if setting != (AUTO,) else stored or guess_languages(encoder_id)
    return None if ANY in names else frozenset(names)
