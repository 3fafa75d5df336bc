"""The deployment files against the program they deploy: metric names, settings, paths, and Prometheus itself."""

import contextlib
import itertools
import json
import re
import shutil
import socket
import subprocess
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from consumer.messages import TopicPartition
from consumer.metrics import Metrics
from consumer.process.http import HttpServer
from consumer.settings import ENV_PREFIX, Settings
from tests.support.paths import ROOT
from trainer.cli.parser import parser as trainer_parser
from trainer.refresh import metrics as trainer_metrics
from trainer.refresh.drift import DriftLimits, WindowFigures
from trainer.refresh.service import RefreshPolicy


def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return loaded


DEPLOY = ROOT / "deploy"
DASHBOARD_FILE = DEPLOY / "grafana/dashboards/occustream.json"
DASHBOARD = json.loads(DASHBOARD_FILE.read_text(encoding="utf-8"))
COMPOSE = load(DEPLOY / "compose.yaml")
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
ALERTS = load(DEPLOY / "prometheus/alerts.yml")
ALERT_CASES = load(DEPLOY / "prometheus/alerts_test.yml")

PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
PANEL_EXPRESSIONS = [(panel["title"], target["expr"]) for panel in PANELS for target in panel["targets"]]
ANNOTATION_EXPRESSIONS = [(note["name"], note["expr"]) for note in DASHBOARD["annotations"]["list"] if "expr" in note]
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
EXPRESSIONS = [*PANEL_EXPRESSIONS, *ANNOTATION_EXPRESSIONS, *((rule["alert"], rule["expr"]) for rule in RULES)]

SAMPLE_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
MADE_BY_PROMETHEUS = {"up", "ALERTS"}
WORDS = {"and", "or", "unless", "by", "without", "on", "ignoring", "group_left", "group_right", "offset", "bool"}
GRAFANA_VARIABLES = {"$__rate_interval": "1m", "$__interval": "15s", "$job": "consumer", "$instance": ".*", "$trainer": ".*"}

OURS = "occustream:local"
"""The image that the Dockerfile makes."""


def exported_families() -> list[Any]:
    """What the consumer and the refresh service export."""
    return [*Metrics().registry.collect(), *trainer_metrics.Metrics().registry.collect()]


def exported_names() -> set[str]:
    """Every sample name that /metrics can show, whether or not it has a value yet."""
    families = exported_families()
    return {family.name + suffix for family in families for suffix in SAMPLE_SUFFIXES[family.type]}


