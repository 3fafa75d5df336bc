"""`occustream-trainer serve`: its flags, and how they become a running service."""

import argparse
import contextlib
import fcntl
import logging
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from consumer.errors import ConfigError
from consumer.http import HttpServer
from consumer.kafka import KafkaSource
from trainer.data import TrainOptions
from trainer.drift import DriftLimits, DriftMonitor
from trainer.gate import GateLimits
from trainer.metrics import Metrics
from trainer.reference import read_reference, write_reference
from trainer.service import RefreshPolicy, RefreshService
from trainer.topics import EnrichedWatch, LabelledIntake, Reading
from trainer.watch import Watch

COLLECTED = "labelled.jsonl"
REFERENCE = "drift.json"
REJECTED, FAILED = 3, 1

DESCRIPTION = """Keep the model up with the market: watch labelled postings and the O*NET release, train a candidate when there \
is a reason to, judge it on titles that no trial was fitted to, and put it in service if it passes. Running consumers take it \
up within seconds; a rejected candidate is kept, its manifest says why ('training': 'verdict', 'reasons'), and 'promote' \
overrules the gate.

Reasons to refresh: no version is in service; --every-s has passed; --min-new rows are new; a new row has a code that the \
version in service has no posting of; the O*NET release has changed; the stream has drifted and a row is new.

--postings may name files, folders and globs in quotes ('data/*.csv'); files are read again when their time or size changes. \
Write new ones under another name and rename them: a file caught half written is tried again."""
EPILOG = """Exit status of --once: 0 promoted or nothing to do, 1 failed, 2 wrong use, 3 rejected. In a crontab:
  15 3 * * *  occustream-trainer serve --once --postings '/data/*.csv' --registry /models --state /var/lib/occustream
As a service that also learns from a topic and watches for drift:
  occustream-trainer serve --postings starter --registry /models --state /var/lib/occustream \\
    --bootstrap-servers kafka:9092 --labelled-topic postings.labelled --enriched-topic postings.enriched"""

log = logging.getLogger("occustream")


def serve(options: argparse.Namespace, train: TrainOptions) -> int:
    """Run the service until SIGTERM or SIGINT, or with --once for one refresh at most; returns the exit status."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    for noisy in ("httpx", "sentence_transformers", "transformers", "huggingface_hub"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    if (options.labelled_topic or options.enriched_topic) and not options.bootstrap_servers:
        raise ConfigError("a topic needs --bootstrap-servers")
    stop, metrics = threading.Event(), Metrics()
    with _held(options.state), _stopped_by_signals(stop):
        monitor = _monitor(options)
        service = RefreshService(
            replace(train, cache=options.state / "cache"),
            RefreshPolicy(
                every_s=options.every_s,
                min_new=options.min_new,
                min_interval_s=options.min_interval_s,
                look_s=options.look_s,
                keep=options.keep,
            ),
            GateLimits(ece=options.gate_ece, group_fall=options.gate_group_fall, seed=train.seed),
            Watch(train.postings, train.onet, options.state, collected=options.state / COLLECTED, rules=train.rules),
            metrics=metrics,
            stop=stop.is_set,
            drift=lambda: monitor.reasons,
        )
        intake = (
            LabelledIntake(_source(options, "labelled"), options.state / COLLECTED, metrics) if options.labelled_topic else None
        )
        if options.once:
            return _once(service, intake, stop)
        readings = [Reading("labelled", intake)] if intake else []
        if options.enriched_topic:
            readings.append(Reading("enriched", _watch(options, monitor, service, metrics)))
        _run(options, service, readings, metrics, stop)
    return 0


def _once(service: RefreshService, intake: LabelledIntake | None, stop: threading.Event) -> int:
    if intake:
        try:
            intake.start()
            intake.drain(stop.is_set)
        finally:
            intake.close()
    outcome = service.turn(hold_back=False)
    log.info("outcome: %s", outcome)
    return {"rejected": REJECTED, "failed": FAILED}.get(outcome, 0)


def _run(
    options: argparse.Namespace, service: RefreshService, readings: list[Reading], metrics: Metrics, stop: threading.Event
) -> None:
    http = HttpServer(
        host=options.http_host, port=options.http_port, metrics=metrics.registry, live=service.live, ready=service.ready
    )

    def check_background() -> None:
        http.check()
        for reading in readings:
            reading.check()

    started: list[Reading] = []
    http.start()
    log.info("watching; metrics at %s/metrics", http.address)
    try:
        for reading in readings:
            reading.start()
            started.append(reading)
        service.run(stop.wait, check_background)
    finally:
        for reading in started:
            reading.stop()
        http.stop()
    log.info("stopped; goodbye")


def _monitor(options: argparse.Namespace) -> DriftMonitor:
    limits = DriftLimits(psi=options.drift_psi, unsure_rise=options.drift_unsure, similarity_fall=options.drift_similarity)
    return DriftMonitor(options.drift_window, limits, read_reference(options.state / REFERENCE, events=options.drift_window))


def _watch(options: argparse.Namespace, monitor: DriftMonitor, service: RefreshService, metrics: Metrics) -> EnrichedWatch:
    remember = partial(write_reference, options.state / REFERENCE)
    return EnrichedWatch(_source(options, "enriched"), monitor, lambda: service.version, metrics, remember=remember)


def _source(options: argparse.Namespace, kind: str) -> KafkaSource:
    """Return a member of this service's own group for one of its topics; drift is measured on what comes from now on."""
    properties = dict(options.kafka)
    properties |= {"bootstrap.servers": options.bootstrap_servers, "group.id": f"{options.group_id}-{kind}"}
    if kind == "enriched":
        properties["auto.offset.reset"] = "latest"
    return KafkaSource({"client.id": "occustream-trainer", **properties}, topic=getattr(options, f"{kind}_topic"))


