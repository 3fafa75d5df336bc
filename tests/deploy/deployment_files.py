"""The deployment files as the tests read them: dashboard, alerts, compose, and the metric names that expressions use."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from consumer.metrics import Metrics
from consumer.settings import ENV_PREFIX
from tests.support.paths import ROOT
from trainer.cli.parser import make_parser as make_trainer_parser
from trainer.refresh import metrics as trainer_metrics
from trainer.refresh.settings import ServeSettings, load_serve_settings


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
    """The settings that a service of the compose file is given as environment variables."""
    environment = service.get("environment", {})
    return {name.removeprefix(ENV_PREFIX).lower(): environment[name] for name in environment if name.startswith(ENV_PREFIX)}


def trainer_settings() -> ServeSettings:
    """The settings of the refresh service, by the command and the environment that compose gives it."""
    program, *arguments = SERVICES["trainer"]["command"]
    assert program == "occustream-trainer"
    assert arguments[0] == "serve"
    flags = vars(make_trainer_parser().parse_args(arguments))
    return load_serve_settings({**flags, **given_settings(SERVICES["trainer"])})