def names_in(expression: str) -> set[str]:
    """The metric names of a PromQL expression: its identifiers that are no functions, labels, words or strings."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", bare)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", bare)
    bare = re.sub(r"\boffset\s+\w+", "", bare)
    identifiers = re.findall(r"(?<![\w.:$])([A-Za-z_:][\w:]*)\b(?!\s*\()", bare)
    return set(identifiers) - WORDS


def substituted(expression: str) -> str:
    """The expression as Grafana would send it with all consumers and refresh services chosen."""
    for variable, value in GRAFANA_VARIABLES.items():
        expression = expression.replace(variable, value)
    return expression


def given_settings(service: dict[str, Any]) -> dict[str, Any]:
    environment = service.get("environment", {})
    return {name.removeprefix(ENV_PREFIX).lower(): environment[name] for name in environment if name.startswith(ENV_PREFIX)}


def trainer_options() -> Any:
    """What the refresh service makes of the command that compose gives it."""
    program, *arguments = SERVICES["trainer"]["command"]
    assert program == "occustream-trainer"
    options = trainer_parser().parse_args(arguments)
    assert arguments[0] == "serve"
    return options


def bind_mounts() -> list[tuple[str, Path, str]]:
    """Service, path on the host, path in the container."""
    mounts = [(name, *volume.split(":")[:2]) for name, service in SERVICES.items() for volume in service.get("volumes", [])]
    return [(name, (DEPLOY / source).resolve(), inside) for name, source, inside in mounts if source.startswith((".", "/"))]


def has_healthcheck(service: dict[str, Any]) -> bool:
    declared = service.get("healthcheck")
    if declared is None:
        return service.get("image") == OURS and "HEALTHCHECK" in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    return not declared.get("disable", False)


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS, ids=[where for where, _ in EXPRESSIONS])
def test_an_expression_names_only_metrics_that_are_exported(where: str, expression: str) -> None:
    names = names_in(expression)
    assert names, f"{where}: no metric found in {expression}"
    assert {name for name in names if not name.startswith("process_")} <= exported_names() | MADE_BY_PROMETHEUS


def test_the_reader_of_expressions_sees_through_functions_labels_and_strings() -> None:
    expression = 'sum by (le, job) (rate(a_total{x="b_total", job=~"$job"}[5m])) / on () group_left c:d offset 15s > 1e3 unless e'
    assert names_in(expression) == {"a_total", "c:d", "e"}


def test_every_metric_of_ours_is_on_the_dashboard() -> None:
    shown = set().union(*(names_in(expression) for _, expression in PANEL_EXPRESSIONS))
    unseen = [
        family.name
        for family in exported_families()
        if family.name.startswith("occustream_") and not shown & {family.name + suffix for suffix in SAMPLE_SUFFIXES[family.type]}
    ]
    assert unseen == []


def test_every_label_in_an_expression_or_a_legend_is_one_of_a_metric() -> None:
    texts = [expression for _, expression in EXPRESSIONS]
    aggregated = {label for text in texts for labels in re.findall(r"\bby \(([^)]*)\)", text) for label in labels.split(", ")}
    matched = {label for text in texts for label in re.findall(r"[{,]\s*(\w+)\s*(?:=~|!~|!=|=)", text)}
    legends = [target["legendFormat"] for panel in PANELS for target in panel["targets"]]
    legend_labels = {label for legend in legends for label in re.findall(r"\{\{(\w+)\}\}", legend)}
    ours = [*vars(Metrics()).values(), *vars(trainer_metrics.Metrics()).values()]
    known = {label for metric in ours for label in getattr(metric, "_labelnames", ())}
    assert aggregated | matched | legend_labels <= known | {"le", "job", "instance", "alertname", "alertstate"}


# --- dashboard -------------------------------------------------------------------------------------------------------


def test_every_panel_asks_the_provisioned_datasource_and_says_what_it_shows_in_which_unit() -> None:
    uids = {source["uid"] for source in load(DEPLOY / "grafana/provisioning/datasources/prometheus.yml")["datasources"]}
    for panel in PANELS:
        assert {panel["datasource"]["uid"], *(target["datasource"]["uid"] for target in panel["targets"])} <= uids, panel["title"]
        assert panel["description"], panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]


def test_no_two_panels_overlap_and_none_leaves_the_grid() -> None:
    cells: dict[tuple[int, int], str] = {}
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        for cell in itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])):
            assert cells.setdefault(cell, panel["title"]) == panel["title"]


def test_panel_ids_and_the_letters_of_a_panels_queries_are_unique() -> None:
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    for panel in PANELS:
        letters = [target["refId"] for target in panel["targets"]]
        assert len(letters) == len(set(letters)), panel["title"]


def test_the_dashboard_moves_by_itself() -> None:
    assert DASHBOARD["refresh"] == "5s"
    assert DASHBOARD["time"] == {"from": "now-15m", "to": "now"}


def test_every_panel_follows_the_choice_of_consumers_or_of_the_refresh_service() -> None:
    declared = {f"${variable['name']}" for variable in DASHBOARD["templating"]["list"]}
    assert declared == {"$job", "$instance", "$trainer"}
    for title, expression in PANEL_EXPRESSIONS:
        selectors = re.findall(r"\{([^}]*)\}", expression)
        followed = {"$trainer"} if "occustream_trainer_" in expression else {"$job", "$instance"}
        assert selectors, title
        assert all(set(re.findall(r"\$\w+", selector)) == followed for selector in selectors), title
        assert not re.findall(r"\$\w+", substituted(expression)), f"{title}: a variable that Grafana does not know"


def test_all_jobs_are_those_of_consumers_so_that_a_refresh_service_is_not_counted_as_one() -> None:
    (job,) = [variable for variable in DASHBOARD["templating"]["list"] if variable["name"] == "job"]
    assert job["allValue"] is None  # Grafana then fills in the jobs that the query finds
    assert job["definition"] == "label_values(occustream_messages_total, job)"


def test_a_line_on_a_panel_of_the_refresh_service_is_the_default_that_it_stands_for() -> None:
    lines = {panel["title"]: panel["fieldConfig"]["defaults"]["thresholds"]["steps"][-1]["value"] for panel in PANELS}
    service = trainer_options()
    assert lines["Drift: stability index"] == service.drift_psi == DriftLimits().psi
    assert lines["Calibration error of the last candidate"] == service.gate_ece
    assert lines["Rows waiting"] == service.min_new == RefreshPolicy().min_new
    (drift,) = [rule["expr"] for rule in RULES if rule["alert"] == "OccustreamDrift"]
    assert float(drift.split(">")[1]) == service.drift_psi


# --- alerts ----------------------------------------------------------------------------------------------------------


def test_every_alert_has_a_case_in_which_it_fires_and_one_in_which_it_is_silent() -> None:
    cases = [case for test in ALERT_CASES["tests"] for case in test["alert_rule_test"]]
    names = {rule["alert"] for rule in RULES}
    assert names == {case["alertname"] for case in cases if case.get("exp_alerts")}
    assert names == {case["alertname"] for case in cases if not case.get("exp_alerts")}


def test_an_alert_about_a_job_names_the_one_that_is_scraped() -> None:
    scraped = {job["job_name"] for job in load(DEPLOY / "prometheus/prometheus.yml")["scrape_configs"]}
    assert set(re.findall(r'job="(\w+)"', " ".join(rule["expr"] for rule in RULES))) <= scraped


# --- compose and the image -------------------------------------------------------------------------------------------


def test_every_variable_that_compose_sets_is_a_setting_with_a_value_it_accepts() -> None:
    for name, service in SERVICES.items():
        given = given_settings(service)
        assert given.keys() <= Settings.model_fields.keys(), name
        Settings(**given)


def test_the_topics_that_compose_creates_are_those_the_services_use() -> None:
    used = {value for name, value in given_settings(SERVICES["consumer"]).items() if name.endswith("_topic")}
    assert used == {Settings.model_fields[f"{name}_topic"].default for name in ("input", "output", "dead_letter")}
    assert trainer_options().enriched_topic == given_settings(SERVICES["consumer"])["output_topic"]
    used.add(trainer_options().labelled_topic)
    created = re.search(r"for topic in (.+);", SERVICES["topics"]["command"][0])
    assert created
    assert set(created[1].split()) == used


def test_the_refresh_service_has_the_brokers_and_the_registry_of_the_consumers_and_keeps_its_state() -> None:
    trainer, consumer = SERVICES["trainer"], given_settings(SERVICES["consumer"])
    inside = {path: volume for volume, path, *_ in (mount.split(":") for mount in trainer["volumes"])}
    assert given_settings(trainer)["bootstrap_servers"] == consumer["bootstrap_servers"]
    assert str(trainer_options().registry) == consumer["registry"]
    assert inside.keys() == {str(trainer_options().registry), str(trainer_options().state)}
    assert trainer["restart"] == "unless-stopped"


def test_the_refresh_service_is_healthy_once_it_says_that_a_version_is_in_service() -> None:
    check = SERVICES["trainer"]["healthcheck"]
    assert f"http://127.0.0.1:{trainer_options().http_port}/readyz" in check["test"][-1]
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


def test_grafana_finds_its_datasource_its_dashboards_and_its_home_where_compose_mounts_them() -> None:
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
    assert named["targets"] == [f"trainer:{trainer_options().http_port}"]
    assert SERVICES["trainer"]["expose"] == [str(trainer_options().http_port)]


def test_the_console_scripts_that_compose_and_the_image_call_are_installed_by_the_distribution() -> None:
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


# --- Prometheus itself -----------------------------------------------------------------------------------------------


def program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian and Ubuntu: apt-get install prometheus)")
    return found


@pytest.mark.parametrize(
    "arguments", ["check config prometheus.yml", "check rules alerts.yml", "test rules alerts_test.yml"], ids=lambda value: value
)
def test_promtool_accepts(arguments: str) -> None:
    promtool = program("promtool")
    done = subprocess.run(
        [promtool, *arguments.split()], cwd=DEPLOY / "prometheus", capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def scraped_consumer() -> Iterator[str]:
    """The address of a consumer's /metrics whose every series has a value."""
    metrics = Metrics()
    metrics.messages.inc(30)
    metrics.lags({TopicPartition("postings.raw", partition): 10 for partition in range(6)})
    metrics.model_info.labels("v1", "minilm", "29.3").set(1)
    metrics.model_trained_at.set(time.time())
    server = HttpServer(host="127.0.0.1", port=0, metrics=metrics.registry, live=lambda: None, ready=lambda: None)
    server.start()
    stopped = threading.Event()
    traffic = threading.Thread(target=make_traffic, args=(metrics, stopped))
    traffic.start()
    try:
        yield server.address
    finally:
        stopped.set()
        traffic.join()
        server.stop()


