"""`occustream-consumer run`: settings become objects here and nowhere else, and serve until they are told to stop."""

import logging
import threading

from consumer.batcher import Batcher, BatchPolicy
from consumer.codec import Codec
from consumer.delivery.at_least_once import AtLeastOnce, Delivery, ExactlyOnce
from consumer.delivery.dead_letter_share import BadShare
from consumer.errors import ConfigError
from consumer.kafka.range_source import RangeSource, open_range
from consumer.kafka.sink import KafkaSink
from consumer.kafka.source import KafkaSource
from consumer.kafka.transactions import KafkaTransactions
from consumer.messages import Source
from consumer.metrics import Metrics
from consumer.model.scorer import Scorer
from consumer.pipeline import Pipeline
from consumer.process.http import HttpServer
from consumer.process.signals import LEAVING_S, stop_on_signals
from consumer.registry.folder import FolderRegistry
from consumer.registry.loader import ScorerLoader
from consumer.registry.reloader import Reloader, wait_for_version
from consumer.settings import Settings

log = logging.getLogger("occustream")


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT, or until what is to be replayed is done; returns the exit status. Raises OccustreamError."""
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
    loader = make_loader(settings)
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
        codec=make_codec(settings),
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


def make_loader(settings: Settings) -> ScorerLoader:
    """Return what makes scorers of the versions in the registry."""
    return ScorerLoader(
        FolderRegistry(settings.registry),
        encoder=settings.encoder,
        device=settings.device,
        precision=settings.precision,
        top_n=settings.top_n,
        cache_size=settings.title_cache_size,
        serving_options=settings.serving_options,
    )


def make_codec(settings: Settings) -> Codec:
    """Return what makes postings of messages, and records of answers."""
    return Codec(
        output_topic=settings.output_topic,
        dead_letter_topic=settings.dead_letter_topic,
        max_message_bytes=settings.max_message_bytes,
        max_title_chars=settings.max_title_chars,
    )


def _first_scorer(loader: ScorerLoader, settings: Settings, stop: threading.Event) -> Scorer | None:
    """Load the version in service; None when asked to stop before there was one."""
    version = wait_for_version(loader.registry.read_current, timeout_s=settings.registry_timeout_s, stop=stop)
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
    return open_range(settings.consumer_properties(), settings.input_topic, settings.period, events=metrics)


def _delivery(settings: Settings, source: Source, metrics: Metrics, bad_share: BadShare) -> Delivery:
    """Return how records leave, the output topics looked up. Raises BrokerError."""
    topics = [settings.output_topic, settings.dead_letter_topic]
    if settings.delivery == "exactly-once":
        transactions = KafkaTransactions(
            settings.transaction_properties(),
            topics=topics,
            transactional_id=settings.transactional_id,
            open_timeout_s=settings.longest_wait_s,
        )
        transactions.start()
        return ExactlyOnce(source, transactions, metrics, codec=make_codec(settings), bad_share=bad_share)
    sink = KafkaSink(settings.kafka_properties(), topics=topics, full_queue_timeout_s=settings.longest_wait_s)
    sink.start()
    return AtLeastOnce(
        source,
        sink,
        metrics,
        codec=make_codec(settings),
        bad_share=bad_share,
        max_in_flight_messages=settings.max_in_flight_messages,
        commit_interval_s=settings.commit_interval_s,
    )
