"""Gives the codec messages that no publisher should send, and checks its laws for each of them.

Every second message is the example of a profile with values replaced, read by a profile; the others are read without one.

A broken law ends the run with the message that broke it, and status 1. The figures are the number of messages, the longest time
that one of them took to decode, in milliseconds of processor time, and the same for messages of 1 MB of each shape in LARGE.

    python -m benchmarks.codec_fuzz [--count 100000] [--seed 0]           (benchmarks/results/codec_fuzz.json)
"""

import argparse
import contextlib
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Mapping
from functools import partial

from benchmarks.machine import current_commit
from consumer.codec import Codec
from consumer.errors import InvalidMessage
from consumer.feeds.mapping import ByMapping
from consumer.feeds.profiles import profile_names, read_profile
from consumer.messages import Message
from tests.support.feed_fuzzing import random_example
from tests.support.fuzzing import check_codec_laws, random_message

make_codec = partial(Codec, output_topic="out", dead_letter_topic="dead", max_title_chars=1_000)
CODEC = make_codec(max_message_bytes=50_000)
LARGE_CODEC = make_codec(max_message_bytes=1_000_000)
PROFILE_CODECS = {
    name: make_codec(max_message_bytes=50_000, finder=ByMapping(read_profile(name).mapping)) for name in profile_names()
}
MEGABYTE = 999_000
START = b'{"id": 7, "title": "Registered Nurse", "x": '
LARGE: Mapping[str, bytes] = {
    "a long body": b'{"title": "Nurse", "body": "%s"}' % (b"Cares for patients. " * 49_000),
    "a body of escapes": b'{"title": "Nurse", "body": "%s"}' % (b"\\u00e9" * 160_000),
    "a body in 10,000 parts": b'{"title": "Nurse", "body": [%s]}' % b",".join([b'{"text": "%s"}' % (b"x" * 80)] * 10_000),
    "10,000 fields": b'{"title": "Nurse", %s}' % b",".join(b'"field_%05d": "%s"' % (n, b"x" * 80) for n in range(10_000)),
    "a vector of 40,000 numbers": START + b"[" + b",".join([b"-0.01234567890123456789"] * 40_000) + b"]}",
    "20,000 objects": START + b"[" + b",".join([b'{"name": "forklift", "level": 3, "since": 2019}'] * 20_000) + b"]}",
    "a row in a row as text": b'{"op": "c", "before": null, "after": %s}'
    % json.dumps('{"title": "Nurse", "body": "' + "Cares. " * 140_000 + '"}').encode(),
    "a lone surrogate at the end": b'{"title": "Nurse", "body": "%s\\ud800"}' % (b"Cares. " * 140_000),
    "nested too deeply": START + b"[" * 490_000 + b"]" * 490_000 + b"}",
    "nested 90 levels, often": START + b"[" + b",".join([b"[" * 90 + b"]" * 90] * 550) + b"]}",
    "a digit without end": START + b"9" * MEGABYTE,
    "no JSON": b"x" * MEGABYTE,
    "250,000 numbers": START + b"[" + b",".join([b"0.5"] * 240_000) + b"]}",
    "330,000 empty objects": START + b"[" + b",".join([b"{}"] * 330_000) + b"]}",
    "nested 90 levels, as often as fits": START + b"[" + b",".join([b"[" * 90 + b"]" * 90] * 5_400) + b"]}",
}


def main() -> int:
    """Check all messages, print one JSON line, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000, help="messages (100000)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of messages (0)")
    options = parser.parse_args()
    started, outcomes, slowest_s = time.perf_counter(), Counter[str](), 0.0
    for number in range(options.count):
        rng = random.Random(f"{options.seed}:{number}")  # noqa: S311 - each can be made again by its number
        codec, made = _choose(rng, mapped=number % 2 == 1)
        slowest_s = max(slowest_s, _time_decoding(codec, made))
        try:
            outcomes[check_codec_laws(codec, made, mapped=codec is not CODEC)] += 1
        except Exception as error:  # noqa: BLE001 - any is a finding
            print(f"message {number} of seed {options.seed}: {type(error).__name__}: {error}\n{made}", file=sys.stderr)
            return 1
    result = {
        "benchmark": "codec_fuzz",
        "messages": options.count,
        "seed": options.seed,
        "laws_broken": 0,
        "slowest_ms": round(slowest_s * 1_000, 2),
        "slowest_of_1_mb_ms": {
            shape: round(min(_time_decoding(LARGE_CODEC, Message("in", 0, 0, None, value)) for _ in range(5)) * 1_000, 1)
            for shape, value in LARGE.items()
        },
        "outcomes": dict(outcomes.most_common()),
        "seconds": round(time.perf_counter() - started, 1),
        "python": sys.version.split()[0],
        "commit": current_commit(),
    }
    print(json.dumps(result))
    return 0


def _choose(rng: random.Random, *, mapped: bool) -> tuple[Codec, Message]:
    if not mapped:
        return CODEC, random_message(rng)
    name, value = random_example(rng)
    return PROFILE_CODECS[name], Message("in", 0, 0, None, value)


def _time_decoding(codec: Codec, message: Message) -> float:
    """Return the seconds of processor time that it takes to decode a message."""
    started = time.process_time()
    with contextlib.suppress(InvalidMessage):
        codec.decode(message)
    return time.process_time() - started


if __name__ == "__main__":
    sys.exit(main())
