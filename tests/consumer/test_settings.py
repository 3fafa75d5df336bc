"""Settings from all layers are merged, and everything wrong is named. See also test_command_line.py."""

from pathlib import Path
from typing import Any

import pytest

from consumer.errors import ConfigError
from consumer.feeds.kinds import ENVELOPES
from consumer.model.serving_options import ServingOptions
from consumer.settings import Settings
from consumer.settings_loading import load_settings, unknown_variables


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("OCCUSTREAM_")]:
        monkeypatch.delenv(name)


def load(file: str | None = None, *, folder: Path | None = None, **flags: Any) -> Settings:
    if file is not None and folder is not None:
        (folder / "settings.toml").write_text(file, encoding="utf-8")
        flags["config"] = folder / "settings.toml"
    return load_settings(Settings, flags)


def complaint(*arguments: Any, **flags: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(*arguments, **flags)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_kafka_properties_of_all_layers_are_joined_under_dotted_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCCUSTREAM_KAFKA__SECURITY_PROTOCOL", "SASL_SSL")
    monkeypatch.setenv("OCCUSTREAM_KAFKA__SASL_USERNAME", "environment")
    file = '[kafka]\n"sasl.username" = "file"\n"linger.ms" = 7\n"client.id" = "mine"\n'
    settings = load(file, folder=tmp_path, kafka=["security.protocol=SSL", "ssl.ca.location=/a=b"])
    assert settings.kafka_properties() == {
        "bootstrap.servers": "localhost:9092",
        "client.id": "mine",
        "linger.ms": 7,
        "sasl.username": "environment",
        "security.protocol": "SSL",
        "ssl.ca.location": "/a=b",
    }


@pytest.mark.parametrize("password", ["12345", "007", "1e5", "true", "null", '"quoted"', "a=b__c"])
def test_a_password_from_the_environment_stays_the_text_it_is(password: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCCUSTREAM_KAFKA__SASL_PASSWORD", password)
    assert str(load().kafka["sasl.password"]) == password


def test_the_file_may_be_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.toml").write_text("top_n = 9")
    monkeypatch.setenv("OCCUSTREAM_CONFIG", str(tmp_path / "a.toml"))
    assert load().top_n == 9


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"top_n": "many"}, "top_n: Input should be a valid integer"),
        ({"device": "tpu"}, "device:"),
        ({"http_port": "65536"}, "http_port:"),
        ({"prior_adjustment": "3"}, "prior_adjustment:"),
        ({"prior_adjustment": "nan"}, "prior_adjustment:"),
        ({"without": "line,title"}, "without.1: Input should be 'exemplars', 'line', 'known', 'head' or 'body'"),
        ({"batch_max_age_s": "inf"}, "batch_max_age_s:"),
        ({"max_message_bytes": "99999999"}, "max_message_bytes:"),
        ({"kafka": ["group.id=x"]}, "group.id is set by occustream itself"),
        ({"kafka": ["enable_auto_commit=true"]}, "enable.auto.commit is set by occustream itself"),
        ({"kafka": ["max.in.flight=5"]}, "max.in.flight is set by occustream itself"),
        (
            {"kafka": ["isolation.level=read_uncommitted"], "delivery": "exactly-once"},
            "with exactly-once, isolation.level must be read_committed",
        ),
        ({"kafka": ["message.timeout.ms=300000"]}, "message.timeout.ms must be less than max.poll.interval.ms"),
        (
            {"kafka": ["max.poll.interval.ms=14999"], "delivery": "exactly-once", "drain_timeout_s": "1"},
            r"max.poll.interval.ms (14999) must be at least transaction.timeout.ms (10000) and 5000 more",
        ),
        (
            {"kafka": ["transaction.timeout.ms=300000"], "delivery": "exactly-once"},
            r"max.poll.interval.ms (300000) must be at least transaction.timeout.ms (300000) and 5000 more",
        ),
        (
            {"kafka": ["transaction.timeout.ms=inf"], "delivery": "exactly-once"},
            "transaction.timeout.ms must be a number of milliseconds, not 'inf'",
        ),
        ({"kafka": ["message.timeout.ms=soon"]}, "message.timeout.ms must be a number of milliseconds, not 'soon'"),
        ({"mapping": ["title"]}, "--mapping takes NAME=VALUE, not 'title'"),
        ({"mapping": ["titel=x"]}, "mapping.titel: Input should be 'posting_id', 'title', 'body', "),
        ({"mapping": ["title=@type"]}, "mapping: title: '@type' is no JMESPath expression at character 2"),
        ({"profile": "levr"}, "there is no profile 'levr'; did you mean lever?"),
        ({"profile": ""}, "there is no profile ''"),
        ({"kafka": ["max.poll.interval.ms=125000"], "drain_timeout_s": "130"}, "drain_timeout_s must be less than"),
    ],
)
def test_a_wrong_setting_is_named_with_what_it_should_be(flags: dict[str, Any], said: str) -> None:
    assert said in complaint(**flags)


