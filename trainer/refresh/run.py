"""`occustream-trainer serve`: how its flags become a running service."""

import argparse
import contextlib
import fcntl
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

from consumer.errors import ConfigError
from consumer.kafka.source import KafkaSource
from consumer.process.http import HttpServer
from trainer.options import TrainOptions
from trainer.refresh.drift import DriftLimits, DriftMonitor
from trainer.refresh.drift_reference import read_reference, write_reference
from trainer.refresh.gate import GateLimits
from trainer.refresh.metrics import Metrics
from trainer.refresh.service import RefreshPolicy, RefreshService
from trainer.refresh.topic_thread import EnrichedWatch, LabelledIntake, Reading
from trainer.refresh.watched_files import Watch

COLLECTED = "labelled.jsonl"
REFERENCE = "drift.json"
REJECTED, FAILED = 3, 1

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
    else:
        properties["enable.partition.eof"] = True  # --once ends there
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
