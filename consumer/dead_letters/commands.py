"""`occustream-consumer dead-letters`: list, show and replay messages that could not be enriched."""

import argparse
import json
import math
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from consumer.argument_types import parse_count
from consumer.dead_letter_record import DeadLetter
from consumer.dead_letters.filter import FIELDS, TIMES, Filter
from consumer.dead_letters.originals import Originals
from consumer.dead_letters.replay import ReplayOptions, ReplayPlan, plan_replay, replay
from consumer.dead_letters.terminal import Counts, format_details, format_line, format_table, format_time, to_json_fields
from consumer.dead_letters.topic import DeadLetterTopic
from consumer.errors import BrokerError, ConfigError
from consumer.kafka.topic_reader import TopicReader
from consumer.kafka.transactions import KafkaTransactions
from consumer.messages import Message
from consumer.settings import Settings
from consumer.settings_loading import add_flags

SETTINGS = ("bootstrap_servers", "dead_letter_topic", "kafka")
REPORT_EVERY_S = 1.0
SOME_KEPT = 3
"""The exit status of a replay that kept some dead letters."""

EXAMPLES = """examples:
  occustream-consumer dead-letters list                                     counts by topic, stage and reason
  occustream-consumer dead-letters list --long --filter reason=not_json,since=24h
  occustream-consumer dead-letters show postings.raw:3:1042                 everything about one of them
  occustream-consumer dead-letters show postings.raw:3:1042 --raw bad.bin   its bytes, as they came
  occustream-consumer dead-letters replay --filter stage=score --dry-run    what would be sent back
  occustream-consumer dead-letters replay --filter stage=score --rate 50    sends it back, 50 a second

Brokers and topic are those of 'run': --bootstrap-servers (OCCUSTREAM_BOOTSTRAP_SERVERS), --dead-letter-topic, --config."""
FILTER_HELP = (
    f"only dead letters with this value of {', '.join(FIELDS)}; or written {' or '.join(TIMES)} a time: 2026-01-31T08:00 "
    "(UTC where it names no zone), or an age, 24h: so long ago. Several filters: with commas, or repeated; one NAME twice "
    "takes either value"
)
REPLAY_HELP = """Send dead letters back to the topic and partition they came from: same key, value and headers, and the headers
dead-letter.attempt and dead-letter.replay-of. A running consumer takes them like any other message.

Each dead letter is sent once: it and a receipt in the dead-letter topic are written in one transaction, so that a replay that
was interrupted is simply run again. One replay of a topic runs at a time; a second one ends the first. Dead letters that are
written meanwhile are left for the next time. Exit status: 0 done, 3 done and some were kept back, 1 failed."""

Action = Callable[[Settings, argparse.Namespace], int]


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the commands; each sets `action`, which takes settings and options and returns the exit status."""
    parser.description = "What to do with messages that could not be enriched. Reading changes nothing; only replay writes."
    parser.formatter_class, parser.epilog = argparse.RawDescriptionHelpFormatter, EXAMPLES
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add = partial(commands.add_parser, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
    listing = add("list", help="count them by topic, stage and reason, or list each")
    showing = add("show", help="print everything about one")
    sending = add("replay", help="send them back to where they came from", description=REPLAY_HELP)
    _add_list_flags(listing)
    _add_show_flags(showing)
    _add_replay_flags(sending)
    for command in (listing, sending):
        command.add_argument("--filter", action="append", default=[], metavar="NAME=VALUE", help=FILTER_HELP)
    actions: dict[argparse.ArgumentParser, Action] = {listing: list_letters, showing: show_letter, sending: replay_letters}
    for command, action in actions.items():
        add_flags(command, Settings, SETTINGS)
        command.set_defaults(action=action)


def _add_list_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--long", action="store_true", help="a line for each dead letter")
    parser.add_argument(
        "--json", action="store_true", help="a JSON object a line instead: for each count, with --long for each dead letter"
    )


def _add_show_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "id", metavar="ID", help="TOPIC:PARTITION:OFFSET: the event id of the message, or the position of its dead letter"
    )
    parser.add_argument(
        "--raw", nargs="?", const="-", metavar="FILE", help="write the value's bytes to FILE or standard output, nothing else"
    )


def _add_replay_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--to", metavar="TOPIC", help="another topic than the one each came from")
    parser.add_argument(
        "--rate", type=_parse_rate, default=math.inf, metavar="N", help="dead letters a second (default: as fast as possible)"
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would be sent, send nothing")
    parser.add_argument(
        "--max-attempts",
        type=parse_count,
        default=3,
        metavar="N",
        help="keep messages that have been dead letters so often: they would come back (3)",
    )


def list_letters(settings: Settings, options: argparse.Namespace) -> int:
    """Print dead letters, or counts of them."""
    asked, letters = Filter.parse(options.filter), _open_topic(settings)
    counts: dict[tuple[str, str, str], Counts] = defaultdict(Counts)
    for letter in filter(asked.matches, letters):
        replayed = letters.was_replayed(letter)
        counts[letter.topic, letter.stage or "-", letter.reason].add(letter, replayed=replayed)
        if options.long:
            as_json = options.json
            print(json.dumps(to_json_fields(letter, replayed=replayed)) if as_json else format_line(letter, replayed=replayed))
    if options.json and not options.long:
        for (topic, stage, reason), count in sorted(counts.items()):
            print(json.dumps({"topic": topic, "stage": stage, "reason": reason, **vars(count)}))
    elif not options.json:
        print(_summarize(settings, counts, letters.others, with_table=not options.long))
    return 0


def show_letter(settings: Settings, options: argparse.Namespace) -> int:
    """Print the last dead letter of a message, or the one at a position."""
    letters = _open_topic(settings)
    found = [letter for letter in letters if options.id in (letter.event_id, letter.position)]
    if not found:
        hint = "'dead-letters list --long' prints which there are"
        print(f"no dead letter of {options.id!r} in {settings.dead_letter_topic!r}; {hint}", file=sys.stderr)
        return 1
    if options.raw is not None:
        return _show_raw(letters, found[-1], options.raw)
    print(format_details(found[-1], replayed=letters.was_replayed(found[-1])))
    if earlier := [letter.position for letter in found[:-1]]:
        print(f"also:         {', '.join(earlier)}")
    return 0


def _show_raw(letters: DeadLetterTopic, letter: DeadLetter, file: str) -> int:
    """Write the value of the letter's message, and nothing else."""
    whole = letters.complete(letter)
    if whole is None:
        print(f"the letter lacks the value, and its message {letter.event_id} is gone from its topic", file=sys.stderr)
        return 1
    _write_raw(whole.message.value or b"", file)
    return 0


