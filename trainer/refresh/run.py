"""`occustream-trainer serve`: makes the refresh service from its settings, and runs it."""

import contextlib
import fcntl
import logging
import signal
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from consumer.errors import ConfigError
from consumer.kafka.source import KafkaSource
from consumer.process.http import HttpServer
from consumer.process.logs import start_logging
from consumer.settings_loading import Properties, unknown_variables
from trainer.options import TrainOptions
from trainer.refresh.drift import DriftLimits, DriftMonitor
from trainer.refresh.drift_reference import read_reference, write_reference
from trainer.refresh.enriched_topic import EnrichedTopic
from trainer.refresh.gate import GateLimits
from trainer.refresh.labelled_topic import LabelledTopic
from trainer.refresh.metrics import Metrics
from trainer.refresh.service import RefreshPolicy, RefreshService
from trainer.refresh.settings import ServeSettings
from trainer.refresh.topic_thread import TopicThread
from trainer.refresh.watched_files import WatchedFiles

COLLECTED = "labelled.jsonl"
"""The file of rows from the topic, in the state folder."""
REFERENCE = "drift.json"
"""The file of the reference for drift, in the state folder."""
REJECTED, FAILED = 3, 1

log = logging.getLogger("occustream")


def serve(settings: ServeSettings, train: TrainOptions) -> int:
    """Run the service until SIGTERM or SIGINT, or with `once` for one refresh at most. Return the exit status.

    Raises ConfigError, BrokerError, BackgroundFailed.
    """
    start_logging("INFO")
    for warning in unknown_variables(ServeSettings):
        log.warning(warning)
    stop, metrics = threading.Event(), Metrics()
    with _lock_folder(settings.state), _set_on_signals(stop):
        monitor = _make_monitor(settings)
        service = _make_service(settings, train, monitor, metrics, stop)
        labelled = _make_labelled_topic(settings, metrics)
        if settings.once:
            return _run_once(service, labelled, stop)
        enriched = _make_enriched_topic(settings, monitor, service, metrics)
        threads = [TopicThread("labelled", labelled)] if labelled else []
        threads += [TopicThread("enriched", enriched)] if enriched else []
        _run(settings, service, threads, metrics, stop)
    return 0


def _run_once(service: RefreshService, labelled: LabelledTopic | None, stop: threading.Event) -> int:
    """Read the topic of labelled postings to its end, refresh if there is a reason to, and return the exit status."""
    if labelled:
        try:
            labelled.start()
            labelled.read_to_end(stop.is_set)
        finally:
            labelled.close()
    outcome = service.refresh_if_due(respect_pauses=False)
    log.info("outcome: %s", outcome)
    return {"rejected": REJECTED, "failed": FAILED}.get(outcome, 0)


def _run(
    settings: ServeSettings, service: RefreshService, threads: Sequence[TopicThread], metrics: Metrics, stop: threading.Event
) -> None:
    """Serve HTTP, read the topics and refresh, until `stop` is set."""
    http = HttpServer(
        host=settings.http_host, port=settings.http_port, metrics=metrics.registry, live=service.live, ready=service.ready
    )

    def check_background() -> None:
        http.check()
        for thread in threads:
            thread.check()

    started: list[TopicThread] = []
    http.start()
    log.info("watching; metrics at %s/metrics", http.address)
    try:
        for thread in threads:
            thread.start()
            started.append(thread)
        service.run(stop.wait, check_background)
    finally:
        for thread in started:
            thread.stop()
        http.stop()
    log.info("stopped; goodbye")


def _make_service(
    settings: ServeSettings, train: TrainOptions, monitor: DriftMonitor, metrics: Metrics, stop: threading.Event
) -> RefreshService:
    policy = RefreshPolicy(
        every_s=settings.every_s,
        min_new=settings.min_new,
        min_interval_s=settings.min_interval_s,
        look_s=settings.look_s,
        keep=settings.keep,
    )
    return RefreshService(
        replace(train, cache=settings.state / "cache"),
        policy,
        GateLimits(ece=settings.gate_ece, group_fall=settings.gate_group_fall, seed=train.seed),
        WatchedFiles(train.postings, train.onet, settings.state, collected=settings.state / COLLECTED, rules=train.rules),
        metrics=metrics,
        stop=stop.is_set,
        drift=lambda: monitor.reasons,
    )


def _make_monitor(settings: ServeSettings) -> DriftMonitor:
    limits = DriftLimits(psi=settings.drift_psi, unsure_rise=settings.drift_unsure, similarity_fall=settings.drift_similarity)
    return DriftMonitor(settings.drift_window, limits, read_reference(settings.state / REFERENCE, events=settings.drift_window))


def _make_labelled_topic(settings: ServeSettings, metrics: Metrics) -> LabelledTopic | None:
    """Return the topic of labelled postings, read from its beginning; None if there is none."""
    if not settings.labelled_topic:
        return None
    # `read_to_end` needs to be told where the partitions end.
    source = make_source(settings, settings.labelled_topic, "labelled", {"enable.partition.eof": True})
    return LabelledTopic(source, settings.state / COLLECTED, metrics)


def _make_enriched_topic(
    settings: ServeSettings, monitor: DriftMonitor, service: RefreshService, metrics: Metrics
) -> EnrichedTopic | None:
    """Return the topic of enriched events, read from now on; None if there is none."""
    if not settings.enriched_topic:
        return None
    source = make_source(settings, settings.enriched_topic, "enriched", {"auto.offset.reset": "latest"})
    store = partial(write_reference, settings.state / REFERENCE)
    return EnrichedTopic(source, monitor, lambda: service.version, metrics, store_reference=store)


def make_source(settings: ServeSettings, topic: str, group: str, own: Properties) -> KafkaSource:
    """Return a member of a consumer group that reads this topic only."""
    brokers: Properties = {"bootstrap.servers": settings.bootstrap_servers or "", "group.id": f"{settings.group_id}-{group}"}
    return KafkaSource({"client.id": "occustream-trainer", **settings.kafka, **brokers, **own}, topic=topic)


@contextlib.contextmanager
def _lock_folder(state: Path) -> Iterator[None]:
    """Lock the state folder, so that no second service stores the same rows again. Raises ConfigError."""
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
def _set_on_signals(stop: threading.Event) -> Iterator[None]:
    """Set `stop` on SIGTERM and SIGINT. Only the main thread can catch signals; elsewhere nothing is done."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
