"""A micro-batch of messages in, one outcome for each out, in order. The one path of `run` and `score`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from consumer.codec import Codec
from consumer.errors import InvalidMessage
from consumer.messages import Message, Record
from consumer.metrics import Metrics
from consumer.scorer import Scored, Scorer
from schemas.events import EnrichedPosting, JobPosting


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one message: an enriched record with its decision, or a dead letter with its error."""

    message: Message
    record: Record
    decision: str | None
    error: InvalidMessage | None


def enrich(messages: Sequence[Message], scorer: Scorer, codec: Codec, metrics: Metrics) -> list[Outcome]:
    """Return one outcome per message, all by the one `scorer`. A bad message never touches its neighbours."""
    with metrics.stage("decode"):
        decoded = [_decode(message, codec) for message in messages]
    with metrics.stage("score"):
        good = [posting for posting in decoded if isinstance(posting, JobPosting)]
        answers = iter(scorer.score([posting.title for posting in good], [posting.body for posting in good]))
    with metrics.stage("encode"):
        now = datetime.now(UTC)
        return [
            _dead(message, codec, posting)
            if isinstance(posting, InvalidMessage)
            else _encode(message, posting, next(answers), scorer, codec, now)
            for message, posting in zip(messages, decoded, strict=True)
        ]


def _decode(message: Message, codec: Codec) -> JobPosting | InvalidMessage:
    try:
        return codec.decode(message)
    except InvalidMessage as error:
        return error


def _encode(message: Message, posting: JobPosting, scored: Scored, scorer: Scorer, codec: Codec, now: datetime) -> Outcome:
    enriched = EnrichedPosting(
        event_id=message.event_id,
        posting=posting,
        occupations=scored.occupations,
        decision=scored.decision,
        groups=scored.groups,
        backoff=scored.backoff,
        evidence=scored.evidence,
        model=scorer.model,
        enriched_at=now,
    )
    try:
        return Outcome(message, codec.encode(message, enriched), scored.decision, None)
    except InvalidMessage as error:
        return _dead(message, codec, error)


def _dead(message: Message, codec: Codec, error: InvalidMessage) -> Outcome:
    return Outcome(message, codec.dead_letter(message, error), None, error)
