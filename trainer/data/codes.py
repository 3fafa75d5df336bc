"""The spellings of an O*NET-SOC code that can be read in one way only."""

import re

_DASHES = re.compile("[\u00ad\u2010-\u2015\u2212\u2043\ufe58\ufe63\uff0d]")
_WRAPPING = " \t\r\n\u00a0\u2007\u202f\u200b\ufeff'\"`\u2018\u2019\u201c\u201d[](){}"
_CODE = re.compile(
    r"(?:(?:o\*?net|soc)\W*)*"  # "O*NET-SOC 29-1141.00"
    r"(?P<soc>\d\d(?:[-. ]|)\d{4})(?:[-. ]?(?P<detail>\d\d)|(?P<float>\.0))?"
    r"(?:\s*[:|,;/-]?\s+\D.*|\s*\(.*)?",  # its name may follow
    re.IGNORECASE | re.DOTALL,
)
_BEGINNING = re.compile(r"\d\d(?:-(?:\d{0,4}|\d{4}\.\d\d))?")
_WHOLE_FLOAT = re.compile(r"(\d{8})\.0+")


def read_code(text: str) -> str:
    """Return the code that a text spells, `29-1141.00` or `29-1141`; a text that spells none, as it is.

    A spreadsheet or data frame makes `291141`, `29114100.0` or `="29-1141.00"` of it, a text program other dashes.
    """
    plain = _DASHES.sub("-", text).strip(_WRAPPING).removeprefix("=").strip(_WRAPPING)
    plain = re.sub(r"\s*-\s*(?=\d)", "-", plain)
    found = _CODE.fullmatch(_WHOLE_FLOAT.sub(r"\1", plain))
    if not found:
        return text
    digits = re.sub(r"\D", "", found["soc"])
    soc = f"{digits[:2]}-{digits[2:]}"
    detail = found["detail"] or ("00" if found["float"] and not found["soc"].isdigit() else "")
    return f"{soc}.{detail}" if detail else soc


def read_beginning(text: str) -> str | None:
    """Return the code that a text spells, or the beginning of one: `29-1141`, `15-12`, `13-`. None for any other text."""
    plain = _DASHES.sub("-", text).strip(_WRAPPING)
    found = plain if _BEGINNING.fullmatch(plain) else read_code(text)
    return found if _BEGINNING.fullmatch(found) else None
