"""The check of the fault suite's findings reports every fault, and the strikes come when they should."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from consumer.messages import Message
from faults.cluster import java_hash
from faults.feed import ENRICHED, EXPECT
from faults.findings_check import compare
from faults.strikes import StepCounter, Strike

PARTITIONS = 2
COUNT = 20
Records = list[Message]


def inputs() -> Records:
    """Ten messages in each of two partitions; the fifth of each is no JSON."""
    return [
        Message("in", p, offset, b"key", b"value", ((EXPECT, b"not_json" if offset == 4 else ENRICHED.encode()),))
        for p in range(PARTITIONS)
        for offset in range(COUNT // PARTITIONS)
    ]


def record(origin: Message, reason: str | None = None) -> Message:
    """Return the record that a consumer makes of a message."""
    if reason is None:
        origin_headers = [("occustream.event-id", origin.event_id)]
    else:
        fields = {"reason": reason, "topic": origin.topic, "partition": origin.partition, "offset": origin.offset}
        origin_headers = [(f"dead-letter.{name}", str(value)) for name, value in fields.items()]
    headers = (*origin.headers, *((name, text.encode()) for name, text in origin_headers))
    return replace(origin, topic="out", offset=origin.offset, headers=headers)


def correct_records() -> tuple[Records, Records, Records]:
    sent = inputs()
    return sent, [record(m) for m in sent if m.offset != 4], [record(m, "not_json") for m in sent if m.offset == 4]


def test_correct_records_have_no_problems() -> None:
    findings = compare(*correct_records())
    assert (findings.sent, findings.out, findings.distinct, findings.dead_letters_right) == (COUNT, COUNT, COUNT, 2)
    assert findings.problems(exactly_once=True) == []


def swap_first_two(records: Records) -> Records:
    return [records[1], records[0], *records[2:]]


FAULTS: dict[str, tuple[Callable[[Records, Records], tuple[Records, Records]], str]] = {
    "a record is not there": (lambda out, dead: (out[1:], dead), "1 lost; the first lost: in:0:0"),
    "a dead letter is not there": (lambda out, dead: (out, dead[1:]), "1 lost; the first lost: in:0:4"),
    "a record nobody sent": (lambda out, dead: ([*out, record(replace(out[0], topic="in", offset=99))], dead), "1 invented"),
    "two records in the wrong order": (lambda out, dead: (swap_first_two(out), dead), "1 out of order"),
    "another key": (lambda out, dead: ([replace(out[0], key=b"other"), *out[1:]], dead), "1 changed"),
    "another partition": (lambda out, dead: ([replace(out[0], partition=1), *out[1:]], dead), "1 changed"),
    "a dead letter's bytes": (lambda out, dead: (out, [replace(dead[0], value=b"valu"), dead[1]]), "1 changed"),
    "another reason": (lambda out, dead: (out, [record(inputs()[4], "not_utf8"), dead[1]]), "1 dead letters wrong"),
    "a good one among the dead letters": (
        lambda out, dead: (out[1:], [record(inputs()[0], "not_json"), *dead]),
        "1 dead letters wrong",
    ),
    "a bad one enriched": (lambda out, dead: ([*out[:4], record(inputs()[4]), *out[4:]], dead[1:]), "1 dead letters wrong"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_reported_by_its_name(fault: str) -> None:
    damage, problem = FAULTS[fault]
    sent, out, dead = correct_records()
    assert compare(sent, *damage(out, dead)).problems(exactly_once=False) == problem.split("; ")


def test_a_duplicate_is_a_problem_only_with_exactly_once_delivery() -> None:
    sent, out, dead = correct_records()
    findings = compare(sent, [*out[:3], *out[1:]], dead)
    assert findings.duplicates == 2
    assert findings.problems(exactly_once=False) == []
    assert findings.problems(exactly_once=True) == ["2 duplicates"]


def test_a_strike_comes_once_at_its_count_of_steps_and_never_before_a_message(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    struck: list[Strike] = []
    monkeypatch.setattr(Strike, "strike", lambda strike: struck.append(strike))
    strike = Strike("score", 2)
    steps = StepCounter([strike])
    for step in ("score", "score", "poll", "score", "commit"):
        steps.count(step)  # type: ignore[arg-type]
    assert struck == []
    steps.count("score")
    steps.count("score")
    assert struck == [strike]


def test_the_partition_of_a_group_is_the_one_that_kafka_used() -> None:
    assert java_hash("hello") == 99_162_322
    seen = {"group-8a661c81": 3, "group-a04f537e-slot-0": 3}  # of five; both hash codes are negative
    assert {name: java_hash(name) % 5 for name in seen} == seen