def test_waits_of_a_loop_that_writes_transactions_leave_it_time_for_one() -> None:
    assert load(delivery="exactly-once").longest_wait_s == 30.0
    short = {"kafka": ["max.poll.interval.ms=16000"], "drain_timeout_s": "1"}
    assert load(**short, delivery="exactly-once").longest_wait_s == 2.0
    assert load(**short).longest_wait_s == 8.0


def test_no_two_consumers_of_different_groups_have_one_transactional_id() -> None:
    names = [("a-b", "c"), ("a", "b-c"), ("a/b", "c"), ("a", "b/c"), ("a%2Fb", "c"), ("a%2Fb/c", "d")]
    ids = [load(group_id=group, instance_id=instance).transactional_id for group, instance in names]
    assert len(set(ids)) == len(ids)
    assert ids[0] == "a-b/c"


@pytest.mark.parametrize("seconds", ["1714521600", 1714521600])
def test_seconds_are_no_moment_in_any_layer(seconds: str | int, tmp_path: Path) -> None:
    assert "looks like seconds" in complaint(f"from_timestamp = {seconds!r}", folder=tmp_path, group_id="g")
    assert "looks like seconds" in complaint(from_timestamp=str(seconds), group_id="g")


def test_a_range_may_begin_at_an_age() -> None:
    settings = load(from_timestamp="24h", to_timestamp="1h", group_id="g")
    assert settings.from_timestamp is not None
    assert settings.to_timestamp is not None
    assert settings.to_timestamp - settings.from_timestamp == pytest.approx(23 * 3_600_000, abs=60_000)


