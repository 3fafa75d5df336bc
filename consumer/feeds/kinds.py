"""The kinds of envelopes and of deletes, and what becomes of a delete. Only names: settings and metrics need them, too."""

from dataclasses import dataclass
from typing import Literal, get_args

Envelope = Literal["debezium", "connect", "cloudevents", "mongodb", "wrapper", "removed"]
"""An envelope around a posting. `wrapper` is an object with nothing beside it, `removed` marks an advertisement as taken down."""
ENVELOPES: tuple[Envelope, ...] = get_args(Envelope)

DeleteKind = Literal["tombstone", "debezium", "connect", "cloudevents", "mongodb", "removed"]
"""What said that a posting is gone: a message without a value, or an envelope."""
DELETE_KINDS: tuple[DeleteKind, ...] = get_args(DeleteKind)

OnDelete = Literal["skip", "forward", "dead-letter"]
"""What becomes of a delete: nothing, a record without a value for readers of a compacted topic, or a dead letter."""

DeleteAction = Literal["forwarded", "skipped", "dead_letter"]
"""What has become of a delete."""
DELETE_ACTIONS: tuple[DeleteAction, ...] = get_args(DeleteAction)


@dataclass(frozen=True, slots=True)
class Delete:
    """Says that a posting is gone. `detail` explains it to people."""

    kind: DeleteKind
    detail: str
