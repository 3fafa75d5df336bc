"""`occustream-consumer`: the command line. Code that loads a model is imported where it is needed: PyTorch takes seconds."""

import argparse
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from consumer.dead_letters.commands import add_commands as add_letter_commands
from consumer.errors import ConfigError, OccustreamError
from consumer.masking import mask_addresses
from consumer.process.logs import start_logging
from consumer.samples.commands import add_sample_flags, check_samples, show_profiles
from consumer.settings import Settings
from consumer.settings_loading import add_flag, add_flags, load_settings, make_settings, parse_flags, unknown_variables
from consumer.topic_commands import add_commands as add_topic_commands

log = logging.getLogger("occustream")

CHECK_HELP = (
    "Check the settings of 'run', whether its brokers answer, have its topics and let dead letters be as large as they must be, "
    "and whether the registry can be read. Prints the settings with secrets masked, and each problem in a line. Exit status: "
    "0 'run' would start, 1 it would not, or no broker answers, 2 the settings are wrong. Nothing is started, read or created. "
    "With --sample or --sample-topic: show what is found in sample messages, and which profile fits them best."
)
SCORE_SETTINGS = ("registry", "top_n", "device", "encoder", "profile", "mapping", "languages", "allowed_codes", "crosswalk")
"""The settings that `score` takes, by flags alone."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0 done, 1 failed, 2 wrong use."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except ConfigError as error:
        print(f"occustream-consumer: {mask_addresses(str(error))}", file=sys.stderr)
        return 2
    except OccustreamError as error:
        print(f"occustream-consumer: {mask_addresses(str(error))}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `... | head`: the reader of our output has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception:
        print(mask_addresses(traceback.format_exc()), end="", file=sys.stderr)
        print("occustream-consumer: unexpected error, see above; nothing uncommitted is lost", file=sys.stderr)
        return 1
    return status


def run_consumer(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    settings = load_settings(Settings, vars(options))
    start_logging(settings.log_level)
    for warning in unknown_variables(Settings):
        log.warning(warning)
    from consumer import run  # noqa: PLC0415 - PyTorch

    return run.run(settings)


def check_config(options: argparse.Namespace) -> int:
    """Find what would keep 'run' from working, and print the settings; or show what becomes of sample messages."""
    from consumer.check_config import check  # noqa: PLC0415 - PyTorch
    from consumer.run import make_codec  # noqa: PLC0415 - PyTorch

    start_logging("ERROR")
    settings = load_settings(Settings, vars(options))
    if options.sample is not None or options.sample_topic is not None:
        return check_samples(options, settings, make_codec)
    return check(settings, offline=options.offline)


def score_file(options: argparse.Namespace) -> int:
    """Score a file or standard input without a broker."""
    start_logging("WARNING")
    from consumer.run import make_codec, make_loader, make_rules  # noqa: PLC0415 - PyTorch
    from consumer.score_file import ScoreOptions, score  # noqa: PLC0415

    flags = {name: getattr(options, name) for name in SCORE_SETTINGS}
    settings = make_settings(Settings, parse_flags(Settings, flags))  # what is set for a stream does not hold for a file
    return score(
        ScoreOptions(input=options.input, output=options.output, format=options.format, version=options.version),
        make_loader(settings),
        make_codec(settings),
        batch_max_count=settings.batch_max_count,
        rules=make_rules(settings),
    )


def topics(options: argparse.Namespace) -> int:
    """Create topics."""
    start_logging("WARNING")
    status: int = options.action(load_settings(Settings, vars(options)), options)
    return status


def dead_letters(options: argparse.Namespace) -> int:
    """List, show or replay dead letters."""
    start_logging("WARNING")
    status: int = options.action(load_settings(Settings, vars(options)), options)
    return status


def schemas(options: argparse.Namespace) -> int:
    """Register the schema of enriched postings."""
    start_logging("WARNING")
    from consumer.formats.register import register  # noqa: PLC0415 - half a second

    print(register(load_settings(Settings, vars(options))))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="occustream-consumer",
        description="Enrich job postings with O*NET-SOC occupations.",
        epilog="Every setting of 'run' is also an environment variable: --input-topic is OCCUSTREAM_INPUT_TOPIC; "
        "any librdkafka property too: OCCUSTREAM_KAFKA__SECURITY_PROTOCOL=SASL_SSL.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="read postings from Kafka, publish them enriched", epilog=parser.epilog)
    add_flags(run, Settings)
    run.set_defaults(run=run_consumer)
    check = commands.add_parser("check-config", help="find what would keep 'run' from working, print its settings, start nothing")
    check.description = CHECK_HELP
    check.add_argument("--offline", action="store_true", help="ask no broker: check the settings and the registry alone")
    add_sample_flags(check)
    add_flags(check, Settings)
    check.set_defaults(run=check_config)
    making = commands.add_parser("topics", help="create the topics that are missing")
    add_topic_commands(making)
    making.set_defaults(run=topics)
    letters = commands.add_parser("dead-letters", help="list, show and replay messages that could not be enriched")
    add_letter_commands(letters)
    letters.set_defaults(run=dead_letters)
    _add_schemas_commands(commands.add_parser("schemas", help="register the schema of enriched postings in a schema registry"))
    profiles = commands.add_parser("profiles", help="list the feeds whose messages are understood by name")
    profiles.set_defaults(run=show_profiles)
    _add_score_flags(commands.add_parser("score", help="score a CSV or JSONL file without a broker"))
    return parser


def _add_schemas_commands(parser: argparse.ArgumentParser) -> None:
    parser.description = "What to do with the schemas of the formats avro, protobuf and json-schema."
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser("register", help="register the schema that --output-format needs, for --output-topic")
    add_flags(command, Settings, ("output_topic", "output_format", "schema_registry"))
    command.set_defaults(run=schemas)


def _add_score_flags(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Read postings and write one EnrichedPosting a line, as JSON. Bad rows are reported on standard error with their row "
        "number, as a spreadsheet counts: a CSV's header is row 1. The exit status is 1 if there are any."
    )
    parser.add_argument("--registry", type=Path, required=True, metavar="DIR", help="folder of model versions")
    parser.add_argument("--version", metavar="V", help="a model version (default: the promoted one)")
    parser.add_argument("--top-n", type=_parse_top_n, default=5, metavar="N", help="occupations per posting (5)")
    parser.add_argument("--input", type=Path, metavar="FILE", help=".csv, .tsv or .jsonl (default: standard input)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where to write (default: standard output)")
    parser.add_argument("--format", choices=("csv", "tsv", "jsonl"), help="of the input, if its name does not say (jsonl)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--encoder", metavar="NAME", help="where the encoder is, if not where the artifact says")
    for name in ("profile", "mapping", "languages", "allowed_codes", "crosswalk"):
        add_flag(parser, Settings, name)
    parser.set_defaults(run=score_file)


def _parse_top_n(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 100:  # noqa: PLR2004 - as Settings.top_n
        raise argparse.ArgumentTypeError(f"from 1 to 100, not {text}")
    return number


if __name__ == "__main__":
    sys.exit(main())