@pytest.mark.parametrize(
    ("given", "parts"), [("", set()), ("line", {"line"}), (" line, known ,", {"line", "known"}), ("known,known", {"known"})]
)
def test_parts_of_the_model_are_switched_off_by_name_in_every_layer(
    given: str, parts: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load(without=given).serving_options == ServingOptions(frozenset(parts))
    assert load(f"without = {sorted(parts)}", folder=tmp_path).without == parts
    assert load(f"without = '{given}'", folder=tmp_path).without == parts
    monkeypatch.setenv("OCCUSTREAM_WITHOUT", given)
    assert load().without == parts


@pytest.mark.parametrize(
    ("given", "known"), [("none", set()), ("connect, debezium", {"connect", "debezium"}), ("removed", {"removed"})]
)
def test_envelopes_are_chosen_by_name_in_every_layer(given: str, known: set[str], tmp_path: Path) -> None:
    assert load(envelopes=given).known_envelopes == known
    assert load(f"envelopes = '{given}'", folder=tmp_path).known_envelopes == known
    assert load(f"envelopes = {sorted(known) or ['none']}", folder=tmp_path).known_envelopes == known
    assert load().known_envelopes == set(ENVELOPES)


@pytest.mark.parametrize("given", ["", "debezum", "none,connect", "all"])
def test_envelopes_that_nobody_knows_are_refused(given: str) -> None:
    assert "none, or some of debezium,connect,cloudevents,mongodb,wrapper,removed are expected" in complaint(envelopes=given)


def test_the_prior_adjustment_reaches_the_model() -> None:
    assert load(prior_adjustment="-0.5").serving_options == ServingOptions(prior_adjustment=-0.5)


def test_properties_of_the_schema_registry_are_joined_as_those_of_kafka(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCCUSTREAM_SCHEMA_REGISTRY__URL", "http://environment")
    monkeypatch.setenv("OCCUSTREAM_SCHEMA_REGISTRY__BASIC_AUTH_USER_INFO", "user:hush")
    file = 'input_format = "avro"\n[schema_registry]\nurl = "http://file"\nauto.register.schemas = true\n'
    settings = load(file, folder=tmp_path, schema_registry=["timeout=3"])
    assert settings.schema_registry == {
        "url": "http://environment",
        "basic.auth.user.info": "user:hush",
        "auto.register.schemas": True,
        "timeout": "3",
    }


@pytest.mark.parametrize("name", ["input_format", "output_format"])
def test_a_format_of_a_schema_registry_needs_its_address(name: str) -> None:
    assert "need --schema-registry url=" in complaint(**{name: "protobuf"})
    assert load(**{name: "protobuf"}, schema_registry=["schema.registry.url=http://r"]).uses_schema_registry


@pytest.mark.parametrize("value", ["5", '"linger.ms=5"', "[1]"])
def test_kafka_that_is_no_table_is_refused(value: str, tmp_path: Path) -> None:
    assert "kafka" in complaint(f"kafka = {value}", folder=tmp_path)


def test_kafka_properties_may_be_written_in_toml_as_they_are_called(tmp_path: Path) -> None:
    assert load('[kafka]\nsasl.password = "hush"\nlinger.ms = 5\n', folder=tmp_path).kafka == {
        "sasl.password": "hush",
        "linger.ms": 5,
    }


def test_mappings_of_all_layers_are_joined_field_by_field(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCCUSTREAM_MAPPING__TITLE", "job.name")
    monkeypatch.setenv("OCCUSTREAM_MAPPING__POSTING_ID", '["ref", "job.id"]')
    monkeypatch.setenv("OCCUSTREAM_MAPPING__LANGUAGE", '"@language"')
    file = '[mapping]\ntitle = ["file"]\nbody = "text"\ncompany = ["firm.name", "firm"]\n'
    settings = load(file, folder=tmp_path, mapping=["body=[a, b]", "body=c", "Location=town"])
    assert settings.mapping == {
        "title": ("job.name",),
        "body": ("[a, b]", "c"),
        "company": ("firm.name", "firm"),
        "posting_id": ("ref", "job.id"),
        "language": ('"@language"',),
        "location": ("town",),
    }


def test_a_mapping_beats_the_profile_field_by_field(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCCUSTREAM_PROFILE", "lever")
    finder = load(mapping=["title=role"]).finder()
    assert finder is not None
    message = {"role": "Picker", "text": "Warehouse", "descriptionPlain": "Pick.", "id": "l-1"}
    assert finder.find(message).values == {"title": "Picker", "body": "Pick.", "posting_id": "l-1"}


def test_without_profile_and_mapping_fields_are_found_by_their_names() -> None:
    assert load().finder() is None


def test_a_misspelt_variable_is_warned_about_with_the_nearest_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCCUSTREAM_INPUT_TOPICS", "x")
    monkeypatch.setenv("OCCUSTREAM_KAFKA__ANY_THING", "x")
    assert unknown_variables(Settings) == [
        "OCCUSTREAM_INPUT_TOPICS is no setting and is ignored; did you mean OCCUSTREAM_INPUT_TOPIC?"
    ]


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_described_and_every_number_has_a_finite_default(name: str) -> None:
    field = Settings.model_fields[name]
    assert field.description
    if isinstance(field.default, int | float):
        assert 0 <= field.default < 1e9
