"""`python -m faults` plays scenarios on real Kafka brokers.

Each scenario ends with one line of JSON; the exit status is 1 if one is not passed.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    options = _parser().parse_args(arguments)
    from deploy.kafka.jars import missing_tools  # noqa: PLC0415 - seconds to import; --help need not pay
    from faults.scenarios import SCENARIOS  # noqa: PLC0415

    if options.list:
        print("\n".join(f"{scenario.name:16} {scenario.summary}" for scenario in SCENARIOS))
        return 0
    if unknown := set(options.scenarios) - {scenario.name for scenario in SCENARIOS}:
        print(f"faults: no scenario is called {', '.join(sorted(unknown))}; --list shows them", file=sys.stderr)
        return 2
    if missing := missing_tools():
        print(f"faults: no Kafka: missing {', '.join(missing)}", file=sys.stderr)
        return 2
    return _run(options)


def _run(options: argparse.Namespace) -> int:
    from faults.scenarios import list_plays  # noqa: PLC0415
    from faults.suite import Suite  # noqa: PLC0415

    directory = Path(tempfile.mkdtemp(prefix="faults-"))
    suite, failed = Suite(directory), 0
    try:
        for scenario, delivery in list_plays(options.size):
            if scenario.name in (options.scenarios or [scenario.name]) and delivery == (options.delivery or delivery):
                line = {**suite.play(scenario, delivery, size=options.size, seed=options.seed), **describe_machine()}
                failed += not line["passed"]
                _write(line, options.output)
    finally:
        suite.end()
    if failed or options.keep:
        print(f"faults: the logs are in {directory}", file=sys.stderr)
    else:
        shutil.rmtree(directory, ignore_errors=True)
    return 1 if failed else 0


def describe_machine() -> dict[str, Any]:
    """Return the commit, the processor and the number of its cores."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False, cwd=ROOT
    ).stdout.strip()
    cpu = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    return {
        "commit": commit or "unknown",
        "cpu": cpu[1] if cpu else platform.processor(),
        "cores": os.cpu_count(),
    }


def _write(line: dict[str, Any], output: Path | None) -> None:
    text = json.dumps(line)
    print(text, flush=True)
    if output is not None:
        with output.open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="faults", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="which to play (default: all)")
    parser.add_argument("--list", action="store_true", help="show the scenarios and end")
    parser.add_argument("--size", choices=("short", "full"), default="full", help="short: minutes, for CI (default: %(default)s)")
    parser.add_argument("--delivery", choices=("at-least-once", "exactly-once"), help="only this one (default: both)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the choice of moments (0)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="append the lines to this file, too")
    parser.add_argument("--keep", action="store_true", help="keep the logs, also if all scenarios are passed")
    return parser


if __name__ == "__main__":
    sys.exit(main())