def make_traffic(metrics: Metrics, stopped: threading.Event) -> None:
    """Let everything that counts count, as a busy consumer does."""
    while not stopped.wait(0.1):
        for counter in (metrics.messages, metrics.enriched, metrics.commits, metrics.decisions.labels("accept")):
            counter.inc()
        metrics.dead_letters.labels("no_title").inc()
        metrics.batches.labels("age").inc()
        metrics.batch_size.observe(16)
        metrics.end_to_end_seconds.observe(0.02)
        with metrics.stage("score"):
            pass


@pytest.fixture
def scraped_trainer() -> Iterator[str]:
    """The address of a refresh service's /metrics whose every series has a value."""
    metrics = trainer_metrics.Metrics()
    metrics.in_service("v1")
    metrics.judged({"top_1": 0.8, "macro_top_1": 0.75, "ece": 0.03})
    metrics.window(WindowFigures(1, 0.2, 0.7, {"29": 1.0}, {"29-1141.00": 1.0}), {"group": 0.05, "code": 0.1})
    server = HttpServer(host="127.0.0.1", port=0, metrics=metrics.registry, live=lambda: None, ready=lambda: None)
    server.start()
    stopped = threading.Event()
    refreshing = threading.Thread(target=make_refreshes, args=(metrics, stopped))
    refreshing.start()
    try:
        yield server.address
    finally:
        stopped.set()
        refreshing.join()
        server.stop()


