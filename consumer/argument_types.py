"""Parsers of arguments that several commands take: a text becomes a value, or ArgumentTypeError says what is expected."""

import argparse


def parse_count(text: str) -> int:
    """Return a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number, at least 1, not {text}")
    return int(text)
