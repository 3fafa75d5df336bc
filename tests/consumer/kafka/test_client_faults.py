"""What librdkafka rarely does, provoked by its own means: header names that are no text, connections that break, fatal errors."""

import contextlib
import ctypes
import time
from pathlib import Path
from typing import Any

import confluent_kafka as ck
import pytest
from confluent_kafka import KafkaError

from consumer.errors import BrokerError, DeliveryFailed, RecordTooLarge
from consumer.kafka.convert import to_message
from consumer.kafka.sink import KafkaSink
from consumer.kafka.transactions import KafkaTransactions
from consumer.messages import Record

INIT_PRODUCER_ID, ADD_PARTITIONS, END_TXN = 22, 24, 26
TRANSPORT = -195
COORDINATOR_LOADS, TOPIC_REFUSED, INVALID_STATE = 14, 29, 48
OUT_OF_ORDER = 45
RECORDS = [Record("t", b"k", b"%d" % number, (), 0) for number in range(3)]
MOCK = {"bootstrap.servers": "ignored", "test.mock.num.brokers": 1, "log_level": 6}
Pointer = ctypes.c_void_p


@pytest.fixture(autouse=True)
def _let_clients_make_topics(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each client has a mock cluster of its own, where there is no topic but those that it makes itself."""
    monkeypatch.setattr("consumer.kafka.client.NO_NEW_TOPICS", {})


@pytest.fixture(scope="module")
def library() -> ctypes.CDLL:
    """The librdkafka that the client came with."""
    found = list(Path(ck.__file__).parent.parent.glob("confluent_kafka.libs/librdkafka*"))
    if not found:
        pytest.skip("no librdkafka beside confluent_kafka to provoke")
    return ctypes.CDLL(str(found[0]))


def handle(client: Any) -> Pointer:
    """Return librdkafka's own handle of a client: what follows the head of its Python object."""
    return Pointer.from_address(id(client) + object.__basicsize__)


def message_with_header(library: ctypes.CDLL, name: bytes) -> ck.Message:
    """Return a message as the client gives it out that was sent with a header of this name."""
    owner = ck.Producer(MOCK)
    servers = ",".join(f"{b.host}:{b.port}" for b in owner.list_topics(timeout=10).brokers.values())
    owner.produce("t", b"first", partition=0)
    owner.flush(10)
    library.rd_kafka_headers_new.restype = Pointer
    library.rd_kafka_header_add.argtypes = [Pointer, ctypes.c_char_p, ctypes.c_ssize_t, ctypes.c_char_p, ctypes.c_ssize_t]
    headers = Pointer(library.rd_kafka_headers_new(ctypes.c_size_t(1)))
    assert library.rd_kafka_header_add(headers, name, -1, b"x", 1) == 0
    topic, partition, value, flags, with_headers, end = 1, 3, 4, 7, 10, 0  # of rd_kafka_vtype_t
    number = ctypes.c_int
    arguments = [
        *(number(topic), ctypes.c_char_p(b"t")),
        *(number(partition), ctypes.c_int32(0)),
        *(number(value), ctypes.c_char_p(b"second"), ctypes.c_size_t(6)),
        *(number(flags), number(2)),  # copy the value
        *(number(with_headers), headers),
        number(end),
    ]
    assert library.rd_kafka_producev(handle(owner), *arguments) == 0
    assert library.rd_kafka_flush(handle(owner), 10_000) == 0
    reader = ck.Consumer({"bootstrap.servers": servers, "group.id": "g"})
    reader.assign([ck.TopicPartition("t", 0, 1)])
    found = reader.poll(20)
    reader.close()
    assert found is not None
    assert found.error() is None
    return found


def test_a_header_whose_name_is_no_text_leaves_the_message_readable(library: ctypes.CDLL) -> None:
    good, bad = (message_with_header(library, name) for name in (b"good", b"bad\xff\xfe"))
    for _ in range(1_000):  # until the interpreter has made its calls quick, and checks them less
        to_message(good)
    message = to_message(bad)
    assert message.value == b"second"
    assert message.headers == ()
    assert message.flaw is not None
    assert message.flaw.startswith("the name of a header is not UTF-8: ")


def test_a_header_whose_name_is_text_is_kept(library: ctypes.CDLL) -> None:
    message = to_message(message_with_header(library, "tr\u00e4ger".encode()))
    assert (message.headers, message.flaw) == ((("tr\u00e4ger", b"x"),), None)


@pytest.fixture
def transactions() -> KafkaTransactions:
    made = KafkaTransactions(MOCK, topics=["t"], transactional_id="id")
    made.start()
    return made


def answer(library: ctypes.CDLL, client: Any, request: int, *errors: int) -> None:
    """Let a client's own brokers answer its next requests of a kind with these errors."""
    library.rd_kafka_handle_mock_cluster.restype = Pointer
    library.rd_kafka_mock_push_request_errors_array.argtypes = [Pointer, ctypes.c_int16, ctypes.c_size_t, Pointer]
    cluster = Pointer(library.rd_kafka_handle_mock_cluster(handle(client)))
    array = (ctypes.c_int * len(errors))(*errors)
    library.rd_kafka_mock_push_request_errors_array(cluster, request, len(errors), ctypes.byref(array))


def test_a_connection_that_breaks_while_a_transaction_ends_costs_the_producer(
    library: ctypes.CDLL, transactions: KafkaTransactions, monkeypatch: pytest.MonkeyPatch
) -> None:
    why: list[str] = []
    monkeypatch.setattr(transactions.producer, "discard", why.append)  # a new client would have a mock cluster of its own
    transactions.transact(RECORDS, {}, None)
    assert why == []
    answer(library, transactions.producer.client, END_TXN, TRANSPORT)
    transactions.transact(RECORDS, {}, None)
    assert why == ["a connection broke"], "it was there again at once, and librdkafka told of no error"
    assert transactions.producer.late_until == 0.0, "nothing was asked of the coordinator but by the one that is open"


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> list[tuple[ck.Producer, dict[str, Any]]]:
    """The producers that are made, each with its properties."""
    made: list[tuple[ck.Producer, dict[str, Any]]] = []
    make = ck.Producer

    def noted(properties: dict[str, Any], logger: Any) -> ck.Producer:
        made.append((make(properties, logger=logger), properties))
        return made[-1][0]

    monkeypatch.setattr(ck, "Producer", noted)
    return made


def test_an_error_between_transactions_does_not_end_a_producer_that_is_not_renewed(
    library: ctypes.CDLL, clients: list[tuple[ck.Producer, dict[str, Any]]]
) -> None:
    sink = KafkaTransactions(MOCK, topics=["t"], transactional_id="id", renewed=False)
    sink.start()
    clients[0][1]["error_cb"](KafkaError(KafkaError._TRANSPORT))
    sink.transact(RECORDS, {}, None)
    assert sink.producer.state == "open", "it was before, of a broker that nothing was asked of, say"
    answer(library, sink.producer.client, END_TXN, TRANSPORT)
    sink.transact(RECORDS, {}, None)
    with pytest.raises(DeliveryFailed, match="given up: a connection broke"):
        sink.transact(RECORDS, {}, None)


def test_a_connection_that_breaks_while_a_producer_is_opened_costs_it_too(library: ctypes.CDLL) -> None:
    sink = KafkaTransactions({**MOCK, "log.connection.close": False}, topics=["t"], transactional_id="id")
    sink.look_up(["t"])
    first = sink.producer.client
    answer(library, first, INIT_PRODUCER_ID, TRANSPORT)
    sink.transact(RECORDS, {}, None)
    assert sink.producer.client is not first, "for a while librdkafka would keep silent about the next break"
    assert sink.producer.late_until > time.monotonic(), "the coordinator may have been asked twice"


def test_a_new_producer_is_opened_before_there_is_anything_to_write(transactions: KafkaTransactions) -> None:
    transactions.producer.discard("for a test")
    states: list[str] = [transactions.producer.state]
    deadline = time.monotonic() + 30
    while states[-1] != "open":
        assert time.monotonic() < deadline
        transactions.poll(0.1)
        states.append(transactions.producer.state)
    assert states[0] == "opening"
    transactions.transact(RECORDS, {}, None)


def test_a_producer_goes_on_opening_where_it_was_cut_short_but_not_for_good(
    library: ctypes.CDLL, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = KafkaTransactions(MOCK, topics=["t"], transactional_id="id", open_timeout_s=0.2)
    sink.look_up(["t"])
    first = sink.producer.client
    answer(library, first, INIT_PRODUCER_ID, *[COORDINATOR_LOADS] * 4)
    with pytest.raises(DeliveryFailed, match="no coordinator for the transactional id 'id'"):
        sink.transact(RECORDS, {}, None)
    assert sink.producer.client is first, "another client's request might be answered before this one's, which would shut it out"
    for _ in range(100):
        with contextlib.suppress(DeliveryFailed):
            sink.transact(RECORDS, {}, None)
            break
    assert sink.producer.state == "open"
    assert sink.producer.client is first

    sink.poll(0.0)
    sink.producer.discard("for a test")
    second = sink.producer.client
    answer(library, second, INIT_PRODUCER_ID, *[COORDINATOR_LOADS] * 4)
    monkeypatch.setattr("consumer.kafka.transactional_producer.OPEN_ANEW_S", 0.0)
    with pytest.raises(DeliveryFailed, match="no coordinator"):
        sink.transact(RECORDS, {}, None)
    assert sink.producer.client is not second
    assert sink.producer.late_until > time.monotonic(), "its request may come late, and shut the new one out"


def test_a_transaction_that_the_coordinator_never_knew_costs_its_client_and_no_more(
    library: ctypes.CDLL, transactions: KafkaTransactions
) -> None:
    answer(library, transactions.producer.client, ADD_PARTITIONS, TOPIC_REFUSED)
    answer(library, transactions.producer.client, END_TXN, INVALID_STATE)
    first = transactions.producer.client
    with pytest.raises(DeliveryFailed, match=r"does not take a record|authorization"):
        transactions.transact(RECORDS, {}, None)
    assert transactions.producer.client is not first
    transactions.transact(RECORDS, {}, None)


def kill(library: ctypes.CDLL, client: Any) -> None:
    library.rd_kafka_test_fatal_error.argtypes = [Pointer, ctypes.c_int, ctypes.c_char_p]
    assert library.rd_kafka_test_fatal_error(handle(client), OUT_OF_ORDER, b"a record is missing") == 0


def test_a_producer_that_failed_for_good_says_so_whatever_is_asked_of_it(
    library: ctypes.CDLL, clients: list[tuple[ck.Producer, dict[str, Any]]]
) -> None:
    sink = KafkaSink(MOCK, topics=["t"])
    sink.start()
    kill(library, clients[0][0])
    with pytest.raises(BrokerError, match=r"the producer failed for good: .*start the consumer again") as told:
        sink.produce(RECORDS[0], lambda _error: None)
    assert not isinstance(told.value, DeliveryFailed)
    with pytest.raises(BrokerError, match="a record is missing"):
        sink.poll(5.0)


def test_a_transactional_producer_that_failed_for_good_is_not_made_anew(
    library: ctypes.CDLL, transactions: KafkaTransactions
) -> None:
    kill(library, transactions.producer.client)
    with pytest.raises(BrokerError, match="failed for good") as told:
        transactions.transact(RECORDS, {}, None)
    assert not isinstance(told.value, DeliveryFailed)


def test_a_producer_does_not_complain_of_what_a_member_of_the_group_was_told(caplog: pytest.LogCaptureFixture) -> None:
    given = {**MOCK, "session.timeout.ms": 6_000, "max.poll.interval.ms": 10_000, "auto.offset.reset": "latest"}
    KafkaSink(given, topics=["t"]).start()
    KafkaTransactions(given, topics=["t"], transactional_id="id").start()
    assert "CONFWARN" not in caplog.text


def test_a_record_that_the_client_itself_finds_too_large_costs_no_producer() -> None:
    sink = KafkaTransactions({**MOCK, "message.max.bytes": 2_000}, topics=["t"], transactional_id="id")
    sink.start()
    first = sink.producer.client
    for _ in range(2):
        with pytest.raises(RecordTooLarge):
            sink.transact([*RECORDS, Record("t", None, b"x" * 5_000, (), 0)], {}, None)
        sink.transact(RECORDS, {}, None)
    assert sink.producer.client is first


def test_a_slow_clock_alone_costs_no_producer(transactions: KafkaTransactions, monkeypatch: pytest.MonkeyPatch) -> None:
    why: list[str] = []
    monkeypatch.setattr(transactions.producer, "discard", why.append)
    for _ in range(5):
        transactions.transact(RECORDS, {}, None)
        time.sleep(0.1)
        transactions.poll(0.0)
    assert why == [], "what nothing disturbed goes on with the same producer"
