"""Notices that a topic was deleted and created again: it has its old name, and offsets of the former one mean nothing in it.

Every offset that is committed carries the id of its topic in a note, so that it is never taken for one of a successor.
"""

import logging
import time
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Any

import confluent_kafka as ck
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from consumer.kafka.client import make_client, outside_group
from consumer.kafka.failures import TIMED_OUT

log = logging.getLogger(__name__)

LOOKUP_INTERVAL_S = 5.0
FIRST_ANSWER_TIMEOUT_S = 0.5
ANSWER_TIMEOUT_S = 3.0
NOTE_PREFIX = "topic-id="


def topic_note(topic_id: str | None) -> str:
    """Return the note of an offset that is committed for the topic with this id; empty where the id is not known."""
    return "" if topic_id is None else NOTE_PREFIX + topic_id


class TopicIdentity:
    """The id of a topic, looked up now and then. One thread asks; nothing here waits longer than it says."""

    def __init__(self, properties: Mapping[str, Any], topic: str) -> None:
        """Connect later, at the start."""
        self._properties = outside_group(properties)
        self._client: Any = None
        self._topic = topic
        self._id: str | None = None
        self._reported_id: str | None = None
        self._former_ids: set[str] = set()
        self._request: Future[Any] | None = None
        self._requested_at = 0.0

    @property
    def id(self) -> str | None:
        """The newest known id; None where no broker has given one (librdkafka's mock cluster never does)."""
        return self._id

    @property
    def replaced(self) -> bool:
        """Whether the topic was created again since it was first looked up."""
        return bool(self._former_ids)

    def start(self) -> None:
        """Connect and look the id up for the first time, briefly."""
        self._client = make_client(AdminClient, {"log_level": 3, **self._properties})  # the reader logs lost connections
        self._send_request()
        self._take_answer(FIRST_ANSWER_TIMEOUT_S)

    def close(self) -> None:
        """Let go of the client here: the garbage collector might do so in the client's own thread, which aborts the process."""
        self._client = self._request = None

    def refresh(self) -> None:
        """Look up now, so that `id` is of this moment. Raises KafkaException when that fails, unless there never was an id."""
        if self._id is not None:
            self._send_request()
            if (error := self._take_answer(ANSWER_TIMEOUT_S)) is not None:
                raise error

    def changed(self) -> bool:
        """Return, once, that there is another topic of the same name. Never waits; cheap."""
        if self._request is not None and self._request.done():
            self._take_answer(0.0)
        if self._request is None and time.monotonic() - self._requested_at > LOOKUP_INTERVAL_S:
            self._send_request()
        before, self._reported_id = self._reported_id, self._id
        return before not in {None, self._id}

    def is_former(self, note: str | None) -> bool:
        """Return whether the offset with this note was committed for a topic of this name that is no longer there."""
        if self._id is None:
            return False
        ours = note is not None and note.startswith(NOTE_PREFIX)  # others may note what they like
        return note != topic_note(self._id) if ours else self.replaced

    def _send_request(self) -> None:
        if self._client is None:
            return
        self._requested_at = time.monotonic()
        topics = ck.TopicCollection([self._topic])
        self._request = self._client.describe_topics(topics, request_timeout=ANSWER_TIMEOUT_S)[self._topic]

    def _take_answer(self, timeout_s: float) -> KafkaException | None:
        """Take the answer up, and return why there is none."""
        request = self._request
        if request is None:
            return None
        try:
            found = str(request.result(timeout_s).topic_id)
        except TimeoutError:
            return KafkaException(ck.KafkaError(TIMED_OUT))
        except KafkaException as error:
            self._request = None
            return error
        self._request = None
        self._note_id(found)
        return None

    def _note_id(self, found: str) -> None:
        """Note an id, unless it is a former one: a broker that lags may still give that."""
        if found in {self._id, *self._former_ids}:
            return
        if self._id is not None:
            self._former_ids.add(self._id)
            log.error("topic %r was deleted and created again; offsets of the former one count no longer", self._topic)
        self._id = found
