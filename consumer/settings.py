"""Every knob of `occustream-consumer run`, in one frozen object, and the rules between them. `settings_loading.py` fills it."""

import socket
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from consumer.crosswalks import TaxonomyName
from consumer.feeds.kinds import ENVELOPES, Envelope, OnDelete
from consumer.feeds.mapping import ByMapping, FieldName, parse_expressions
from consumer.feeds.profiles import read_profile
from consumer.kafka_names import BootstrapServers, InputTopics, TopicName, check_topics
from consumer.kafka_properties import OUR_PROPERTIES, milliseconds
from consumer.languages.understood import AUTO, parse_languages
from consumer.limits import LimitSetting
from consumer.model.serving_options import Part, Precision, ServingOptions
from consumer.settings_loading import KafkaTable, LayeredSettings, Properties, Table
from consumer.times import Period, parse_time
from schemas.events import Decision

ENV_PREFIX = "OCCUSTREAM_"
Format = Literal["json", "avro", "protobuf", "json-schema"]
"""How the values of a topic are written. All but the first need a schema registry."""
Expressions = Annotated[tuple[str, ...], BeforeValidator(parse_expressions)]


class Settings(LayeredSettings):
    """The settings of a consumer. Units are in the names; every limit is finite."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX)
    foreign_prefixes = ("OCCUSTREAM_TRAINER_",)

    bootstrap_servers: BootstrapServers = Field("localhost:9092", description="Kafka brokers, host:port[,host:port...]")
    input_topic: str = Field(
        "postings.raw",
        description="topic of postings to enrich; or several, with commas; or a regular expression that begins with ^",
    )
    output_topic: TopicName = Field("postings.enriched", description="topic of enriched postings")
    output_topic_accept: TopicName | None = Field(
        None, description="topic of enriched postings with the decision accept, if not the output topic"
    )
    output_topic_review: TopicName | None = Field(None, description="the same for review")
    output_topic_unclassified: TopicName | None = Field(None, description="the same for unclassified")
    dead_letter_topic: TopicName = Field("postings.dead-letters", description="topic of messages that are no postings")
    input_format: Format = Field(
        "json", description="json, or avro, protobuf or json-schema with schemas from a schema registry: of the input topic"
    )
    output_format: Format = Field("json", description="of the output topic, as input_format")
    group_id: str = Field("occustream", min_length=1, description="consumer group; members share the partitions")
    instance_id: str | None = Field(
        None,
        min_length=1,
        description="a lasting name of this consumer in the group: with it, a restart keeps its partitions (static membership) "
        "and its transactions; without one, exactly-once delivery takes the name of the host",
    )
    profile: str | None = Field(
        None, description="the feed that the postings come from, e.g. greenhouse or schema.org; docs/profiles.md shows all"
    )
    mapping: Annotated[dict[FieldName, Expressions], Table("expressions by the fields of a posting", repeats=True)] = Field(
        default_factory=dict,
        description="where a field of the posting is in a message, in JMESPath: --mapping title=PositionTitle, repeatable; "
        "it comes before the profile's",
    )
    delivery: Literal["at-least-once", "exactly-once"] = Field(
        "at-least-once", description="exactly-once: in Kafka transactions, for readers that are read_committed"
    )
    registry: Path = Field(Path("registry"), description="folder of model versions, as occustream-trainer writes it")
    encoder: str | None = Field(None, description="where the encoder is, if not where the artifact says")
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto (CUDA if there), cpu, cuda or cuda:N")
    precision: Precision = Field("auto", description="arithmetic of the encoder; auto: half precision where the hardware has it")
    top_n: int = Field(5, ge=1, le=100, description="occupations per posting")
    without: Annotated[frozenset[Part], NoDecode] = Field(
        frozenset(), description="parts of the model not to use: exemplars,line,known,head,body"
    )
    prior_adjustment: float = Field(
        0.0, ge=-2, le=2, description="above 0 favours occupations that were rare in training, below 0 those that were frequent"
    )
    languages: str = Field(
        AUTO,
        description="languages that the model understands, e.g. en,de; a posting in another one is unclassified; auto: what the "
        "version says, or en; any: all",
    )
    allowed_codes: Annotated[dict[str, LimitSetting], Table("codes and SOC groups by topic")] = Field(
        default_factory=dict,
        description="the only codes and SOC groups of an input topic, * for all: --allowed-codes postings.care=29-,31-1120",
    )
    crosswalk: Annotated[dict[TaxonomyName, Path], Table("crosswalk files by taxonomy")] = Field(
        default_factory=dict,
        description="a CSV file of O*NET-SOC codes and the codes of another taxonomy, which are added to each occupation: "
        "--crosswalk esco=FILE.csv, repeatable",
    )
    batch_max_count: int = Field(256, ge=1, le=100_000, description="messages that close a micro-batch")
    batch_max_bytes: int = Field(4_000_000, ge=1, description="bytes that close a micro-batch")
    batch_max_age_s: float = Field(0.02, ge=0, le=60, description="age of the oldest message that closes a micro-batch")
    max_in_flight_messages: int = Field(4_096, ge=1, description="unacknowledged messages at which reading pauses")
    max_message_bytes: int = Field(1_000_000, ge=1, le=15_000_000, description="larger messages and records become dead letters")
    max_title_chars: int = Field(1_000, ge=1, description="postings with longer titles become dead letters")
    envelopes: str = Field(
        ",".join(ENVELOPES), description="envelopes that are taken off messages, and marks of deletes that are heeded; none: none"
    )
    on_delete: OnDelete = Field(
        "forward",
        description="what becomes of a delete: forward (key and no value to the output topic), skip, or dead-letter; "
        "never part of the bad share",
    )
    cloudevents: bool = Field(
        default=False, description="give records the headers of a CloudEvent (ce_id, ce_type, ...; binary mode)"
    )
    cloudevents_source: str = Field(
        "/occustream", pattern=r"^[!-~]+$", description="ce_source of these: a URI reference that names this stream"
    )
    bad_share_limit: float = Field(
        0.5, gt=0, le=1, description="share of dead letters above which the consumer ends; 1: no limit"
    )
    bad_share_window: int = Field(1_000, ge=1, le=1_000_000, description="how many of the last messages that share is taken of")
    title_cache_size: int = Field(50_000, ge=0, description="distinct titles whose answers are cached per model version; 0: none")
    commit_interval_s: float = Field(1.0, gt=0, le=60, description="seconds between commits of finished offsets")
    reload_interval_s: float = Field(1.0, gt=0, le=5, description="seconds between looks for a new version in the registry")
    drain_timeout_s: float = Field(
        20.0, gt=0, le=280, description="seconds to finish what was read, after SIGTERM or a revoke of partitions"
    )
    registry_timeout_s: float = Field(0.0, ge=0, description="seconds to wait at start for a first model version")
    http_host: str = Field("0.0.0.0", description="address of /metrics, /livez, /readyz")  # noqa: S104 - scraped from outside
    http_port: int = Field(9108, ge=0, le=65_535, description="port of the same; 0: any free one")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="least severe lines to log")
    from_timestamp: int | None = Field(
        None,
        description="replay from this time on, and end: 2026-05-01T08:30:00Z, 2026-05-01, milliseconds since 1970, or 24h before "
        "the start; only a replay from a fixed time can be shared or resumed",
    )
    to_timestamp: int | None = Field(
        None, description="replay up to before this time, and end; either of the two needs a --group-id of its own"
    )
    kafka: KafkaTable = Field(
        default_factory=dict, description="any librdkafka property: --kafka security.protocol=SASL_SSL, repeatable"
    )
    schema_registry: Annotated[Properties, Table("schema registry properties", dotted=True, secret=True)] = Field(
        default_factory=dict,
        description="any property of confluent-kafka's schema registry client and serdes: "
        "--schema-registry url=http://registry:8081, repeatable",
    )

    @field_validator("without", mode="before")
    @classmethod
    def _split_at_commas(cls, value: Any) -> Any:  # noqa: ANN401 - whatever was given
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value

    @field_validator("languages")
    @classmethod
    def _check_languages(cls, value: str) -> str:
        return ",".join(parse_languages(value))

    @field_validator("input_topic")
    @classmethod
    def _check_input(cls, value: str) -> str:
        InputTopics.parse(value)
        return value

    @field_validator("envelopes", mode="before")
    @classmethod
    def _check_envelopes(cls, value: Any) -> Any:  # noqa: ANN401 - whatever was given
        names = [name.strip() for name in value.split(",")] if isinstance(value, str) else value
        if not isinstance(names, list | tuple) or not all(name in ENVELOPES for name in names if names != ["none"]):
            raise ValueError(f"none, or some of {','.join(ENVELOPES)} are expected")
        return ",".join(names)

    @field_validator("from_timestamp", "to_timestamp", mode="before")
    @classmethod
    def _parse_time(cls, value: Any) -> Any:  # noqa: ANN401 - whatever was given
        if isinstance(value, bool) or not isinstance(value, str | int | date):
            return value
        return parse_time(value.isoformat() if isinstance(value, date) else str(value))

    @property
    def period(self) -> Period | None:
        """The period to replay; None for a consumer of the live stream."""
        if self.from_timestamp is None and self.to_timestamp is None:
            return None
        return Period(self.from_timestamp, self.to_timestamp)

    @property
    def input_topics(self) -> InputTopics:
        """The topics of postings to enrich."""
        return InputTopics.parse(self.input_topic)

    @property
    def decision_topics(self) -> dict[Decision, str]:
        """The topics of enriched postings by decision, of those that have one of their own."""
        topics: dict[Decision, str | None] = {
            "accept": self.output_topic_accept,
            "review": self.output_topic_review,
            "unclassified": self.output_topic_unclassified,
        }
        return {decision: topic for decision, topic in topics.items() if topic is not None}

    @property
    def written_topics(self) -> tuple[str, ...]:
        """All topics that records may go to, each once."""
        return tuple(dict.fromkeys((self.output_topic, *self.decision_topics.values(), self.dead_letter_topic)))

    @property
    def known_envelopes(self) -> frozenset[Envelope]:
        """The envelopes that are taken off messages."""
        return frozenset(name for name in ENVELOPES if name in self.envelopes.split(","))

    @property
    def understood_languages(self) -> tuple[str, ...]:
        """The languages that models understand: codes, `any`, or `auto`."""
        return parse_languages(self.languages)

    @property
    def serving_options(self) -> ServingOptions:
        """What to switch off or adjust in every model that is served."""
        return ServingOptions(self.without, self.prior_adjustment)

    @model_validator(mode="after")
    def _rules_across_fields(self) -> Self:
        check_topics(self.input_topic, (self.output_topic, *self.decision_topics.values()), self.dead_letter_topic)
        self._check_kafka()
        if self.uses_schema_registry and not {"url", "schema.registry.url"} & self.schema_registry.keys():
            raise ValueError(f"the formats {self.input_format} and {self.output_format} need --schema-registry url=http://...")
        self.finder()  # it raises ConfigError for an unknown profile, or an expression that is none
        if self.period is not None and self.group_id == type(self).model_fields["group_id"].default:
            raise ValueError("a replay needs a --group-id of its own, or the live stream would lose its place")
        if self.from_timestamp is not None and self.to_timestamp is not None and self.from_timestamp >= self.to_timestamp:
            raise ValueError("from_timestamp must be before to_timestamp")
        if self.drain_timeout_s * 1_000 >= self._max_poll_ms:
            raise ValueError("drain_timeout_s must be less than max.poll.interval.ms")
        return self

    def _check_kafka(self) -> None:
        """Refuse Kafka properties that would break what this program promises. Raises ValueError."""
        if ours := OUR_PROPERTIES & self.kafka.keys():
            raise ValueError(f"kafka: {', '.join(sorted(ours))} is set by occustream itself; use its own setting")
        if self.delivery == "exactly-once" and self.kafka.get("isolation.level", "read_committed") != "read_committed":
            raise ValueError("kafka: with exactly-once, isolation.level must be read_committed, or duplicates are written")
        if milliseconds(self.kafka, "message.timeout.ms", 0) >= self._max_poll_ms:
            raise ValueError("kafka: message.timeout.ms must be less than max.poll.interval.ms, or a dead broker costs the group")
        if self.delivery == "exactly-once" and self._after_transaction_s < 1:
            raise ValueError(
                f"kafka: with exactly-once, max.poll.interval.ms ({self._max_poll_ms:.0f}) must be at least "
                f"transaction.timeout.ms ({self.transaction_timeout_ms}) and 5000 more, or a dead broker costs the group"
            )

    def finder(self) -> ByMapping | None:
        """Return what finds the fields of a posting by profile and mapping; None where neither is given. Raises ConfigError."""
        expressions: dict[str, Sequence[str]] = dict(read_profile(self.profile).mapping) if self.profile is not None else {}
        expressions |= {str(field): given for field, given in self.mapping.items()}
        return ByMapping(expressions) if expressions else None

    def kafka_properties(self) -> Properties:
        """Return the properties of every Kafka client."""
        return {"bootstrap.servers": self.bootstrap_servers, "client.id": "occustream", **self.kafka}

    def transaction_properties(self) -> Properties:
        """Return the properties of the producer that writes transactions."""
        return {**self.kafka_properties(), "transaction.timeout.ms": self.transaction_timeout_ms}

    def consumer_properties(self) -> Properties:
        """Return the properties of the consumer, a member of the group."""
        instance: Properties = {"group.instance.id": self.instance_id} if self.instance_id else {}
        return {**self.kafka_properties(), "group.id": self.group_id, **instance}

    @property
    def uses_schema_registry(self) -> bool:
        """Whether a format of the settings needs a schema registry."""
        return {self.input_format, self.output_format} != {"json"}

    @property
    def longest_wait_s(self) -> float:
        """How long the loop may wait for brokers between two signs of life to the group, besides the time of a transaction."""
        longest_s = min(30.0, self._max_poll_ms / 2_000)
        return min(longest_s, self._after_transaction_s) if self.delivery == "exactly-once" else longest_s

    @property
    def transaction_timeout_ms(self) -> int:
        """How long the open transaction of a killed consumer keeps readers waiting."""
        return int(milliseconds(self.kafka, "transaction.timeout.ms", 10_000))

    @property
    def _max_poll_ms(self) -> float:
        return milliseconds(self.kafka, "max.poll.interval.ms", 300_000)

    @property
    def _after_transaction_s(self) -> float:
        """The time left of max.poll.interval.ms after a transaction that uses all its time and is then aborted."""
        return (self._max_poll_ms - self.transaction_timeout_ms) / 1_000 - 4

    @property
    def transactional_id(self) -> str:
        """The same after a restart, so that a new process ends at once the transaction its predecessor left open.

        No two groups share one.
        """
        return f"{quote(self.group_id, safe='')}/{self.instance_id or socket.gethostname()}"
