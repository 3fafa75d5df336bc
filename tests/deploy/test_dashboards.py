"""The dashboard and the alerts against the metrics that the programs export."""

import itertools
import re

import pytest

from consumer.metrics import Metrics
from tests.deploy.deployment_files import (
    ALERT_CASES,
    DASHBOARD,
    DEPLOY,
    EXPRESSIONS,
    MADE_BY_PROMETHEUS,
    PANEL_EXPRESSIONS,
    PANELS,
    RULES,
    SAMPLE_SUFFIXES,
    exported_families,
    exported_names,
    load,
    names_in,
    substituted,
    trainer_settings,
)
from trainer.refresh import metrics as trainer_metrics
from trainer.refresh.drift import DriftLimits
from trainer.refresh.service import RefreshPolicy

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


def test_every_panel_asks_the_provisioned_datasource_and_has_a_description_and_unit() -> None:
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


def test_all_jobs_are_consumers_so_that_no_refresh_service_is_counted_as_one() -> None:
    (job,) = [variable for variable in DASHBOARD["templating"]["list"] if variable["name"] == "job"]
    assert job["allValue"] is None  # Grafana then fills in the jobs that the query finds
    assert job["definition"] == "label_values(occustream_messages_total, job)"


def test_a_line_on_a_panel_of_the_refresh_service_is_the_default_that_it_stands_for() -> None:
    lines = {panel["title"]: panel["fieldConfig"]["defaults"]["thresholds"]["steps"][-1]["value"] for panel in PANELS}
    service = trainer_settings()
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
