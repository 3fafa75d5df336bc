"""The brokers that the contract suite runs on."""

import pytest

from tests.brokers import Broker, Kafka, Memory, kafka, kafka_servers, mock_cluster

__all__ = ["broker", "group_broker", "kafka", "kafka_servers", "mock_cluster"]


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


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.kafka)])
def group_broker(request: pytest.FixtureRequest) -> Broker:
    """For laws of several members: the mock cluster lets each join wait for three seconds, which proves nothing more."""
    found: Broker = Memory() if request.param == "memory" else request.getfixturevalue("kafka")
    return found
