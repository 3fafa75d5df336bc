"""SIGKILL between each pair of steps of the loop; each time the consumer is started again on what it left."""

import signal
from collections import Counter
from collections.abc import Sequence
from threading import Thread

from faults.cluster import wait_until
from faults.consumer_group import Trial
from faults.strikes import STEPS_LEAST, STEPS_ONCE, Step, Strike
from faults.suite import Outcome, Scenario, Scene

SLOTS = 2
PER_S = 300
RECORDS_IN = 150
"""In the midst of producing, a kill comes after up to so many records."""
BATCHES = 4
STRUCK_S = 60.0
SOON_GONE = "--kafka=session.timeout.ms=2000"


class _Slot:
    """Starts its consumer again and again, each time to be killed by the next strike of a list."""

    def __init__(self, trial: Trial, slot: int, strikes: Sequence[Strike]) -> None:
        self._trial = trial
        self._slot = slot
        self._strikes = strikes
        self.kills: Counter[str] = Counter()
        self.missed: list[str] = []
        self.thread = Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        for strike in self._strikes:
            process = self._trial.start(self._slot, SOON_GONE, strikes=[strike])
            try:
                wait_until(lambda process=process: process.status is not None, "the consumer is killed", STRUCK_S)  # type: ignore[misc]
            except TimeoutError:
                process.kill()
                self.missed.append(f"{strike.step} was not done {strike.count} times within {STRUCK_S:.0f} s")
                continue
            if process.status == -signal.SIGKILL:
                self.kills[strike.step] += 1
            else:
                self.missed.append(
                    f"a consumer to be killed after {strike.step} ended with {process.status}: {process.log()[-500:]}"
                )


def _play(scene: Scene) -> Outcome:
    trial = scene.trial()
    steps = STEPS_ONCE if scene.once else STEPS_LEAST
    rounds = scene.size(1, -(-100 // (SLOTS * len(steps))))  # 100 kills, and as many in the other mode
    orders = [[_strike(scene, step) for _ in range(rounds) for step in scene.rng.sample(steps, len(steps))] for _ in range(SLOTS)]
    with trial.feed.flowing(PER_S):
        slots = [_Slot(trial, slot, order) for slot, order in enumerate(orders)]
        for slot in slots:
            slot.thread.join()
    for number in range(SLOTS):
        trial.start(number)
    findings, problems = trial.finish()
    kills = sum((slot.kills for slot in slots), Counter())
    done = {"kills": kills.total(), "after": dict(sorted(kills.items()))}
    missed = [text for slot in slots for text in slot.missed]
    return Outcome(done, {**findings.as_dict(), "rebalances": trial.rebalances}, problems + missed)


def _strike(scene: Scene, step: Step) -> Strike:
    return Strike(step, scene.rng.randint(1, RECORDS_IN if step == "produce" else BATCHES))


SCENARIOS = (Scenario("kills", "SIGKILL between each pair of steps: poll, decode, score, produce, offsets, commit", _play),)
