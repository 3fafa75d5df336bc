"""Says what the codec makes of sample messages, and which profile finds most in them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from consumer.codec import Codec
from consumer.errors import InvalidMessage
from consumer.feeds.expression import compile_expression
from consumer.feeds.fields import FieldFinder, FoundFields
from consumer.feeds.interpreter import Steps, TooManySteps
from consumer.feeds.kinds import Delete, Envelope
from consumer.feeds.mapping import ByMapping
from consumer.feeds.profiles import profile_names, read_profile
from consumer.messages import Message
from schemas.events import JobPosting

Outcome = Literal["posting", "delete", "dead letter"]
SCORED = ("title", "body", "posting_id")
"""The fields that a profile is judged by."""
MakeCodec = Callable[[FieldFinder, Callable[[Envelope], None]], Codec]
"""Makes the codec of `run`, with another finder and an ear for envelopes."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What becomes of a message. `detail` says why it is no posting; `fields` is what the message holds without envelopes."""

    message: Message
    outcome: Outcome
    posting: JobPosting | None
    found: frozenset[str]
    envelopes: tuple[Envelope, ...]
    detail: str = ""
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, order=True)
class Fit:
    """How well a finder fits messages: the more the better, the first figure first."""

    good: int
    """Messages that are postings or deletes."""
    signs: int
    """Messages that look like the feed of the profile."""
    found: int
    """Titles, bodies and identifiers found."""


def judge(messages: Iterable[Message], make_codec: MakeCodec, finder: FieldFinder) -> list[Judgement]:
    """Return what becomes of each message."""
    watched = _Watched(finder)
    codec = make_codec(watched, watched.envelopes.append)
    return [_judge(message, codec, watched) for message in messages]


def rank_profiles(messages: Sequence[Message], make_codec: MakeCodec) -> list[tuple[str, Fit]]:
    """Return all profiles and how well they fit, best first."""
    fits = []
    for name in profile_names():
        profile = read_profile(name)
        fits.append((name, measure_fit(judge(messages, make_codec, ByMapping(profile.mapping)), profile.sign)))
    return sorted(fits, key=lambda each: each[1], reverse=True)


def measure_fit(judgements: Sequence[Judgement], sign: str | None) -> Fit:
    """Return how well the finder behind these judgements fits their messages; `sign` is that of its profile."""
    return Fit(
        good=sum(each.outcome != "dead letter" for each in judgements),
        signs=0 if sign is None else sum(_has_sign(sign, each.fields) for each in judgements),
        found=sum(len(each.found.intersection(SCORED)) for each in judgements if each.posting is not None),
    )


class _Watched:
    """A finder that remembers what it was shown last, and what it found there."""

    def __init__(self, finder: FieldFinder) -> None:
        self._finder = finder
        self.title_names = finder.title_names
        self.envelopes: list[Envelope] = []
        self.fields: dict[str, Any] = {}
        self.found: frozenset[str] = frozenset()

    def forget(self) -> None:
        self.envelopes.clear()
        self.fields, self.found = {}, frozenset()

    def find(self, fields: dict[str, Any]) -> FoundFields:
        self.fields = fields
        found = self._finder.find(fields)
        self.found = frozenset(found.values)
        return found


def _judge(message: Message, codec: Codec, watched: _Watched) -> Judgement:
    watched.forget()
    outcome: Outcome = "posting"
    posting, detail = None, ""
    try:
        decoded = codec.decode(message)
        if isinstance(decoded, Delete):
            refusal = codec.refuse_delete(decoded)
            outcome, detail = ("delete", decoded.detail) if refusal is None else ("dead letter", str(refusal))
        else:
            posting = decoded
    except InvalidMessage as error:
        outcome, detail = "dead letter", str(error)
    return Judgement(message, outcome, posting, watched.found, tuple(watched.envelopes), detail, watched.fields)


def _has_sign(sign: str, fields: dict[str, Any]) -> bool:
    try:
        return bool(compile_expression(sign)(fields, Steps()))
    except TooManySteps:
        return False
