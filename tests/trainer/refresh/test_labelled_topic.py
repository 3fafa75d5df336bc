"""Labelled messages are stored once, before their offsets are committed, and trained on."""

import json

import pytest

from consumer.errors import BackgroundFailed, BrokerError
from consumer.memory_broker import MemoryBroker
from tests.support.training_data import POSTINGS
from tests.support.waiting import wait_until
from tests.trainer.refresh.conftest import NEW, TOPIC, ServiceFolders, message, start_topic, stored_titles
from trainer.refresh.topic_thread import TopicThread


def test_labelled_messages_are_stored_and_others_are_counted(empty_folders: ServiceFolders) -> None:
    broker = MemoryBroker({TOPIC.topic: 1})
    for value in (
        message("RN"),
        b"\xff",
        None,
        b"[]",
        message(""),
        message("\ud800"),
        b"[" * 100_000,
        message("Chef", "35-2014.00"),
    ):
        broker.append(TOPIC, value)
    reader = start_topic(broker, empty_folders)
    reader.read_to_end(lambda: False)
    reader.close()
    assert stored_titles(empty_folders) == ["RN", "Chef"]
    assert broker.committed["g", TOPIC] == 8
    assert empty_folders.read_metric("labelled_total", outcome="invalid") == 6


def test_a_row_is_on_the_disk_before_its_offset_is_committed_and_is_stored_once(empty_folders: ServiceFolders) -> None:
    broker = MemoryBroker({TOPIC.topic: 1})
    for title in ("RN", "RN", "CNA"):
        broker.append(TOPIC, message(title))

    def crash(at: str) -> None:
        if at == "before:commit":
            raise BrokerError("gone")

    with pytest.raises(BrokerError):
        start_topic(broker, empty_folders, crash).read(0.1)
    assert stored_titles(empty_folders) == ["RN", "RN", "CNA"]
    assert broker.committed["g", TOPIC] == 0
    path = empty_folders.root / "state" / "labelled.jsonl"
    path.write_bytes(path.read_bytes()[:-5])  # and the machine lost power
    start_topic(broker, empty_folders).read(0.1)
    assert stored_titles(empty_folders) == ["RN", "RN", "CNA"]
    assert broker.committed["g", TOPIC] == 3
    assert empty_folders.read_metric("labelled_total", outcome="again") == 2


def test_a_message_is_read_as_a_row_of_a_file_is(empty_folders: ServiceFolders) -> None:
    broker = MemoryBroker({TOPIC.topic: 1})
    for fields in (
        {"title": "Job fair", "ONET_NAME": "Unclassified"},
        {"ID": 7, "title": "RN", "ONET": "29-1141.00", "BODY": None},
    ):
        broker.append(TOPIC, json.dumps(fields).encode())
    start_topic(broker, empty_folders).read_to_end(lambda: False)
    rows = [json.loads(line) for line in (empty_folders.root / "state" / "labelled.jsonl").read_bytes().splitlines()]
    assert [(row["title"], row["onet_code"]) for row in rows] == [("Job fair", "Unclassified"), ("RN", "29-1141.00")]
    assert rows[1]["posting_id"] == "7"
    assert not empty_folders.read_metric("labelled_total", outcome="invalid")


def test_rows_from_the_topic_are_trained_on(folders: ServiceFolders) -> None:
    broker = MemoryBroker({TOPIC.topic: 1})
    for title, code in NEW:
        broker.append(TOPIC, message(title, code))
    start_topic(broker, folders).read_to_end(lambda: False)
    assert folders.service().refresh_if_due() == "promoted"
    assert folders.read_metric("rows") == len(POSTINGS) + len(NEW)


def has_died(thread: TopicThread) -> bool:
    try:
        thread.check()
    except BackgroundFailed:
        return True
    return False


def test_a_reading_thread_that_dies_ends_the_service(folders: ServiceFolders) -> None:
    def crash(at: str) -> None:
        if at == "before:poll":
            raise BrokerError("gone")

    reading = TopicThread("labelled", start_topic(MemoryBroker({TOPIC.topic: 1}), folders))
    broken = TopicThread("labelled", start_topic(MemoryBroker({TOPIC.topic: 1}), folders, crash))
    try:
        reading.start()
        broken.start()
        wait_until(lambda: has_died(broken), "the thread dies")
        reading.check()
        with pytest.raises(BackgroundFailed, match="labelled"):
            folders.service().run(lambda _seconds: None, broken.check)
    finally:
        reading.stop()
