"""The properties of a member of a Kafka consumer group, in either group protocol."""

import logging
from collections.abc import Mapping
from typing import Any

from consumer.errors import ConfigError

log = logging.getLogger(__name__)

CONSUMER_DEFAULTS: Mapping[str, Any] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,  # only so is it known that no message follows but control records
    "partition.assignment.strategy": "cooperative-sticky",
    "topic.metadata.refresh.interval.ms": 30_000,  # partitions that are added are noticed so soon
    "fetch.queue.backoff.ms": 10,  # the default second would show as latency
    "queued.max.messages.kbytes": 16_384,
    "statistics.interval.ms": 2_000,  # `BrokerWatch` learns from them whether brokers answer
}
CLASSIC_GROUP_PROPERTIES = ("partition.assignment.strategy", "session.timeout.ms", "heartbeat.interval.ms")


def member_properties(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties of a member of a group, with our defaults. Raises ConfigError for an eager assignor.

    Under the consumer protocol, properties that only the classic protocol has are left out: the brokers decide on them.
    """
    given = {**CONSUMER_DEFAULTS, **properties}
    if given.get("group.protocol") == "consumer":
        if ignored := [name for name in CLASSIC_GROUP_PROPERTIES if name in properties]:
            log.warning("%s is ignored: with group.protocol=consumer the brokers decide on it", ", ".join(ignored))
        return {name: value for name, value in given.items() if name not in CLASSIC_GROUP_PROPERTIES}
    if (strategy := given["partition.assignment.strategy"]) != "cooperative-sticky":
        raise ConfigError(
            f"partition.assignment.strategy must be cooperative-sticky, not {strategy!r}: "
            "others take all partitions from every member at each rebalance"
        )
    return given


def keeps_membership(properties: Mapping[str, Any]) -> bool:
    """Return whether a member that closes must not leave its group: it is static, and a process of its name comes back.

    The group keeps its place for the session timeout. Under the consumer protocol, a static member that leaves tells the broker
    so by itself.
    """
    return "group.instance.id" in properties and properties.get("group.protocol") != "consumer"
