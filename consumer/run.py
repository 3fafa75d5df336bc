"""`occustream-consumer run`: makes all objects from the settings, here and nowhere else, and runs them until told to stop."""

import contextlib
import logging
import threading
from collections.abc import Callable
from typing import Any

from consumer.abstention import Abstainer
from consumer.batcher import Batcher, BatchPolicy
from consumer.cloud_events import CONTENT_TYPES, CloudEvents
from consumer.codec import Codec
from consumer.crosswalks import read_crosswalks
from consumer.delivery.at_least_once import AtLeastOnce
from consumer.delivery.dead_letter_share import DeadLetterShare
from consumer.delivery.exactly_once import ExactlyOnce
from consumer.delivery.protocol import Delivery
from consumer.errors import ConfigError, OccustreamError
from consumer.feeds.fields import FieldFinder
from consumer.feeds.kinds import Envelope
from consumer.health import Health
from consumer.kafka.sink import KafkaSink
from consumer.kafka.transactions import KafkaTransactions
from consumer.limits import Limits
from consumer.messages import Source
from consumer.metrics import Metrics
from consumer.pipeline import Pipeline
from consumer.process.background import run_unless_stopped
from consumer.process.http import HttpServer
from consumer.process.signals import LEAVING_S, end_within, stop_on_signals
from consumer.registry.first_version import FirstVersion, load_first_version
from consumer.registry.folder import FolderRegistry
from consumer.registry.loader import ScorerLoader
from consumer.registry.reloader import Reloader
from consumer.rules import Rules
from consumer.run_input import RunInput, open_input
from consumer.settings import Settings
from consumer.size_limits import warn_of_limits

