"""Named profiles: the mapping for a feed that many people read, as data in `profiles/*.toml`.

A file holds a description, a `sign` (a JMESPath expression that finds something in messages of the feed and in few others), the
mapping, and an example message with what must come out of it. docs/profiles.md shows them all.
"""

import difflib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from consumer.errors import ConfigError
from consumer.feeds.mapping import Expressions


@dataclass(frozen=True, slots=True)
class Profile:
    """A profile as its file has it. `example` is a message, `result` the fields of the posting that it becomes."""

    name: str
    description: str
    sign: str
    mapping: Expressions
    example: str
    result: Mapping[str, Any]


@cache
def profile_names() -> tuple[str, ...]:
    """Return the names of all profiles, in order."""
    return tuple(sorted(each.name.removesuffix(".toml") for each in _folder().iterdir() if each.name.endswith(".toml")))


@cache
def read_profile(name: str) -> Profile:
    """Return a profile. Raises ConfigError for a name that no profile has, with those that there are and the nearest."""
    if name not in profile_names():
        near = difflib.get_close_matches(name.lower(), profile_names(), 1)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise ConfigError(f"there is no profile {name!r}{hint} There are: {', '.join(profile_names())}")
    held = tomllib.loads((_folder() / f"{name}.toml").read_text(encoding="utf-8"))
    example = held["example"]
    return Profile(name, held["description"], held["sign"], held["mapping"], example["message"].strip(), example["result"])


def _folder() -> Any:  # noqa: ANN401 - a Traversable, which is of another module in each version of Python
    return files("consumer.feeds") / "profiles"
