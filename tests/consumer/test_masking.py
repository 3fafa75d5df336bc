"""No error and no log line shows a secret: not after a slip of the pen, and not inside an address."""

import logging
from typing import Any

import pytest

from consumer.__main__ import main
from consumer.masking import mask_addresses, mask_pair, mask_servers, mask_values
from consumer.process.logs import start_logging
from consumer.settings import Settings
from consumer.settings_loading import load_settings


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:hush@registry:8081/x is down", "http://***@registry:8081/x is down"),
        ("https://me:hu/sh@h@registry:8081", "https://***@registry:8081"),
        ("('http://me:hush@a', 'http://you:hush@b')", "('http://***@a', 'http://***@b')"),
        ("write to jobs@example.org, http://registry:8081", "write to jobs@example.org, http://registry:8081"),
        ("--mapping title=@.name", "--mapping title=@.name"),
    ],
)
def test_credentials_inside_a_url_are_masked_and_nothing_else_is(text: str, shown: str) -> None:
    assert mask_addresses(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("me:hush@broker:9092", "***@broker:9092"),
        ("'me:hush@broker:9092' is no Kafka broker", "'***@broker:9092' is no Kafka broker"),
        ("SASL_SSL://me:hush@broker:9092", "SASL_SSL://***@broker:9092"),
        ("a:9092,me:hush@b:9092", "***@b:9092"),
    ],
)
def test_credentials_before_a_broker_are_masked(text: str, shown: str) -> None:
    assert mask_servers(text) == shown


def test_the_values_of_secret_properties_are_masked_wherever_a_client_repeats_them() -> None:
    given = {"sasl.password": "hush", "sasl.username": "me", "ssl.key.password": ""}
    assert mask_values("expected property after hush, not me", given) == "expected property after ***, not me"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--kafka", "sasl.password:hush-hush"],
        ["--kafka", "hush-hush"],
        ["--kafka", "=hush-hush"],
        ["--schema-registry", "basic.auth.user.info me:hush-hush"],
        ["--bootstrap-servers", "me:hush-hush@broker:9092"],
        ["--bootstrap-servers", "http://me:hush-hush@broker:9092"],
        ["--kafka", "no.such.property=1", "--kafka", "sasl.password=hush-hush"],
        ["--kafka", "sasl.oauthbearer.config=principal=hush-hush", "--kafka", "security.protocol=none"],
        ["--output-format", "avro", "--schema-registry", "url=ftp://me:hush-hush@registry", "--kafka", "x=1"],
    ],
)
@pytest.mark.parametrize("command", ["run", "check-config"])
def test_a_slip_of_the_pen_shows_no_secret(arguments: list[str], command: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([command, *arguments]) == 2
    captured = capfd.readouterr()
    assert "hush" not in captured.out + captured.err
    assert "occustream-consumer: " in captured.err


def test_a_log_line_and_a_traceback_in_the_log_are_masked(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    start_logging("INFO")
    try:
        int("http://me:hush@registry")
    except ValueError:
        logging.getLogger("x").exception("no answer from %s", "http://me:hush@registry:8081")
    said = capfd.readouterr().err
    assert ("hush" in said, "ValueError" in said, "***@registry" in said) == (False, True, True)


@pytest.mark.parametrize(
    ("given", "shown"),
    [("linger.ms", "'linger.ms'"), ("sasl.password:hush", "'sasl.password:***'"), ("hush-1", "***"), ("p4ss:hush", "***")],
)
def test_of_a_pair_without_an_equals_sign_only_the_name_is_shown(given: str, shown: str) -> None:
    assert mask_pair(given) == shown


def test_a_secret_may_hold_any_character(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCCUSTREAM_KAFKA__SASL_PASSWORD", "a=b:c@d//e f")
    given: dict[str, Any] = {}
    assert load_settings(Settings, given).kafka["sasl.password"] == "a=b:c@d//e f"
