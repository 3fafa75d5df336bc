"""`occustream-consumer`: the composition root. Settings become objects here and nowhere else."""

import argparse
import json
import logging
import os
import sys
import threading
import traceback
from collections.abc import Sequence
from pathlib import Path

from consumer.bad_share import BadShare
from consumer.batcher import Batcher, BatchPolicy
from consumer.codec import Codec
from consumer.dead_letters import add_commands
from consumer.delivery import AtLeastOnce, Delivery, ExactlyOnce
from consumer.errors import ConfigError, OccustreamError
from consumer.http import HttpServer
from consumer.kafka import KafkaSource
from consumer.kafka_sink import KafkaSink
from consumer.messages import Source
from consumer.metrics import Metrics
from consumer.pipeline import Pipeline
from consumer.registry import FolderRegistry
from consumer.reloader import Reloader, ScorerLoader, wait_for_version
from consumer.replay_range import RangeSource, open_replay
from consumer.score import ScoreOptions, score
from consumer.scorer import Scorer
from consumer.settings import Settings, add_flags, load_settings, make_settings, unknown_variables
from consumer.stopping import LEAVING_S, stop_on_signals
from consumer.transactions import KafkaTransactions

log = logging.getLogger("occustream")


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
    except BrokenPipeError:  # `... | head`: whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130
    except Exception:
        traceback.print_exc()
        print("occustream-consumer: unexpected error, see above; nothing uncommitted is lost", file=sys.stderr)
        return 1
    return status


