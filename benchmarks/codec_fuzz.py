"""Asks the codec what it makes of messages that no publisher should send, and checks its laws for each of them.

Nothing is measured but how many were asked; a law that is broken ends the run with the message that broke it, and status 1.

    python -m benchmarks.codec_fuzz [--count 100000] [--seed 0]           (benchmarks/results/codec_fuzz.json)
"""

import argparse
import json
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from consumer.codec import Codec
from tests.support.fuzzing import check_codec_laws, random_message

ROOT = Path(__file__).parents[1]
CODEC = Codec(output_topic="out", dead_letter_topic="dead", max_message_bytes=50_000, max_title_chars=1_000)


def main() -> int:
    """Ask, print one JSON line; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    started, outcomes = time.perf_counter(), Counter[str]()
    for number in range(options.count):
        asked = random_message(random.Random(f"{options.seed}:{number}"))  # noqa: S311 - any one can be asked again by its number
        try:
            outcomes[check_codec_laws(CODEC, asked)] += 1
        except Exception as error:  # noqa: BLE001 - any is a finding
            print(f"message {number} of seed {options.seed}: {type(error).__name__}: {error}\n{asked}", file=sys.stderr)
            return 1
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    result = {
        "benchmark": "codec_fuzz",
        "messages": options.count,
        "seed": options.seed,
        "laws_broken": 0,
        "outcomes": dict(outcomes.most_common()),
        "seconds": round(time.perf_counter() - started, 1),
        "python": sys.version.split()[0],
        "commit": commit.stdout.strip(),
    }
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
