"""Wrong use of `occustream-consumer` gets one clear line and the right exit status, never a traceback."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from consumer.__main__ import main
from tests.support.brokers import MockCluster
from tests.support.command_line import Cli
from tests.support.paths import ROOT

Checked = tuple[int, str, str]
Check = Callable[..., Checked]


@pytest.fixture
def check(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Check:
    """Run `check-config` in this process; returns the exit status, standard output and standard error."""
    for name in [name for name in os.environ if name.startswith("OCCUSTREAM_")]:
        monkeypatch.delenv(name)

    def run(*arguments: str, file: str | bytes | None = None, env: Mapping[str, str] | None = None) -> Checked:
        for name, value in (env or {}).items():
            monkeypatch.setenv(name, value)
        if file is not None:
            path = tmp_path / "settings.toml"
            path.write_bytes(file.encode() if isinstance(file, str) else file)
            arguments = (*arguments, "--config", str(path))
        status = main(["check-config", "--offline", *arguments])
        captured = capfd.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def mock_topics(mock_cluster: MockCluster) -> Sequence[str]:
    """The flags that name a broker with all three topics."""
    names = ("input-topic", "output-topic", "dead-letter-topic")
    return ("--bootstrap-servers", mock_cluster.servers, *(f"--{name}={mock_cluster.create_topic()}" for name in names))


def our_line(stderr: str) -> str:
    assert "Traceback" not in stderr
    (line,) = (line for line in stderr.splitlines() if line.startswith("occustream-consumer: "))
    return line


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"arguments": ["--top-n", "0"]}, ["top_n: Input should be greater than or equal to 1 (got '0')"]),
        ({"arguments": ["--top-n", "0", "--http-port", "x"]}, ["top_n: ", "http_port: "]),
        ({"arguments": ["--top-n", "0"], "env": {"OCCUSTREAM_DEVICE": "tpu"}}, ["top_n: ", "device: "]),
        ({"file": "topn = 3\n"}, ["topn: no such setting; did you mean top_n?"]),
        ({"file": "top_n = = 3\n"}, ["settings.toml cannot be read: ", "line 1"]),
        ({"file": b"group_id = '\xff'\n"}, ["settings.toml cannot be read: "]),
        ({"arguments": ["--config", "/nowhere.toml"]}, ["--config /nowhere.toml cannot be read: "]),
        ({"env": {"OCCUSTREAM_MAPPING": "title"}}, ["OCCUSTREAM_MAPPING is no JSON object"]),
        ({"arguments": ["--input-topic", "^jobs[.].*,other"]}, ["a comma is in no name of a topic"]),
        ({"arguments": ["--kafka", "linger.ms"]}, ["--kafka takes NAME=VALUE, not 'linger.ms'"]),
        ({"arguments": ["--schema-registry", "url"]}, ["--schema-registry takes NAME=VALUE, not 'url'"]),
        (
            {"arguments": ["--output-format", "avro", "--schema-registry", "url=http://r", "--schema-registry", "no.such=1"]},
            ["schema_registry: ", "no.such"],
        ),
        ({"arguments": ["--kafka", "no.such.property=1"]}, ["Kafka property refused: ", "no.such.property"]),
        ({"env": {"OCCUSTREAM_KAFKA__SECURITY_PROTOCOL": "TELNET"}}, ["Kafka property refused: ", "security.protocol"]),
        ({"env": {"OCCUSTREAM_KAFKA": "{"}}, ["OCCUSTREAM_KAFKA is no JSON object", "OCCUSTREAM_KAFKA__NAME=VALUE"]),
        ({"arguments": ["--bootstrap-servers", "http://broker:9092"]}, ["bootstrap_servers: 'http://broker:9092' is a URL"]),
        ({"arguments": ["--output-topic", ".."]}, ["output_topic: '..' is no name of a topic"]),
        ({"arguments": ["--input-topic", "a/b"]}, ["input_topic: '/' cannot stand in the name of a topic"]),
        ({"arguments": ["--dead-letter-topic", "x" * 250]}, ["dead_letter_topic: ", "at most 249 characters"]),
        ({"arguments": ["--input-topic", "^postings[.].*"]}, ["input_topic '^postings[.].*' reads it"]),
        ({"arguments": ["--input-topic", "postings.raw,postings.enriched"]}, ["must differ", "'postings.enriched' is written"]),
        ({"arguments": ["--kafka", "allow.auto.create.topics=true"]}, ["kafka: allow.auto.create.topics is set by occustream"]),
        ({"arguments": ["--output-topic", "postings.raw"]}, ["input_topic, output_topic and dead_letter_topic must differ"]),
    ],
)
def test_everything_wrong_with_the_settings_is_one_line_and_status_2(
    given: dict[str, Any], said: list[str], check: Check
) -> None:
    status, stdout, stderr = check(*given.get("arguments", []), file=given.get("file"), env=given.get("env"))
    assert (status, stdout) == (2, "")
    assert all(part in our_line(stderr) for part in said)


def test_a_registry_that_is_no_folder_is_a_problem_a_missing_one_a_warning(check: Check, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    status, _stdout, stderr = check("--registry", str(tmp_path / "file"))
    assert (status, our_line(stderr)) == (1, f"occustream-consumer: registry {tmp_path / 'file'} is no folder")
    status, _stdout, stderr = check("--registry", str(tmp_path / "none"))
    assert (status, f"warning: registry {tmp_path / 'none'} is not there yet" in stderr) == (0, True)


def test_a_missing_registry_that_nobody_can_make_is_a_problem(check: Check, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    status, _stdout, stderr = check("--registry", str(tmp_path / "file" / "registry"))
    told = f"registry {tmp_path / 'file' / 'registry'} is not there and cannot be made: {tmp_path / 'file'} is no folder"
    assert (status, told in our_line(stderr)) == (1, True)


def test_a_registry_that_may_not_be_read_is_a_problem(check: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)  # to root, every folder is open
    status, _stdout, stderr = check("--registry", str(tmp_path))
    assert status == 1
    assert f"registry {tmp_path} cannot be read by this user" in our_line(stderr)


def test_a_broken_version_in_service_is_a_problem(check: Check, tmp_path: Path) -> None:
    (tmp_path / "CURRENT").write_text('{"version": "gone"}')
    status, _stdout, stderr = check("--registry", str(tmp_path))
    assert (status, "gone" in our_line(stderr)) == (1, True)


def test_check_config_without_a_broker_says_so_and_fails_unless_offline(check: Check, cli: Cli, tmp_path: Path) -> None:
    given = ("--bootstrap-servers", "127.0.0.1:1", "--registry", str(tmp_path))
    assert check(*given)[0] == 0
    done = cli("consumer", "check-config", *given)
    assert done.returncode == 1
    assert json.loads(done.stdout)["bootstrap_servers"] == "127.0.0.1:1"
    assert our_line(done.stderr.decode()).startswith("occustream-consumer: no Kafka broker answers at '127.0.0.1:1'")


def test_flags_beat_the_environment_and_the_environment_beats_the_file(check: Check, tmp_path: Path) -> None:
    file = 'top_n = 1\ngroup_id = "file"\ninput_topic = "file"\n'
    env = {"OCCUSTREAM_TOP_N": "2", "OCCUSTREAM_GROUP_ID": "environment"}
    status, stdout, stderr = check("--top-n", "3", "--registry", str(tmp_path), file=file, env=env)
    shown = json.loads(stdout)
    assert (shown["top_n"], shown["group_id"], shown["input_topic"]) == (3, "environment", "file")
    assert status == 0
    assert f"warning: {tmp_path} holds no promoted model version yet; run occustream-trainer train" in stderr


@pytest.mark.parametrize(
    "name",
    [
        "sasl.password",
        "ssl.key.password",
        "ssl.keystore.password",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.assertion.private.key.passphrase",
    ],
)
def test_secrets_are_never_shown(name: str, check: Check) -> None:
    variable = f"OCCUSTREAM_KAFKA__{name.upper().replace('.', '_')}"
    status, stdout, stderr = check(env={variable: "hush-hush", "OCCUSTREAM_KAFKA__SASL_USERNAME": "me"})
    assert (status, "hush-hush" in stdout + stderr) == (0, False)
    assert json.loads(stdout)["kafka"] == {name: "***", "sasl.username": "me"}


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("basic.auth.user.info", "me:hush-hush", "***"),
        ("ssl.key.password", "hush-hush", "***"),
        ("bearer.auth.token", "hush-hush", "***"),
        ("bearer.auth.client.secret", "hush-hush", "***"),
        ("url", "https://me:hush-hush@registry:8081", "https://***@registry:8081"),
        ("proxy", "http://me:hush-hush@proxy", "http://***@proxy"),
    ],
)
def test_secrets_of_the_schema_registry_are_never_shown(name: str, value: str, shown: str, check: Check) -> None:
    status, stdout, stderr = check(env={f"OCCUSTREAM_SCHEMA_REGISTRY__{name.upper().replace('.', '_')}": value})
    assert (status, "hush-hush" in stdout + stderr) == (0, False)
    assert json.loads(stdout)["schema_registry"] == {name: shown}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["serve"], "invalid choice: 'serve'"),
        (["run", "--input-topics", "x"], "unrecognized arguments: --input-topics x"),
        (["score"], "the following arguments are required: --registry"),
        (["score", "--registry", "r", "--top-n", "0"], "from 1 to 100, not 0"),
    ],
)
def test_a_command_line_that_is_not_understood_is_status_2(
    arguments: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert said in capfd.readouterr().err


def test_a_device_that_score_does_not_know_is_one_line(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status = main(["score", "--registry", str(tmp_path), "--device", "tpu"])
    assert "device" in our_line(capfd.readouterr().err)
    assert status == 2


def test_the_command_line_reads_its_environment(cli: Cli, tmp_path: Path) -> None:
    env = {**os.environ, "OCCUSTREAM_KAFKA__SECURITY_PROTOCOL": "SSL", "OCCUSTREAM_REGISTRY": str(tmp_path)}
    done = cli("consumer", "check-config", "--offline", env=env)
    assert done.returncode == 0
    assert json.loads(done.stdout)["kafka"] == {"security.protocol": "SSL"}


def test_no_broker_is_one_line_and_status_1(cli: Cli) -> None:
    done = cli("consumer", "run", "--bootstrap-servers", "127.0.0.1:1", "--log-level", "ERROR")
    assert done.returncode == 1
    assert our_line(done.stderr.decode()).startswith("occustream-consumer: no Kafka broker answers at '127.0.0.1:1'")


def test_no_artifact_is_one_line_and_status_2(cli: Cli, tmp_path: Path, mock_topics: Sequence[str]) -> None:
    done = cli("consumer", "run", *mock_topics, "--registry", str(tmp_path))
    assert done.returncode == 2
    assert f"registry {tmp_path} holds no promoted model version; run occustream-trainer" in our_line(done.stderr.decode())


def test_an_occupied_port_is_one_line_and_status_2(cli: Cli, starter_registry: Path, mock_topics: Sequence[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        address = ("--http-host", "127.0.0.1", "--http-port", str(port))
        done = cli("consumer", "run", *mock_topics, *address, "--device", "cpu", "--registry", str(starter_registry))
    assert done.returncode == 2
    assert f"cannot serve metrics on 127.0.0.1:{port}: " in our_line(done.stderr.decode())


@pytest.mark.parametrize("part", ["consumer", "trainer"])
def test_the_command_line_comes_without_pytorch_and_the_http_server(part: str) -> None:
    program = f"import sys, {part}.__main__; print({{'torch', 'starlette', 'uvicorn'}} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert shown.strip() == "set()", "help would wait for them"
