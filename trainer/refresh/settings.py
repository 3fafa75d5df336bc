"""The settings of the refresh service. How a model is trained is not among them: that is `TrainOptions`.

Flags beat environment variables, and these beat a TOML file; `consumer/settings_loading.py` does that for the consumer, too.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from consumer.kafka_names import BootstrapServers, TopicName
from consumer.settings_loading import KafkaTable, LayeredSettings, load_settings

ENV_PREFIX = "OCCUSTREAM_TRAINER_"
CONSUMERS_SERVERS = "OCCUSTREAM_BOOTSTRAP_SERVERS"
"""The consumer's variable for its brokers. The trainer takes it where it is given none of its own."""


class ServeSettings(LayeredSettings):
    """The settings of the refresh service. Units are in the names; every limit is finite."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX)

    registry: Path = Field(description="folder of model versions")
    state: Path = Field(description="folder where the service keeps rows, embeddings and what it has seen; one service a folder")
    once: bool = Field(default=False, description="look once, refresh if there is a reason to, and end: for cron")
    every_s: int | None = Field(None, ge=1, description="refresh at least this often, in seconds (default: only for a reason)")
    min_new: int = Field(100, ge=1, description="new rows that are a reason to refresh")
    min_interval_s: int = Field(300, ge=1, description="least time between two refreshes, in seconds")
    look_s: int = Field(10, ge=1, description="time between two looks at files and registry, in seconds")
    keep: int = Field(10, ge=1, description="versions to keep; the last two in service are always kept")
    http_host: str = Field("0.0.0.0", description="address of /metrics, /livez, /readyz")  # noqa: S104 - scraped from outside
    http_port: int = Field(9109, ge=0, le=65_535, description="their port; 0: any free one")

    gate_ece: float = Field(0.05, gt=0, lt=1, description="largest expected calibration error that passes the gate")
    gate_group_fall: float = Field(
        0.02,
        gt=0,
        lt=1,
        description="how far the top-1 share of a SOC major group (30 held-out rows or more) may fall; chance is allowed for",
    )

    bootstrap_servers: BootstrapServers | None = Field(
        None, description=f"Kafka brokers, host:port[,host:port...]; also read from {CONSUMERS_SERVERS}"
    )
    labelled_topic: TopicName | None = Field(None, description="topic of labelled postings to learn from, e.g. postings.labelled")
    enriched_topic: TopicName | None = Field(
        None, description="topic that consumers publish to, watched for drift; not with --once"
    )
    group_id: str = Field("occustream-trainer", description="the names of both consumer groups start with this")
    kafka: KafkaTable = Field(
        default_factory=dict, description="any librdkafka property: --kafka security.protocol=SASL_SSL, repeatable"
    )

    drift_window: int = Field(2_000, ge=1, description="enriched events in a window")
    drift_psi: float = Field(
        0.25, gt=0, allow_inf_nan=False, description="drift: population stability index by group or code above this"
    )
    drift_unsure: float = Field(0.1, gt=0, lt=1, description="drift: the share not accepted rises by more than this")
    drift_similarity: float = Field(0.05, gt=0, lt=1, description="drift: the mean similarity falls by more than this")

    @field_validator("registry", "state", mode="before")
    @classmethod
    def _refuse_empty_name(cls, value: Any) -> Any:  # noqa: ANN401 - whatever was given
        if value == "":
            raise ValueError("an empty name; is a variable unset?")
        return value

    @model_validator(mode="after")
    def _require_brokers_for_topics(self) -> Self:
        if (self.labelled_topic or self.enriched_topic) and not self.bootstrap_servers:
            raise ValueError("a topic needs --bootstrap-servers")
        return self


def load_serve_settings(flags: Mapping[str, Any]) -> ServeSettings:
    """Return the settings from parsed flags, the environment and a file. Raises ConfigError with everything that is wrong."""
    given = dict(flags)
    if given.get("bootstrap_servers") is None and not os.environ.get(f"{ENV_PREFIX}BOOTSTRAP_SERVERS"):
        given["bootstrap_servers"] = os.environ.get(CONSUMERS_SERVERS) or None
    return load_settings(ServeSettings, given)
