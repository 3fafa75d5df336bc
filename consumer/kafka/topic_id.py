"""Notices that a topic was deleted and created again: it has its old name, and offsets of the former one mean nothing in it.

Every offset that is committed carries the id of its topic in a note, so that it is never taken for one of a successor.
"""

import logging
import time
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class TopicIdentity:
    """What is known of the id of one topic."""

    id: str | None = None
    """The newest known id; None where no broker has given one (librdkafka's mock cluster never does)."""
    reported_id: str | None = None
    """The id that `TopicIds.changed` has compared last."""
    former_ids: set[str] = field(default_factory=set)
    was_asked: bool = False


class TopicIds:
    """The ids of topics, looked up now and then. One thread asks; nothing here waits longer than it says."""

    def __init__(self, properties: Mapping[str, Any]) -> None:
        """Connect later, at the start."""
        self._properties = outside_group(properties)
        self._client: Any = None
        self._topics: dict[str, TopicIdentity] = {}
        self._requests: dict[str, Future[Any]] = {}
        self._requested_at = 0.0

    @property
    def notes(self) -> dict[str, str]:
        """The note of an offset that is committed now, by topic."""
        return {topic: topic_note(known.id) for topic, known in self._topics.items()}

    def start(self, topics: Collection[str]) -> None:
        """Connect and look these up for the first time, briefly."""
        self._client = make_client(AdminClient, {"log_level": 3, **self._properties})  # the reader logs lost connections
        self.watch(topics)
        self._send_request()
        self._take_answers(FIRST_ANSWER_TIMEOUT_S)

    def watch(self, topics: Collection[str]) -> None:
        """Look these topics up from now on, too."""
        for topic in topics:
            self._topics.setdefault(topic, TopicIdentity())

    def forget_others(self, topics: Collection[str]) -> None:
        """Look up only these topics from now on."""
        self._topics = {topic: known for topic, known in self._topics.items() if topic in topics}

    def close(self) -> None:
        """Let go of the client here: the garbage collector might do so in the client's own thread, which aborts the process."""
        self._client, self._requests = None, {}

    def refresh(self, topics: Collection[str]) -> set[str]:
        """Look up now, so that ids are of this moment. Return the topics of which that failed though an id was known.

        Raises KafkaException where it failed for all. A topic that no broker ever gave an id is waited for once, briefly.
        """
        self.watch(topics)
        known = {topic for topic in topics if self._topics[topic].id is not None}
        if not known and all(self._topics[topic].was_asked for topic in topics):
            return set()
        self._send_request()
        errors = self._take_answers(ANSWER_TIMEOUT_S if known else FIRST_ANSWER_TIMEOUT_S)
        failed = known & errors.keys()
        if failed and failed == set(topics):
            raise errors[next(iter(failed))]
        return failed

    def changed(self) -> set[str]:
        """Return, once, the topics of which there is another one of the same name. Never waits; cheap."""
        if self._requests and all(request.done() for request in self._requests.values()):
            self._take_answers(0.0)
        if not self._requests and time.monotonic() - self._requested_at > LOOKUP_INTERVAL_S:
            self._send_request()
        found = {topic for topic, known in self._topics.items() if known.reported_id not in {None, known.id}}
        for known in self._topics.values():
            known.reported_id = known.id
        return found

    def was_replaced(self, topic: str) -> bool:
        """Return whether the topic was created again since it was first looked up."""
        return bool((known := self._topics.get(topic)) and known.former_ids)

    def is_former(self, topic: str, note: str | None) -> bool:
        """Return whether the offset with this note was committed for a topic of this name that is no longer there."""
        known = self._topics.get(topic)
        if known is None or known.id is None:
            return False
        ours = note is not None and note.startswith(NOTE_PREFIX)  # others may note what they like
        return note != topic_note(known.id) if ours else self.was_replaced(topic)

    def _send_request(self) -> None:
        if self._client is None or not self._topics:
            return
        self._requested_at = time.monotonic()
        topics = ck.TopicCollection(list(self._topics))
        self._requests = dict(self._client.describe_topics(topics, request_timeout=ANSWER_TIMEOUT_S))
        for known in self._topics.values():
            known.was_asked = True

    def _take_answers(self, timeout_s: float) -> dict[str, KafkaException]:
        """Take the answers up, and return why there is none, by topic."""
        until = time.monotonic() + timeout_s
        errors: dict[str, KafkaException] = {}
        for topic, request in list(self._requests.items()):
            try:
                found = str(request.result(max(0.0, until - time.monotonic())).topic_id)
            except TimeoutError:
                errors[topic] = KafkaException(ck.KafkaError(TIMED_OUT))
                continue
            except KafkaException as error:
                errors[topic] = error
            else:
                self._note_id(topic, found)
            del self._requests[topic]
        return errors

    def _note_id(self, topic: str, found: str) -> None:
        """Note an id, unless it is a former one: a broker that lags may still give that."""
        known = self._topics.get(topic)
        if known is None or found in {known.id, *known.former_ids}:
            return
        if known.id is not None:
            known.former_ids.add(known.id)
            log.error("topic %r was deleted and created again; offsets of the former one count no longer", topic)
        known.id = found
