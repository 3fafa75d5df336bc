"""Times the decoding of a posting against another checkout of this repository, in alternating rounds.

Each build runs in processes of its own, and the builds take turns. The figures are the medians of all rounds in microseconds
of processor time, and the ratio of the two. `decode` is from the message to its fields, as posted. `to_text` goes on to the
text that a model reads; builds differ in where they make plain text of title and body. `mapped` compares the example of each
profile, read by the profile, with a plain posting with the same content in the other checkout, which need not know profiles.

    python -m benchmarks.decode --baseline ../another-checkout [--rounds 15]           (benchmarks/results/decode.json)
"""

import argparse
import json
import statistics
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from benchmarks.machine import ROOT, current_commit
from consumer.feeds.mapping import ByMapping
from consumer.feeds.profiles import profile_names, read_profile

POSTINGS: dict[str, dict[str, Any]] = {
    "plain": {
        "posting_id": "p-1042",
        "title": "Part-time RN - Medical/Surgical Nampa (flexible schedule)",
        "body": "Care for patients of the medical and surgical unit, two nights a week. " * 20,
        "company": "Treasure Valley Hospital",
        "location": "Nampa, ID",
        "posted_at": "2025-05-02",
        "language": "en",
        "requisition": "R-778",
    },
    "many other fields": {
        "ID": 8_150_117,
        "TITLE_RAW": "Warehouse Picker, nights",
        "BODY": "Picks and stages orders. " * 20,
        "COMPANY": "Cedar Post Fulfilment",
        "POSTED": "2025-05-02",
        "pay": {"from": 31.5, "to": 36.25, "per": "hour"},
        "skills": ["forklift", "scanner", "safety"],
        **{f"column_{number}": number * 0.25 for number in range(20)},
    },
}
WORKER = """
import sys, time
from consumer.codec import Codec
from consumer.messages import Message
from schemas.text import plain_text
try:
    from schemas.text import model_body as read_body
except ImportError:  # an older build, whose postings have bodies as posted
    from schemas.text import body_text as read_body
def make_codec(profile):
    options = {"output_topic": "out", "dead_letter_topic": "dead", "max_message_bytes": 1_000_000, "max_title_chars": 1_000}
    if profile:
        from consumer.feeds.mapping import ByMapping
        from consumer.feeds.profiles import read_profile
        options["finder"] = ByMapping(read_profile(profile).mapping)
    return Codec(**options)
def read_all(text):
    return text
if sys.argv[1] == "decode":
    plain_text = read_body = read_all
    try:
        from consumer.feeds import posting as door
        door.plain_title = door.plain_body = read_all
    except ImportError:  # an older build makes no plain text while it decodes
        pass
for line in sys.stdin:
    profile, _, value = line.rstrip().partition(" ")
    message, codec = Message("in", 0, 0, b"k", value.encode()), make_codec(profile)
    started = time.process_time()
    for _ in range(COUNT):
        posting = codec.decode(message)
        plain_text(posting.title)
        read_body(posting.body or "")
    print((time.process_time() - started) / COUNT * 1e6, flush=True)
"""
COUNT = 2_000
"""Postings decoded in a round."""
MAX_MAPPED_RATIO = 2.0
"""Decoding a mapped posting may take twice the time of a plain one in the other checkout."""


def main() -> int:
    """Measure, print one JSON line, and return the exit status: 1 if this build is slower than promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--baseline", type=Path, required=True, metavar="DIR", help="the other checkout")
    parser.add_argument("--rounds", type=int, default=15, help="rounds of each build (15)")
    options = parser.parse_args()
    result = {way: _measure_way(way, options.baseline, rounds=options.rounds) for way in ("decode", "to_text")}
    print(json.dumps({"benchmark": "decode", "unit": "microseconds", "rounds": options.rounds, **result, **_versions()}))
    mapped = result["decode"]["mapped"].values()
    too_slow = any(figure["ratio"] > MAX_MAPPED_RATIO for figure in mapped)
    return int(too_slow or any(figures["plain"]["ratio"] > 1 for figures in result.values()))


def _measure_way(way: str, baseline: Path, *, rounds: int) -> dict[str, Any]:
    with ExitStack() as processes:
        builds = {name: _start(folder, way, processes) for name, folder in (("baseline", baseline), ("this", ROOT))}
        figures = {
            posting: _measure(builds, dict.fromkeys(builds, f" {json.dumps(fields)}"), rounds=rounds)
            for posting, fields in POSTINGS.items()
        }
        mapped = {name: _measure(builds, _make_lines(name), rounds=rounds) for name in profile_names()}
    return {**figures, "mapped": mapped}


def _make_lines(profile: str) -> dict[str, str]:
    """Return the example of a profile for this build; for the baseline its fields under plain names, and all others renamed."""
    held = read_profile(profile)
    example = json.loads(held.example.replace("NaN", "null"))
    found = ByMapping(held.mapping).find(example).values  # as posted, with its HTML
    plain = {name: value for name, value in found.items() if isinstance(value, str)}
    others = {f"other_{name}": value for name, value in example.items()}
    return {"baseline": f" {json.dumps(plain | others)}", "this": f"{profile} {' '.join(held.example.splitlines())}"}


def _start(folder: Path, way: str, processes: ExitStack) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", WORKER.replace("COUNT", str(COUNT)), way]
    process = subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    return processes.enter_context(process)


def _measure(builds: "dict[str, subprocess.Popen[str]]", lines: dict[str, str], *, rounds: int) -> dict[str, float]:
    taken: dict[str, list[float]] = {name: [] for name in builds}
    for _ in range(rounds + 1):
        for name, process in builds.items():
            taken[name].append(_ask(process.stdin, process.stdout, lines[name]))
    medians = {name: round(statistics.median(times[1:]), 2) for name, times in taken.items()}  # the first warms up
    return medians | {"ratio": round(medians["this"] / medians["baseline"], 2)}


def _ask(asked: IO[str] | None, answered: IO[str] | None, line: str) -> float:
    if asked is None or answered is None:
        raise RuntimeError("the process has no pipes")
    asked.write(line + "\n")
    asked.flush()
    return float(answered.readline())


def _versions() -> dict[str, str]:
    return {"python": sys.version.split()[0], "commit": current_commit()}


if __name__ == "__main__":
    sys.exit(main())
