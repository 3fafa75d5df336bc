"""What clients outside a group are given."""

from consumer.kafka.client import outside_group
from consumer.kafka.group_properties import CLASSIC_GROUP_PROPERTIES, CONSUMER_DEFAULTS

MEMBERS = (
    *CONSUMER_DEFAULTS,
    *CLASSIC_GROUP_PROPERTIES,
    "group.id",
    "group.instance.id",
    "auto.offset.reset",
    "enable.partition.eof",
)
OF_ALL = ("statistics.interval.ms", "topic.metadata.refresh.interval.ms")


def test_a_client_outside_a_group_is_given_no_property_of_a_member() -> None:
    reach = {"bootstrap.servers": "b:1", "security.protocol": "SSL", "enable.ssl.certificate.verification": False}
    given = outside_group({**dict.fromkeys(MEMBERS, 1), **reach})
    assert given == {**dict.fromkeys(OF_ALL, 1), **reach}
