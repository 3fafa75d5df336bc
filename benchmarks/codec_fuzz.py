"""Gives the codec messages that no publisher should send, and checks its laws for each of them.

The only figure is the number of messages. A broken law ends the run with the message that broke it, and status 1.

    python -m benchmarks.codec_fuzz [--count 100000] [--seed 0]           (benchmarks/results/codec_fuzz.json)
"""

import argparse
import json
import random
import sys
import time
from collections import Counter

from benchmarks.machine import current_commit
from consumer.codec import Codec
from tests.support.fuzzing import check_codec_laws, random_message

CODEC = Codec(output_topic="out", dead_letter_topic="dead", max_message_bytes=50_000, max_title_chars=1_000)


def main() -> int:
    """Check all messages, print one JSON line, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000, help="messages (100000)")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of messages (0)")
    options = parser.parse_args()
    started, outcomes = time.perf_counter(), Counter[str]()
    for number in range(options.count):
        made = random_message(random.Random(f"{options.seed}:{number}"))  # noqa: S311 - each can be made again by its number
        try:
            outcomes[check_codec_laws(CODEC, made)] += 1
        except Exception as error:  # noqa: BLE001 - any is a finding
            print(f"message {number} of seed {options.seed}: {type(error).__name__}: {error}\n{made}", file=sys.stderr)
            return 1
    result = {
        "benchmark": "codec_fuzz",
        "messages": options.count,
        "seed": options.seed,
        "laws_broken": 0,
        "outcomes": dict(outcomes.most_common()),
        "seconds": round(time.perf_counter() - started, 1),
        "python": sys.version.split()[0],
        "commit": current_commit(),
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
