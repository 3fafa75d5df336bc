"""What is known of topics and their cluster, by an admin client whose answers the test gives."""

from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import confluent_kafka as ck
import pytest

from consumer.kafka.offset_note import OffsetNote
from consumer.kafka.topic_id import TopicIds


class Brokers:
    """An admin client; `cluster` None: that is not answered."""

    def __init__(self) -> None:
        self.cluster: str | None = "one"
        self.topic_id = "first"

    def describe_topics(self, topics: ck.TopicCollection, **_: Any) -> dict[str, Future[Any]]:
        return {"jobs": _answered(SimpleNamespace(topic_id=self.topic_id))}

    def describe_cluster(self, **_: Any) -> Future[Any]:
        return Future() if self.cluster is None else _answered(SimpleNamespace(cluster_id=self.cluster))


def _answered(result: object) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(result)
    return future


@pytest.fixture
def brokers(monkeypatch: pytest.MonkeyPatch) -> Brokers:
    made = Brokers()
    monkeypatch.setattr("consumer.kafka.topic_id.make_client", lambda _kind, _properties: made)
    monkeypatch.setattr("consumer.kafka.topic_id.ANSWER_TIMEOUT_S", 0.0)
    return made


@pytest.fixture
def ids(brokers: Brokers) -> TopicIds:
    ids = TopicIds({})
    ids.start(["jobs"])
    assert ids.changed() == set()
    return ids


def test_a_topic_with_another_id_in_the_same_cluster_was_created_again(brokers: Brokers, ids: TopicIds) -> None:
    brokers.topic_id = "second"
    ids.refresh(["jobs"])
    assert (ids.changed(), ids.changed(), ids.was_replaced("jobs")) == ({"jobs"}, set(), True)
    assert ids.is_former("jobs", OffsetNote("first", "one"))
    assert ids.is_former("jobs", OffsetNote())
    assert not ids.is_former("jobs", OffsetNote("second", "one"))


def test_in_another_cluster_no_topic_was_created_again_and_each_offset_counts(brokers: Brokers, ids: TopicIds) -> None:
    brokers.cluster, brokers.topic_id = "two", "second"
    ids.refresh(["jobs"])
    assert (ids.changed(), ids.was_replaced("jobs")) == (set(), False)
    assert not ids.is_doubtful("jobs", OffsetNote("first", "one"))
    assert ids.notes == {"jobs": "cluster-id=two topic-id=second"}


def test_another_id_is_believed_only_once_the_cluster_is_known_to_be_the_same(brokers: Brokers, ids: TopicIds) -> None:
    brokers.cluster, brokers.topic_id = None, "second"
    ids.refresh(["jobs"])
    assert ids.changed() == set()
    brokers.cluster = "one"
    ids.refresh(["jobs"])
    assert ids.changed() == {"jobs"}


def test_topics_of_the_start_are_looked_up_while_they_are_gone_from_a_pattern(brokers: Brokers, ids: TopicIds) -> None:
    ids.forget_others([])
    brokers.topic_id = "second"
    ids.refresh(["jobs"])
    assert ids.was_replaced("jobs")
