"""Every knob of `occustream-consumer run`, in one frozen object: flags beat environment, environment beats file."""

import argparse
import difflib
import math
import os
import socket
import tomllib
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from consumer.errors import ConfigError
from consumer.model.serving_options import Part, Precision, ServingOptions
from consumer.times import Period, parse_moment

ENV_PREFIX = "OCCUSTREAM_"
KafkaProperties = dict[str, str | int | float | bool]


class Settings(BaseSettings):
    """What a consumer needs to know. Units are in the names; every limit is finite."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX, env_nested_delimiter="__", frozen=True, extra="forbid", env_ignore_empty=True
    )

    bootstrap_servers: str = Field("localhost:9092", min_length=1, description="Kafka brokers, host:port[,host:port...]")
    input_topic: str = Field("postings.raw", min_length=1, description="topic of postings to enrich")
    output_topic: str = Field("postings.enriched", min_length=1, description="topic of enriched postings")
    dead_letter_topic: str = Field("postings.dead-letters", min_length=1, description="topic of messages that are no postings")
    group_id: str = Field("occustream", min_length=1, description="consumer group; members share the partitions")
    instance_id: str | None = Field(
        None,
        min_length=1,
        description="this consumer's own lasting name in the group: it keeps its partitions over a restart (static membership), "
        "and its transactions; exactly-once takes the host's name where none is given",
    )
    delivery: Literal["at-least-once", "exactly-once"] = Field(
        "at-least-once", description="exactly-once: in Kafka transactions, for readers that are read_committed"
    )
    registry: Path = Field(Path("registry"), description="folder of model versions, as occustream-trainer writes it")
    encoder: str | None = Field(None, description="where the artifact's encoder lies, if not where the artifact says")
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto (CUDA if there), cpu, cuda or cuda:N")
    precision: Precision = Field("auto", description="arithmetic of the encoder; auto: half where the hardware has it")
    top_n: int = Field(5, ge=1, le=100, description="occupations per posting")
    without: Annotated[frozenset[Part], NoDecode] = Field(
        frozenset(), description="parts of the model not to use: exemplars,line,known,body"
    )
    prior_adjustment: float = Field(
        0.0, ge=-2, le=2, description="above 0 favours occupations that were rare in training, below 0 frequent ones"
    )
    batch_max_count: int = Field(256, ge=1, le=100_000, description="messages that close a micro-batch")
    batch_max_bytes: int = Field(4_000_000, ge=1, description="bytes that close a micro-batch")
    batch_max_age_s: float = Field(0.02, ge=0, le=60, description="age of the oldest message that closes a micro-batch")
    max_in_flight_messages: int = Field(4_096, ge=1, description="unacknowledged messages at which reading pauses")
    max_message_bytes: int = Field(1_000_000, ge=1, le=15_000_000, description="larger messages and records become dead letters")
    max_title_chars: int = Field(1_000, ge=1, description="postings with longer titles become dead letters")
    bad_share_limit: float = Field(
        0.5, gt=0, le=1, description="share of dead letters above which the consumer ends; 1: no limit"
    )
    bad_share_window: int = Field(1_000, ge=1, le=1_000_000, description="the last messages, of which that share is taken")
    title_cache_size: int = Field(50_000, ge=0, description="distinct titles whose answers are kept, per model version; 0: none")
    commit_interval_s: float = Field(1.0, gt=0, le=60, description="how often finished offsets are committed")
    reload_interval_s: float = Field(1.0, gt=0, le=5, description="how often the registry is looked at for a new version")
    drain_timeout_s: float = Field(20.0, gt=0, le=280, description="how long SIGTERM or a revoke may take")
    registry_timeout_s: float = Field(0.0, ge=0, description="how long to wait at start for a first model version")
    http_host: str = Field("0.0.0.0", description="address of /metrics, /livez, /readyz")  # noqa: S104 - scraped from outside
    http_port: int = Field(9108, ge=0, le=65_535, description="their port; 0: any free one")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="least severe log line shown")
    from_timestamp: int | None = Field(
        None,
        description="replay from this moment on (2026-05-01T08:30:00Z, 2026-05-01 or milliseconds since 1970), and end",
    )
    to_timestamp: int | None = Field(
        None, description="replay up to before this moment, and end; either needs a --group-id of its own"
    )
    kafka: KafkaProperties = Field(
        default_factory=dict, description="any librdkafka property: --kafka security.protocol=SASL_SSL, repeatable"
    )

    @field_validator("without", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:  # noqa: ANN401 - whatever was given
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value

    @field_validator("from_timestamp", "to_timestamp", mode="before")
    @classmethod
    def _moment(cls, value: Any) -> Any:  # noqa: ANN401 - whatever was given
        if isinstance(value, bool) or not isinstance(value, str | int | date):
            return value
        return parse_moment(value.isoformat() if isinstance(value, date) else str(value))

    @property
    def period(self) -> Period | None:
        """What is to be replayed; None for a consumer of the live stream."""
        if self.from_timestamp is None and self.to_timestamp is None:
            return None
        return Period(self.from_timestamp, self.to_timestamp)

    @property
    def serving_options(self) -> ServingOptions:
        """What is changed in every model that is served."""
        return ServingOptions(self.without, self.prior_adjustment)

    @model_validator(mode="after")
    def _rules_across_fields(self) -> Self:
        topics = [self.input_topic, self.output_topic, self.dead_letter_topic]
        if len(set(topics)) < len(topics):
            raise ValueError(f"input_topic, output_topic and dead_letter_topic must differ: {', '.join(topics)}")
        self._check_kafka()
        if self.period is not None and self.group_id == type(self).model_fields["group_id"].default:
            raise ValueError("a replay needs a --group-id of its own, or the live stream would lose its place")
        if self.from_timestamp is not None and self.to_timestamp is not None and self.from_timestamp >= self.to_timestamp:
            raise ValueError("from_timestamp must be before to_timestamp")
        if self.drain_timeout_s * 1_000 >= self._max_poll_ms:
            raise ValueError("drain_timeout_s must be less than max.poll.interval.ms")
        return self

    def _check_kafka(self) -> None:
        """Refuse properties that would break a promise. Raises ValueError."""
        if owned := OURS & self.kafka.keys():
            raise ValueError(f"kafka: {', '.join(sorted(owned))} is set by occustream itself; use its own setting")
        if self.delivery == "exactly-once" and self.kafka.get("isolation.level", "read_committed") != "read_committed":
            raise ValueError("kafka: with exactly-once, isolation.level must be read_committed, or duplicates are written")
        if _milliseconds(self.kafka, "message.timeout.ms", 0) >= self._max_poll_ms:
            raise ValueError("kafka: message.timeout.ms must be less than max.poll.interval.ms, or a dead broker costs the group")
        if self.delivery == "exactly-once" and self._after_transaction_s < 1:
            raise ValueError(
                f"kafka: with exactly-once, max.poll.interval.ms ({self._max_poll_ms:.0f}) must be at least "
                f"transaction.timeout.ms ({self.transaction_timeout_ms}) and 5000 more, or a dead broker costs the group"
            )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings' signature
        init_settings: PydanticBaseSettingsSource,
        *_args: PydanticBaseSettingsSource,
        **_sources: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take nothing from outside by itself: `load_settings` merges flags, environment and file."""
        return (init_settings,)

    def kafka_properties(self) -> KafkaProperties:
        """Return what all Kafka clients are given."""
        return {"bootstrap.servers": self.bootstrap_servers, "client.id": "occustream", **self.kafka}

    def transaction_properties(self) -> KafkaProperties:
        """Return what the producer of transactions is given."""
        return {**self.kafka_properties(), "transaction.timeout.ms": self.transaction_timeout_ms}

    def consumer_properties(self) -> KafkaProperties:
        """Return what the member of the group is given."""
        named: KafkaProperties = {"group.instance.id": self.instance_id} if self.instance_id else {}
        return {**self.kafka_properties(), "group.id": self.group_id, **named}

    @property
    def longest_wait_s(self) -> float:
        """How long the loop may wait for brokers, besides a transaction, without showing the group that it is alive."""
        longest_s = min(30.0, self._max_poll_ms / 2_000)
        return min(longest_s, self._after_transaction_s) if self.delivery == "exactly-once" else longest_s

    @property
    def transaction_timeout_ms(self) -> int:
        """For so long a killed consumer's records keep readers waiting."""
        return int(_milliseconds(self.kafka, "transaction.timeout.ms", 10_000))

    @property
    def _max_poll_ms(self) -> float:
        return _milliseconds(self.kafka, "max.poll.interval.ms", 300_000)

    @property
    def _after_transaction_s(self) -> float:
        """What a transaction that takes all its time, and is broken off then, leaves until the group loses patience."""
        return (self._max_poll_ms - self.transaction_timeout_ms) / 1_000 - 4

    @property
    def transactional_id(self) -> str:
        """The same over restarts: a new process ends at once what its predecessor left open. No other group's is the same."""
        return f"{quote(self.group_id, safe='')}/{self.instance_id or socket.gethostname()}"


