"""`occustream-consumer`: the command line. Code that loads a model is imported where it is needed: PyTorch takes seconds."""

import argparse
import json
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from consumer.dead_letters.commands import add_commands
from consumer.errors import ConfigError, OccustreamError
from consumer.kafka.sink import KafkaSink
from consumer.kafka.source import KafkaSource
from consumer.kafka.transactions import KafkaTransactions
from consumer.process.logs import start_logging
from consumer.samples.commands import add_sample_flags, check_samples, show_profiles
from consumer.settings import Settings
from consumer.settings_loading import add_flag, add_flags, load_settings, make_settings, parse_flags, unknown_variables

log = logging.getLogger("occustream")

SCORE_SETTINGS = ("registry", "top_n", "device", "encoder", "profile", "mapping")
"""The settings that `score` takes, by flags alone."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status: 0 done, 1 failed, 2 wrong use."""
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except ConfigError as error:
        print(f"occustream-consumer: {error}", file=sys.stderr)
        return 2
    except OccustreamError as error:
        print(f"occustream-consumer: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # `... | head`: the reader of our output has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception:
        traceback.print_exc()
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
    """Validate the settings, as far as that needs no broker, and print them."""
    settings = load_settings(Settings, vars(options))
    for warning in unknown_variables(Settings):
        print(f"warning: {warning}", file=sys.stderr)
    KafkaSource(settings.consumer_properties(), topic=settings.input_topic).close()
    if settings.delivery == "exactly-once":
        KafkaTransactions(settings.transaction_properties(), topics=[], transactional_id=settings.transactional_id)
    else:
        KafkaSink(settings.kafka_properties(), topics=[])
    if options.sample is not None or options.sample_topic is not None:
        return _check_samples(options, settings)
    values = settings.model_dump(mode="json")
    values["kafka"] = {name: "***" if _is_secret(name) else value for name, value in values["kafka"].items()}
    print(json.dumps(values, indent=1))
    from consumer.registry.folder import FolderRegistry  # noqa: PLC0415 - PyTorch

    version = FolderRegistry(settings.registry).read_current()
    if version is None:
        print(f"warning: {settings.registry} holds no promoted model version yet; run occustream-trainer train", file=sys.stderr)
    return 0


def _check_samples(options: argparse.Namespace, settings: Settings) -> int:
    from consumer.run import make_codec  # noqa: PLC0415 - PyTorch

    return check_samples(options, settings, make_codec)


def score_file(options: argparse.Namespace) -> int:
    """Score a file or standard input without a broker."""
    start_logging("WARNING")
    from consumer.run import make_codec, make_loader  # noqa: PLC0415 - PyTorch
    from consumer.score_file import ScoreOptions, score  # noqa: PLC0415

    flags = {name: getattr(options, name) for name in SCORE_SETTINGS}
    settings = make_settings(Settings, parse_flags(Settings, flags))  # what is set for a stream does not hold for a file
    return score(
        ScoreOptions(input=options.input, output=options.output, format=options.format, version=options.version),
        make_loader(settings),
        make_codec(settings),
        batch_max_count=settings.batch_max_count,
    )


def dead_letters(options: argparse.Namespace) -> int:
    """List, show or replay dead letters."""
    start_logging("WARNING")
    status: int = options.action(load_settings(Settings, vars(options)), options)
    return status


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
    check = commands.add_parser("check-config", help="validate and print the settings of 'run', or try them on sample messages")
    add_sample_flags(check)
    add_flags(check, Settings)
    check.set_defaults(run=check_config)
    letters = commands.add_parser("dead-letters", help="list, show and replay messages that could not be enriched")
    add_commands(letters)
    letters.set_defaults(run=dead_letters)
    profiles = commands.add_parser("profiles", help="list the feeds whose messages are understood by name")
    profiles.set_defaults(run=show_profiles)
    _add_score_flags(commands.add_parser("score", help="score a CSV or JSONL file without a broker"))
    return parser


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
    for name in ("profile", "mapping"):
        add_flag(parser, Settings, name)
    parser.set_defaults(run=score_file)


def _parse_top_n(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 100:  # noqa: PLR2004 - as Settings.top_n
        raise argparse.ArgumentTypeError(f"from 1 to 100, not {text}")
    return number


def _is_secret(name: str) -> bool:
    return any(
        word in name
        for word in ("password", "passphrase", "secret", "key.pem", "jaas", "token", "oauthbearer.config", "credential")
    )


if __name__ == "__main__":
    sys.exit(main())
