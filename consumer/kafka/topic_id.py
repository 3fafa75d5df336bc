"""Which incarnation of a topic there is: a topic deleted and created again has its old name and offsets that mean nothing."""

import logging
import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

import confluent_kafka as ck
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from consumer.kafka.client import make_client, outside_group

log = logging.getLogger(__name__)

LOOK_EVERY_S = 5.0
FIRST_LOOK_S = 0.5
ANSWER_S = 3.0


class TopicIdentity:
    """The id of a topic, looked at now and then. One thread asks; nothing here waits longer than it says."""

    def __init__(self, properties: Mapping[str, Any], topic: str) -> None:
        """Connect later, at the start."""
        self._properties = outside_group(properties)
        self._client: Any = None
        self._topic = topic
        self._id: str | None = None
        self._told: str | None = None
        self._former: set[str] = set()
        self._asked: Future[Any] | None = None
        self._looked_at = 0.0

    @property
    def id(self) -> str | None:
        """The newest known id; None where no broker has told one (librdkafka's mock cluster never does)."""
        return self._id

    @property
    def replaced(self) -> bool:
        """Whether the topic was created again since the first look."""
        return bool(self._former)

    def start(self) -> None:
        """Connect and look for the first time, briefly."""
        self._client = make_client(AdminClient, {"log_level": 3, **self._properties})  # the reader tells of lost connections
        self._ask()
        self._hear(FIRST_LOOK_S)

    def close(self) -> None:
        """Let go of the client here: the garbage collector might do so in the client's own thread, which aborts the process."""
        self._client = self._asked = None

    def refresh(self) -> None:
        """Look now, so that `id` is of this moment. Raises KafkaException when that fails, unless there never was an id."""
        if self._id is not None:
            self._ask()
            if (error := self._hear(ANSWER_S)) is not None:
                raise error

    def changed(self) -> bool:
        """Return, once, that there is another topic of the same name. Never waits; cheap."""
        if self._asked is not None and self._asked.done():
            self._hear(0.0)
        if self._asked is None and time.monotonic() - self._looked_at > LOOK_EVERY_S:
            self._ask()
        before, self._told = self._told, self._id
        return before not in {None, self._id}

    def _ask(self) -> None:
        if self._client is None:
            return
        self._looked_at = time.monotonic()
        self._asked = self._client.describe_topics(ck.TopicCollection([self._topic]), request_timeout=ANSWER_S)[self._topic]

    def _hear(self, timeout_s: float) -> KafkaException | None:
        """Take the answer up; returns why there is none. An id that was replaced may still be told by a broker that lags."""
        asked = self._asked
        if asked is None:
            return None
        try:
            found = str(asked.result(timeout_s).topic_id)
        except TimeoutError:
            return KafkaException(ck.KafkaError(ck.KafkaError._TIMED_OUT))  # noqa: SLF001 - librdkafka's own
        except KafkaException as error:
            self._asked = None
            return error
        self._asked = None
        if found not in {self._id, *self._former}:
            if self._id is not None:
                self._former.add(self._id)
                log.error("topic %r was deleted and created again; offsets of the former one count no longer", self._topic)
            self._id = found
        return None