OURS = frozenset(
    {
        "bootstrap.servers",
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


def add_flags(parser: argparse.ArgumentParser, names: Collection[str] = Settings.model_fields) -> None:
    """Give `parser` a flag for every setting, or for those of these names, and `--config`."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="a TOML file of these settings (OCCUSTREAM_CONFIG)")
    for name, field in Settings.model_fields.items():
        if name not in names:
            continue
        flag = f"--{name.replace('_', '-')}"
        if name == "kafka":
            parser.add_argument(flag, action="append", metavar="NAME=VALUE", help=field.description)
            continue
        default = "" if field.default in (None, frozenset()) else f" (default: {field.default})"
        parser.add_argument(flag, metavar=name.rsplit("_", 1)[-1].upper(), help=f"{field.description}{default}")


def load_settings(flags: Mapping[str, Any]) -> Settings:
    """Return validated settings from parsed flags, the environment and a file. Raises ConfigError with all that is wrong."""
    given = {name: value for name, value in flags.items() if name in Settings.model_fields and value is not None}
    if "kafka" in given:
        given["kafka"] = _pairs(given["kafka"])
    file = flags.get("config") or os.environ.get(f"{ENV_PREFIX}CONFIG")
    try:
        layers = [_read_toml(Path(file)) if file else {}, EnvSettingsSource(Settings)(), given]
    except SettingsError as error:
        raise ConfigError(f"the environment is not understood: {error}") from error
    merged: dict[str, Any] = {}
    for layer in layers:
        merged |= layer
    return make_settings({**merged, "kafka": _merged_kafka(layers)})


def make_settings(values: Mapping[str, Any]) -> Settings:
    """Return validated settings. Raises ConfigError with all that is wrong."""
    try:
        return Settings(**values)
    except ValidationError as error:
        raise ConfigError(_readable(error)) from error


def _merged_kafka(layers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Merge the Kafka properties of all layers, name by name; TOML's `sasl.password = ...` is a table in a table."""
    merged: dict[str, Any] = {}
    for layer in layers:
        properties = layer.get("kafka") or {}
        if not isinstance(properties, dict):
            raise ConfigError(f"kafka: a table of librdkafka properties is expected, not {type(properties).__name__}")
        merged |= _flat(properties)
    return merged


def _flat(properties: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in properties.items():
        path = f"{prefix}{dotted(name)}"
        flat |= _flat(value, f"{path}.") if isinstance(value, dict) else {path: value}
    return flat


def dotted(name: str) -> str:
    """Return a librdkafka property's name; environment variables, which hold no dots, may write underscores."""
    return name.lower().replace("_", ".")


def unknown_variables() -> list[str]:
    """Return a warning for each OCCUSTREAM_ variable that names no setting, with the nearest one that does."""
    names = [*(f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields), f"{ENV_PREFIX}CONFIG"]
    warnings = []
    for variable in os.environ:
        if not variable.startswith(ENV_PREFIX) or variable in names or variable.startswith(f"{ENV_PREFIX}KAFKA__"):
            continue
        near = difflib.get_close_matches(variable, names, 1)
        warnings.append(f"{variable} is no setting and is ignored" + (f"; did you mean {near[0]}?" if near else ""))
    return warnings


def _pairs(arguments: Sequence[str]) -> KafkaProperties:
    pairs: KafkaProperties = {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not equals or not name:
            raise ConfigError(f"--kafka takes NAME=VALUE, not {argument!r}")
        pairs[dotted(name)] = value
    return pairs


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"--config {path} cannot be read: {error}") from error


def _milliseconds(properties: KafkaProperties, name: str, default: int) -> float:
    try:
        value = float(properties.get(name, default))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"kafka: {name} must be a number of milliseconds, not {properties[name]!r}")
    return value


def _readable(error: ValidationError) -> str:
    """Return everything that is wrong, a line each, in the words of the settings."""
    lines = []
    for fault in error.errors(include_url=False):
        name = ".".join(map(str, fault["loc"]))
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            near = difflib.get_close_matches(name, Settings.model_fields, 1)
            message = "no such setting" + (f"; did you mean {near[0]}?" if near else "")
        silent = not name or name.startswith("kafka") or fault["type"] == "extra_forbidden"  # kafka's may be secret
        shown = "" if silent else f" (got {fault['input']!r})"
        lines.append(f"{name}: {message}{shown}" if name else message)
    return "wrong settings: " + "; ".join(lines)
