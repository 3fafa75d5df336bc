"""Every series is there from the start, says what it counts, and shows the present only."""

from datetime import UTC, datetime

import pytest

from consumer.errors import DEAD_LETTER_REASONS, REFUSAL_REASONS
from consumer.messages import TopicPartition
from consumer.metrics import RELOADS, STAGES, Metrics
from schemas.events import ModelInfo


def series(metrics: Metrics, name: str) -> list[dict[str, str]]:
    return [s.labels for family in metrics.registry.collect() for s in family.samples if s.name == name]


@pytest.mark.parametrize(
    ("name", "label", "values"),
    [
        ("occustream_dead_letters_total", "reason", DEAD_LETTER_REASONS),
        ("occustream_decisions_total", "decision", ("accept", "review", "unclassified")),
        ("occustream_batches_total", "trigger", ("count", "bytes", "age", "drain")),
        ("occustream_stage_seconds_count", "stage", STAGES),
        ("occustream_revokes_total", "kind", ("revoked", "lost")),
    ],
)
def test_a_rate_misses_no_first_increase_because_every_series_starts_at_zero(
    name: str, label: str, values: tuple[str, ...]
) -> None:
    metrics = Metrics()
    assert series(metrics, name) == [{label: value} for value in values]
    assert all(metrics.registry.get_sample_value(name, {label: value}) == 0 for value in values)


def test_every_outcome_of_a_reload_starts_at_zero_with_each_of_its_reasons() -> None:
    metrics = Metrics()
    assert series(metrics, "occustream_reloads_total") == [{"outcome": outcome, "reason": reason} for outcome, reason in RELOADS]
    assert {reason for outcome, reason in RELOADS if outcome != "loaded"} == set(REFUSAL_REASONS)


def test_every_metric_has_our_prefix_a_unit_and_a_help_text() -> None:
    for family in Metrics().registry.collect():
        assert family.documentation, family.name
        if not family.name.startswith(("process_", "python_")):
            name = f"{family.name}_total" if family.type == "counter" else family.name
            assert name.startswith("occustream_")
            assert name.endswith(
                ("_total", "_seconds", "_messages", "_size", "_info", "_blocked", "_ready", "_share", "_partitions")
            ), name


def test_one_model_is_shown_as_the_one_in_service() -> None:
    metrics = Metrics()
    for version in ("v1", "v2"):
        metrics.serving(
            ModelInfo(version=version, encoder_id="e", taxonomy_version="t", trained_at=datetime(2025, 1, 1, tzinfo=UTC))
        )
    assert series(metrics, "occustream_model_info") == [{"version": "v2", "encoder_id": "e", "taxonomy_version": "t"}]
    assert metrics.registry.get_sample_value("occustream_model_trained_at_timestamp_seconds") == 1_735_689_600


def test_the_lag_of_partitions_that_went_away_is_no_longer_shown() -> None:
    metrics = Metrics()
    metrics.lags({TopicPartition("in", 0): 5, TopicPartition("in", 1): 6})
    metrics.lags({TopicPartition("in", 1): 7})
    assert series(metrics, "occustream_lag_messages") == [{"topic": "in", "partition": "1"}]
    assert metrics.registry.get_sample_value("occustream_lag_messages", {"topic": "in", "partition": "1"}) == 7


def test_a_stage_is_counted_once_per_micro_batch() -> None:
    metrics = Metrics()
    for _ in range(3):
        with metrics.stage("decode"):
            pass
    counts = {s: metrics.registry.get_sample_value("occustream_stage_seconds_count", {"stage": s}) for s in STAGES}
    assert counts == {"decode": 3, "score": 0, "encode": 0, "produce": 0}
