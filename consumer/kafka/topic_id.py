"""Notices that a topic was deleted and created again: it has its old name, and offsets of the former one mean nothing in it.

Every offset that is committed carries the ids of its topic and of its cluster in a note: without it, one that was committed for a
former topic could be taken for one of its successor. In another cluster each topic has another id, and a mirror's offsets count.
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
from consumer.kafka.offset_note import OffsetNote

log = logging.getLogger(__name__)

LOOKUP_INTERVAL_S = 5.0
FIRST_ANSWER_TIMEOUT_S = 0.5
ANSWER_TIMEOUT_S = 3.0


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
        self._at_start = frozenset[str]()
        self._cluster_id: str | None = None
        self._cluster_request: Future[Any] | None = None
        self._requested_at = 0.0

    @property
    def notes(self) -> dict[str, str]:
        """The note of an offset that is committed now, by topic."""
        return {topic: OffsetNote(known.id, self._cluster_id).write() for topic, known in self._topics.items()}

    def start(self, topics: Collection[str]) -> None:
        """Connect and look these up for the first time, briefly. They are looked up to the end, also while they are gone."""
        self._at_start = frozenset(topics)
        self._client = make_client(AdminClient, {"log_level": 3, **self._properties})  # the reader logs lost connections
        self.watch(topics)
        self._send_request()
        self._take_answers(FIRST_ANSWER_TIMEOUT_S)

    def watch(self, topics: Collection[str]) -> None:
        """Look these topics up from now on, too."""
        for topic in topics:
            self._topics.setdefault(topic, TopicIdentity())

    def forget_others(self, topics: Collection[str]) -> None:
        """Look up only these topics from now on, and those of the start."""
        self._topics = {topic: known for topic, known in self._topics.items() if topic in self._at_start.union(topics)}

    def close(self) -> None:
        """Let go of the client here: the garbage collector might do so in the client's own thread, which aborts the process."""
        self._client, self._requests, self._cluster_request = None, {}, None

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
        asked = [*self._requests.values(), *([self._cluster_request] if self._cluster_request else [])]
        if self._requests and all(request.done() for request in asked):
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

    def is_former(self, topic: str, note: OffsetNote) -> bool:
        """Return whether the offset with this note is of a topic that was seen to go: a present one's note would name it."""
        return self.was_replaced(topic) and note.topic_id != self._topics[topic].id

    def is_doubtful(self, topic: str, note: OffsetNote) -> bool:
        """Return whether the offset with this note was committed in this cluster, for another topic of this name.

        That of another cluster is a mirror's, or was restored. Of a note without a cluster nobody knows.
        """
        known = self._topics.get(topic)
        here = self._cluster_id is not None and note.cluster_id == self._cluster_id
        return here and known is not None and known.id not in {None, note.topic_id}

    def _send_request(self) -> None:
        if self._client is None or not self._topics:
            return
        self._requested_at = time.monotonic()
        topics = ck.TopicCollection(list(self._topics))
        self._requests = dict(self._client.describe_topics(topics, request_timeout=ANSWER_TIMEOUT_S))
        self._cluster_request = self._client.describe_cluster(request_timeout=ANSWER_TIMEOUT_S)
        for known in self._topics.values():
            known.was_asked = True

    def _take_answers(self, timeout_s: float) -> dict[str, KafkaException]:
        """Take the answers up, and return why there is none, by topic."""
        until = time.monotonic() + timeout_s
        same_cluster = self._take_cluster(until)
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
                self._note_id(topic, found, same_cluster=same_cluster)
            del self._requests[topic]
        return errors

    def _take_cluster(self, until: float) -> bool:
        """Take up which cluster it is; return whether it is surely the one that it was. In another one, all topics are others."""
        if self._cluster_request is None:
            return False
        try:
            found = self._cluster_request.result(max(0.0, until - time.monotonic())).cluster_id
        except (TimeoutError, KafkaException):
            return False
        if self._cluster_id not in {None, found}:
            log.error(
                "the brokers are of cluster %s now, no longer of %s; what is committed there counts", found, self._cluster_id
            )
            self._topics = {topic: TopicIdentity(was_asked=True) for topic in self._topics}
        self._cluster_id = found
        return True

    def _note_id(self, topic: str, found: str, *, same_cluster: bool) -> None:
        """Note an id, unless it is a former one: a broker that lags may still give that.

        Another id is noted only of the same cluster; it is asked again else.
        """
        known = self._topics.get(topic)
        if known is None or found in {known.id, *known.former_ids}:
            return
        if known.id is not None:
            if not same_cluster:
                return
            known.former_ids.add(known.id)
            log.error("topic %r was deleted and created again; offsets of the former one count no longer", topic)
        known.id = found
