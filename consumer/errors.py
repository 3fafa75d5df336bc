"""Every exception of ours, as a tree. Each message names the thing that is wrong and the way out.

OccustreamError
├── ConfigError       a setting, a file or an environment variable is wrong; nothing was started
├── EncoderError      the encoder cannot be found, or is not the one the artifact was made with
├── ArtifactError     an artifact is missing, broken or not what it says; the model in service stays
├── RegistryError     the registry cannot be read or written
│   └── CurrentMoved     another version was promoted meanwhile
├── SchemaRegistryUnavailable  the schema registry does not answer; no message is at fault
├── ScorerFailed      no posting can be scored any more: the device or the model is broken
├── InvalidMessage    one message cannot be a posting; it becomes a dead letter
├── TooManyDeadLetters  the share of dead letters is above its limit
├── BrokerError       Kafka refuses or cannot be reached
│   └── DeliveryFailed   the broker did not take records; their offsets stay uncommitted, and they are tried again
│       └── RecordTooLarge  a record, or its batch, is larger than its topic takes
└── BackgroundFailed  a background thread died, and the process ends
"""

from typing import Literal, get_args

RefusalReason = Literal[
    "pointer",
    "path",
    "missing",
    "unreadable",
    "no_answer",
    "too_large",
    "digest",
    "format",
    "manifest",
    "content",
    "shape",
    "not_finite",
    "zero_row",
    "not_unit",
    "encoder",
    "golden",
]
"""Why a model version is refused. `occustream_reloads_total` counts by it; docs/models.md explains each."""
REFUSAL_REASONS: tuple[RefusalReason, ...] = get_args(RefusalReason)

# Here rather than beside the dead letter's other headers in `dead_letter_record.py`, which itself imports InvalidMessage.
DeadLetterReason = Literal[
    "invalid_headers",
    "null_value",
    "deleted",
    "too_large",
    "schema_framing",
    "not_utf8",
    "not_json",
    "not_an_object",
    "unknown_schema",
    "not_decoded",
    "no_title",
    "empty_title",
    "title_too_long",
    "invalid_text",
    "invalid_field",
    "not_scored",
]
"""Why a message becomes a dead letter: the header `dead-letter.reason`, and `occustream_dead_letters_total` counts by it."""
DEAD_LETTER_REASONS: tuple[DeadLetterReason, ...] = get_args(DeadLetterReason)
MAX_DETAIL_CHARS = 1_000
MAX_QUOTED_CHARS = 80
"""Of a name that is quoted from a message."""


class OccustreamError(Exception):
    """An error that a user can act on. It is printed as one line, without a traceback."""


class ConfigError(OccustreamError):
    """A setting, a file or an environment variable is wrong."""


class EncoderError(OccustreamError):
    """The encoder cannot be found, is not the one the artifact names, or is no folder of plain weights."""

    reason: RefusalReason = "encoder"


class ArtifactError(OccustreamError):
    """An artifact is missing, broken, or not what its manifest says."""

    def __init__(self, reason: RefusalReason, text: str) -> None:
        super().__init__(text)
        self.reason: RefusalReason = reason


class RegistryError(OccustreamError):
    """The registry cannot be read or written."""


class CurrentMoved(RegistryError):
    """Another version was promoted while a candidate was judged against the version before."""


class SchemaRegistryUnavailable(OccustreamError):
    """The schema registry does not answer. The process ends; another one reads its uncommitted messages again."""


class ScorerFailed(OccustreamError):
    """No posting can be scored any more. The process ends; another one reads its uncommitted messages again."""


class InvalidMessage(OccustreamError):
    """A message that cannot be a posting. `detail` explains the reason; `cause` is the exception that showed it, if any.

    A detail may quote the message, which may be large: it is cut to MAX_DETAIL_CHARS.
    """

    def __init__(self, reason: DeadLetterReason, detail: str, *, cause: Exception | None = None) -> None:
        self.detail = detail[:MAX_DETAIL_CHARS]
        super().__init__(f"{reason}: {self.detail}")
        self.reason: DeadLetterReason = reason
        self.error_class = type(cause or self).__name__  # the name alone: an exception would keep its frames alive


class TooManyDeadLetters(OccustreamError):
    """The share of dead letters is above its limit. The process ends once everything it has read is delivered."""


class BrokerError(OccustreamError):
    """Kafka refuses, or cannot be reached."""


class DeliveryFailed(BrokerError):
    """The broker did not take records. Their offsets stay uncommitted, and the records are tried again."""


class RecordTooLarge(DeliveryFailed):
    """One record, or the batch it was sent in, is larger than its topic takes. None of the batch was written."""


class BackgroundFailed(OccustreamError):
    """A background thread died."""
