"""The properties of the setting `schema_registry`, sorted into those of the client and those of the serdes, with their types."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka.schema_registry import header_schema_id_serializer, prefix_schema_id_serializer

from consumer.errors import ConfigError
from consumer.settings_loading import Properties

PREFIX = "schema.registry."
"""Java clients begin the names of these properties so. It may be given, and is taken off."""
SUBJECT_STRATEGY = "subject.name.strategy.type"
SCHEMA_ID_SERIALIZER = "schema.id.serializer"
VALIDATE = "validate"

_CLIENT_DEFAULTS: Mapping[str, Any] = {"timeout": 5, "max.retries": 1, "retries.wait.ms": 200}
"""The client's own timeout is endless. `SchemaRegistry` tries again, too, for a bounded time."""
_NUMBERS = frozenset(
    (
        "timeout",
        "cache.capacity",
        "cache.latest.ttl.sec",
        "max.retries",
        "retries.wait.ms",
        "retries.max.wait.ms",
        "use.schema.id",
    )
)
_WRITERS = frozenset(("auto.register.schemas", "normalize.schemas", "use.latest.version", "use.schema.id", SCHEMA_ID_SERIALIZER))
_FLAGS = frozenset(("auto.register.schemas", "normalize.schemas", "use.latest.version", VALIDATE))
_SERDES = frozenset((*_WRITERS, SUBJECT_STRATEGY, VALIDATE))
_PLACES: Mapping[str, Callable[..., bytes]] = {"prefix": prefix_schema_id_serializer, "header": header_schema_id_serializer}


@dataclass(frozen=True, slots=True)
class RegistryProperties:
    """The properties by who takes them. `validate` says whether framed JSON is validated: only its serdes take that."""

    client: Mapping[str, Any]
    reader: Mapping[str, Any]
    writer: Mapping[str, Any]
    validate: bool
    subject_strategy: str


def sort_properties(given: Properties) -> RegistryProperties:
    """Return the given properties and our defaults. Raises ConfigError for a value that is none of its kind."""
    named = {name.removeprefix(PREFIX): value for name, value in given.items()}
    typed = {name: _parse(name, value) for name, value in named.items()}
    strategy = str(typed.get(SUBJECT_STRATEGY, "TOPIC")).upper()
    common = {SUBJECT_STRATEGY: strategy}
    writer = {name: value for name, value in typed.items() if name in _WRITERS}
    return RegistryProperties(
        client={**_CLIENT_DEFAULTS, **{name: value for name, value in typed.items() if name not in _SERDES}},
        reader=common,
        writer={"auto.register.schemas": False, **writer, **common},
        validate=bool(typed.get(VALIDATE, False)),
        subject_strategy=strategy,
    )


def _parse(name: str, value: str | float | bool) -> Any:  # noqa: ANN401, FBT001 - whatever the property takes
    if name == SCHEMA_ID_SERIALIZER:
        return _choose(name, value, _PLACES)
    if name in _FLAGS:
        return value if isinstance(value, bool) else _choose(name, str(value).lower(), {"true": True, "false": False})
    return _parse_number(name, value) if name in _NUMBERS else value


def _choose(name: str, value: object, choices: Mapping[str, Any]) -> Any:  # noqa: ANN401 - one of the choices
    if value not in choices:
        raise ConfigError(f"schema_registry: {name} is {' or '.join(choices)}, not {value!r}")
    return choices[str(value)]


def _parse_number(name: str, value: str | float) -> float:
    try:
        return int(value) if name == "use.schema.id" else float(value)
    except ValueError:
        raise ConfigError(f"schema_registry: {name} is a number, not {value!r}") from None
