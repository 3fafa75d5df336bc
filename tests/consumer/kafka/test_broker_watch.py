"""A client that no broker answers is in trouble, by what it last said of its brokers, and no longer once one answers."""

import json

from consumer.kafka.broker_watch import SILENT_S, BrokerWatch
from tests.support.pipeline import Clock


def statistics(*brokers: tuple[str, float]) -> str:
    """Return a client's statistics: of each broker its state, and how many seconds ago it was heard; -1: never."""
    told = {f"broker {n}": {"state": state, "rxidle": round(idle_s * 1e6)} for n, (state, idle_s) in enumerate(brokers)}
    return json.dumps({"brokers": told})


def test_one_broker_that_answers_is_enough() -> None:
    clock = Clock()
    watch = BrokerWatch(clock=clock)
    for _ in range(10):
        clock.now_s += SILENT_S
        watch.on_statistics(statistics(("DOWN", -1), ("UP", 0.5), ("UP", 300.0)))
        assert watch.trouble is None


def test_without_an_answer_the_silence_is_told_and_the_next_answer_ends_it() -> None:
    clock = Clock()
    watch = BrokerWatch(clock=clock)
    watch.on_statistics(statistics(("UP", 0.0)))
    for silent in ((), (("DOWN", -1),), (("TRY_CONNECT", 3.0),), (("UP", 5 * SILENT_S),), (("INIT", -1),)):
        clock.now_s += SILENT_S + 1
        watch.on_statistics(statistics(*silent))
        assert watch.trouble is not None, silent
    assert watch.trouble == f"no broker has answered for {5 * (SILENT_S + 1):.0f} s"
    watch.on_statistics(statistics(("UP", 0.1)))
    assert watch.trouble is None


def test_a_loop_that_serves_no_statistics_for_long_blames_no_broker() -> None:
    clock = Clock()
    watch = BrokerWatch(clock=clock)
    watch.on_statistics(statistics(("UP", 0.0)))
    clock.now_s += 1_000
    assert watch.trouble is None
