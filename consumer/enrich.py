"""A micro-batch of messages in, one outcome for each out, in order. The one path of `run` and `score`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from consumer.codec import Codec
from consumer.dead_letter_record import Stage
from consumer.errors import InvalidMessage
from consumer.messages import Message, Record
from consumer.metrics import Metrics
from consumer.model.answers import Answer
from consumer.model.scorer import Scorer
from schemas.events import EnrichedPosting, JobPosting


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one message: an enriched record with its decision, or a dead letter with its error."""

    message: Message
    record: Record
    decision: str | None
    error: InvalidMessage | None
    model_version: str


def enrich(messages: Sequence[Message], scorer: Scorer, codec: Codec, metrics: Metrics) -> list[Outcome]:
    """Return one outcome per message, all by the one `scorer`. A bad message never touches its neighbours."""
    with metrics.stage("decode"):
        decoded = [_decode(message, codec) for message in messages]
    with metrics.stage("score"):
        answers = iter(_answers([posting for posting in decoded if isinstance(posting, JobPosting)], scorer))
    with metrics.stage("encode"):
        now = datetime.now(UTC)
        return [
            _dead(message, codec, posting, "decode", scorer)
            if isinstance(posting, InvalidMessage)
            else _answered(message, posting, next(answers), scorer, codec, now)
            for message, posting in zip(messages, decoded, strict=True)
        ]


def _decode(message: Message, codec: Codec) -> JobPosting | InvalidMessage:
    try:
        return codec.decode(message)
    except InvalidMessage as error:
        return error


def _answers(postings: Sequence[JobPosting], scorer: Scorer) -> list[Answer | InvalidMessage]:
    """Return the answer for each posting; where the model fails, halves are tried until the guilty posting is alone.

    Raises ScorerFailed where it was not the posting's fault.
    """
    try:
        return list(scorer.score([posting.title for posting in postings], [posting.body for posting in postings]))
    except Exception as error:  # noqa: BLE001 - whatever a model raises, it is about one posting or about all
        if len(postings) > 1:
            middle = len(postings) // 2
            return [*_answers(postings[:middle], scorer), *_answers(postings[middle:], scorer)]
        scorer.probe()
        return [InvalidMessage("not_scored", f"the model fails on it: {type(error).__name__}: {error}", cause=error)]


def _answered(
    message: Message, posting: JobPosting, answer: Answer | InvalidMessage, scorer: Scorer, codec: Codec, now: datetime
) -> Outcome:
    if isinstance(answer, InvalidMessage):
        return _dead(message, codec, answer, "score", scorer)
    return _encode(message, posting, answer, scorer, codec, now)


def _encode(message: Message, posting: JobPosting, scored: Answer, scorer: Scorer, codec: Codec, now: datetime) -> Outcome:
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
        return Outcome(message, codec.encode(message, enriched), scored.decision, None, scorer.version)
    except InvalidMessage as error:
        return _dead(message, codec, error, "encode", scorer)


def too_large(outcome: Outcome, codec: Codec) -> Outcome:
    """Return the dead letter of a message whose enriched posting its topic does not take."""
    size, topic = outcome.record.size_bytes, outcome.record.topic
    error = InvalidMessage("too_large", f"{topic!r} does not take the enriched posting of {size:,} bytes (max.message.bytes)")
    version = outcome.model_version
    letter = codec.dead_letter(outcome.message, error, stage="deliver", model_version=version)
    return Outcome(outcome.message, letter, None, error, version)


def _dead(message: Message, codec: Codec, error: InvalidMessage, stage: Stage, scorer: Scorer) -> Outcome:
    letter = codec.dead_letter(message, error, stage=stage, model_version=scorer.version)
    return Outcome(message, letter, None, error, scorer.version)
