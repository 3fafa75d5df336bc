"""`occustream-consumer dead-letters`: list, show and replay what could not be enriched."""

import argparse
import json
import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from consumer.dead_letters.replay import Plan, ReplayOptions, plan, replay
from consumer.dead_letters.terminal import Row, as_json, line, story, table, when
from consumer.dead_letters.topic import FIELDS, TIMES, Filter, Letters, Read
from consumer.errors import BrokerError, ConfigError
from consumer.kafka.topic_reader import TopicReader
from consumer.kafka.transactions import KafkaTransactions
from consumer.messages import Message
from consumer.settings import Settings
from consumer.settings_loading import add_flags

SETTINGS = ("bootstrap_servers", "dead_letter_topic", "kafka")
REPORT_EVERY_S = 1.0
SOME_KEPT = 3
"""The exit status of a replay that kept some back."""

EXAMPLES = """examples:
  occustream-consumer dead-letters list                                     counts by topic, stage and reason
  occustream-consumer dead-letters list --long --filter reason=not_json,since=24h
  occustream-consumer dead-letters show postings.raw:3:1042                 the whole story of one
  occustream-consumer dead-letters show postings.raw:3:1042 --raw bad.bin   its bytes, as they came
  occustream-consumer dead-letters replay --filter stage=score --dry-run    what would be sent back
  occustream-consumer dead-letters replay --filter stage=score --rate 50    sends it back, 50 a second

Brokers and topic are those of 'run': --bootstrap-servers (OCCUSTREAM_BOOTSTRAP_SERVERS), --dead-letter-topic, --config."""
FILTER_HELP = (
    f"only letters whose story says so, by {', '.join(FIELDS)}, or written {' or '.join(TIMES)} a time (2026-01-31T08:00, "
    "UTC where it names no zone; 24h: so long ago). Several: with commas, or repeated; one NAME twice takes either value"
)
REPLAY_HELP = """Send dead letters back to the topic and partition they came from: same key, value and headers, and the headers
dead-letter.attempt and dead-letter.replay-of. A running consumer takes them like any other message.

A letter is sent once: it and a receipt in the dead-letter topic are written in one transaction, so that a replay that was
interrupted is simply run again. One replay of a topic runs at a time; a second one ends the first. Letters that come in
meanwhile are left for the next time. Exit status: 0 done, 3 done and some were kept back, 1 failed."""


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the commands; each sets `action`, which takes settings and options and returns the exit status."""
    parser.description = "What to do with messages that could not be enriched. Reading changes nothing; only replay writes."
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str, action: Callable[[Settings, argparse.Namespace], int], told: str, about: str = ""
    ) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name, help=told, description=about or None, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        made.set_defaults(action=action)
        return made

    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, EXAMPLES
    listing = command("list", list_letters, "count them by topic, stage and reason, or list each")
    listing.add_argument("--long", action="store_true", help="a line for each letter")
    listing.add_argument(
        "--json", action="store_true", help="a JSON object a line instead: for each row, with --long for each letter"
    )
    showing = command("show", show_letter, "tell all about one")
    showing.add_argument(
        "id", metavar="ID", help="TOPIC:PARTITION:OFFSET: the event id of the message, or where its dead letter lies"
    )
    showing.add_argument(
        "--raw", nargs="?", const="-", metavar="FILE", help="write the value's bytes to FILE or standard output, nothing else"
    )
    sending = command("replay", replay_letters, "send them back to where they came from", REPLAY_HELP)
    sending.add_argument("--to", metavar="TOPIC", help="another topic than the one each came from")
    sending.add_argument(
        "--rate", type=_rate, default=math.inf, metavar="N", help="letters a second (default: as fast as it goes)"
    )
    sending.add_argument("--dry-run", action="store_true", help="say what would be sent, send nothing")
    sending.add_argument(
        "--max-attempts",
        type=_count,
        default=3,
        metavar="N",
        help="keep what has been a dead letter so often: it would come back (3)",
    )
    for each in (listing, sending):
        each.add_argument("--filter", action="append", default=[], metavar="NAME=VALUE", help=FILTER_HELP)
    for each in (listing, showing, sending):
        add_flags(each, Settings, SETTINGS)


def list_letters(settings: Settings, options: argparse.Namespace) -> int:
    """Print letters, or counts of them."""
    where, letters = Filter.parse(options.filter), Letters(_reader(settings))
    rows: dict[tuple[str, str, str], Row] = defaultdict(Row)
    for letter in filter(where.matches, letters):
        replayed = letters.replayed(letter)
        rows[letter.topic, letter.stage or "-", letter.reason].add(letter, replayed=replayed)
        if options.long:
            print(json.dumps(as_json(letter, replayed=replayed)) if options.json else line(letter, replayed=replayed))
    if options.json and not options.long:
        for (topic, stage, reason), row in sorted(rows.items()):
            print(json.dumps({"topic": topic, "stage": stage, "reason": reason, **vars(row)}))
    elif not options.json:
        print(_summary(settings, rows, letters.others, in_table=not options.long))
    return 0


def show_letter(settings: Settings, options: argparse.Namespace) -> int:
    """Print the last letter of a message, or the one that lies at a position."""
    letters = Letters(_reader(settings))
    found = [letter for letter in letters if options.id in (letter.event_id, letter.position)]
    if not found:
        there = "'dead-letters list --long' tells which there are"
        print(f"no dead letter of {options.id!r} in {settings.dead_letter_topic!r}; {there}", file=sys.stderr)
        return 1
    if options.raw is not None:
        _write(found[-1].message.value or b"", options.raw)
        return 0
    print(story(found[-1], replayed=letters.replayed(found[-1])))
    if earlier := [letter.position for letter in found[:-1]]:
        print(f"also:         {', '.join(earlier)}")
    return 0


def replay_letters(settings: Settings, options: argparse.Namespace) -> int:
    """Send letters back."""
    topic = settings.dead_letter_topic
    wanted = ReplayOptions(topic, Filter.parse(options.filter), options.max_attempts, options.to, options.rate)
    if wanted.to == topic:
        raise ConfigError(f"--to {topic} is the dead-letter topic itself; name another one")
    if options.dry_run:
        planned = plan(Letters(_reader(settings)), wanted)
        return _tell(planned, planned.sends.total(), "would be sent back")
    sink = KafkaTransactions(settings.kafka_properties(), topics=[topic], transactional_id=f"{topic}.replay", renewed=False)
    sink.start()  # before any receipt is read: from here on no other replay can write one
    letters = Letters(_reader(settings))
    planned = plan(letters, wanted)
    sink.look_up(planned.sends)
    progress = _Progress(planned.sends.total())
    try:
        sent = replay(letters, sink, wanted, on_sent=progress.show)
    except BrokerError as error:
        raise BrokerError(
            f"{error}. {progress.sent:,} letters were sent back and will not be again: run the same command again"
        ) from error
    finally:
        progress.close()
    if larger := planned.sends.total() - sent:
        planned.kept["larger than their topic takes (max.message.bytes)"] = larger
    return _tell(planned, sent, "sent back")


def _tell(planned: Plan, sent: int, what: str) -> int:
    topics = ", ".join(f"{count:,} to {topic}" for topic, count in planned.sends.most_common())
    print(f"{sent:,} letter{'' if sent == 1 else 's'} {what}{f': {topics}' if topics else ''}")
    if planned.replayed:
        print(f"{planned.replayed:,} were sent back before")
    for why, count in planned.kept.most_common():
        print(f"{count:,} kept: {why}")
    return SOME_KEPT if planned.kept else 0


def _summary(settings: Settings, rows: Mapping[tuple[str, str, str], Row], others: int, *, in_table: bool) -> str:
    counted = sorted(rows.items(), key=lambda item: -item[1].letters)
    cells = [
        (f"{row.letters:,}", f"{row.replayed:,}", topic, stage, reason, when(row.first_ms), when(row.last_ms))
        for (topic, stage, reason), row in counted
    ]
    total = sum(row.letters for row in rows.values())
    lines = [table(("letters", "replayed", "topic", "stage", "reason", "first", "last"), cells)] if cells and in_table else []
    lines.append(f"{total:,} dead letters in {settings.dead_letter_topic}")
    if others:
        lines.append(f"{others:,} messages there are no dead letters of occustream")
    return "\n".join(lines)


class _Progress:
    """How far a replay is, on a terminal."""

    def __init__(self, total: int) -> None:
        self.sent = 0
        self._total = total
        self._shown = sys.stderr.isatty()
        self._last = 0.0

    def show(self, sent: int) -> None:
        self.sent = sent
        if self._shown and time.monotonic() - self._last >= REPORT_EVERY_S:
            self._last = time.monotonic()
            sys.stderr.write(f"\r{sent:,} of {self._total:,} letters ")
            sys.stderr.flush()

    def close(self) -> None:
        if self._last:
            sys.stderr.write("\n")


def _reader(settings: Settings) -> Read:
    def read(ranges: Mapping[int, range] | None) -> Iterator[Message]:
        with TopicReader(settings.kafka_properties(), settings.dead_letter_topic, ranges=ranges) as messages:
            yield from messages

    return read


def _write(value: bytes, where: str) -> None:
    if where == "-":
        sys.stdout.buffer.write(value)
        sys.stdout.buffer.flush()
        return
    try:
        Path(where).write_bytes(value)
    except OSError as error:
        raise ConfigError(f"--raw {where} cannot be written: {error.strerror}") from error


def _rate(text: str) -> float:
    rate = float(text)
    if not 0 < rate < math.inf:
        raise argparse.ArgumentTypeError(f"a number of letters a second above 0, not {text}")
    return rate


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"at least 1, not {text}")
    return number
