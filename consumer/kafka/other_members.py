"""Names the members of a group that keep another one from joining: they share partitions in another way."""

import logging
import time
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from consumer.kafka.client import make_client, outside_group

log = logging.getLogger(__name__)

ASK_TIMEOUT_S = 3.0
SAY_INTERVAL_S = 30.0


class OtherMembers:
    """Looks the members of a group up, and logs who they are, now and then."""

    def __init__(self, properties: Mapping[str, Any]) -> None:
        """Connect when asked."""
        self._properties = {"log_level": 3, **outside_group(properties)}
        self._group = str(properties.get("group.id", ""))
        self._say_at = 0.0

    def log_names(self) -> None:
        """Log which members are in the group, if that was not logged a while ago."""
        if time.monotonic() < self._say_at:
            return
        self._say_at = time.monotonic() + SAY_INTERVAL_S
        log.error(
            "group %r takes no member that uses cooperative-sticky: %s. Stop that member, or let it use cooperative-sticky",
            self._group,
            self._describe(),
        )

    def _describe(self) -> str:
        admin = make_client(AdminClient, self._properties)
        try:
            found = admin.describe_consumer_groups([self._group], request_timeout=ASK_TIMEOUT_S)[self._group].result(
                ASK_TIMEOUT_S
            )
        except (KafkaException, TimeoutError) as error:
            return f"a member uses another assignor, it is not known which one ({error})"
        names = ", ".join(f"{m.group_instance_id or m.client_id} at {m.host.lstrip('/')}" for m in found.members)
        return f"{names or 'a member'} shares partitions by {found.partition_assignor or 'another assignor'}"
