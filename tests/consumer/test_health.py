"""A process answers for itself from its start on: it is live, and not ready before the loop says so."""

from consumer.health import Health
from consumer.memory_broker import MemorySink, MemorySource
from tests.support.messages import IN
from tests.support.pipeline import Clock, make_pipeline, memory_broker


def test_before_the_loop_the_step_under_way_is_told_with_its_time() -> None:
    clock = Clock()
    health = Health(clock=clock)
    assert health.live() is None
    health.begin("loading a model version")
    clock.now_s += 42
    assert (health.live(), health.ready()) == (None, "not serving yet, loading a model version (42 s)")


def test_once_there_is_a_loop_it_answers() -> None:
    health, broker = Health(), memory_broker(1)
    source = MemorySource(broker, topic=IN, group_id="g")
    pipeline = make_pipeline(source, MemorySink(broker))
    health.follow(pipeline)
    assert health.ready() == "no partition is assigned"
    source.start(pipeline.on_revoke)
    assert (health.live(), health.ready()) == (None, None)
