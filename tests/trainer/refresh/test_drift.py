"""The stability index is a divergence; a window is compared with the first of its version, which a restart does not forget."""

import json
import math
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.events import EnrichedPosting, JobPosting, ModelInfo, OccupationMatch
from trainer.refresh.drift import DriftLimits, DriftMonitor, Reference, Window, explain_drift, measure_shifts, psi
from trainer.refresh.drift_reference import read_reference, write_reference

LIMITS = DriftLimits()
COUNTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 1_000), min_size=1)
NURSE, COOK = "29-1141.00", "35-2014.00"


def event(
    code: str = NURSE, *, score: float = 0.8, decision: Any = "accept", version: str = "v1", matches: int = 1
) -> EnrichedPosting:
    match = OccupationMatch(rank=1, onet_code=code, onet_title="-", soc_major=code[:2], score=score, probability=0.9)
    return EnrichedPosting(
        event_id="t:0:0",
        posting=JobPosting(posting_id="1", title="x"),
        occupations=(match,) * matches,
        decision=decision,
        model=ModelInfo(version=version, encoder_id="-", taxonomy_version="-", trained_at=datetime(2025, 1, 1, tzinfo=UTC)),
        enriched_at=datetime(2025, 1, 1, tzinfo=UTC),
    )


def window(*events: EnrichedPosting) -> Any:
    made = Window(len(events))
    for each in events:
        made.add(each)
    assert made.full
    return made.figures()


@settings(deadline=None)
@given(COUNTS, COUNTS)
def test_the_index_is_symmetric_never_negative_and_takes_counts_as_shares(a: dict[str, float], b: dict[str, float]) -> None:
    assert psi(a, a) == 0
    assert psi(a, b) >= 0
    assert psi(a, b) == pytest.approx(psi(b, a))
    assert psi({name: count * 7 for name, count in a.items()}, b) == pytest.approx(psi(a, b))


def test_the_index_by_hand() -> None:
    by_hand = (0.75 - 0.5) * math.log(0.75 / 0.5) + (0.25 - 0.5) * math.log(0.25 / 0.5)
    assert psi({"a": 1, "b": 1}, {"a": 3, "b": 1}) == pytest.approx(by_hand) == pytest.approx(0.2747, abs=1e-4)


def test_a_bin_that_was_empty_counts_as_little_not_as_infinite() -> None:
    assert psi({"a": 1}, {"a": 1, "b": 1}) == pytest.approx(0.5 * math.log(2) + (0.5 - 1e-4) * math.log(0.5 / 1e-4))


@pytest.mark.parametrize(("a", "b"), [({}, {"a": 1}), ({"a": 1}, {}), ({"a": 0}, {"a": 1})])
def test_nothing_has_no_distribution(a: dict[str, float], b: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="needs something"):
        psi(a, b)


def test_a_window_by_hand() -> None:
    found = window(event(), event(COOK, score=0.4, decision="review"), event(COOK, score=0.6), event("35-1011.00", score=0.6))
    assert (found.events, found.unsure_share, found.similarity) == (4, 0.25, pytest.approx(0.6))
    assert found.groups == {"29": 0.25, "35": 0.75}
    assert found.codes == {NURSE: 0.25, COOK: 0.5, "35-1011.00": 0.25}


def test_an_event_without_occupations_is_passed_over_and_nothing_has_no_figures() -> None:
    empty = Window(1)
    empty.add(event(matches=0))
    assert not empty.full
    with pytest.raises(ValueError, match="empty"):
        empty.figures()


def test_each_way_of_drifting_has_its_sentence() -> None:
    usual = window(*[event()] * 5, *[event(COOK)] * 5)
    assert explain_drift(usual, usual, LIMITS) == []
    moved = window(*[event(COOK, score=0.5, decision="review")] * 10)
    reasons = explain_drift(moved, usual, LIMITS)
    assert [reason.split(":")[0].split(" rose")[0].split(" fell")[0] for reason in reasons] == [
        "the mix by group moved",
        "the mix by code moved",
        "postings not accepted",
        "the mean similarity of rank 1",
    ]
    assert "rose from 0.000 to 1.000" in reasons[2]
    assert "fell from 0.800 to 0.500" in reasons[3]


def test_better_is_no_drift() -> None:
    weak, strong = window(*[event(score=0.3, decision="review")] * 4), window(*[event(score=0.9)] * 4)
    assert explain_drift(strong, weak, LIMITS) == []


def test_many_rare_codes_are_one_bin() -> None:
    reference = window(*[event()] * 800, *[event(f"35-{i:04d}.00") for i in range(200)])
    others = window(*[event()] * 800, *[event(f"35-{i:04d}.00") for i in range(1000, 1200)])
    assert measure_shifts(others, reference) == {"group": 0.0, "code": pytest.approx(0.0)}


def test_the_first_full_window_of_a_version_is_what_later_ones_are_compared_with() -> None:
    monitor = DriftMonitor(3, LIMITS)
    filled = [monitor.add(event(), in_service="v1") for _ in range(3)]
    assert filled == [False, False, True]
    assert (monitor.reasons, monitor.shifts["group"]) == ([], 0.0)
    for _ in range(3):
        monitor.add(event(COOK), in_service="v1")
    assert monitor.reasons
    monitor.add(event(COOK), in_service="v2")  # made by the old version, after the new one came into service
    assert monitor.reasons == []
    assert [monitor.add(event(COOK, version="v2"), in_service="v2") for _ in range(3)] == [False, False, True]
    assert monitor.reasons == []


def test_a_monitor_goes_on_with_the_reference_of_the_one_before_it() -> None:
    usual = Reference("v1", window(*[event()] * 3))
    monitor = DriftMonitor(3, LIMITS, usual)
    assert not monitor.add(event(COOK), in_service=None)  # the registry has not been looked at yet
    assert [monitor.add(event(COOK), in_service="v1") for _ in range(3)] == [False, False, True]
    assert monitor.reasons
    assert monitor.reference is usual


def test_a_reference_counts_for_its_own_version_only() -> None:
    monitor = DriftMonitor(1, LIMITS, Reference("v1", window(event())))
    assert monitor.add(event(COOK, version="v2"), in_service="v2")
    assert (monitor.reasons, monitor.reference) == ([], Reference("v2", window(event(COOK))))


def test_a_reference_is_read_as_it_was_written(tmp_path: Path) -> None:
    reference = Reference("v1", window(event(), event(COOK, score=0.4, decision="review"), event(COOK, score=-0.1)))
    write_reference(tmp_path / "drift.json", reference)
    assert read_reference(tmp_path / "drift.json", events=3) == reference
    assert read_reference(tmp_path / "drift.json", events=4) is None
    assert [path.name for path in tmp_path.iterdir()] == ["drift.json"]


@pytest.mark.parametrize(
    "change",
    [
        {"groups": {}},
        {"codes": {"11-1011.00": 0.0}},
        {"codes": {"other": 1.0}},
        {"similarity": math.nan},
        {"similarity": 1e308},
        {"events": 0},
        {"version": None},
        {"unsure_share": "much"},
    ],
)
def test_a_reference_that_nothing_can_be_compared_with_is_none(change: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "drift.json"
    write_reference(path, Reference("v1", window(event())))
    assert read_reference(path, events=1)
    path.write_text(json.dumps(json.loads(path.read_bytes()) | change))
    assert read_reference(path, events=1) is None


@pytest.mark.parametrize("content", [None, b"", b"{", b"[]", b"\xff", b"{}"])
def test_a_reference_that_cannot_be_read_is_none(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "drift.json").write_bytes(content)
    assert read_reference(tmp_path / "drift.json", events=1) is None
