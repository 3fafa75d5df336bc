"""Which librdkafka properties occustream sets itself, and how one is read that is a time. Asks no broker."""

import math

from consumer.settings_loading import Properties

OUR_PROPERTIES = frozenset(
    {
        "bootstrap.servers",
        "allow.auto.create.topics",  # a name that is mistyped would make a topic
        "group.id",
        "group.instance.id",
        "transactional.id",
        "enable.auto.commit",
        "enable.auto.offset.store",
        "enable.idempotence",
        "max.in.flight",
        "max.in.flight.requests.per.connection",  # more than one loses records on topics that were just created
    }
)


def milliseconds(properties: Properties, name: str, default: int) -> float:
    """Return a property that is a number of milliseconds. Raises ValueError."""
    try:
        value = float(properties.get(name, default))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"kafka: {name} must be a number of milliseconds, not {properties[name]!r}")
    return value
