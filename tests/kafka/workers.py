"""Real consumer processes over a real Kafka, watched through their logs, metrics and readiness."""

import re
import signal
import urllib.error
import urllib.request
from pathlib import Path
from typing import Self

from faults.processes import ConsumerProcesses
from tests.kafka.jobs import Job
from tests.support.messages import MAX_MESSAGE_BYTES
from tests.support.waiting import WAIT_S, wait_until

SESSION_TIMEOUT_S = 6
BOOT_S = 90.0
"""How long a consumer process may take to import, load its model and get its partitions, on a busy machine."""


class Worker:
    """A consumer process: the whole program, as the command line starts it, forked from a server that has imported it."""

    def __init__(self, processes: ConsumerProcesses, job: Job, registry: Path, log: Path, *flags: str) -> None:
        settings = {
            "bootstrap-servers": job.servers,
            "input-topic": job.input,
            "output-topic": job.output,
            "dead-letter-topic": job.dead,
            "group-id": job.group,
            "registry": str(registry),
            "device": "cpu",
            "http-host": "127.0.0.1",
            "http-port": "0",
            "max-message-bytes": str(MAX_MESSAGE_BYTES),
            "batch-max-count": "64",
        }
        given = [f"--{name}={value}" for name, value in settings.items()]
        short = [f"--kafka=session.timeout.ms={1_000 * SESSION_TIMEOUT_S}", "--kafka=heartbeat.interval.ms=500"]
        self._process = processes.start(["run", *given, *short, *flags], log)

    def wait_ready(self) -> Self:
        """Wait until it has partitions and reads them."""
        wait_until(self._is_ready, f"the consumer is ready; its log:\n{self.log()[-3_000:]}", BOOT_S)
        return self

    def metric(self, name: str, **labels: str) -> float:
        """Return one sample of /metrics; 0 where it is not there."""
        wanted = name + ("{" + ",".join(f'{k}="{v}"' for k, v in labels.items()) + "}" if labels else "")
        with urllib.request.urlopen(f"{self._address()}/metrics", timeout=WAIT_S) as answer:
            lines = answer.read().decode().splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == wanted), 0.0)

    def stop(self, timeout_s: float = WAIT_S) -> int:
        """Ask it to end with SIGTERM; returns its exit status."""
        self._process.signal(signal.SIGTERM)
        return self._process.wait(timeout_s)

    def kill(self) -> None:
        """End it at once with SIGKILL."""
        self._process.kill()

    def runs(self) -> bool:
        return self._process.status is None

    def trouble(self) -> str:
        """Return what /readyz says is wrong; nothing where it is ready."""
        try:
            urllib.request.urlopen(f"{self._address()}/readyz", timeout=WAIT_S).close()
        except urllib.error.HTTPError as error:
            return error.read().decode()
        return ""

    def wait_ended(self, timeout_s: float = WAIT_S) -> int:
        """Wait until it ends by itself; returns its exit status."""
        return self._process.wait(timeout_s)

    def log(self) -> str:
        return self._process.log()

    def _address(self) -> str:
        found = re.search(r"metrics at (http://\S+)/metrics", self.log())
        assert found, self.log()[-3_000:]
        return found[1]

    def _is_ready(self) -> bool:
        assert self.runs(), f"the consumer ended with {self._process.status}:\n{self.log()[-3_000:]}"
        if "metrics at http://" not in self.log():
            return False
        try:
            with urllib.request.urlopen(f"{self._address()}/readyz", timeout=WAIT_S) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError:
            return False


class Workers:
    """Starts consumer processes; whichever still run at the end are killed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._processes = ConsumerProcesses()
        self._started = 0

    def start(self, job: Job, registry: Path, *flags: str) -> Worker:
        self._started += 1
        return Worker(self._processes, job, registry, self._directory / f"consumer-{self._started}.log", *flags)

    def end(self) -> None:
        self._processes.end()
