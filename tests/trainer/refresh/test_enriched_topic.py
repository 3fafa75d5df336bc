"""Enriched events are counted and shown, and a restart does not forget the reference for drift."""

import math
from collections.abc import Callable, Sequence
from functools import partial

import pytest

from consumer.memory_broker import MemoryBroker, MemorySource
from tests.trainer.refresh.conftest import TOPIC, ServiceFolders, event
from trainer.refresh.drift import DriftLimits, DriftMonitor, Reference, WindowFigures
from trainer.refresh.drift_reference import read_reference, write_reference
from trainer.refresh.enriched_topic import EnrichedTopic
from trainer.refresh.metrics import Metrics


def test_enriched_events_are_summed_up_and_shown(empty_folders: ServiceFolders) -> None:
    broker, group = MemoryBroker({TOPIC.topic: 1}), "g"
    for score in (0.5, 0.7):
        broker.append(TOPIC, event(score=score, decision="review").model_dump_json().encode())
    broker.append(TOPIC, b"no event")
    broker.append(TOPIC, None, key=b"a posting that is gone")
    monitor = DriftMonitor(2, DriftLimits())
    reader = EnrichedTopic(MemorySource(broker, topic=TOPIC.topic, group_id=group), monitor, lambda: "v1", empty_folders.metrics)
    reader.start()
    assert reader.read(0.1) == 4
    assert (
        empty_folders.read_metric("unsure_ratio"),
        empty_folders.read_metric("similarity"),
        empty_folders.read_metric("drift_psi", by="group"),
    ) == (1.0, 0.6, 0.0)
    assert empty_folders.read_metric("enriched_total", outcome="invalid") == 1
    assert empty_folders.read_metric("enriched_total", outcome="delete") == 1
    assert broker.committed[group, TOPIC] == 4


def test_no_window_is_shown_before_there_is_one_and_none_of_another_version() -> None:
    metrics, window = Metrics(), WindowFigures(2, 0.5, 0.7, {"29": 1.0}, {"29-1141.00": 1.0})

    def shown() -> list[float | None]:
        value = metrics.registry.get_sample_value
        drift = value("occustream_trainer_drift_psi", {"by": "group"})
        return [value("occustream_trainer_unsure_ratio"), value("occustream_trainer_similarity"), drift]

    for version in ("v1", "v2"):
        metrics.show_version(version)
        assert shown() == [pytest.approx(math.nan, nan_ok=True), pytest.approx(math.nan, nan_ok=True), None]
        metrics.show_window(window, {"group": 0.3})
        metrics.show_version(version)
        assert shown() == [0.5, 0.7, 0.3]


def test_drift_is_measured_against_the_same_window_before_and_after_a_restart(empty_folders: ServiceFolders) -> None:
    broker, path = MemoryBroker({TOPIC.topic: 1}), empty_folders.root / "drift.json"
    memory = partial(write_reference, path)

    def read(code: str, *, store: Callable[[Reference], None] = memory) -> Sequence[str]:
        """What a service that is started, reads one window of `code` and ends says of it."""
        for _ in range(2):
            broker.append(TOPIC, event(code).model_dump_json().encode())
        monitor = DriftMonitor(2, DriftLimits(), read_reference(path, events=2))
        source = MemorySource(broker, topic=TOPIC.topic, group_id="g")
        reader = EnrichedTopic(source, monitor, lambda: "v1", empty_folders.metrics, store_reference=store)
        reader.start()
        reader.read(0.1)
        reader.close()
        return monitor.reasons

    def full(_reference: Reference) -> None:
        raise OSError("no space left on the device")

    nurse, cook = "29-1141.00", "35-2014.00"
    assert read(cook, store=full) == []  # goes on, and is forgotten
    assert not path.exists()
    assert [bool(read(code)) for code in (nurse, nurse, cook, nurse)] == [False, False, True, False]
    path.write_text("{")
    assert [bool(read(code)) for code in (cook, cook, nurse)] == [False, False, True]
