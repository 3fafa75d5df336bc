"""Examples of profiles with any of their values replaced, for tests and benchmarks."""

import random
from typing import Any

from consumer.feeds.json_values import parse_json, write_json
from consumer.feeds.profiles import profile_names, read_profile

ODD: tuple[Any, ...] = (
    *(None, True, 0, -1, 2**70, "", " ", "nan", "<p>", "x" * 5_000, [], {}, [[]], [None], [{}], {"": None}),
    *(["a", ["b", {"c": 1}]], {"text": "t", "value": {"name": "n"}}, [{"value": 1}, {"value": "v"}], parse_json(b"[1.10, NaN]")),
)
EXAMPLES = {name: parse_json(read_profile(name).example.encode()) for name in profile_names()}


def random_example(rng: random.Random) -> tuple[str, bytes]:
    """Return a message like the example of a profile, with the profile to read it with: mostly its own."""
    name = rng.choice(profile_names())
    value = write_json(replace_some(EXAMPLES[name], rng))
    return name if rng.random() < 0.8 else rng.choice(profile_names()), value


def replace_some(value: Any, rng: random.Random) -> Any:
    """Return a copy in which some values are odd ones, and some names are gone."""
    if rng.random() < 0.15:
        return rng.choice(ODD)
    if isinstance(value, dict):
        return {name: replace_some(inner, rng) for name, inner in value.items() if rng.random() < 0.95}
    return [replace_some(inner, rng) for inner in value] if isinstance(value, list) else value
