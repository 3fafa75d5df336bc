"""A transactional producer client that does what a test has scripted, and a clock that only the test moves."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import confluent_kafka as ck
import pytest
from confluent_kafka import KafkaError, KafkaException


def failed(code: int = KafkaError._TIMED_OUT, **flags: bool) -> KafkaException:
    """Return what a client raises; `flags`: fatal, retriable, txn_requires_abort."""
    return KafkaException(KafkaError(code, "scripted", **flags))


class ScriptedClient:
    """One client. Each step takes what its script holds next: an exception to raise, something to call, or nothing."""

    def __init__(self, outcomes: dict[str, list[Any]], properties: dict[str, Any], logger: Any) -> None:
        self.outcomes = outcomes
        self.tell_error: Callable[[KafkaError], None] = properties["error_cb"]
        self.logger = logger
        self.steps: list[str] = []

    def breaks(self) -> None:
        """Log that a connection broke."""
        self.logger.log(30, "FAIL [thrd:b]: Disconnected (after 5ms in state UP)")

    def list_topics(self, topic: str, timeout: float) -> Any:
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None, partitions={0: SimpleNamespace(leader=1)})})

    def __getattr__(self, step: str) -> Callable[..., None]:
        def take(*_arguments: Any, **_keywords: Any) -> None:
            self.steps.append(step)
            outcomes = self.outcomes.get(step, [])
            match outcomes.pop(0) if outcomes else None:
                case Exception() as error:
                    raise error
                case None:
                    return
                case act:
                    act()

        return take


class Scripts:
    """The clients that were made, what their next steps come to, and the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.outcomes: dict[str, list[Any]] = {}
        self.clients: list[ScriptedClient] = []
        self.now = 1_000.0
        monkeypatch.setattr(ck, "Producer", self._make)
        clock = SimpleNamespace(monotonic=lambda: self.now, sleep=self.wait)
        for module in ("transactional_producer", "transactions"):
            monkeypatch.setattr(f"consumer.kafka.{module}.time", clock)

    def script(self, step: str, *outcomes: Any) -> None:
        """Let the next calls of a step, of whichever client, come to this."""
        self.outcomes[step] = list(outcomes)

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def count(self, step: str) -> int:
        return sum(client.steps.count(step) for client in self.clients)

    def _make(self, properties: dict[str, Any], logger: Any) -> ScriptedClient:
        self.clients.append(ScriptedClient(self.outcomes, properties, logger))
        return self.clients[-1]
