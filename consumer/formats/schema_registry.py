"""The schema registry, asked with patience: what it does not know is told from what it cannot say now."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, TypeVar

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError
from confluent_kafka.schema_registry.common._httpx_compat import httpx  # the HTTP library that the client found
from confluent_kafka.schema_registry.error import OAuthTokenError
from confluent_kafka.schema_registry.serde import SchemaId

from consumer.errors import ConfigError, InvalidMessage, SchemaRegistryUnavailable

log = logging.getLogger(__name__)

Answer = TypeVar("Answer")

UNKNOWN_FOR_S = 3.0
"""How long an id that the registry does not know is not asked for again."""
MAX_UNKNOWN = 1_000
RETRY_S = 1.0
_OK, _NOT_FOUND = 200, 404
_UNKNOWN_CODES = range(40_400, 40_500)
"""The registry's own codes for what it does not know. A proxy or a wrong address answers 404 without one."""
_REFUSED = (409, 422)
"""A schema that is not compatible, and one that is none."""
_WAY_OUT = "check url and credentials in schema_registry"
_UNREACHABLE = (httpx.TransportError, OAuthTokenError)


class SchemaRegistry:
    """A registry's client that waits up to `wait_s` for a registry that does not answer, and remembers ids that are unknown."""

    def __init__(
        self,
        client: SchemaRegistryClient,
        *,
        wait_s: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.client = client
        self._wait_s = wait_s
        self._clock = clock
        self._sleep = sleep
        self._unknown: dict[str, tuple[float, str]] = {}

    def check(self) -> None:
        """Raise SchemaRegistryUnavailable where no registry answers, ConfigError where something else does."""
        try:
            types = self.ask(lambda: _expect_registry(self.client.get_schema_types))
        except SchemaRegistryError as error:
            raise ConfigError(f"no schema registry is at the url of schema_registry: {error}") from error
        if not isinstance(types, list):
            raise ConfigError("no schema registry is at the url of schema_registry: what answers names no types of schemas")

    def find(self, schema_id: SchemaId, *, subject: str | None, format: str | None = None) -> Schema:  # noqa: A002
        """Return the schema of an id, and fetch all that it refers to.

        Raises InvalidMessage (`unknown_schema`) where the registry does not know it, SchemaRegistryUnavailable.
        """
        name = describe_id(schema_id)
        until, told = self._unknown.get(name, (0.0, ""))
        if self._clock() < until:
            raise _unknown_schema(name, told)
        try:
            schema = self.ask(lambda: _expect_registry(lambda: self._expect_text(self._fetch(schema_id, subject, format))))
            for _ in self.references(schema, format=format):
                pass
        except SchemaRegistryError as error:
            self._note_unknown(name, str(error))
            raise _unknown_schema(name, str(error), error) from error
        return schema

    def references(self, schema: Schema, *, format: str | None = None) -> Iterator[tuple[str, Schema]]:  # noqa: A002
        """Yield the name and the schema of each reference, after those that it refers to itself."""
        for reference in schema.references or ():
            place = reference.subject, reference.version
            fetch = partial(self.client.get_version, *place, deleted=True, fmt=format)  # type: ignore[arg-type]
            version = self.ask(partial(_expect_registry, fetch))
            yield from self.references(version.schema, format=format)
            yield str(reference.name), version.schema

    def ask(self, request: Callable[[], Answer]) -> Answer:
        """Return the answer to a request. Raises SchemaRegistryError where the registry does not know or take what it is given.

        Raises SchemaRegistryUnavailable where there is no answer within `wait_s`.
        """
        deadline = self._clock() + self._wait_s
        while True:
            try:
                return request()
            except (SchemaRegistryError, *_UNREACHABLE) as error:
                if is_answer(error):
                    raise
                if self._clock() >= deadline:
                    text = f"the schema registry has not answered for {self._wait_s:.0f} s: {_describe(error)}; {_WAY_OUT}"
                    raise SchemaRegistryUnavailable(text) from error
                log.warning("the schema registry does not answer; trying again: %s", _describe(error))
            self._sleep(RETRY_S)

    def forget(self) -> None:
        """Drop the schemas in memory; they are fetched again when they are needed."""
        self.client.clear_caches()  # type: ignore[no-untyped-call]

    def _fetch(self, schema_id: SchemaId, subject: str | None, format: str | None) -> Schema:  # noqa: A002
        if schema_id.id is not None:
            return self.client.get_schema(schema_id.id, subject, format)
        try:
            return self.client.get_schema_by_guid(str(schema_id.guid), format)
        except SchemaRegistryError as error:  # of a registry without GUIDs, too: the message would block the stream for ever
            if error.http_status_code == _NOT_FOUND:
                raise SchemaRegistryError(_NOT_FOUND, _UNKNOWN_CODES.start, error.error_message) from error
            raise

    def _expect_text(self, schema: Schema) -> Schema:
        """Return a schema that has a text.

        Without one, something in front of the registry answered. The client of confluent-kafka 2.16.1 keeps such an answer as if
        it were a schema (findings/confluent-kafka-keeps-an-empty-schema.sh).
        """
        if not isinstance(schema.schema_str, str):
            self.forget()
            raise SchemaRegistryError(_OK, -1, "what answers is no schema registry: it names no schema")
        return schema

    def _note_unknown(self, name: str, told: str) -> None:
        if len(self._unknown) >= MAX_UNKNOWN:
            self._unknown.clear()
        self._unknown[name] = (self._clock() + UNKNOWN_FOR_S, told)


def connect(properties: Mapping[str, Any], *, wait_s: float) -> SchemaRegistry:
    """Return the registry of these client properties; asks nobody. Raises ConfigError."""
    try:
        return SchemaRegistry(SchemaRegistryClient(dict(properties)), wait_s=wait_s)
    except (ValueError, TypeError, OSError) as error:
        raise ConfigError(f"schema_registry: {error}") from error


def _expect_registry(request: Callable[[], Answer]) -> Answer:
    """Return the answer to a request. Raises SchemaRegistryError for one that the client cannot read: no registry gave it."""
    try:
        return request()
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise SchemaRegistryError(_OK, -1, f"what answers is no schema registry: {error}") from error


def is_answer(error: Exception) -> bool:
    """Return whether the registry says that it does not know what it was asked for, or does not take what it was given."""
    if not isinstance(error, SchemaRegistryError):
        return False
    return is_unknown(error) or error.http_status_code in _REFUSED


def is_unknown(error: SchemaRegistryError) -> bool:
    """Return whether the registry says that it does not know what it was asked for."""
    return error.http_status_code == _NOT_FOUND and error.error_code in _UNKNOWN_CODES


def describe_id(schema_id: SchemaId) -> str:
    """Return the id of a schema as it is told to people."""
    return f"id {schema_id.id}" if schema_id.id is not None else f"GUID {schema_id.guid}"


def _unknown_schema(name: str, told: str, cause: Exception | None = None) -> InvalidMessage:
    return InvalidMessage("unknown_schema", f"the schema registry does not know the schema {name}: {told}", cause=cause)


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
