"""What Kafka's own names look like: broker addresses, topics, and the input topics as a list or a pattern. Asks no broker."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import AfterValidator

MAX_TOPIC_CHARS = 249
PROTOCOLS = ("plaintext", "ssl", "sasl_plaintext", "sasl_ssl")
"""What may stand before `://` in a broker's address, in any case."""
INTERNAL_TOPICS = ("__consumer_offsets", "__transaction_state", "__share_group_state")
MAX_PORT = 65_535
DIALECT = re.compile(r"\\[0-9A-Za-z]|\(\?|[*+?}][?+*]|\[\[[:.=]")
"""What the regular expressions of Kafka's clients and of its brokers do not read alike."""


def check_topic(name: str) -> str:
    """Return a topic's name. Raises ValueError where Kafka would refuse it."""
    if not name or name in (".", ".."):
        raise ValueError(f"{name!r} is no name of a topic: it must not be empty, '.' or '..'")
    if len(name) > MAX_TOPIC_CHARS:
        raise ValueError(f"the name of a topic has at most {MAX_TOPIC_CHARS} characters, not {len(name)}")
    if wrong := re.search(r"[^a-zA-Z0-9._-]", name):
        raise ValueError(f"{wrong[0]!r} cannot stand in the name of a topic: only letters, digits, '.', '_' and '-' can")
    return name


def check_servers(text: str) -> str:
    """Return brokers, `host:port[,host:port...]`. Raises ValueError for what cannot be one, such as a URL."""
    for address in text.split(","):
        _check_address(address.strip())
    return text


def _check_address(address: str) -> None:
    scheme, separator, rest = address.rpartition("://")
    if separator and scheme.lower() not in PROTOCOLS:
        raise ValueError(f"{address!r} is a URL; a Kafka broker is host:port, without {scheme}://")
    found = re.fullmatch(r"(?:\[[0-9a-fA-F:.%\w]+\]|[^\s:/?#@\[\]]+)(?::(\d+))?", rest)
    if found is None:
        raise ValueError(f"{address!r} is no Kafka broker; one is host:port")
    if found[1] and not 0 < int(found[1]) <= MAX_PORT:
        raise ValueError(f"{address!r} has no port between 1 and {MAX_PORT}")


TopicName = Annotated[str, AfterValidator(check_topic)]
BootstrapServers = Annotated[str, AfterValidator(check_servers)]


@dataclass(frozen=True, slots=True)
class InputTopics:
    """The topics that are read: named one by one, or all whose whole name matches a pattern."""

    names: tuple[str, ...]
    """The names as they were given; empty where there is a pattern."""
    pattern: str | None = None
    """A regular expression that begins with `^` and ends with `$`; None where the topics are named."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the topics of a setting: `a`, `a,b,c`, or a regular expression that begins with `^`. Raises ValueError."""
        if text.startswith("^"):
            return cls((), _check_pattern(text))
        names = tuple(name.strip() for name in text.split(","))
        if any(name.startswith("^") for name in names):
            raise ValueError("a pattern stands alone: write one regular expression, as in ^(a|b.*)")
        if repeated := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"{', '.join(sorted(repeated))} is named twice")
        return cls(tuple(map(check_topic, names)))

    @property
    def subscription(self) -> list[str]:
        """The topics as a Kafka client subscribes to them."""
        return list(self.names) if self.pattern is None else [self.pattern]

    def matches(self, topic: str) -> bool:
        """Return whether a topic of this name is read."""
        return topic in self.names if self.pattern is None else re.fullmatch(self.pattern, topic) is not None

    def __str__(self) -> str:
        return self.pattern or ",".join(self.names)


def check_topics(input_topic: str, enriched: Sequence[str], dead_letter: str) -> None:
    """Refuse topics that would be fed back into the input, or mixed with dead letters. Raises ValueError."""
    if dead_letter in enriched:
        raise ValueError(f"output_topic and dead_letter_topic must differ: {dead_letter!r} is both")
    if fed_back := [topic for topic in (*enriched, dead_letter) if InputTopics.parse(input_topic).matches(topic)]:
        raise ValueError(
            "input_topic, output_topic and dead_letter_topic must differ: "
            f"{fed_back[0]!r} is written, and input_topic {input_topic!r} reads it"
        )


def _check_pattern(text: str) -> str:
    """Return a pattern that is about whole names: clients search, brokers compare. Raises ValueError."""
    if unlike := DIALECT.search(text):
        raise ValueError(
            f"{unlike[0]!r} is not read alike by Kafka's clients and brokers; use only . [...] ( | ) * + ? {{n,m}}, "
            "[0-9] for a digit, and [.] for a dot"
        )
    if "," in re.sub(r"\{\d*,\d*\}", "", text):
        raise ValueError(f"a comma is in no name of a topic, and {text!r} is one pattern; write several as one, as in ^(a|b.*)")
    body = text[1:].removesuffix("$")
    if not body:
        raise ValueError(f"{text!r} matches no topic")
    try:
        compiled = re.compile(f"^({body})$")
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from None
    if internal := [name for name in INTERNAL_TOPICS if compiled.fullmatch(name)]:
        raise ValueError(f"{text!r} matches Kafka's own topic {internal[0]}; name the beginning of yours, as in ^postings[.].*")
    return compiled.pattern