log = logging.getLogger("occustream")


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT, or until a range of the past is done; returns the exit status. Raises OccustreamError."""
    stop = stop_on_signals(within_s=settings.drain_timeout_s + LEAVING_S)
    metrics, health = Metrics(), Health()
    metrics.ready.set_function(lambda: health.ready() is None)
    http = HttpServer(
        host=settings.http_host, port=settings.http_port, metrics=metrics.registry, live=health.live, ready=health.ready
    )
    http.start()
    log.info("metrics at %s/metrics", http.address)
    try:
        return _serve(settings, metrics, health, http=http, stop=stop)
    finally:
        http.stop()


def _serve(settings: Settings, metrics: Metrics, health: Health, *, http: HttpServer, stop: threading.Event) -> int:
    """Make the loop, which first needs brokers and a model, and run it; returns the exit status. Raises OccustreamError."""
    health.begin("looking topics up")
    codec = make_codec(settings, metrics)
    run_input = open_input(settings, metrics)
    if run_input.done:
        run_input.source.close()
        return _report(run_input)
    dead_letter_share = DeadLetterShare(limit=settings.bad_share_limit, window=settings.bad_share_window)
    metrics.bad_share.set_function(lambda: dead_letter_share.share)
    delivery = _make_delivery(settings, run_input.source, metrics, codec=codec, dead_letter_share=dead_letter_share)
    health.begin("loading a model version")
    loader = make_loader(settings)
    if (first := _load_first_version(loader, settings, metrics, stop)) is None:
        return 0
    reloader = Reloader(
        loader,
        serving=first.scorer.version,
        refused=first.refused,
        metrics=metrics,
        interval_s=settings.reload_interval_s,
    )
    ending = contextlib.ExitStack()

    def fail(error: OccustreamError) -> None:
        log.error("ending: %s", error)
        ending.enter_context(end_within(LEAVING_S))  # a client that has lost its brokers may hang while it closes

    pipeline = Pipeline(
        source=run_input.source,
        delivery=delivery,
        batcher=Batcher(BatchPolicy(settings.batch_max_count, settings.batch_max_bytes, settings.batch_max_age_s)),
        codec=codec,
        scorer=first.scorer,
        metrics=metrics,
        rules=make_rules(settings),
        next_scorer=reloader.take,
        check_background=http.check,
        stop=lambda: stop.is_set() or dead_letter_share.exceeded or run_input.check_done(),
        on_failure=fail,
        drain_timeout_s=settings.drain_timeout_s,
    )
    warn_of_limits(settings)
    health.follow(pipeline)
    reloader.start()
    log.info("serving version %s on %s", first.scorer.version, first.scorer.encoder.device)
    try:
        pipeline.run()
    finally:
        ending.close()
        reloader.stop()
    dead_letter_share.check()
    log.info("drained; goodbye")
    return _report(run_input)


def _report(run_input: RunInput) -> int:
    """Print what a run with an end has done; returns the exit status."""
    if (summary := run_input.summary()) is not None:
        print(summary)
    return run_input.exit_status


def make_loader(settings: Settings) -> ScorerLoader:
    """Return the loader of model versions, which makes a scorer of each."""
    return ScorerLoader(
        FolderRegistry(settings.registry),
        encoder=settings.encoder,
        device=settings.device,
        precision=settings.precision,
        top_n=settings.top_n,
        cache_size=settings.title_cache_size,
        cache_bytes=settings.title_cache_bytes,
        serving_options=settings.serving_options,
        crosswalks=read_crosswalks(settings.crosswalk),
    )


def make_rules(settings: Settings) -> Rules:
    """Return what is said of postings beside the model."""
    return Rules(Limits(settings.allowed_codes), Abstainer(settings.understood_languages))


def make_codec(
    settings: Settings,
    metrics: Metrics | None = None,
    *,
    finder: FieldFinder | None = None,
    on_envelope: Callable[[Envelope], None] = lambda _envelope: None,
) -> Codec:
    """Return the codec, which reads messages and writes records. Envelopes are counted in `metrics`, if given.

    `finder` finds the fields of a posting in place of that of the settings; `on_envelope` is called with each envelope.
    A schema registry is asked whether it has what the formats need. Raises ConfigError, SchemaRegistryUnavailable.
    """
    count = (lambda name: metrics.envelopes.labels(name).inc()) if metrics is not None else on_envelope
    return Codec(
        output_topic=settings.output_topic,
        dead_letter_topic=settings.dead_letter_topic,
        max_message_bytes=settings.max_message_bytes,
        max_title_chars=settings.max_title_chars,
        envelopes=settings.known_envelopes,
        on_delete=settings.on_delete,
        finder=finder or settings.finder(),
        on_envelope=count,
        decision_topics=settings.decision_topics,
        cloud_events=_cloud_events(settings),
        **_serdes(settings),
    )


def _cloud_events(settings: Settings) -> CloudEvents | None:
    return CloudEvents(settings.cloudevents_source, CONTENT_TYPES[settings.output_format]) if settings.cloudevents else None


def _serdes(settings: Settings) -> dict[str, Any]:
    """Return the reader and the writer for formats that need a schema registry."""
    if not settings.uses_schema_registry:
        return {}
    from consumer.formats.choose import make_formats  # noqa: PLC0415 - half a second that plain JSON need not pay

    serdes = make_formats(settings)
    serdes.check()
    return {"read": serdes.read, "write": serdes.write}


def _load_first_version(loader: ScorerLoader, settings: Settings, metrics: Metrics, stop: threading.Event) -> FirstVersion | None:
    """Load the version to start with; None when asked to stop before. Raises ConfigError if there is none in time.

    A folder may hang, so it is read on a thread of its own: a signal ends the process all the same.
    """
    first = run_unless_stopped(
        lambda: load_first_version(loader, metrics, timeout_s=settings.registry_timeout_s, stop=stop), stop
    )
    if first is not None or stop.is_set():
        return first
    raise ConfigError(
        f"registry {settings.registry} holds no promoted model version; "
        f"run occustream-trainer train --registry {settings.registry}, "
        "or set --registry-timeout-s to wait for one"
    )


def _make_delivery(
    settings: Settings, source: Source, metrics: Metrics, *, codec: Codec, dead_letter_share: DeadLetterShare
) -> Delivery:
    """Return the delivery mode of the settings, with the output topics looked up. Raises BrokerError."""
    topics = settings.written_topics
    if settings.delivery == "exactly-once":
        transactions = KafkaTransactions(
            settings.transaction_properties(),
            topics=topics,
            transactional_id=settings.transactional_id,
            open_timeout_s=settings.longest_wait_s,
        )
        transactions.start()
        return ExactlyOnce(source, transactions, metrics, codec=codec, dead_letter_share=dead_letter_share)
    sink = KafkaSink(settings.kafka_properties(), topics=topics, full_queue_timeout_s=settings.longest_wait_s)
    sink.start()
    return AtLeastOnce(
        source,
        sink,
        metrics,
        codec=codec,
        dead_letter_share=dead_letter_share,
        max_in_flight_messages=settings.max_in_flight_messages,
        commit_interval_s=settings.commit_interval_s,
    )