def make_refreshes(metrics: trainer_metrics.Metrics, stopped: threading.Event) -> None:
    """Refresh without a pause."""
    while not stopped.wait(0.1):
        metrics.refreshes.labels("promoted").inc()
        metrics.triggers.labels("postings").inc()
        metrics.seconds.observe(30)


@pytest.fixture
def prometheus(tmp_path: Path, scraped_consumer: str, scraped_trainer: str) -> Iterator[str]:
    """The address of a Prometheus with our rules that scrapes both four times a second."""
    executable = program("prometheus")
    config = load(DEPLOY / "prometheus/prometheus.yml")
    config["global"] = {"scrape_interval": "250ms", "scrape_timeout": "200ms", "evaluation_interval": "250ms"}
    config["rule_files"] = [str(DEPLOY / "prometheus" / name) for name in config["rule_files"]]
    scraped = {"consumer": scraped_consumer, "trainer": scraped_trainer}
    for job in config["scrape_configs"]:
        job.pop("dns_sd_configs", None)
        job["static_configs"] = [{"targets": [urllib.parse.urlsplit(scraped[job["job_name"]]).netloc]}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [executable, "--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address={address}"],
            cwd=tmp_path,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        await_data(f"http://{address}", process, tmp_path / "log")
        yield f"http://{address}"
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def await_data(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a rate can be computed."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text(encoding="utf-8")
        with contextlib.suppress(OSError):
            counted = ("occustream_end_to_end_seconds_count", "occustream_trainer_refresh_seconds_count")
            if all(ask(address, f"rate({name}[1m]) > 0") for name in counted):
                return
        time.sleep(0.1)
    pytest.fail(f"Prometheus shows no data after a minute:\n{log.read_text(encoding='utf-8')}")


def ask(address: str, expression: str) -> list[Any]:
    query = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"{address}/api/v1/query?{query}", timeout=10) as answer:
        body = json.load(answer)
    assert body["status"] == "success", body
    result: list[Any] = body["data"]["result"]
    return result


def test_prometheus_scrapes_both_services_and_every_panel_of_the_dashboard_has_data(prometheus: str) -> None:
    asked = [(title, substituted(expression)) for title, expression in PANEL_EXPRESSIONS]
    assert [title for title, expression in asked if not ask(prometheus, expression)] == []
    (consumers,) = [expression for title, expression in asked if title == "Consumers"]
    assert [found["value"][1] for found in ask(prometheus, consumers)] == ["1"]


def test_prometheus_accepts_every_annotation_and_alert(prometheus: str) -> None:
    for _, expression in EXPRESSIONS:
        ask(prometheus, substituted(expression))
    with urllib.request.urlopen(f"{prometheus}/api/v1/rules", timeout=10) as answer:
        loaded = [rule for group in json.load(answer)["data"]["groups"] for rule in group["rules"]]
    assert {rule["name"] for rule in loaded} == {rule["alert"] for rule in RULES}
    assert {rule["name"] for rule in loaded if rule["health"] == "err"} == set()
