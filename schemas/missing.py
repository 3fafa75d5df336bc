"""The words that stand for a missing value, as a whole cell or field. The consumer and the trainer both ask here."""

MISSING_WORDS = frozenset(
    (
        *("nan", "NaN", "NAN", "NaT", "<NA>", "None", "none", "NONE", "null", "Null", "NULL", "nil", "\\N"),
        *("N/A", "n/a", "N/a", "#N/A", "#NULL!", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!"),
        *("-", "--", "\u2013", "\u2014"),
    )
)
"""As data frames, databases, spreadsheets and people write them. `Nan` and `NA` are none: they are words, too."""
_LONGEST = max(map(len, MISSING_WORDS))


def is_missing(text: str) -> bool:
    """Return whether a text holds no value: it is empty, white space, or one of MISSING_WORDS with white space around it."""
    stripped = text.strip() if len(text) <= 2 * _LONGEST else text.lstrip()
    return not stripped or (len(stripped) <= _LONGEST and stripped in MISSING_WORDS)
