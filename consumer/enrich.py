"""Turns a micro-batch of messages into one outcome each, in order. The commands `run` and `score` both use this code."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NamedTuple

from consumer.abstention import Abstention
from consumer.codec import Codec
from consumer.dead_letter_record import Stage
from consumer.errors import InvalidMessage
from consumer.feeds.kinds import Delete
from consumer.limits import Limit
from consumer.messages import Message, Record
from consumer.metrics import Metrics
from consumer.model.answers import Answer
from consumer.model.scorer import Scorer
from consumer.rules import Rules
from schemas.events import EnrichedPosting, JobPosting, Reason


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result for one message: an enriched record with its decision, a dead letter with its error, or a delete.

    A delete is forwarded as a record without a value, skipped (then `record` is None), or a dead letter (then it has an error).
    `reason` says which rule lowered the decision, if one did.
    """

    message: Message
    record: Record | None
    decision: str | None
    error: InvalidMessage | None
    model_version: str
    delete: Delete | None = None
    reason: Reason | None = None


_DEFAULT_RULES = Rules()


def enrich(
    messages: Sequence[Message], scorer: Scorer, codec: Codec, metrics: Metrics, rules: Rules | None = None
) -> list[Outcome]:
    """Return one outcome per message, in order, all made by the one `scorer`. A bad message never affects the others.

    `rules` are those of `Rules()` by default. Raises ScorerFailed where no posting can be scored any more.
    """
    rules = rules or _DEFAULT_RULES
    with metrics.stage("decode"):
        decoded = [_decode(message, codec) for message in messages]
    with metrics.stage("score"):
        found = [
            (message, posting) for message, posting in zip(messages, decoded, strict=True) if isinstance(posting, JobPosting)
        ]
        asked = [_Asked(posting, rules.limits.find(message, posting)) for message, posting in found]
        abstentions = rules.abstainer.judge([posting for _message, posting in found], scorer)
        answers = map(_abstain, _score(asked, scorer), abstentions)
    with metrics.stage("encode"):
        now = datetime.now(UTC)
        return [
            _encode(message, result, next(answers), scorer, codec, now)
            if isinstance(result, JobPosting)
            else _settle(message, result, codec, scorer)
            for message, result in zip(messages, decoded, strict=True)
        ]


def reject_as_too_large(outcome: Outcome, codec: Codec) -> Outcome:
    """Return the outcome of a message whose record is too large for its topic: a dead letter."""
    what = "the enriched posting" if outcome.delete is None else "the delete"
    size, topic = (0, "") if outcome.record is None else (outcome.record.size_bytes, outcome.record.topic)
    error = InvalidMessage("too_large", f"{topic!r} does not take {what} of {size:,} bytes (max.message.bytes)")
    version = outcome.model_version
    letter = codec.dead_letter(outcome.message, error, stage="deliver", model_version=version)
    return Outcome(outcome.message, letter, None, error, version, outcome.delete)


def _decode(message: Message, codec: Codec) -> JobPosting | Delete | InvalidMessage:
    try:
        return codec.decode(message)
    except InvalidMessage as error:
        return error


class _Asked(NamedTuple):
    """What the model is asked: a posting, and the codes that it may get."""

    posting: JobPosting
    limit: Limit | None


def _score(asked: Sequence[_Asked], scorer: Scorer) -> list[Answer | InvalidMessage]:
    """Return the answer for each posting. Where the model fails, halves are tried down to the one posting at fault.

    Raises ScorerFailed where no posting was at fault.
    """
    try:
        titles, bodies = [posting.title for posting, _ in asked], [posting.body for posting, _ in asked]
        return list(scorer.score(titles, bodies, limits=[limit for _, limit in asked]))
    except Exception as error:  # noqa: BLE001 - a model may raise anything, for one posting or for all of them
        if len(asked) > 1:
            middle = len(asked) // 2
            return [*_score(asked[:middle], scorer), *_score(asked[middle:], scorer)]
        scorer.probe()
        return [InvalidMessage("not_scored", f"the model fails on it: {type(error).__name__}: {error}", cause=error)]


@dataclass(frozen=True, slots=True)
class _Judged:
    """An answer, and why it does not count, if it does not."""

    answer: Answer
    abstention: Abstention | None


def _abstain(answer: Answer | InvalidMessage, abstention: Abstention | None) -> _Judged | InvalidMessage:
    """Return the answer as it is published. One that does not count is `unclassified`, and nothing in it is sure."""
    if isinstance(answer, InvalidMessage):
        return answer
    if abstention is None:
        return _Judged(answer, None)
    changes = {"decision": "unclassified", "backoff": None, "reason": abstention.reason}
    return _Judged(answer.model_copy(update=changes), abstention)


def _encode(
    message: Message, posting: JobPosting, judged: _Judged | InvalidMessage, scorer: Scorer, codec: Codec, now: datetime
) -> Outcome:
    if isinstance(judged, InvalidMessage):
        return _reject(message, codec, judged, "score", scorer)
    answer = judged.answer
    enriched = EnrichedPosting(
        event_id=message.event_id,
        posting=posting,
        occupations=answer.occupations,
        decision=answer.decision,
        groups=answer.groups,
        backoff=answer.backoff,
        evidence=answer.evidence,
        model=scorer.model,
        enriched_at=now,
        reason=answer.reason,
        language=judged.abstention.language if judged.abstention else None,
    )
    try:
        record = codec.encode(message, enriched)
        return Outcome(message, record, answer.decision, None, scorer.version, reason=answer.reason)
    except InvalidMessage as error:
        return _reject(message, codec, error, "encode", scorer)


def _settle(message: Message, result: Delete | InvalidMessage, codec: Codec, scorer: Scorer) -> Outcome:
    """Return the outcome of a message that holds no posting to score."""
    if isinstance(result, InvalidMessage):
        return _reject(message, codec, result, "decode", scorer)
    if (error := codec.refuse_delete(result)) is not None:
        return replace(_reject(message, codec, error, "decode", scorer), delete=result)
    return Outcome(message, codec.encode_delete(message), None, None, scorer.version, result)


def _reject(message: Message, codec: Codec, error: InvalidMessage, stage: Stage, scorer: Scorer) -> Outcome:
    letter = codec.dead_letter(message, error, stage=stage, model_version=scorer.version)
    return Outcome(message, letter, None, error, scorer.version)