def run(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT."""
    settings = load_settings(vars(options))
    _start_logging(settings.log_level)
    for warning in unknown_variables():
        log.warning(warning)
    stop = stop_on_signals(within_s=settings.drain_timeout_s + LEAVING_S)
    metrics = Metrics()
    replay = _replay(settings, metrics)
    if replay is not None and replay.done:
        replay.close()
        print(replay.summary())
        return 0
    source = replay or KafkaSource(settings.consumer_properties(), topic=settings.input_topic, events=metrics)
    bad_share = BadShare(limit=settings.bad_share_limit, window=settings.bad_share_window)
    metrics.bad_share.set_function(lambda: bad_share.share)
    delivery = _delivery(settings, source, metrics, bad_share)
    loader = _loader(settings)
    scorer = _first_scorer(loader, settings, stop)
    if scorer is None:
        return 0
    reloader = Reloader(loader, serving=scorer.version, metrics=metrics, interval_s=settings.reload_interval_s)
    http = HttpServer(
        host=settings.http_host,
        port=settings.http_port,
        metrics=metrics.registry,
        live=lambda: pipeline.live(),
        ready=lambda: pipeline.ready(),
    )
    pipeline = Pipeline(
        source=source,
        delivery=delivery,
        batcher=Batcher(BatchPolicy(settings.batch_max_count, settings.batch_max_bytes, settings.batch_max_age_s)),
        codec=_codec(settings),
        scorer=scorer,
        metrics=metrics,
        next_scorer=reloader.take,
        check_background=http.check,
        stop=lambda: stop.is_set() or bad_share.exceeded or (replay is not None and replay.finished()),
        drain_timeout_s=settings.drain_timeout_s,
    )
    http.start()
    reloader.start()
    log.info("serving version %s on %s; metrics at %s/metrics", scorer.version, scorer.encoder.device, http.address)
    try:
        pipeline.run()
    finally:
        reloader.stop()
        http.stop()
    bad_share.check()
    log.info("drained; goodbye")
    if replay is not None:
        print(replay.summary())
        return 0 if replay.done else 1
    return 0


def check_config(options: argparse.Namespace) -> int:
    """Validate everything that needs no broker, and print it."""
    settings = load_settings(vars(options))
    for warning in unknown_variables():
        print(f"warning: {warning}", file=sys.stderr)
    KafkaSource(settings.consumer_properties(), topic=settings.input_topic).close()
    if settings.delivery == "exactly-once":
        KafkaTransactions(settings.kafka_properties(), topics=[], transactional_id=settings.transactional_id)
    else:
        KafkaSink(settings.kafka_properties(), topics=[])
    shown = settings.model_dump(mode="json")
    shown["kafka"] = {name: "***" if _secret(name) else value for name, value in shown["kafka"].items()}
    print(json.dumps(shown, indent=1))
    version = FolderRegistry(settings.registry).current()
    if version is None:
        print(f"warning: {settings.registry} holds no promoted model version yet; run occustream-trainer train", file=sys.stderr)
    return 0


def score_file(options: argparse.Namespace) -> int:
    """Score a file or standard input without a broker."""
    _start_logging("WARNING")
    settings = make_settings(
        {"registry": options.registry, "top_n": options.top_n, "device": options.device, "encoder": options.encoder}
    )
    return score(
        ScoreOptions(input=options.input, output=options.output, format=options.format, version=options.version),
        _loader(settings),
        _codec(settings),
        batch_max_count=settings.batch_max_count,
    )


def dead_letters(options: argparse.Namespace) -> int:
    """List, show or replay dead letters."""
    _start_logging("WARNING")
    status: int = options.action(load_settings(vars(options)), options)
    return status


def _first_scorer(loader: ScorerLoader, settings: Settings, stop: threading.Event) -> Scorer | None:
    """Load the version in service; None when asked to stop before there was one."""
    version = wait_for_version(loader.registry.current, timeout_s=settings.registry_timeout_s, stop=stop)
    if version is not None:
        return loader.load(version)
    if stop.is_set():
        return None
    raise ConfigError(
        f"registry {settings.registry} holds no promoted model version; "
        f"run occustream-trainer train --registry {settings.registry}, "
        "or set --registry-timeout-s to wait for one"
    )


def _replay(settings: Settings, metrics: Metrics) -> RangeSource | None:
    """Return the range to replay, None for the live stream. Raises BrokerError."""
    if settings.period is None:
        return None
    return open_replay(settings.consumer_properties(), settings.input_topic, settings.period, events=metrics)


def _delivery(settings: Settings, source: Source, metrics: Metrics, bad_share: BadShare) -> Delivery:
    """Return how records leave, the output topics looked up. Raises BrokerError."""
    topics = [settings.output_topic, settings.dead_letter_topic]
    if settings.delivery == "exactly-once":
        transactions = KafkaTransactions(settings.kafka_properties(), topics=topics, transactional_id=settings.transactional_id)
        transactions.start()
        return ExactlyOnce(source, transactions, metrics, codec=_codec(settings), bad_share=bad_share)
    sink = KafkaSink(settings.kafka_properties(), topics=topics)
    sink.start()
    return AtLeastOnce(
        source,
        sink,
        metrics,
        codec=_codec(settings),
        bad_share=bad_share,
        max_in_flight_messages=settings.max_in_flight_messages,
        commit_interval_s=settings.commit_interval_s,
    )


def _loader(settings: Settings) -> ScorerLoader:
    return ScorerLoader(
        FolderRegistry(settings.registry),
        encoder=settings.encoder,
        device=settings.device,
        precision=settings.precision,
        top_n=settings.top_n,
        cache_size=settings.title_cache_size,
        switches=settings.switches,
    )


def _codec(settings: Settings) -> Codec:
    return Codec(
        output_topic=settings.output_topic,
        dead_letter_topic=settings.dead_letter_topic,
        max_message_bytes=settings.max_message_bytes,
        max_title_chars=settings.max_title_chars,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="occustream-consumer",
        description="Enrich job postings with O*NET-SOC occupations.",
        epilog="Every setting of 'run' is also an environment variable: --input-topic is OCCUSTREAM_INPUT_TOPIC; "
        "any librdkafka property too: OCCUSTREAM_KAFKA__SECURITY_PROTOCOL=SASL_SSL.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("run", help="read postings from Kafka, publish them enriched", epilog=parser.epilog)
    add_flags(serve)
    serve.set_defaults(run=run)
    check = commands.add_parser("check-config", help="validate and print the settings of 'run', start nothing")
    add_flags(check)
    check.set_defaults(run=check_config)
    letters = commands.add_parser("dead-letters", help="list, show and replay messages that could not be enriched")
    add_commands(letters)
    letters.set_defaults(run=dead_letters)
    _add_score(commands.add_parser("score", help="score a CSV or JSONL file without a broker"))
    return parser


def _add_score(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Read postings, write one EnrichedPosting as JSON a line. Bad rows are reported on standard error with their row "
        "number (as a spreadsheet counts: a CSV's header is row 1); the exit status is then 1."
    )
    parser.add_argument("--registry", type=Path, required=True, metavar="DIR", help="folder of model versions")
    parser.add_argument("--version", metavar="V", help="a model version (default: the promoted one)")
    parser.add_argument("--top-n", type=_top_n, default=5, metavar="N", help="occupations per posting (5)")
    parser.add_argument("--input", type=Path, metavar="FILE", help=".csv, .tsv or .jsonl (default: standard input)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where to write (default: standard output)")
    parser.add_argument("--format", choices=("csv", "tsv", "jsonl"), help="of the input, where its name does not tell (jsonl)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--encoder", metavar="NAME", help="where the artifact's encoder lies, if not where the artifact says")
    parser.set_defaults(run=score_file)


def _top_n(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 100:  # noqa: PLR2004 - as Settings.top_n
        raise argparse.ArgumentTypeError(f"from 1 to 100, not {text}")
    return number


def _secret(name: str) -> bool:
    return any(
        word in name
        for word in ("password", "passphrase", "secret", "key.pem", "jaas", "token", "oauthbearer.config", "credential")
    )


def _start_logging(level: str) -> None:
    logging.basicConfig(level=level, stream=sys.stderr, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    for noisy in ("httpx", "sentence_transformers", "transformers", "huggingface_hub"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


if __name__ == "__main__":
    sys.exit(main())
