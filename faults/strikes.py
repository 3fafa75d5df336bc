"""Faults that strike inside a consumer process, between two of its steps; the product has no code for them.

The steps are counted from outside, by watching the calls to Kafka's clients and to the scorer.
"""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal

import confluent_kafka as ck

from consumer.model.scorer import Scorer

Step = Literal["poll", "decode", "score", "produce", "produced", "offsets", "commit"]
EXACTLY_ONCE_STEPS: tuple[Step, ...] = ("poll", "decode", "score", "produce", "produced", "offsets", "commit")
"""Steps of an exactly-once consumer. A strike comes after its step, that of `produce` after some records of a batch."""
AT_LEAST_ONCE_STEPS: tuple[Step, ...] = ("poll", "decode", "score", "produce", "produced", "commit")
"""Steps of an at-least-once consumer; at `produced`, records have been acknowledged and are about to be committed."""


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault that happens when `step` has been done `count` times since the first message was read."""

    step: Step
    count: int
    signal: int = signal.SIGKILL
    pid: int = 0
    """The process that gets the signal; 0: the consumer itself."""
    stall_s: float = 0.0
    """Above 0: no signal is sent, the step takes so much longer."""

    def strike(self) -> None:
        """Send the signal, or stall."""
        if self.stall_s:
            time.sleep(self.stall_s)
        else:
            os.kill(self.pid or os.getpid(), self.signal)


class StepCounter:
    """Counts the steps of a process, and strikes when it is time."""

    def __init__(self, strikes: Sequence[Strike]) -> None:
        self._strikes = strikes
        self._counts: Counter[Step] = Counter()

    def count(self, step: Step) -> None:
        """Count a step that has been done; before the first message is read, no step counts."""
        if step != "poll" and not self._counts["poll"]:
            return
        self._counts[step] += 1
        for strike in self._strikes:
            if (strike.step, strike.count) == (step, self._counts[step]):
                strike.strike()


def watch_steps(strikes: Sequence[Strike]) -> None:
    """Watch the steps of this process from now on, and strike."""
    if strikes:
        steps = StepCounter(strikes)
        ck.Producer, ck.Consumer = _watched_producer(steps), _watched_consumer(steps)  # type: ignore[misc] # seen by whoever makes one
        Scorer.score = _watch_score(Scorer.score, steps)  # type: ignore[method-assign]


def _watch_score(score: Callable[..., Any], steps: StepCounter) -> Callable[..., Any]:
    @wraps(score)
    def watched(*arguments: Any, **named: Any) -> Any:  # noqa: ANN401 - as given
        steps.count("decode")
        answers = score(*arguments, **named)
        steps.count("score")
        return answers

    return watched


def _watched_consumer(steps: StepCounter) -> type[ck.Consumer]:
    class WatchedConsumer(ck.Consumer):
        def poll(self, *arguments: Any) -> Any:  # noqa: ANN401 - as of the class above
            message = super().poll(*arguments)
            if message is not None and message.error() is None:
                steps.count("poll")
            return message

        def commit(self, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401
            steps.count("produced")
            answer = super().commit(*arguments, **named)
            steps.count("commit")
            return answer

    return WatchedConsumer


def _watched_producer(steps: StepCounter) -> type[ck.Producer]:
    class WatchedProducer(ck.Producer):
        def produce(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401
            super().produce(*arguments, **named)
            steps.count("produce")

        def send_offsets_to_transaction(self, *arguments: Any) -> None:  # noqa: ANN401
            steps.count("produced")
            super().send_offsets_to_transaction(*arguments)
            steps.count("offsets")

        def commit_transaction(self, *arguments: Any) -> None:  # noqa: ANN401
            super().commit_transaction(*arguments)
            steps.count("commit")

    return WatchedProducer
