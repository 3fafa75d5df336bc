"""Messages whose dead letters are larger than their topic takes, at Kafka's own limits: they stop nobody, and nothing is lost."""

import base64
import itertools
import json
from random import Random

from faults.feed import MakeMessage, make_posting
from faults.suite import Outcome, Scenario, ScenarioRun

KAFKAS_LIMIT = 1_048_588
"""Of a topic that sets no `max.message.bytes`."""
MAX_MESSAGE_BYTES = {True: 1_500_000, False: 2_500_000}
"""With exactly-once, some are refused when they are read and some by their topic. At-least-once delivery keeps no order of dead
letters between the two, and so all are refused by their topic."""
REASON = "too_large"
SIZES = (1_100_000, 2_000_000)
"""Bytes of huge messages, in turn."""


def mix_in_huge_messages(every: int, *, seed: int) -> MakeMessage:
    """Return a maker of messages: each `every`-th is huge, of the next size, and no compression makes it smaller."""
    numbers = itertools.count(1)
    bodies = itertools.cycle(base64.b64encode(Random(seed).randbytes(size * 3 // 4)).decode() for size in SIZES)  # noqa: S311

    def make(key: str, number: int, title: str) -> tuple[bytes | None, str]:
        if next(numbers) % every:
            return make_posting(key, number, title)
        return json.dumps({"posting_id": f"{key}:{number}", "title": title, "body": next(bodies)}).encode(), REASON

    return make


def _play(run: ScenarioRun) -> Outcome:
    group = run.new_group(written_bytes=KAFKAS_LIMIT)
    every = run.by_size(100, 500)
    group.feed.send(run.by_size(600, 20_000), mix_in_huge_messages(every, seed=1))
    for slot in range(2):
        group.start(slot, f"--max-message-bytes={MAX_MESSAGE_BYTES[run.exactly_once]}", "--bad-share-limit=1")
    findings, problems = group.finish()
    huge = group.feed.sent // every
    if findings.abridged != huge and not problems:
        problems.append(f"{findings.abridged} letters without their values for {huge} huge messages")
    return Outcome({"huge_messages": huge, "written_topics_take": KAFKAS_LIMIT}, findings.as_dict(), problems)


SCENARIOS = (Scenario("oversized", "messages whose dead letters are larger than their topic takes", _play),)
