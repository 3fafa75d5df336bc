"""Strikes inside a consumer process, between two of its steps, without a trace of them in the product.

The steps are seen from outside: the calls to Kafka's clients and to the scorer.
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
STEPS_ONCE: tuple[Step, ...] = ("poll", "decode", "score", "produce", "produced", "offsets", "commit")
"""Of an exactly-once consumer: a strike comes when the step is done, in `produce` when some records of a batch are."""
STEPS_LEAST: tuple[Step, ...] = ("poll", "decode", "score", "produce", "produced", "commit")
"""Of an at-least-once consumer; `produced` are records that have been acknowledged and are about to be committed."""


@dataclass(frozen=True, slots=True)
class Strike:
    """What happens when `step` has been done `count` times since the first message was read."""

    step: Step
    count: int
    signal: int = signal.SIGKILL
    pid: int = 0
    """Of whom the signal is for; 0: of the consumer itself."""
    stall_s: float = 0.0
    """Above 0: no signal, the step takes so much longer."""

    def strike(self) -> None:
        """Do it."""
        if self.stall_s:
            time.sleep(self.stall_s)
        else:
            os.kill(self.pid or os.getpid(), self.signal)


class Steps:
    """Counts the steps, and strikes."""

    def __init__(self, strikes: Sequence[Strike]) -> None:
        self._strikes = strikes
        self._counts: Counter[Step] = Counter()

    def done(self, step: Step) -> None:
        """Note that a step has been done; before the first message was read, nothing counts."""
        if step != "poll" and not self._counts["poll"]:
            return
        self._counts[step] += 1
        for strike in self._strikes:
            if (strike.step, strike.count) == (step, self._counts[step]):
                strike.strike()


def watch(strikes: Sequence[Strike]) -> None:
    """Have the steps of this process watched from now on."""
    if strikes:
        steps = Steps(strikes)
        ck.Producer, ck.Consumer = _producer(steps), _consumer(steps)  # type: ignore[misc] # seen by whoever makes one
        Scorer.score = _around(Scorer.score, steps)  # type: ignore[method-assign]


def _around(score: Callable[..., Any], steps: Steps) -> Callable[..., Any]:
    @wraps(score)
    def watched(*arguments: Any) -> Any:  # noqa: ANN401 - as given
        steps.done("decode")
        answers = score(*arguments)
        steps.done("score")
        return answers

    return watched


def _consumer(steps: Steps) -> type[ck.Consumer]:
    class Watched(ck.Consumer):
        def poll(self, *arguments: Any) -> Any:  # noqa: ANN401 - as of the class above
            message = super().poll(*arguments)
            if message is not None and message.error() is None:
                steps.done("poll")
            return message

        def commit(self, *arguments: Any, **named: Any) -> Any:  # noqa: ANN401
            steps.done("produced")
            answer = super().commit(*arguments, **named)
            steps.done("commit")
            return answer

    return Watched


def _producer(steps: Steps) -> type[ck.Producer]:
    class Watched(ck.Producer):
        def produce(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401
            super().produce(*arguments, **named)
            steps.done("produce")

        def send_offsets_to_transaction(self, *arguments: Any) -> None:  # noqa: ANN401
            steps.done("produced")
            super().send_offsets_to_transaction(*arguments)
            steps.done("offsets")

        def commit_transaction(self, *arguments: Any) -> None:  # noqa: ANN401
            super().commit_transaction(*arguments)
            steps.done("commit")

    return Watched
