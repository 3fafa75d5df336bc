"""The pages against the program they describe: settings, flags, metrics, links, paths and commands."""

import contextlib
import io
import re
from functools import cache
from pathlib import Path

import pytest

from consumer.metrics import Metrics
from consumer.settings import Settings
from consumer.settings_loading import tables
from trainer.cli.parser import make_parser
from trainer.refresh.metrics import Metrics as TrainerMetrics

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.glob("*.md"))]
GONE = {"docs/operations.md"}
"""Paths that only the changelog names."""
MADE = {"deploy/.env"}
"""Paths that a reader makes."""
TOP_FOLDERS = "benchmarks|consumer|deploy|docs|faults|schemas|tests|trainer"

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def settings_table(page: str) -> dict[str, str]:
    """Return the default of each setting that a page's tables list."""
    return dict(re.findall(r"^\| `([a-z_]+)` \| `?([^|`]+?)`? \|", text(DOCS / page), re.MULTILINE))


@cache
def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text(page), flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def flags_of(command: str) -> set[str]:
    """Return the flags that a command of the trainer shows in its help."""
    with contextlib.redirect_stdout(io.StringIO()) as shown, pytest.raises(SystemExit):
        make_parser().parse_args([command, "--help"])
    return set(re.findall(r"^  (--[a-z-]+)", shown.getvalue(), re.MULTILINE))


def test_each_setting_of_the_consumer_is_listed_with_its_default() -> None:
    empty = {None: "none", frozenset(): "none"}
    defaults = {
        name: "none" if name in tables(Settings) else empty.get(field.default, str(field.default))
        for name, field in Settings.model_fields.items()
    }
    assert settings_table("configuration.md") == defaults


def test_each_setting_of_the_refresh_service_is_listed() -> None:
    named = {flag.removeprefix("--").replace("-", "_") for flag in flags_of("serve")} - {"config"}
    shared = {flag.removeprefix("--").replace("-", "_") for flag in flags_of("evaluate")}
    assert settings_table("refresh.md").keys() >= named - shared


@pytest.mark.parametrize("command", ["train", "distill", "evaluate", "report", "export"])
def test_each_flag_of_the_trainer_is_on_a_page(command: str) -> None:
    pages = " ".join(map(text, PAGES))
    assert not [flag for flag in flags_of(command) if not re.search(rf"{flag}\b", pages)]


def test_each_metric_is_listed() -> None:
    names = {
        family.name + ("_total" if family.type == "counter" else "")
        for metrics in (Metrics(), TrainerMetrics())
        for family in metrics.registry.collect()
    }
    listed = set(re.findall(r"^\| `(occustream_\w+)", text(DOCS / "health.md"), re.MULTILINE))
    assert listed == {name for name in names if name.startswith("occustream_")}


def test_each_alert_is_listed() -> None:
    alerts = re.findall(r"- alert: (\w+)", text(ROOT / "deploy/prometheus/alerts.yml"))
    assert re.findall(r"^\| (Occustream\w+)", text(DOCS / "health.md"), re.MULTILINE) == alerts


@each_page
def test_each_relative_link_leads_to_a_page_and_a_heading(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", text(page)):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@each_page
def test_each_path_and_module_that_a_page_names_exists(page: Path) -> None:
    paths = re.findall(rf"(?<![\w/.-])(?:{TOP_FOLDERS})/[\w/.-]*[\w/]", text(page))
    modules = re.findall(rf"-m ((?:{TOP_FOLDERS})[\w.]*\w)", text(page))
    modules = [module.replace(".", "/") for module in modules if "NAME" not in module]
    missing = [path for path in paths if not (ROOT / path).exists() and path not in GONE | MADE]
    assert not missing + [module for module in modules if not list(ROOT.glob(f"{module}*"))]


@each_page
def test_each_make_target_that_a_page_names_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", text(ROOT / "Makefile"), re.MULTILINE))
    assert set(re.findall(r"(?:^|`|[A-Z]+=\S+ )make ([a-z-]+)", text(page), re.MULTILINE)) <= targets
