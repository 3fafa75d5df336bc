"""Compose and the image against the program they run: settings, topics, paths, ports, commands."""

import json
import re
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from consumer.settings import Settings
from consumer.size_limits import DEAD_LETTER_ROOM_BYTES
from deploy.kafka.jars import kafka_version
from tests.deploy.deployment_files import COMPOSE, DASHBOARD_FILE, DEPLOY, OURS, SERVICES, given_settings, load, trainer_settings
from tests.support.paths import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
KAFKAS_LIMIT = 1_048_588
"""`max.message.bytes` of a topic that sets none."""


def bind_mounts() -> list[tuple[str, Path, str]]:
    """Service, path on the host, path in the container."""
    mounts = [(name, *volume.split(":")[:2]) for name, service in SERVICES.items() for volume in service.get("volumes", [])]
    return [(name, (DEPLOY / source).resolve(), inside) for name, source, inside in mounts if source.startswith((".", "/"))]


def has_healthcheck(service: dict[str, Any]) -> bool:
    declared = service.get("healthcheck")
    if declared is None:
        return service.get("image") == OURS and "HEALTHCHECK" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    return not declared.get("disable", False)


def test_every_variable_that_compose_sets_is_a_setting_with_a_value_it_accepts() -> None:
    for name, service in SERVICES.items():
        given = given_settings(service)
        assert given.keys() <= Settings.model_fields.keys(), name
        Settings(**given)


def test_the_topics_that_compose_creates_are_those_the_services_use() -> None:
    used = {value for name, value in given_settings(SERVICES["consumer"]).items() if name.endswith("_topic")}
    assert used == {Settings.model_fields[f"{name}_topic"].default for name in ("input", "output", "dead_letter")}
    assert trainer_settings().enriched_topic == given_settings(SERVICES["consumer"])["output_topic"]
    used.add(trainer_settings().labelled_topic)
    created = re.search(r"for topic in (.+);", SERVICES["topics"]["command"][0])
    assert created
    assert set(created[1].split()) == used


def test_the_refresh_service_shares_brokers_and_registry_and_keeps_its_state() -> None:
    trainer, consumer = SERVICES["trainer"], given_settings(SERVICES["consumer"])
    inside = {path: volume for volume, path, *_ in (mount.split(":") for mount in trainer["volumes"])}
    assert given_settings(trainer)["bootstrap_servers"] == consumer["bootstrap_servers"]
    assert str(trainer_settings().registry) == consumer["registry"]
    assert inside.keys() == {str(trainer_settings().registry), str(trainer_settings().state)}
    assert trainer["restart"] == "unless-stopped"


def test_the_refresh_service_is_healthy_once_it_says_that_a_version_is_in_service() -> None:
    check = SERVICES["trainer"]["healthcheck"]
    assert f"http://127.0.0.1:{trainer_settings().http_port}/readyz" in check["test"][-1]
    assert int(check["start_period"].removesuffix("s")) >= given_settings(SERVICES["consumer"])["registry_timeout_s"] > 0


def test_a_volume_that_our_image_writes_to_is_mounted_over_a_folder_of_its_user() -> None:
    (made,) = re.findall(r"install --directory --owner=occustream --group=occustream (.+)", (ROOT / "Dockerfile").read_text())
    mounts = [mount for service in SERVICES.values() if service.get("image") == OURS for mount in service.get("volumes", [])]
    assert {mount.split(":")[1] for mount in mounts if not mount.endswith(":ro")} == set(made.split())


def test_what_compose_mounts_from_the_repository_is_there() -> None:
    mounts = bind_mounts()
    assert mounts
    assert [source for _, source, _ in mounts if not source.exists()] == []
    assert all(source.is_relative_to(ROOT) for _, source, _ in mounts)


def test_every_volume_that_a_service_mounts_is_declared_and_none_is_idle() -> None:
    volumes = [volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])]
    assert {volume for volume in volumes if not volume.startswith((".", "/"))} == set(COMPOSE["volumes"])


def test_every_port_on_the_host_is_open_to_this_machine_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_a_service_waits_only_for_services_that_can_reach_what_it_waits_for() -> None:
    for service in SERVICES.values():
        for awaited, wait in service.get("depends_on", {}).items():
            if wait["condition"] == "service_healthy":
                assert has_healthcheck(SERVICES[awaited]), awaited
            else:
                assert wait["condition"] == "service_completed_successfully"
                assert SERVICES[awaited]["restart"] == "no", awaited


