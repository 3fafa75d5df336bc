"""Every exception of ours, as a tree. Each message names the thing and the way out.

OccustreamError
├── ConfigError       a setting, a file or an environment variable is wrong; nothing was started
├── EncoderError      the encoder cannot be found, or is not the one the artifact was made with
├── ArtifactError     an artifact is missing, broken or lies; the model in service stays
├── RegistryError     the registry cannot be read or written
│   └── CurrentMoved     another version was promoted meanwhile
├── ScorerFailed      no posting can be scored any more: the device or the model is broken
├── InvalidMessage    one message cannot be a posting; it becomes a dead letter
├── TooManyDeadLetters  the share of bad messages is above its limit
├── BrokerError       Kafka refuses or cannot be reached
│   └── DeliveryFailed   records were not taken; their offsets stay uncommitted, and they are tried again
│       └── RecordTooLarge  one of them is larger than its topic takes
└── BackgroundFailed  a background thread died; the process follows it
"""

from typing import Literal, get_args

Reason = Literal[
    "pointer",
    "path",
    "missing",
    "unreadable",
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
"""Why a model version is not taken up: `occustream_reloads_total` counts by it, docs/models.md tells of each."""
REASONS: tuple[Reason, ...] = get_args(Reason)


class OccustreamError(Exception):
    """What a user can act on; printed as one line, without a traceback."""


class ConfigError(OccustreamError):
    """A setting, a file or an environment variable is wrong."""


class EncoderError(OccustreamError):
    """The encoder cannot be found, is not the one the artifact names, or is no folder of plain weights."""

    reason: Reason = "encoder"


class ArtifactError(OccustreamError):
    """An artifact is missing, broken, or not what its manifest says. `reason` is a short constant."""

    def __init__(self, reason: Reason, text: str) -> None:
        super().__init__(text)
        self.reason: Reason = reason


class RegistryError(OccustreamError):
    """The registry cannot be read or written."""


class CurrentMoved(RegistryError):
    """Another version was promoted while one was judged against the one before it."""


class ScorerFailed(OccustreamError):
    """No posting can be scored any more: the process ends, and what it had read is read again elsewhere."""


class InvalidMessage(OccustreamError):
    """A message that cannot be a posting. `reason` is a short constant, `detail` the story, `cause` what was raised first."""

    def __init__(self, reason: str, detail: str, *, cause: Exception | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.error_class = type(cause or self).__name__  # the name alone: an exception would keep its frames alive


class TooManyDeadLetters(OccustreamError):
    """The share of bad messages is above its limit: the process ends, after what it read."""


class BrokerError(OccustreamError):
    """Kafka refuses, or cannot be reached."""


class DeliveryFailed(BrokerError):
    """Records were not taken: their offsets stay uncommitted, and they are tried again."""


class RecordTooLarge(DeliveryFailed):
    """Records were not taken because one of them, or all together, are larger than their topic takes. None was written."""


class BackgroundFailed(OccustreamError):
    """A background thread died."""