@contextlib.contextmanager
def _held(state: Path) -> Iterator[None]:
    """Keep the state folder to ourselves: two services would store the same rows twice. Raises ConfigError."""
    with contextlib.ExitStack() as stack:
        try:
            state.mkdir(parents=True, exist_ok=True)
            lock = stack.enter_context((state / ".lock").open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConfigError(f"another serve is running with --state {state}; stop it, or name another folder") from None
        except OSError as error:
            raise ConfigError(f"--state {state} cannot be used: {error.strerror or error}") from error
        yield


@contextlib.contextmanager
def _stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """Set `stop` on SIGTERM and SIGINT, where signals can be caught: in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def add_serve_flags(
    parser: argparse.ArgumentParser,
    *,
    positive: Callable[[str], int],
    share: Callable[[str], float],
    folder: Callable[[str], Path],
) -> None:
    """Give `parser` the flags of `serve` beyond those of `train`; the callables check what is given."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument_group("the service").add_argument
    add("--state", type=folder, required=True, metavar="DIR", help="where rows, embeddings and what was seen are kept")
    add("--once", action="store_true", help="look once, refresh if there is a reason to, and end: for cron")
    add("--every-s", type=positive, metavar="N", help="refresh at least so often, in seconds (off)")
    add("--min-new", type=positive, default=100, metavar="N", help="new rows that are a reason to refresh (100)")
    add("--min-interval-s", type=positive, default=300, metavar="N", help="seconds between refreshes at least (300)")
    add("--look-s", type=positive, default=10, metavar="N", help="seconds between looks (10)")
    add("--keep", type=positive, default=10, metavar="N", help="versions kept; never fewer than the last two in service (10)")
    add("--http-host", default="0.0.0.0", metavar="HOST", help="of /metrics, /livez, /readyz (0.0.0.0)")  # noqa: S104 - scraped
    add("--http-port", type=int, default=9109, metavar="N", help="of the same; 0: any free one (9109)")
    add = parser.add_argument_group("the gate").add_argument
    add("--gate-ece", type=share, default=0.05, metavar="SHARE", help="greatest expected calibration error (0.05)")
    add(
        "--gate-group-fall",
        type=share,
        default=0.02,
        metavar="SHARE",
        help="how far top-1 of a SOC major group of 30 held-out rows or more may fall; further than chance explains (0.02)",
    )
    add = parser.add_argument_group("Kafka").add_argument
    servers = os.environ.get("OCCUSTREAM_BOOTSTRAP_SERVERS")
    add("--bootstrap-servers", default=servers, metavar="LIST", help="host:port,... (OCCUSTREAM_BOOTSTRAP_SERVERS)")
    add("--labelled-topic", metavar="TOPIC", help="labelled postings to learn from, e.g. postings.labelled (none)")
    add("--enriched-topic", metavar="TOPIC", help="what consumers publish, watched for drift, not with --once (none)")
    add("--group-id", default="occustream-trainer", metavar="NAME", help="start of the names of its two consumer groups")
    add("--kafka", action="append", default=[], type=_property, metavar="NAME=VALUE", help="any librdkafka property, repeatable")
    add = parser.add_argument_group("drift").add_argument
    add("--drift-window", type=positive, default=2_000, metavar="N", help="enriched events per window (2000)")
    add("--drift-psi", type=_amount, default=0.25, metavar="X", help="greatest stability index by group or code (0.25)")
    add("--drift-unsure", type=share, default=0.1, metavar="X", help="greatest rise of the share not accepted (0.1)")
    add("--drift-similarity", type=share, default=0.05, metavar="X", help="greatest fall of the mean similarity (0.05)")


def _property(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise argparse.ArgumentTypeError(f"NAME=VALUE is expected, not {text}")
    return name, value


def _amount(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"a number above 0, not {text}")
    return number