def replay_letters(settings: Settings, arguments: argparse.Namespace) -> int:
    """Send dead letters back."""
    topic = settings.dead_letter_topic
    options = ReplayOptions(topic, Filter.parse(arguments.filter), arguments.max_attempts, arguments.to, arguments.rate)
    if options.to == topic:
        raise ConfigError(f"--to {topic} is the dead-letter topic itself; name another one")
    if arguments.dry_run:
        plan = plan_replay(_open_topic(settings), options)
        return _report(plan, plan.to_send.total(), "would be sent back")
    sink = KafkaTransactions(settings.kafka_properties(), topics=[topic], transactional_id=f"{topic}.replay", renewed=False)
    sink.start()  # before any receipt is read: from here on no other replay can write one
    letters = _open_topic(settings)
    plan = plan_replay(letters, options)
    sink.look_up(plan.to_send)
    sent = _replay_with_progress(letters, sink, options, total=plan.to_send.total())
    if larger := plan.to_send.total() - sent:
        plan.kept["larger than their topic takes (max.message.bytes)"] = larger
    return _report(plan, sent, "sent back")


def _replay_with_progress(letters: DeadLetterTopic, sink: KafkaTransactions, options: ReplayOptions, *, total: int) -> int:
    progress = _Progress(total)
    try:
        return replay(letters, sink, options, on_sent=progress.show)
    except BrokerError as error:
        raise BrokerError(
            f"{error}. {progress.sent:,} letters were sent back and will not be again: run the same command again"
        ) from error
    finally:
        progress.close()


def _report(plan: ReplayPlan, sent: int, what: str) -> int:
    """Print what was or would be done; returns the exit status."""
    topics = ", ".join(f"{count:,} to {topic}" for topic, count in plan.to_send.most_common())
    print(f"{sent:,} letter{'' if sent == 1 else 's'} {what}{f': {topics}' if topics else ''}")
    if plan.replayed:
        print(f"{plan.replayed:,} were sent back before")
    for why, count in plan.kept.most_common():
        print(f"{count:,} kept: {why}")
    return SOME_KEPT if plan.kept else 0


def _summarize(settings: Settings, counts: Mapping[tuple[str, str, str], Counts], others: int, *, with_table: bool) -> str:
    lines = []
    if counts and with_table:
        rows = [
            (f"{c.letters:,}", f"{c.replayed:,}", topic, stage, reason, format_time(c.first_ms), format_time(c.last_ms))
            for (topic, stage, reason), c in sorted(counts.items(), key=lambda item: -item[1].letters)
        ]
        lines.append(format_table(("letters", "replayed", "topic", "stage", "reason", "first", "last"), rows))
    lines.append(f"{sum(count.letters for count in counts.values()):,} dead letters in {settings.dead_letter_topic}")
    if others:
        lines.append(f"{others:,} messages there are no dead letters of occustream")
    return "\n".join(lines)


class _Progress:
    """Shows on a terminal how far a replay is."""

    def __init__(self, total: int) -> None:
        self.sent = 0
        self._total = total
        self._on_terminal = sys.stderr.isatty()
        self._shown_at = 0.0

    def show(self, sent: int) -> None:
        self.sent = sent
        if self._on_terminal and time.monotonic() - self._shown_at >= REPORT_EVERY_S:
            self._shown_at = time.monotonic()
            sys.stderr.write(f"\r{sent:,} of {self._total:,} letters ")
            sys.stderr.flush()

    def close(self) -> None:
        if self._shown_at:
            sys.stderr.write("\n")


def _open_topic(settings: Settings) -> DeadLetterTopic:
    def read(topic: str, ranges: Mapping[int, range] | None) -> Iterator[Message]:
        with TopicReader(settings.kafka_properties(), topic, ranges=ranges) as messages:
            yield from messages

    return DeadLetterTopic(partial(read, settings.dead_letter_topic), Originals(read))


def _write_raw(value: bytes, file: str) -> None:
    if file == "-":
        sys.stdout.buffer.write(value)
        sys.stdout.buffer.flush()
        return
    try:
        Path(file).write_bytes(value)
    except OSError as error:
        raise ConfigError(f"--raw {file} cannot be written: {error.strerror}") from error


def _parse_rate(text: str) -> float:
    rate = float(text)
    if not 0 < rate < math.inf:
        raise argparse.ArgumentTypeError(f"a number of dead letters a second above 0, not {text}")
    return rate
