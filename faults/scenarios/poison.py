"""One message in a hundred is bad, in one of two dozen ways: it must become a dead letter with the right reason."""

import itertools
import json
from collections.abc import Mapping

from faults.feed import ENRICHED, MakeMessage, make_posting
from faults.suite import Outcome, Scenario, ScenarioRun

EVERY = 100
MAX_MESSAGE_BYTES = 1_500_000
MAX_TITLE_CHARS = 1_000

KINDS: Mapping[str, tuple[bytes | None, str]] = {
    "null": (None, "null_value"),
    "2 MB": (json.dumps({"title": "Nurse", "body": "x" * 2_000_000}).encode(), "too_large"),
    "no bytes": (b"", "not_json"),
    "corrupt JSON": (b'{"title": "Nurse"', "not_json"),
    "two documents": (b'{"title": "Nurse"} {"title": "Cook"}', "not_json"),
    "truncated UTF-8": (b'{"title": "Caf\xc3', "not_utf8"),
    "Latin-1": ('{"title": "Café manager"}'.encode("latin-1"), "not_utf8"),
    "nesting without end": (b'{"title": "Nurse", "x": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "not_json"),
    "nesting": (b'{"title": "Nurse", "x": ' + b'{"a":' * 600 + b"1" + b"}" * 601, "not_json"),
    "a key twice": (b'{"title": "Nurse", "title": "Cook"}', "not_json"),
    "NaN": (b'{"title": "Nurse", "pay": NaN}', ENRICHED),
    "Infinity": (b'{"title": "Nurse", "pay": -Infinity}', ENRICHED),
    "a number out of range": (b'{"title": "Nurse", "pay": 1e999}', ENRICHED),
    "an integer of 5,000 digits": (b'{"title": "Nurse", "pay": ' + b"9" * 5_000 + b"}", "not_json"),
    "a control character": (b'{"title": "Nur\x07se"}', "not_json"),
    "a million characters": (json.dumps({"title": "nurse " * 166_667}).encode(), "title_too_long"),
    "a list": (b'["Nurse"]', "not_an_object"),
    "a title of another type": (b'{"title": {"text": "Nurse"}}', "invalid_field"),
    "a body of another type": (b'{"title": "Nurse", "body": 7}', ENRICHED),
    "an advertisement that was removed": (b'{"posting_id": "7", "removed": true}', "deleted"),
    "a frame of a schema registry": (b'\0\0\0\0\x07{"title": "Nurse"}', "schema_framing"),
    "no title": (b'{"posting_id": "7"}', "no_title"),
    "white space": (b'{"title": " \\t\\n "}', "empty_title"),
    "a lone surrogate": (b'{"title": "Nurse \\ud800"}', "invalid_text"),
    "a lone surrogate elsewhere": (b'{"title": "Nurse", "x": {"y": ["\\udfff"]}}', "invalid_text"),
    "control characters, escaped": (b'{"title": "Nurse \\u0000\\u0007"}', ENRICHED),
    "a byte order mark": (b'\xef\xbb\xbf{"title": "Nurse"}', ENRICHED),
}
"""Bad values, each with the reason that its dead letter must give; those that are enriched only look bad."""


def mix_in_bad_messages() -> MakeMessage:
    """Return a maker of messages: each `EVERY`-th is bad, of the next kind, and the others are postings."""
    numbers, kinds = itertools.count(1), itertools.cycle(KINDS.values())

    def make(key: str, number: int, title: str) -> tuple[bytes | None, str]:
        return make_posting(key, number, title) if next(numbers) % EVERY else next(kinds)

    return make


def _play(run: ScenarioRun) -> Outcome:
    group = run.new_group()
    flags = ("--on-delete=dead-letter", f"--max-message-bytes={MAX_MESSAGE_BYTES}", f"--max-title-chars={MAX_TITLE_CHARS}")
    group.feed.send(run.by_size(EVERY * len(KINDS), 100_000), mix_in_bad_messages())
    for slot in range(2):
        group.start(slot, *flags)
    findings, problems = group.finish()
    sent = itertools.islice(itertools.cycle(KINDS.values()), group.feed.sent // EVERY)
    bad = sum(expect != ENRICHED for _value, expect in sent)
    if findings.dead_letters_right != bad and not problems:
        problems.append(f"{findings.dead_letters_right} dead letters for {bad} bad messages")
    done = {"bad_messages": bad, "kinds": len(KINDS)}
    return Outcome(done, findings.as_dict(), problems)


SCENARIOS = (Scenario("poison", "1 % bad messages of two dozen kinds", _play, short_deliveries=("exactly-once",)),)
