"""The brokers that the contract suite runs on, and the sources that a test opens."""

from collections.abc import Iterator

import pytest

from consumer.messages import Source
from tests.support.brokers import GROUP_PROTOCOLS, Broker, Kafka, Memory

Open = list[Source]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Sources to be closed at the end, whatever happens."""
    sources: Open = []
    yield sources
    for source in sources:
        source.close()


@pytest.fixture(params=["memory", "mock", pytest.param("kafka", marks=pytest.mark.kafka)])
def broker(request: pytest.FixtureRequest) -> Broker:
    match request.param:
        case "memory":
            return Memory()
        case "mock":
            found: Broker = request.getfixturevalue("mock_cluster")
            return found
        case _:
            real: Kafka = request.getfixturevalue("kafka")
            return real


@pytest.fixture(params=["memory", *(pytest.param(f"kafka-{name}", marks=pytest.mark.kafka) for name in GROUP_PROTOCOLS)])
def group_broker(request: pytest.FixtureRequest) -> Broker:
    """For laws of several members: the mock cluster lets each join wait for three seconds, which proves nothing more."""
    if request.param == "memory":
        return Memory()
    return Kafka(request.getfixturevalue("kafka_servers"), **GROUP_PROTOCOLS[request.param.removeprefix("kafka-")])
