"""What is sent instead of a record that is too large for its topic: a dead letter, then one that lacks parts of its message."""

from dataclasses import replace

from consumer.codec import Codec
from consumer.dead_letter_record import abridge, is_smallest
from consumer.enrich import Outcome, reject_as_too_large


def make_smaller(outcome: Outcome, codec: Codec) -> Outcome:
    """Return the outcome whose record to try next. After the smallest form of a dead letter, that is the whole letter again."""
    if outcome.error is None or outcome.record is None:
        return reject_as_too_large(outcome, codec)
    return replace(outcome, record=abridge(outcome.record, outcome.message))


def has_smallest_record(outcome: Outcome) -> bool:
    """Return whether nothing smaller can be sent: a topic that does not take this one takes no dead letter at all."""
    return outcome.record is not None and is_smallest(outcome.record)
