"""Consumer processes: the real program, forked from a server that has imported it, so that it starts within a second."""

import contextlib
import faulthandler
import multiprocessing
import os
import re
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Self

import torch

from consumer.__main__ import main
from faults.cluster import wait_until
from faults.strikes import Strike, watch_steps

READY_S = 60.0
END_S = 40.0
ASSIGNMENT_CHANGE = r": (assigned|revoked|lost) (\S.*)"
"""A line of a consumer's log about its partitions."""


def run_consumer(arguments: Sequence[str], log: str, strikes: Sequence[Strike]) -> None:
    """Run a consumer in the forked process, from its command line to its exit status."""
    descriptor = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.dup2(descriptor, sys.stdout.fileno())
    os.dup2(descriptor, sys.stderr.fileno())
    faulthandler.register(signal.SIGUSR1)
    torch.set_num_threads(1)  # several share the cores
    watch_steps(strikes)
    sys.exit(main(arguments))


class ConsumerProcess:
    """A consumer in a process of its own."""

    def __init__(self, context: ForkServerContext, arguments: Sequence[str], log: Path, *, strikes: Sequence[Strike]) -> None:
        self._log = log
        self._process = context.Process(target=run_consumer, args=(arguments, str(log), strikes), daemon=True)
        self._process.start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid or 0

    @property
    def status(self) -> int | None:
        """Its exit status, negative after a signal; None while it runs."""
        return self._process.exitcode

    @property
    def frozen(self) -> bool:
        """Whether a SIGSTOP has halted it."""
        return is_frozen(self.pid)

    def signal(self, number: int) -> None:
        """Send the process a signal. Raises RuntimeError if it has ended."""
        self.raise_if_ended()
        os.kill(self.pid, number)

    def stop(self) -> int:
        """Send SIGTERM, on which the consumer drains, and return its exit status. Raises TimeoutError."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()
        self._process.join(END_S)

    def wait(self, timeout_s: float = END_S) -> int:
        """Wait for the end and return the exit status. Raises TimeoutError, after the consumer has logged where it hangs."""
        self._process.join(timeout_s)
        if self._process.exitcode is None:
            self.signal(signal.SIGUSR1)
            self._process.join(1.0)
            raise TimeoutError(f"the consumer {self._log.name} did not end within {timeout_s:.0f} s")
        return self._process.exitcode

    def wait_ready(self) -> Self:
        """Wait until the consumer is ready. Raises TimeoutError, or RuntimeError if it has ended."""
        wait_until(lambda: self.ready, f"the consumer {self._log.name} is ready", READY_S)
        return self

    @property
    def was_forced(self) -> bool:
        """Whether the consumer hung when it was to end, and so ended itself."""
        return self.status == 1 and "Timeout (" in self.log()

    def log(self) -> str:
        """Return the log so far."""
        with contextlib.suppress(FileNotFoundError):
            return self._log.read_text(encoding="utf-8", errors="replace")
        return ""

    @property
    def served_version(self) -> str | None:
        """The model version in the consumer's metrics."""
        found = re.search(r'occustream_model_info\{[^}]*\bversion="([^"]+)"', self._metrics())
        return found[1] if found else None

    @property
    def assignment_changes(self) -> int:
        """How often the consumer was given partitions or lost some."""
        return len(re.findall(ASSIGNMENT_CHANGE, self.log()))

    @property
    def partitions(self) -> set[str]:
        """The partitions that the consumer has by its log."""
        held: set[str] = set()
        for change, partitions in re.findall(ASSIGNMENT_CHANGE, self.log()):
            named = set(partitions.split(", ")) - {"nothing"}
            held = held | named if change == "assigned" else held - named
        return held

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels."""
        wanted = [f'{label}="{value}"' for label, value in labels.items()]
        samples = [line.rpartition(" ") for line in self._metrics().splitlines()]
        named = [(sample, value) for sample, _, value in samples if sample == name or sample.startswith(f"{name}{{")]
        return sum(float(value) for sample, value in named if all(label in sample for label in wanted))

    def scrape(self) -> str | None:
        """Return its metrics as Prometheus reads them; None where it does not answer within 2 s."""
        try:
            with urllib.request.urlopen(f"{self.address}/metrics", timeout=2) as answer:
                return str(answer.read().decode())
        except (OSError, ValueError):
            return None

    def _metrics(self) -> str:
        with urllib.request.urlopen(f"{self.address}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    @property
    def address(self) -> str | None:
        """Where it answers over HTTP, by its log; None before it does."""
        found = re.search(r"metrics at (http://\S+)/metrics", self.log())
        return found[1] if found else None

    @property
    def ready(self) -> bool:
        """Whether the consumer says that it would enrich a posting now. Raises RuntimeError if it has ended."""
        self.raise_if_ended()
        address = self.address
        if address is None:
            return False
        with contextlib.suppress(urllib.error.URLError, TimeoutError):
            urllib.request.urlopen(f"{address}/readyz", timeout=2).close()
            return True
        return False

    def raise_if_ended(self) -> None:
        """Raise RuntimeError, with the end of the log, if the process has ended."""
        if self.status is not None:
            raise RuntimeError(f"the consumer {self._log.name} ended with status {self.status}:\n{self.log()[-2_000:]}")


class ConsumerProcesses:
    """Starts consumers, and kills those that still run at the end."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["faults.preload"])
        self._started: list[ConsumerProcess] = []

    def start(self, arguments: Sequence[str], log: Path, *, strikes: Sequence[Strike] = ()) -> ConsumerProcess:
        """Start a consumer with these arguments on its command line; it logs to `log`."""
        process = ConsumerProcess(self._context, arguments, log, strikes=strikes)
        self._started.append(process)
        return process

    def end(self) -> None:
        """Kill the consumers that still run."""
        for process in self._started:
            process.kill()
        self._started.clear()


def is_frozen(pid: int) -> bool:
    """Return whether a process is halted by SIGSTOP."""
    with contextlib.suppress(FileNotFoundError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] == "T"
    return False
