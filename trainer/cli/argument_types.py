"""Parsers of arguments: a text becomes a value, or ArgumentTypeError says what is expected."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Number = TypeVar("Number", int, float)
MAX_ROUNDS = 20
MAX_WEIGHT = 10
MAX_SEED = 2**63
"""The seed of a generator of PyTorch must be less."""


def parse_positive(text: str) -> int:
    """Return a whole number of at least 1."""
    number = _convert(int, text)
    if number is None or number < 1:
        raise argparse.ArgumentTypeError(f"a whole number, at least 1, not {text}")
    return number


def parse_rounds(text: str) -> int:
    """Return a number of fits to calibrate on."""
    number = parse_positive(text)
    if number > MAX_ROUNDS:
        raise argparse.ArgumentTypeError(f"at most {MAX_ROUNDS}, not {text}: each is a fit, and they share the rows")
    return number


def parse_seed(text: str) -> int:
    """Return the seed of random choices."""
    number = _convert(int, text)
    if number is None or not 0 <= number < MAX_SEED:
        raise argparse.ArgumentTypeError(f"a whole number from 0 to 2^63 - 1, not {text}")
    return number


def parse_share(text: str) -> float:
    """Return a number between 0 and 1; neither of these two is allowed."""
    number = _convert(float, text)
    if number is None or not 0 < number < 1:
        raise argparse.ArgumentTypeError(f"a number between 0 and 1, not {text}")
    return number


def parse_weight(text: str) -> tuple[str, float]:
    """Return the source and the weight of `SOURCE=0.5`."""
    source, _, given = text.rpartition("=")
    number = _convert(float, given)
    if not source or number is None or not 0 <= number <= MAX_WEIGHT:
        raise argparse.ArgumentTypeError(f"SOURCE=WEIGHT with a weight from 0 to {MAX_WEIGHT}, such as agency=0.5, not {text}")
    return source, number


def parse_name(text: str) -> str:
    """Return a name that is not empty."""
    if not text:
        raise argparse.ArgumentTypeError("an empty name; is a variable unset?")
    return text


def parse_path(text: str) -> Path:
    """Return the path of a file or folder."""
    return Path(parse_name(text))


def _convert(kind: Callable[[str], Number], text: str) -> Number | None:
    try:
        return kind(text)
    except ValueError:
        return None
