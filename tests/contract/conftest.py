"""The brokers that the contract suite runs on."""

import pytest

from tests.support.brokers import GROUP_PROTOCOLS, Broker, Kafka, Memory


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
