"""A real registry, and readers over it."""

from collections.abc import Callable
from typing import Any

import pytest

from consumer.formats.choose import Formats
from consumer.messages import Message

Read = Callable[..., Any]


@pytest.fixture
def formats(registry_url: str) -> Formats:
    return Formats({"url": registry_url}, wait_s=5.0)


@pytest.fixture
def read(formats: Formats) -> Read:
    """`read("avro", value, headers=...)` reads a value with a new reader."""

    def read(kind: str, value: bytes, headers: Any = ()) -> Any:
        return formats.make_reader(kind)(Message("feed", 0, 0, None, value, headers))

    return read
