"""The settings of the refresh service: flags beat environment variables, these beat a file, and each mistake is named."""

from pathlib import Path
from typing import Any

import pytest

from consumer.errors import ConfigError
from consumer.settings import Settings
from consumer.settings_loading import unknown_variables
from trainer.cli.parser import make_parser
from trainer.cli.serve_flags import GROUPS
from trainer.refresh.drift import DriftLimits
from trainer.refresh.gate import GateLimits
from trainer.refresh.service import RefreshPolicy
from trainer.refresh.settings import ServeSettings, load_serve_settings

NEEDED = ("serve", "--postings", "starter", "--registry", "registry")


@pytest.fixture(autouse=True)
def _no_variables_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OCCUSTREAM_BOOTSTRAP_SERVERS", raising=False)


def load(*flags: str) -> ServeSettings:
    return load_serve_settings(vars(make_parser().parse_args([*NEEDED, *flags])))


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_flags_beat_the_environment_which_beats_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "trainer.toml", 'state = "s"\nmin_new = 1\nkeep = 1\nlook_s = 1\nkafka.sasl.mechanism = "PLAIN"\n')
    monkeypatch.setenv("OCCUSTREAM_TRAINER_MIN_NEW", "2")
    monkeypatch.setenv("OCCUSTREAM_TRAINER_KEEP", "2")
    monkeypatch.setenv("OCCUSTREAM_TRAINER_KAFKA__SASL_USERNAME", "trainer")
    found = load("--config", file, "--keep", "3", "--kafka", "security.protocol=SASL_SSL")
    assert (found.look_s, found.min_new, found.keep, found.state) == (1, 2, 3, Path("s"))
    assert found.kafka == {"sasl.mechanism": "PLAIN", "sasl.username": "trainer", "security.protocol": "SASL_SSL"}


def test_the_file_can_be_named_by_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCCUSTREAM_TRAINER_CONFIG", write(tmp_path / "trainer.toml", 'state = "s"\nonce = true\n'))
    assert load().once


def test_once_is_a_flag_without_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [load("--state", "s").once, load("--state", "s", "--once").once] == [False, True]
    monkeypatch.setenv("OCCUSTREAM_TRAINER_ONCE", "true")
    assert load("--state", "s").once


def test_the_consumers_variable_names_the_brokers_unless_the_trainer_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCCUSTREAM_BOOTSTRAP_SERVERS", "shared:9092")
    assert load("--state", "s").bootstrap_servers == "shared:9092"
    monkeypatch.setenv("OCCUSTREAM_TRAINER_BOOTSTRAP_SERVERS", "own:9092")
    assert load("--state", "s").bootstrap_servers == "own:9092"
    assert load("--state", "s", "--bootstrap-servers", "flag:9092").bootstrap_servers == "flag:9092"


def test_the_help_has_each_setting_once() -> None:
    assert sorted(name for names in GROUPS.values() for name in names) == sorted(ServeSettings.model_fields)


def test_the_defaults_are_those_of_the_service() -> None:
    found, policy, gate, drift = load("--state", "s"), RefreshPolicy(), GateLimits(), DriftLimits()
    assert (found.every_s, found.min_new, found.min_interval_s) == (policy.every_s, policy.min_new, policy.min_interval_s)
    assert (found.look_s, found.keep) == (policy.look_s, policy.keep)
    assert (found.gate_ece, found.gate_group_fall) == (gate.ece, gate.group_fall)
    assert (found.drift_psi, found.drift_unsure, found.drift_similarity) == (drift.psi, drift.unsure_rise, drift.similarity_fall)


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        *(("--min-new", value) for value in ("0", "-1", "1.5", "many")),
        *((flag, "0") for flag in ("--every-s", "--min-interval-s", "--look-s", "--keep", "--drift-window", "--drift-psi")),
        *((flag, value) for flag in ("--gate-ece", "--gate-group-fall") for value in ("0", "1", "nan", "x")),
        *((flag, value) for flag in ("--drift-unsure", "--drift-similarity") for value in ("0", "1", "inf")),
        *(("--drift-psi", value) for value in ("inf", "nan", "-1")),
        *(("--http-port", value) for value in ("-1", "65536", "http")),
    ],
)
def test_a_wrong_value_names_its_setting(flag: str, value: str) -> None:
    with pytest.raises(ConfigError, match=rf"{flag[2:].replace('-', '_')}: .*\(got '{value}'\)"):
        load("--state", "s", f"{flag}={value}")


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ((), "state: is required: give --state, OCCUSTREAM_TRAINER_STATE, or state in the file"),
        (("--state", ""), "state: an empty name; is a variable unset?"),
        (("--state", "s", "--labelled-topic", "t"), "a topic needs --bootstrap-servers"),
        (("--state", "s", "--enriched-topic", "t"), "a topic needs --bootstrap-servers"),
        (("--state", "s", "--kafka", "protocol"), "--kafka takes NAME=VALUE, not 'protocol'"),
        (("--config", "missing.toml"), "--config missing.toml cannot be read"),
    ],
)
def test_what_is_missing_or_does_not_fit_is_named(flags: tuple[str, ...], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        load(*flags)
    assert said in str(raised.value)


def test_a_missing_setting_shows_no_other_one() -> None:
    with pytest.raises(ConfigError) as raised:
        load("--kafka", "sasl.password=secret")
    assert "secret" not in str(raised.value)


def test_a_typo_in_a_variable_is_told_with_the_nearest_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCCUSTREAM_TRAINER_MIN_NWE", "5")
    assert unknown_variables(ServeSettings) == [
        "OCCUSTREAM_TRAINER_MIN_NWE is no setting and is ignored; did you mean OCCUSTREAM_TRAINER_MIN_NEW?"
    ]


def test_a_typo_in_the_file_is_told_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="min_nwe: no such setting; did you mean min_new"):
        load("--state", "s", "--config", write(tmp_path / "trainer.toml", "min_nwe = 5\n"))


def test_the_consumer_does_not_take_the_trainers_variables_for_typos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCCUSTREAM_TRAINER_MIN_NEW", "5")
    monkeypatch.setenv("OCCUSTREAM_TRAINER_KAFKA__SASL_USERNAME", "trainer")
    assert unknown_variables(Settings) == []
    assert unknown_variables(ServeSettings) == []


@pytest.mark.parametrize("value", [True, 5])
def test_settings_are_frozen(value: Any) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load("--state", "s").once = value
