"""SIGKILL between each pair of steps of the loop; each time the consumer is started again on what it left."""

import signal
from collections import Counter
from collections.abc import Sequence
from threading import Thread

from faults.consumer_group import ConsumerGroup
from faults.processes import ConsumerProcess
from faults.strikes import AT_LEAST_ONCE_STEPS, EXACTLY_ONCE_STEPS, Step, Strike
from faults.suite import Outcome, Scenario, ScenarioRun

SLOTS = 2
PER_S = 300
RECORDS_IN = 150
"""A kill during `produce` comes after up to so many records."""
BATCHES = 4
KILLED_WITHIN_S = 60.0
SHORT_SESSION = "--kafka=session.timeout.ms=2000"


class _SlotKills:
    """Starts the consumer of a slot again and again; the next strike of a list kills it each time."""

    def __init__(self, group: ConsumerGroup, slot: int, strikes: Sequence[Strike]) -> None:
        self._trial = group
        self._slot = slot
        self._strikes = strikes
        self.kills: Counter[str] = Counter()
        self.missed: list[str] = []
        self.thread = Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        for strike in self._strikes:
            try:
                self._trial.start_and_strike(self._slot, strike, SHORT_SESSION, struck=_is_killed, timeout_s=KILLED_WITHIN_S)
                self.kills[strike.step] += 1
            except (TimeoutError, RuntimeError) as error:
                self._trial.latest(self._slot).kill()
                self.missed.append(f"{strike.count} times {strike.step}: {error}")


def _is_killed(process: ConsumerProcess) -> bool:
    return process.status == -signal.SIGKILL


def _play(run: ScenarioRun) -> Outcome:
    group = run.new_group()
    steps = EXACTLY_ONCE_STEPS if run.exactly_once else AT_LEAST_ONCE_STEPS
    rounds = run.by_size(1, -(-100 // len(steps)))  # 100 kills, and as many in the other mode
    strikes = _choose_strikes(run, steps, rounds)
    with group.feed.flowing(PER_S):
        slots = [_SlotKills(group, slot, strikes[slot::SLOTS]) for slot in range(SLOTS)]
        for slot in slots:
            slot.thread.join()
    for number in range(SLOTS):
        group.start(number)
    findings, problems = group.finish()
    kills = sum((slot.kills for slot in slots), Counter())
    done = {"kills": kills.total(), "after": dict(sorted(kills.items()))}
    missed = [text for slot in slots for text in slot.missed]
    return Outcome(done, {**findings.as_dict(), "rebalances": group.rebalances}, problems + missed)


def _choose_strikes(run: ScenarioRun, steps: Sequence[Step], rounds: int) -> list[Strike]:
    """Return a strike after each step, in a random order, so many times."""
    return [_choose_strike(run, step) for _ in range(rounds) for step in run.rng.sample(steps, len(steps))]


def _choose_strike(run: ScenarioRun, step: Step) -> Strike:
    return Strike(step, run.rng.randint(1, RECORDS_IN if step == "produce" else BATCHES))


SCENARIOS = (Scenario("kills", "SIGKILL between each pair of steps: poll, decode, score, produce, offsets, commit", _play),)
