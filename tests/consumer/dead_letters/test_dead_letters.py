"""Dead letters as read, filtered, printed and sent back: each once, nothing lost, no loop, nothing that fools a terminal."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.__main__ import main
from consumer.dead_letter_record import DeadLetter
from consumer.dead_letters.filter import Filter
from consumer.dead_letters.replay import MAX_BYTES, MAX_COUNT, ReplayOptions, plan_replay, replay
from consumer.dead_letters.terminal import (
    MAX_VALUE_CHARS,
    escape,
    format_details,
    format_line,
    format_table,
    format_time,
    to_json_fields,
)
from consumer.dead_letters.topic import RECEIPT_HEADER, DeadLetterTopic
from consumer.errors import ConfigError, DeadLetterReason, DeliveryFailed, InvalidMessage
from consumer.memory_broker import MemoryBroker, MemorySink, MemorySource, MemoryTransactions
from consumer.messages import Headers, Message, TopicPartition
from tests.consumer.delivery.test_too_large import LimitedTransactions
from tests.support.messages import DEAD, IN, OUT, event_id, make_codec, posting_bytes
from tests.support.pipeline import Clock, make_pipeline, memory_broker

ALL = Filter({})


def add_dead_letter(broker: MemoryBroker, message: Message, reason: DeadLetterReason = "not_json", **changes: Any) -> None:
    """Write the dead letter of a message."""
    given = {"stage": "decode", "model_version": "v1", **changes}
    record = make_codec().dead_letter(message, InvalidMessage(reason, "no"), **given)
    broker.append(TopicPartition(DEAD, record.input_partition), record.value, key=record.key, headers=record.headers)


def broker_with(count: int, *, partitions: int = 3) -> MemoryBroker:
    """Return a broker with `count` dead letters, their offsets in the input 100, 101..."""
    broker = memory_broker(partitions)
    for number in range(count):
        add_dead_letter(
            broker, Message(IN, number % partitions, 100 + number, b"k%d" % number, b"\xff%d" % number, (("n", b"1"),), 5)
        )
    return broker


def letters(broker: MemoryBroker) -> DeadLetterTopic:
    def read(ranges: Mapping[int, range] | None) -> Iterator[Message]:
        for message in broker.messages(DEAD):
            if ranges is None or message.offset in ranges.get(message.partition, range(0)):
                yield message

    return DeadLetterTopic(read)


def options(**given: Any) -> ReplayOptions:
    return ReplayOptions(**{"dead_letter_topic": DEAD, "filter": ALL, "max_attempts": 3, **given})


def send(broker: MemoryBroker, **given: Any) -> int:
    return replay(letters(broker), MemoryTransactions(broker), options(**given))


def letter(**changes: Any) -> DeadLetter:
    given = {
        "reason": "not_json", "error": "no", "error_class": "E", "stage": "decode", "attempt": 1, "topic": IN, "partition": 0,
        "offset": 1, "timestamp_ms": 0, "app_version": "0", "model_version": "v1",
        "message": Message(DEAD, 0, 0, b"k", b"v", (), 1_000),
    }  # fmt: skip
    return DeadLetter(**{**given, **changes})


# ---- reading and choosing -------------------------------------------------------------------------------------------


def test_letters_are_told_from_receipts_and_from_what_others_wrote() -> None:
    broker = broker_with(5)
    broker.append(TopicPartition(DEAD, 1), b"not ours", headers=(("dead-letter.reason", b"x"),))
    broker.append(TopicPartition(DEAD, 1), b"{}", headers=((RECEIPT_HEADER, b"1"),))
    send(broker)
    read = letters(broker)
    assert [each.offset for each in read] == [100, 103, 101, 104, 102]
    assert read.others == 2
    assert all(read.was_replayed(each) for each in read)


@pytest.mark.parametrize(
    "value", [b"", b"[]", b'{"replayed":[1e999]}', b'{"replayed":[Infinity]}', b"[" * 100_000, b'{"replayed":[0,1,2]}']
)
def test_a_letter_of_what_looks_like_a_receipt_is_a_letter_and_hides_no_other(value: bytes) -> None:
    broker = broker_with(3, partitions=1)
    add_dead_letter(broker, Message(IN, 0, 103, None, value, ((RECEIPT_HEADER, b"1"),), 5))
    if b"replayed" not in value or b"1e" in value or b"I" in value:
        broker.append(TopicPartition(DEAD, 0), value, headers=((RECEIPT_HEADER, b"1"),))
    read = letters(broker)
    assert [each.offset for each in read] == [100, 101, 102, 103]
    assert not any(read.was_replayed(each) for each in read)


@pytest.mark.parametrize(
    ("given", "matches"),
    [
        ([], True),
        (["reason=not_json"], True),
        (["reason=no_title"], False),
        (["reason=no_title,reason=not_json"], True),
        (["reason=not_json", "stage=score"], False),
        (["reason=not_json, topic=postings.raw", "stage=decode,model-version=v1,error-class=E,app-version=0,attempt=1"], True),
        (["since=1970-01-01"], True),
        (["since=1970-01-01T00:00:02"], False),
        (["since=1970-01-01T01:00:01+01:00"], True),
        (["until=1970-01-01T00:00:01"], False),
        (["until=1970-01-01T00:00:02Z"], True),
        (["since=58s,until=57s"], False),
        (["since=60s,until=58s"], True),
        (["since=1d"], True),
        (["since=999999d"], True),
    ],
)
def test_a_filter_takes_what_its_story_says_and_when_it_was_written(given: list[str], matches: bool) -> None:
    assert Filter.parse(given, now_ms=60_000).matches(letter()) is matches


@pytest.mark.parametrize("wrong", ["reason", "colour=red", "=x", "since=yesterday", "until=2026-13-01", "since="])
def test_a_filter_that_is_not_understood_says_how_to_write_one(wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"NAME=VALUE|24h"):
        Filter.parse([wrong])


# ---- sending back ---------------------------------------------------------------------------------------------------


def test_a_replay_sends_the_message_as_it_was_to_its_partition_with_two_more_headers() -> None:
    broker = broker_with(7)
    assert send(broker) == 7
    for partition in range(3):
        back = broker.logs[TopicPartition(IN, partition)]
        assert [int((m.key or b"")[1:]) for m in back] == list(range(partition, 7, 3))
        for message in back:
            number = int((message.key or b"")[1:])
            assert message.value == b"\xff%d" % number
            told: Headers = (
                ("dead-letter.attempt", b"1"),
                ("dead-letter.replay-of", b"%s:%d:%d" % (IN.encode(), partition, 100 + number)),
            )
            assert message.headers == (("n", b"1"), *told)


def test_a_second_replay_sends_nothing_twice_and_a_filter_leaves_the_rest_for_later() -> None:
    broker = broker_with(4)
    add_dead_letter(broker, Message(IN, 0, 999, None, b"v"), "not_scored")
    assert send(broker, filter=Filter.parse(["reason=not_scored"])) == 1
    assert send(broker) == 4
    assert send(broker) == 0
    assert plan_replay(letters(broker), options()).replayed == 5
    assert len(broker.messages(IN)) == 5


@pytest.mark.parametrize("where", ["before:transact", "after:transact"])
@pytest.mark.parametrize("stopped_at", range(4))
def test_a_replay_that_is_cut_off_anywhere_and_run_again_sends_each_letter_once(where: str, stopped_at: int) -> None:
    broker, calls = broker_with(40), iter(range(100))

    def fault(name: str) -> None:
        if name == where and next(calls) == stopped_at:
            raise DeliveryFailed("cut off")

    with pytest.raises(DeliveryFailed):
        replay(letters(broker), MemoryTransactions(broker, fault=fault), options(rate=10), sleep=lambda _: None)
    sent = len(broker.messages(IN))
    assert sent == 10 * (stopped_at + (where == "after:transact"))
    assert send(broker) == 40 - sent
    assert sorted(int((m.key or b"")[1:]) for m in broker.messages(IN)) == list(range(40))


def test_what_has_been_a_dead_letter_too_often_is_kept_and_told() -> None:
    broker = memory_broker()
    for attempt in range(5):
        add_dead_letter(broker, Message(IN, 0, attempt, None, b"v", (("dead-letter.attempt", b"%d" % attempt),)))
    planned = plan_replay(letters(broker), options())
    assert (planned.to_send, list(planned.kept.values())) == ({IN: 2}, [3])
    assert "3 times or more already (--max-attempts)" in next(iter(planned.kept))
    assert send(broker) == 2


def test_no_letter_is_sent_to_the_dead_letter_topic() -> None:
    broker = memory_broker()
    add_dead_letter(broker, Message(DEAD, 0, 5, None, b"v"))
    assert send(broker) == 0
    assert sum(plan_replay(letters(broker), options()).kept.values()) == 1
    assert send(broker, to=OUT) == 1


def test_a_message_that_stays_bad_comes_back_twice_and_then_rests() -> None:
    broker = memory_broker(1)
    broker.append(TopicPartition(IN, 0), b"nonsense")
    broker.append(TopicPartition(IN, 0), posting_bytes("Nurse"))

    def consume() -> None:
        stops = iter([False] * 6)
        source = MemorySource(broker, topic=IN, group_id="g")
        make_pipeline(source, MemorySink(broker), batch=1, stop=lambda: next(stops, True)).run()

    sent = []
    for _ in range(5):
        consume()
        sent.append(send(broker))
    assert sent == [1, 1, 0, 0, 0]
    assert [each.attempt for each in letters(broker)] == [1, 2, 3]
    assert [event_id(m) for m in broker.messages(OUT)] == [f"{IN}:0:1"]


def test_letters_that_come_in_meanwhile_are_left_for_the_next_time() -> None:
    broker = broker_with(30)

    def fail_again(_sent: int) -> None:
        add_dead_letter(broker, broker.messages(IN)[-1])

    rate = {"rate": 10, "filter": ALL}
    assert replay(letters(broker), MemoryTransactions(broker), options(**rate), on_sent=fail_again, sleep=lambda _: None) == 30
    assert plan_replay(letters(broker), options()).to_send.total() == 3


def test_letters_that_came_in_since_they_were_looked_through_are_left_too() -> None:
    broker = broker_with(2, partitions=1)
    read = letters(broker)
    add_dead_letter(broker, Message(IN, 0, 999, None, b"v"))
    assert [each.offset for each in read] == [100, 101]


@pytest.mark.parametrize(("rate", "seconds"), [(10.0, 9.0), (0.5, 198.0), (1_000.0, 0.0), (1e300, 0.0)])
def test_no_more_than_the_rate_is_sent(rate: float, seconds: float) -> None:
    broker, clock = broker_with(100), Clock()
    seen: list[tuple[float, int]] = []

    def sleep(pause_s: float) -> None:
        clock.now_s += pause_s

    def sent_by_now(sent: int) -> None:
        seen.append((clock.now_s, sent))

    begun = clock.now_s
    replay(letters(broker), MemoryTransactions(broker), options(rate=rate), clock=clock, sleep=sleep, on_sent=sent_by_now)
    assert clock.now_s - begun == pytest.approx(seconds)
    assert all(sent <= rate * (at - begun) + max(rate, 1) for at, sent in seen)


def test_a_transaction_has_no_more_than_it_can_write_in_time() -> None:
    class Watched(MemoryTransactions):
        sizes: tuple[tuple[int, int], ...] = ()

        def transact(self, records: Any, offsets: Any, group: object) -> None:
            self.sizes += ((len(records), sum(record.size_bytes for record in records)),)
            super().transact(records, offsets, group)

    broker = memory_broker(1)
    for number in range(MAX_COUNT + 10):
        add_dead_letter(broker, Message(IN, 0, number, None, b"v" * 10))
    for number in range(5):
        add_dead_letter(broker, Message(IN, 0, number, None, b"v" * (MAX_BYTES // 2 - 10_000)))
    sink = Watched(broker)
    assert replay(letters(broker), sink, options()) == MAX_COUNT + 15
    assert max(count for count, _ in sink.sizes) <= MAX_COUNT + 1
    assert max(size for _, size in sink.sizes) <= MAX_BYTES + 10_000
    assert len(sink.sizes) == 4


def test_what_is_larger_than_its_topic_takes_is_left_and_the_rest_is_sent() -> None:
    broker = memory_broker(1)
    for number in range(20):
        add_dead_letter(broker, Message(IN, 0, number, None, b"v" * (4_000 if number in (7, 19) else 10)))
    sink = LimitedTransactions(broker)
    assert replay(letters(broker), sink, options(to=OUT)) == 18
    assert len(broker.messages(OUT)) == 18
    assert plan_replay(letters(broker), options()).to_send.total() == 2


# ---- printing -------------------------------------------------------------------------------------------------------


@given(st.text(st.characters()), st.binary(), st.binary())
def test_nothing_in_a_letter_moves_the_cursor_or_passes_for_a_line_of_ours(text: str, key: bytes, value: bytes) -> None:
    each = letter(error=text, reason=text, message=Message(DEAD, 0, 0, key, value, ((text, value),), 1))
    shown = [format_line(each, replayed=False), *format_details(each, replayed=True).split("\n"), escape(text)]
    assert all(part.isprintable() for part in shown)
    values = format_details(each, replayed=True).partition("value: ")[2].split("\n")[1:]
    assert all(part.startswith(("  | ", "  ... ")) for part in values)
    json.dumps(to_json_fields(each, replayed=False)).encode()


def test_a_huge_value_is_cut_with_a_note_and_a_missing_one_is_named() -> None:
    told = format_details(letter(message=Message(DEAD, 0, 0, None, b"x" * (MAX_VALUE_CHARS + 1_234), (), 1)), replayed=False)
    assert len(told) < MAX_VALUE_CHARS + 1_000
    assert told.endswith("... 1,234 more characters; --raw writes all bytes")
    tombstone = letter(message=Message(DEAD, 0, 0, None, None, (), 1))
    assert "value:        none (a tombstone)" in format_details(tombstone, replayed=False)


def test_bytes_that_are_no_text_are_base64_in_json() -> None:
    told = to_json_fields(letter(message=Message(DEAD, 0, 0, None, b"\xff", (), 1)), replayed=True)
    assert (told["key"], told["value_base64"], told["replayed"]) == (None, "/w==", True)
    assert to_json_fields(letter(), replayed=False)["value"] == "v"


def test_columns_are_aligned_and_times_are_utc() -> None:
    assert format_table(("a", "long"), [("22", "b"), ("1", "\x1b")]) == "a   long\n22  b\n1   \\x1b"
    assert format_time(1_735_689_600_000) == "2025-01-01 00:00:00"
    assert format_time(None) == format_time(10**17) == "-"


# ---- the command line -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["list", "--filter", "colour=red"], 2, "--filter takes NAME=VALUE with a NAME of reason"),
        (["replay", "--to", "postings.dead-letters"], 2, "is the dead-letter topic itself"),
        (["list", "--bootstrap-servers", "127.0.0.1:1"], 1, "no Kafka broker answers at '127.0.0.1:1'"),
    ],
)
def test_wrong_use_is_one_line(arguments: list[str], status: int, said: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["dead-letters", *arguments]) == status
    stderr = capfd.readouterr().err
    assert said in stderr
    assert "Traceback" not in stderr


@pytest.mark.parametrize(
    "arguments", [["replay", "--rate", "0"], ["replay", "--rate", "nan"], ["replay", "--max-attempts", "0"], ["show"], []]
)
def test_a_command_line_that_is_not_understood_is_status_2(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["dead-letters", *arguments])
    assert caught.value.code == 2
    assert "usage: " in capfd.readouterr().err


@pytest.mark.parametrize("command", ["list", "show", "replay"])
def test_help_teaches_by_examples(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["dead-letters", command, "--help"])
    assert "occustream-consumer dead-letters replay --filter stage=score --dry-run" in capfd.readouterr().out
