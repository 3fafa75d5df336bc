"""Peak memory of a real consumer process while it works through real or built-in postings at full speed.

The physics: PyTorch and its libraries take memory, and the encoder's weights take theirs twice while they are loaded. Whatever
else grows has a bound: the fetch queue, one batch, the records in flight, the title cache. The peak is VmHWM of the consumer's
process.

    python -m benchmarks.memory [--postings FILE.jsonl] [--count 20000] [--registry DIR]
"""

import argparse
import contextlib
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

from confluent_kafka import Producer

from benchmarks.machine import print_result, real_kafka
from deploy.feed import events
from deploy.feed_shapes import flat_row
from deploy.local_stack import (
    created_topics,
    embedded_broker,
    free_port,
    read_lag_and_version,
    running_consumer,
    topic_names,
    touched_topics,
    train,
)


def main() -> None:
    """Measure and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postings", type=Path, help="JSONL of postings, repeated up to --count (default: built-in titles)")
    parser.add_argument("--count", type=int, default=20_000, help="postings to send (20000)")
    parser.add_argument("--registry", type=Path, help="its version in service (default: one trained on the built-in titles)")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        registry = options.registry
        if registry is None:
            registry = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "registry"
            train(registry, seed=0)
        cluster = stack.enter_context(real_kafka())
        servers = cluster or stack.enter_context(embedded_broker())
        topics = topic_names()
        stack.enter_context((created_topics if cluster else touched_topics)(servers, topics.values()))
        send(servers, topics["raw"], read_messages(options.postings, options.count))
        port = free_port()
        process = stack.enter_context(running_consumer(servers, topics, registry, port, embedded=not cluster))
        seconds = wait_until_read(port)
        status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
        peak_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    print_result("memory", postings=options.count, peak_mb=round(peak_kb / 1024), seconds=round(seconds))


def read_messages(file: Path | None, count: int) -> list[bytes]:
    """Return `count` messages to send: the lines of a file, again and again, or the built-in postings."""
    if file is None:
        return [event.value for event in islice(events(shapes=[flat_row], deleted_share=0.0), count)]
    lines = file.read_bytes().splitlines()
    return [lines[number % len(lines)] for number in range(count)]


def send(servers: str, topic: str, messages: list[bytes]) -> None:
    """Produce everything before the consumer starts, so that it never waits for us."""
    producer = Producer({"bootstrap.servers": servers})
    for message in messages:
        while True:
            try:
                producer.produce(topic, value=message)
                break
            except BufferError:
                producer.poll(0.5)
    producer.flush(60)


def wait_until_read(port: int) -> float:
    """Wait until nothing is left to read, and return the seconds that it took."""
    started = time.monotonic()
    calm = 0
    while calm < 3:  # noqa: PLR2004 - the lag is shown once a second, and is zero before the first message
        time.sleep(1)
        lag, _version = read_lag_and_version(port)
        calm = calm + 1 if lag == 0 and time.monotonic() - started > 5 else 0  # noqa: PLR2004
        print(f"\rlag {lag:8,.0f}", end="", file=sys.stderr)
    return time.monotonic() - started


if __name__ == "__main__":
    main()
