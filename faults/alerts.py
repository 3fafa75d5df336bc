"""Which alerts an outage rings, and when: /metrics of the consumers is scraped meanwhile, and promtool judges our rules on that.

The outage of a scenario is shorter than what some alerts wait for. So the series are held at their last values after it.
"""

import re
import shutil
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml
from prometheus_client.parser import text_string_to_metric_families

from faults.processes import ConsumerProcess

RULES = Path(__file__).parent.parent / "deploy/prometheus/alerts.yml"
STEP_S = 1.0
"""Between two scrapes."""
LOOK_S = 15
"""Between two looks whether an alert rings: the precision of the times that are found."""
HELD_S = 900
"""For how long the last values are held."""
Labels = tuple[tuple[str, str], ...]


class Scrapes:
    """Scrapes consumers from its begin to its end, as the job `consumer`."""

    def __init__(self, consumers: Mapping[str, ConsumerProcess]) -> None:
        """`consumers`: by the name of their instance. Raises RuntimeError without promtool."""
        if shutil.which("promtool") is None:
            raise RuntimeError("promtool is not installed, which comes with Prometheus: no alert can be judged")
        self._consumers = consumers
        self._expressions = " ".join(re.findall(r"[a-z_]+", RULES.read_text(encoding="utf-8")))
        self._began = time.time()
        self._scrapes: list[dict[Labels, float]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def mark(self) -> int:
        """Return the moment, for `find_alerts`: how many scrapes there are by now."""
        return len(self._scrapes)

    def find_alerts(self, directory: Path, *, since: int) -> dict[str, int]:
        """Return each alert that rings, and how many seconds after the moment `since`, to LOOK_S. promtool judges it."""
        time.sleep(3 * STEP_S)  # the last scrape shows what the caller has seen
        times = range(0, int((len(self._scrapes) + HELD_S) * STEP_S), LOOK_S)
        names = re.findall(r"- alert: (\w+)", RULES.read_text(encoding="utf-8"))
        looks = [{"alertname": name, "eval_time": f"{moment}s"} for name in names for moment in times]
        test = {"interval": f"{STEP_S:.0f}s", "input_series": self._list_series(), "alert_rule_test": looks}
        path = directory / "alerts_as_scraped.yml"
        path.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": f"{LOOK_S}s", "tests": [test]}))
        promtool = ["promtool", "test", "rules", str(path)]
        done = subprocess.run(promtool, capture_output=True, text=True, check=False, timeout=120)
        rings = re.findall(r"alertname: ?(\w+), time: ?(\w+)", done.stdout + done.stderr)
        if done.returncode and not rings:
            raise RuntimeError(f"promtool: {done.stderr[-500:]}")
        first: dict[str, int] = {}
        for name, moment in rings:
            first[name] = min(first.get(name, 1 << 30), _seconds(moment))
        return {name: moment - int(since * STEP_S) for name, moment in sorted(first.items(), key=lambda pair: pair[1])}

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.wait(max(0.0, due - time.monotonic())):
            self._scrapes.append(self._scrape())
            due += STEP_S

    def _scrape(self) -> dict[Labels, float]:
        found: dict[Labels, float] = {}
        for name, process in self._consumers.items():
            own = {"job": "consumer", "instance": name}
            text = process.scrape()
            found[_labels("up", own)] = float(text is not None)
            for family in text_string_to_metric_families(text or ""):
                for sample in family.samples:
                    if sample.name in self._expressions:
                        # promtool's clock begins at 0
                        shift = self._began if sample.name.endswith("_timestamp_seconds") else 0.0
                        found[_labels(sample.name, {**sample.labels, **own})] = sample.value - shift
        return found

    def _list_series(self) -> Sequence[Mapping[str, str]]:
        labels = dict.fromkeys(labels for scrape in self._scrapes for labels in scrape)
        held = int(HELD_S / STEP_S)
        listed = []
        for series in labels:
            values = [_show(scrape.get(series)) for scrape in self._scrapes]
            last = self._scrapes[-1].get(series)
            end = "stale" if last is None else f"{_show(last)}{self._slope(series)}x{held}"
            listed.append({"series": _name(series), "values": f"{' '.join(values)} {end}"})
        return listed

    def _slope(self, series: Labels) -> str:
        """Return how a held series goes on: a time that has just moved goes on moving, anything else stays."""
        times = [scrape[series] for scrape in self._scrapes[-5:] if series in scrape]
        moves = series[0][1].endswith("_timestamp_seconds") and times[-1] > times[0]
        return f"+{STEP_S:.0f}" if moves else "+0"


def _labels(name: str, labels: Mapping[str, Any]) -> Labels:
    return (("__name__", name), *sorted((key, str(value)) for key, value in labels.items()))


def _name(series: Labels) -> str:
    name, *labels = series
    inner = ", ".join(f'{key}="{value}"' for key, value in labels)
    return f"{name[1]}{{{inner}}}"


def _show(value: float | None) -> str:
    return "_" if value is None else f"{value:.3f}"


def _seconds(duration: str) -> int:
    """Return the seconds of a duration such as 1h2m15s."""
    units = {"h": 3_600, "m": 60, "s": 1}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)([hms])", duration))
