"""The machine that a benchmark ran on, the Kafka that it measured on, and the line of JSON that it ends with."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from deploy.kafka.broker import LocalKafka
from deploy.kafka.jars import missing_tools

ROOT = Path(__file__).parent.parent
JAVA_OPTIONS = ("-Xms128m", "-Xmx512m")
"""Of Kafka. With the second compiler, unlike a broker that only has to start quickly."""


def print_result(benchmark: str, **figures: object) -> None:
    """Print one line of JSON: the benchmark's name, its figures, and what they were measured on."""
    print(json.dumps({"benchmark": benchmark, **figures, **describe_machine()}))


def describe_machine() -> dict[str, Any]:
    """Return the device, the version of torch, and the commit of the code."""
    capabilities = torch.cpu.get_capabilities()
    return {
        "device": torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"{capabilities.get('cpu_name')}, {os.cpu_count()} cores",
        "avx512_bf16": bool(capabilities.get("avx512_bf16")),
        "torch": torch.__version__,
        "commit": current_commit() or "unknown",
    }


def current_commit() -> str:
    """Return the short name of the commit that is checked out, or an empty text outside a git repository."""
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT).stdout.strip()


@contextlib.contextmanager
def real_kafka() -> Iterator[str | None]:
    """Yield the address of a real Kafka: KAFKA_BOOTSTRAP_SERVERS, else one started here, else None."""
    if servers := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield servers
    elif missing_tools():
        print(f"no Kafka: {', '.join(missing_tools())} missing", file=sys.stderr)
        yield None
    else:
        with tempfile.TemporaryDirectory() as folder, LocalKafka(Path(folder), java_options=JAVA_OPTIONS) as kafka:
            yield kafka.bootstrap_servers