def test_grafana_finds_datasource_dashboards_and_home_where_compose_mounts_them() -> None:
    inside = {path: source for name, source, path in bind_mounts() if name == "grafana"}
    home = Path(SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert inside[str(home.parent)] / home.name == DASHBOARD_FILE
    providers = load(DEPLOY / "grafana/provisioning/dashboards/occustream.yml")["providers"]
    assert {provider["options"]["path"] for provider in providers} <= inside.keys()
    for source in load(DEPLOY / "grafana/provisioning/datasources/prometheus.yml")["datasources"]:
        assert urllib.parse.urlsplit(source["url"]).hostname in SERVICES


def test_prometheus_finds_its_configuration_the_consumers_and_the_refresh_service() -> None:
    inside = {path: source for name, source, path in bind_mounts() if name == "prometheus"}
    flags = dict(flag.split("=", 1) for flag in SERVICES["prometheus"]["command"])
    config_file = Path(flags["--config.file"])
    assert (inside[str(config_file.parent)] / config_file.name).is_file()
    jobs = {job["job_name"]: job for job in load(DEPLOY / "prometheus/prometheus.yml")["scrape_configs"]}
    assert jobs.keys() == {"consumer", "trainer"} <= SERVICES.keys()
    (discovered,) = jobs["consumer"]["dns_sd_configs"]
    assert set(discovered["names"]) <= SERVICES.keys()
    assert discovered["port"] == given_settings(SERVICES["consumer"])["http_port"]
    (named,) = jobs["trainer"]["static_configs"]
    assert named["targets"] == [f"trainer:{trainer_settings().http_port}"]
    assert SERVICES["trainer"]["expose"] == [str(trainer_settings().http_port)]


def test_the_console_scripts_that_compose_and_the_image_call_are_installed() -> None:
    scripts = re.findall(r"^(occustream-\w+) = ", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    called = [json.dumps(service["command"]) for service in SERVICES.values() if service.get("image") == OURS]
    called.append((ROOT / "Dockerfile").read_text(encoding="utf-8"))
    assert set(re.findall(r"\boccustream-\w+", " ".join(called))) <= set(scripts)


def test_a_consumer_has_longer_to_stop_than_to_drain() -> None:
    consumer = SERVICES["consumer"]
    assert int(consumer["stop_grace_period"].removesuffix("s")) > given_settings(consumer)["drain_timeout_s"]


def test_what_the_image_copies_is_in_the_repository_and_let_into_the_build() -> None:
    copies = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    copied = {source for sources in copies for source in sources.split()}
    assert [source for source in copied if not (ROOT / source).exists()] == []
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line.startswith("!")}
    assert copied == let_in


def test_a_file_of_ours_that_a_command_runs_is_copied_into_the_image() -> None:
    commands = " ".join(json.dumps(service["command"]) for service in SERVICES.values() if service.get("image") == OURS)
    run = set(re.findall(r"/app/([\w./]+)", commands))
    assert run
    let_in = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert {f"!{path}" for path in run} <= set(let_in)


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_writes_only_to_volumes_and_memory_and_has_no_right_of_root(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert any(mount.startswith("/tmp:") for mount in service["tmpfs"])
    assert all("size=" in mount for mount in service["tmpfs"]), "memory is bounded, too"
    assert not service.get("privileged")
    assert "user" not in service


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_has_limits_of_memory_and_processes(name: str) -> None:
    assert re.fullmatch(r"\d+[mg]", SERVICES[name]["mem_limit"])
    assert SERVICES[name]["pids_limit"] > 0


def test_an_image_is_one_version_and_can_be_pinned_by_digest_without_an_edit() -> None:
    images = [service["image"] for service in SERVICES.values() if service["image"] != OURS]
    assert all(re.fullmatch(r"\$\{[A-Z]+_IMAGE:-[a-z/-]+:v?\d+\.\d+\.\d+\}", image) for image in images)
    assert {image for image in images if "kafka" in image} == {f"${{KAFKA_IMAGE:-apache/kafka:{kafka_version()}}}"}
    assert re.search(r"^ARG BASE_IMAGE=python:\d+\.\d+\.\d+-\S+\nFROM \$\{BASE_IMAGE\}$", DOCKERFILE, re.MULTILINE)


def test_nothing_secret_stays_in_the_history_of_the_image() -> None:
    assert re.findall(r"^ARG (\w+)", DOCKERFILE, re.MULTILINE) == ["BASE_IMAGE"]
    assert re.search(r"^RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf", DOCKERFILE, re.MULTILINE)
    assert re.search(r"^USER (?!root)\w+$", DOCKERFILE, re.MULTILINE)


def test_nobody_comes_into_grafana_without_a_password_and_none_is_known() -> None:
    given = SERVICES["grafana"]["environment"]
    assert given["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert given["GF_SECURITY_ADMIN_PASSWORD"].startswith("${GRAFANA_PASSWORD:?")
    assert given["GF_SECURITY_ADMIN_USER"] != "admin"
    assert "/deploy/.env" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


def test_the_dead_letter_topic_of_compose_takes_any_message_with_its_headers() -> None:
    limit = re.search(r"--entity-name (\S+) --add-config max.message.bytes=(\d+)", SERVICES["topics"]["command"][0])
    assert limit
    assert limit[1] == given_settings(SERVICES["consumer"])["dead_letter_topic"]
    assert int(limit[2]) == KAFKAS_LIMIT + DEAD_LETTER_ROOM_BYTES
