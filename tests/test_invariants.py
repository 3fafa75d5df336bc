"""The eight invariants of the product, each as a law that fails when it is broken."""

import ast
import json
import math
import random
import shutil
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from consumer.batcher import BatchPolicy
from consumer.errors import BackgroundFailed, DeliveryFailed
from consumer.memory_broker import MemoryBroker, MemorySink, MemorySource
from consumer.messages import Message, OnAck, Record, TopicPartition
from consumer.metrics import RELOADS, Metrics
from consumer.model.answers import Answer
from consumer.model.mixture import Tensors
from consumer.model.queries import Queries
from consumer.model.scorer import Scorer
from consumer.pipeline import Pipeline
from consumer.process.background import BackgroundThread
from consumer.process.http import HttpServer
from consumer.registry.folder import FolderRegistry
from consumer.registry.loader import ScorerLoader
from consumer.registry.reloader import Reloader
from consumer.settings import Settings
from faults.tampering import point
from schemas.artifact import EMBEDDINGS, MANIFEST, GoldenTitle
from schemas.events import Decision, EnrichedPosting
from schemas.text import clean_title
from tests.support.messages import BAD_VALUES, DEAD, IN, OUT, event_id, posting_bytes
from tests.support.paths import ROOT
from tests.support.pipeline import Clock, HeldSink, StutteringSink, make_pipeline, memory_broker
from tests.support.tiny_model import CATEGORIES, LetterEncoder, category_embeddings, make_manifest, tiny_scorer
from tests.support.waiting import wait_until
from trainer.fit.category_embeddings import EmbeddedRows
from trainer.fit.encoders import Encoders
from trainer.fit.inputs import Titles
from trainer.fit.model import Model
from trainer.fit.title_embeddings import TitleEmbeddings
from trainer.measure.predict import predict

SEEDS = range(12)


def mixed(seed: int, count: int = 60, partitions: int = 3) -> MemoryBroker:
    """Return a broker with postings and, among them, every kind of bad message, spread at random."""
    rng = random.Random(seed)
    broker = memory_broker(partitions)
    values: list[bytes | None] = [posting_bytes(f"Title {i % 7}", body="b" * rng.randrange(200)) for i in range(count)]
    for _reason, bad in BAD_VALUES:
        values.insert(rng.randrange(len(values)), bad)
    for i, value in enumerate(values):
        place = TopicPartition(IN, rng.randrange(partitions))
        broker.append(place, value, key=b"key-%d" % i, headers=(("trace", b"%d" % i),))
    return broker


def run(broker: MemoryBroker, sink: MemorySink, source: MemorySource | None = None, **options: Any) -> Pipeline:
    """Run until everything is read, then drain."""
    source = source or MemorySource(broker, topic=IN, group_id="g")
    pipeline = make_pipeline(source, sink, stop=lambda: not any(source.lag().values()), clock=Clock(tick_s=0.001), **options)
    pipeline.run()
    return pipeline


def records(broker: MemoryBroker) -> list[Message]:
    return [*broker.messages(OUT), *broker.messages(DEAD)]


# ---- 1 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_1_each_message_becomes_one_record_or_dead_letter_none_dropped_or_invented(seed: int) -> None:
    broker = mixed(seed)
    run(broker, StutteringSink(broker, seed=seed), batch=1 + seed)
    assert Counter(map(event_id, records(broker))) == Counter(m.event_id for m in broker.messages(IN))
    bad = {m.event_id for m in broker.messages(IN) if m.value in {value for _, value in BAD_VALUES}}
    assert {event_id(m) for m in broker.messages(DEAD)} == bad


def test_1_a_dead_letter_carries_the_original_untouched_with_its_reason() -> None:
    broker = mixed(1)
    run(broker, MemorySink(broker))
    originals = {m.event_id: m for m in broker.messages(IN)}
    reasons = {value: reason for reason, value in BAD_VALUES}
    for dead in broker.messages(DEAD):
        original = originals[event_id(dead)]
        assert (dead.key, dead.value) == (original.key, original.value)
        assert dead.headers[: len(original.headers)] == original.headers
        assert (dict(dead.headers)["dead-letter.reason"] or b"").decode() == reasons[original.value]


# ---- 2 ---------------------------------------------------------------------------------------------------------------


class Auditor(MemorySource):
    """At every commit, looks up whether each message below it has a record that was acknowledged."""

    def __init__(self, broker: MemoryBroker, acknowledged: set[str]) -> None:
        super().__init__(broker, topic=IN, group_id="g")
        self._acknowledged = acknowledged
        self.commits = 0

    def commit(self, offsets: Mapping[TopicPartition, int], *, wait: bool) -> None:
        self.commits += 1
        for partition, offset in offsets.items():
            below = {f"{partition.topic}:{partition.partition}:{i}" for i in range(offset)}
            assert below <= self._acknowledged
        super().commit(offsets, wait=wait)


class AcknowledgingSink(StutteringSink):
    """Notes which messages' records were acknowledged."""

    def __init__(self, broker: MemoryBroker, seed: int, acknowledged: set[str]) -> None:
        super().__init__(broker, seed=seed)
        self._acknowledged = acknowledged

    def produce(self, record: Record, on_ack: OnAck) -> None:
        identity = event_id(Message(record.topic, 0, 0, record.key, record.value, record.headers))

        def noted(error: DeliveryFailed | None) -> None:
            self._acknowledged.add(identity)
            on_ack(error)

        super().produce(record, noted)


@pytest.mark.parametrize("seed", SEEDS)
def test_2_an_offset_is_committed_only_after_every_record_before_it_is_acknowledged(seed: int) -> None:
    broker, acknowledged = mixed(seed), set[str]()
    source = Auditor(broker, acknowledged)
    run(broker, AcknowledgingSink(broker, seed, acknowledged), source, batch=2 + seed % 5, commit_interval_s=0.0)
    assert source.commits > 1
    assert {p: offset for (_g, p), offset in broker.committed.items()} == {
        p: len(broker.logs[p]) for p in broker.partitions(IN) if broker.logs[p]
    }


# ---- 3 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_3_order_per_input_partition_is_kept_and_the_input_key_is_the_output_key(seed: int) -> None:
    broker = mixed(seed)
    run(broker, StutteringSink(broker, seed=seed), batch=1 + seed)
    inputs = {m.event_id: m for m in broker.messages(IN)}
    for topic in (OUT, DEAD):
        for partition in broker.partitions(topic):
            origins = [inputs[event_id(record)] for record in broker.logs[partition]]
            assert {m.partition for m in origins} <= {partition.partition}
            assert [m.offset for m in origins] == sorted(m.offset for m in origins)
            assert [m.key for m in origins] == [record.key for record in broker.logs[partition]]


# ---- 4 ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_4_a_batch_never_mixes_versions_and_every_record_names_its_version(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    broker, rng = mixed(seed), random.Random(seed)
    batches: list[set[str]] = []

    class Noting(Scorer):
        def score(self, titles: Sequence[str], bodies: Sequence[str | None] = (), **limits: Any) -> list[Answer]:
            batches[-1].add(self.version)
            return super().score(titles, bodies, **limits)

    def noting(version: str) -> Scorer:
        tiny = tiny_scorer(version)
        return Noting(tiny.manifest, tiny.encoder, tiny.mixture, top_n=2)

    def enrich(messages: Sequence[Message], *rest: Any) -> Any:
        batches.append(set())
        outcomes = genuine(messages, *rest)
        for outcome in outcomes:
            if outcome.error is None:
                event = EnrichedPosting.model_validate_json(outcome.record.value or b"")
                batches[-1] |= {event.model.version, (dict(outcome.record.headers)["occustream.model-version"] or b"").decode()}
        return outcomes

    genuine = sys.modules["consumer.pipeline"].enrich  # type: ignore[attr-defined]
    monkeypatch.setattr("consumer.pipeline.enrich", enrich)
    versions = (f"v{n}" for n in range(2, 1_000))
    run(
        broker,
        MemorySink(broker),
        scorer=noting("v1"),
        next_scorer=lambda: noting(next(versions)) if rng.random() < 0.5 else None,
        batch=5,
    )
    assert all(len(batch) <= 1 for batch in batches)
    assert len(set().union(*batches)) > 2


# ---- 5 ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def registry(tmp_path: Path) -> FolderRegistry:
    """A registry with the tiny model as version `good`, in service."""
    registry = FolderRegistry(tmp_path / "registry")
    publish(registry, "good")
    return registry


def publish(registry: FolderRegistry, version: str, *, embeddings: torch.Tensor | None = None, **changes: Any) -> Path:
    best = tiny_scorer().score(["Nurse"])[0].occupations[0]
    golden = (GoldenTitle(title="Nurse", onet_code=best.onet_code, score=best.score),)
    manifest = make_manifest(version, **{"golden": golden, **changes})
    registry.publish(manifest, Tensors(CATEGORIES, category_embeddings() if embeddings is None else embeddings))
    point(registry.root, version)  # `promote` would refuse what is broken
    return registry.root / "versions" / version


def loader_of(registry: FolderRegistry) -> ScorerLoader:
    loader = ScorerLoader(registry, top_n=3)
    encoder = LetterEncoder()
    loader._encoders = {encoder.ref: encoder}
    return loader


def flip_a_bit(folder: Path) -> None:
    raw = bytearray((folder / EMBEDDINGS).read_bytes())
    raw[-1] ^= 1
    (folder / EMBEDDINGS).write_bytes(raw)


def cut_short(folder: Path) -> None:
    (folder / EMBEDDINGS).write_bytes((folder / EMBEDDINGS).read_bytes()[:-7])


def lose_a_file(folder: Path) -> None:
    (folder / EMBEDDINGS).unlink()


def lose_everything(folder: Path) -> None:
    shutil.rmtree(folder)


def lose_the_manifest(folder: Path) -> None:
    (folder / MANIFEST).unlink()


def cut_the_manifest(folder: Path) -> None:
    (folder / MANIFEST).write_bytes((folder / MANIFEST).read_bytes()[:50])


def come_from_the_future(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**manifest, "format": 99}))


@pytest.mark.parametrize(
    "damage",
    [flip_a_bit, cut_short, lose_a_file, lose_everything, lose_the_manifest, cut_the_manifest, come_from_the_future],
)
def test_5_a_damaged_artifact_never_replaces_a_good_one(registry: FolderRegistry, damage: Any) -> None:
    damage(publish(registry, "damaged"))
    assert_refused(registry)


@pytest.mark.parametrize(
    "lie",
    [
        {"golden": ()},
        {"golden": (GoldenTitle(title="Nurse", onet_code="99-9999.00", score=0.9),)},
        {"template": "another-v1"},
        {"embeddings": category_embeddings().roll(1, dims=0)},
        {"embeddings": category_embeddings() * float("nan")},
        {"embeddings": category_embeddings() * 0},
    ],
    ids=["no golden title", "wrong golden title", "other template", "rows mixed up", "NaN", "zero rows"],
)
def test_5_an_artifact_that_answers_wrongly_never_replaces_a_good_one(registry: FolderRegistry, lie: dict[str, Any]) -> None:
    publish(registry, "lying", **lie)
    assert_refused(registry)


def reloads(metrics: Metrics, outcome: str) -> float:
    values = [
        metrics.registry.get_sample_value("occustream_reloads_total", {"outcome": o, "reason": r})
        for o, r in RELOADS
        if o == outcome
    ]
    return sum(value or 0.0 for value in values)


def assert_refused(registry: FolderRegistry) -> None:
    """The reloader refuses what the pointer names, once, and takes up the next good version."""
    metrics = Metrics()
    reloader = Reloader(loader_of(registry), serving="good", metrics=metrics)
    for _ in range(3):
        reloader.look()
        assert reloader.take() is None
    assert reloads(metrics, "refused") == 1
    publish(registry, "better")
    reloader.look()
    taken = reloader.take()
    assert taken is not None
    assert taken.version == "better"
    assert reloader.take() is None


def test_5_the_old_version_serves_until_a_whole_new_one_is_there(registry: FolderRegistry) -> None:
    broker = memory_broker(1)
    metrics = Metrics()
    reloader = Reloader(loader_of(registry), serving="good", metrics=metrics)
    source = MemorySource(broker, topic=IN, group_id="g")
    pipeline = make_pipeline(
        source, MemorySink(broker), batch=BatchPolicy(10, 1_000, 0.0), scorer=tiny_scorer("good"), next_scorer=reloader.take
    )
    source.start(pipeline.on_revoke)

    def serve() -> str:
        reloader.look()
        broker.append(TopicPartition(IN, 0), posting_bytes("Nurse"))
        pipeline.turn()
        return (dict(broker.messages(OUT)[-1].headers)["occustream.model-version"] or b"").decode()

    assert serve() == "good"
    flip_a_bit(publish(registry, "damaged"))
    assert serve() == "good"
    publish(registry, "better")
    assert serve() == "better"
    (registry.root / "CURRENT").write_text("{")
    assert serve() == "better"
    assert reloads(metrics, "unavailable") == 1


# ---- 6 ---------------------------------------------------------------------------------------------------------------

ODD_TITLES = ["  Part-time\tRN \u2013 Med/Surg ", "\ufb01ne  dining\u00a0chef", "\uff2eurse", "NURSE", "e\u0301lectricien"]


def test_6_training_and_serving_give_the_encoder_the_same_text() -> None:
    trained, served = LetterEncoder(), LetterEncoder()
    TitleEmbeddings(trained, [clean_title(title) for title in ODD_TITLES])
    tiny = tiny_scorer()
    Scorer(tiny.manifest, served, tiny.mixture, top_n=1).score(ODD_TITLES)
    assert sorted(trained.seen) == sorted(served.seen) == sorted(map(clean_title, ODD_TITLES))


def test_6_the_gate_scores_a_candidate_through_the_serving_scorer(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    genuine = Scorer.judge

    def noting(self: Scorer, queries: Queries) -> tuple[torch.Tensor, list[Decision]]:
        asked.extend(queries.keys)
        return genuine(self, queries)

    monkeypatch.setattr(Scorer, "judge", noting)
    encoder, texts = LetterEncoder(), [clean_title(title) for title in ODD_TITLES]
    model = Model("2019", Tensors(CATEGORIES, category_embeddings()), Encoders(encoder), make_manifest().mix, None)
    rows = EmbeddedRows(encoder.encode(texts), torch.zeros(len(texts), dtype=torch.int64), torch.ones(len(texts)))
    said = predict(model, Titles(texts, ODD_TITLES, rows, encoder.ref.sha256))
    served = [scored.occupations[0] for scored in tiny_scorer().score(ODD_TITLES)]
    assert asked == [text.casefold() for text in texts]
    assert [said.codes[i] for i in said.probabilities.argmax(dim=1)] == [match.onet_code for match in served]
    assert said.probabilities.max(dim=1).values.tolist() == pytest.approx([m.probability for m in served], abs=1e-5)


def test_6_one_module_makes_text_and_the_consumer_never_imports_the_trainer() -> None:
    for file in [*(ROOT / "consumer").rglob("*.py"), *(ROOT / "trainer").rglob("*.py")]:
        imported = _imports(file)
        assert "unicodedata" not in imported, f"{file.name} normalises text itself; that is schemas.text's"
        if file.is_relative_to(ROOT / "consumer"):
            assert not {name for name in imported if name.split(".")[0] == "trainer"}, file.name


LOOP = ("consumer.run", "consumer.pipeline", "consumer.batcher", "consumer.enrich")
WALLS: dict[str, tuple[str, ...]] = {
    "consumer/kafka": ("consumer.model", "consumer.registry", "consumer.delivery", *LOOP),
    "consumer/model": ("consumer.kafka", "consumer.registry", *LOOP),
    "consumer/registry": ("consumer.kafka",),
    "consumer/feeds": ("consumer.kafka", "consumer.model", "consumer.registry", "consumer.delivery", *LOOP),
    "consumer/delivery": ("consumer.kafka", "confluent_kafka"),
    "consumer/samples": ("consumer.model", "consumer.registry", "consumer.delivery", *LOOP),
    "consumer/pipeline.py": ("consumer.kafka", "confluent_kafka"),
    "consumer/batcher.py": ("consumer.kafka", "confluent_kafka"),
    "consumer/enrich.py": ("consumer.kafka", "confluent_kafka"),
    "consumer/process": ("consumer.kafka", "consumer.model", "consumer.registry", "consumer.delivery", *LOOP),
    "consumer/formats": ("consumer.kafka", "consumer.model", "consumer.registry", "consumer.delivery", *LOOP),
    "trainer/data": ("trainer.fit",),
}
"""What a folder never imports."""


@pytest.mark.parametrize("place", WALLS)
def test_the_walls_between_the_folders_stand(place: str) -> None:
    files = [ROOT / place] if place.endswith(".py") else list((ROOT / place).rglob("*.py"))
    assert files, f"{place} is gone"
    for file in files:
        crossed = {name for name in _imports(file) for wall in WALLS[place] if f"{name}.".startswith(f"{wall}.")}
        assert not crossed, f"{file} imports {crossed}"


def test_only_the_wing_of_formats_knows_a_schema_registry() -> None:
    for file in (ROOT / "consumer").rglob("*.py"):
        if "formats" not in file.parts:
            assert not {name for name in _imports(file) if name.startswith("confluent_kafka.schema_registry")}, file


def test_the_report_imports_nothing_else_of_the_trainer() -> None:
    for file in (ROOT / "trainer/report").rglob("*.py"):
        assert not {name for name in _imports(file) if name.startswith("trainer") and not name.startswith("trainer.report")}, file


@pytest.mark.parametrize("package", ["schemas", "consumer", "trainer"])
def test_an_init_holds_a_docstring_and_imports_nothing_of_ours(package: str) -> None:
    for file in (ROOT / package).rglob("*.py"):
        assert (file.parent / "__init__.py").exists(), f"{file.parent} is left out of the built package"
        if file.name == "__init__.py":
            assert ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))), file
            assert _imports(file) <= {"os"}, f"{file} re-exports: --help would load PyTorch"


def _imports(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


# ---- 7 ---------------------------------------------------------------------------------------------------------------


def test_7_a_reloader_that_dies_takes_the_run_with_it(registry: FolderRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    def die() -> str:
        raise RuntimeError("a bug")

    monkeypatch.setattr(registry, "read_current", die)
    reloader = Reloader(loader_of(registry), serving="good", metrics=Metrics(), interval_s=0.001)
    broker = memory_broker(1)
    source = MemorySource(broker, topic=IN, group_id="g")
    reloader.start()
    with pytest.raises(BackgroundFailed, match=r"reloader.*a bug"):
        make_pipeline(source, MemorySink(broker), next_scorer=reloader.take).run()


def test_7_an_http_thread_that_dies_takes_the_run_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    http = HttpServer(host="127.0.0.1", port=0, metrics=Metrics().registry, live=lambda: None, ready=lambda: None)

    def die() -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(http._thread, "_work", die)
    http.start()
    broker = memory_broker(1)
    source = MemorySource(broker, topic=IN, group_id="g")
    with pytest.raises(BackgroundFailed, match=r"http.*a bug"):
        make_pipeline(source, MemorySink(broker), check_background=http.check).run()
    http.stop()


def test_7_even_an_exit_in_a_thread_is_noticed() -> None:
    thread = BackgroundThread("quitter", sys.exit)
    thread.start()
    thread.join(10.0)
    with pytest.raises(BackgroundFailed, match="quitter"):
        thread.check()


def test_7_every_thread_of_the_consumer_is_one_that_is_watched() -> None:
    starters = {"Thread", "ThreadPoolExecutor", "ProcessPoolExecutor", "Timer", "start_new_thread"}
    for file in (ROOT / "consumer").rglob("*.py"):
        names = {
            getattr(node.func, "attr", getattr(node.func, "id", None))
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
            if isinstance(node, ast.Call)
        }
        assert file.name == "background.py" or not names & starters, f"{file.name} starts a thread that nobody watches"


# ---- 8 ---------------------------------------------------------------------------------------------------------------

LIMITS = (
    "batch_max_count",
    "batch_max_bytes",
    "batch_max_age_s",
    "max_in_flight_messages",
    "max_message_bytes",
    "max_title_chars",
    "title_cache_size",
    "title_cache_bytes",
    "drain_timeout_s",
    "commit_interval_s",
    "reload_interval_s",
)


@pytest.mark.parametrize("name", LIMITS)
def test_8_every_limit_has_a_name_a_finite_default_and_no_infinite_value(name: str) -> None:
    assert math.isfinite(getattr(Settings(), name))
    for value in (math.inf, math.nan, -1):
        with pytest.raises(ValueError, match=name):
            Settings(**{name: value})


@pytest.mark.parametrize(("max_count", "max_bytes"), [(1, 10**6), (7, 10**6), (1_000, 300), (5, 1)])
def test_8_no_batch_passes_its_limits_but_a_single_message_that_is_larger(
    max_count: int, max_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = mixed(3)
    sizes: list[list[int]] = []
    genuine = sys.modules["consumer.pipeline"].enrich  # type: ignore[attr-defined]
    monkeypatch.setattr(
        "consumer.pipeline.enrich",
        lambda messages, *rest: sizes.append([m.size_bytes for m in messages]) or genuine(messages, *rest),
    )
    run(broker, MemorySink(broker), batch=BatchPolicy(max_count, max_bytes, 0.01))
    assert sum(map(len, sizes)) == len(broker.messages(IN))
    assert all(len(batch) <= max_count for batch in sizes)
    assert all(sum(batch) <= max_bytes or len(batch) == 1 for batch in sizes)


@pytest.mark.parametrize("limit", [1, 5, 16])
def test_8_no_more_is_in_flight_than_the_limit_and_one_batch(limit: int) -> None:
    broker, clock = mixed(4), Clock()
    source, sink = MemorySource(broker, topic=IN, group_id="g"), HeldSink(clock)
    pipeline = make_pipeline(source, sink, batch=4, clock=clock, max_in_flight_messages=limit)
    source.start(pipeline.on_revoke)
    for _ in range(100):
        pipeline.turn()
    assert limit <= len(sink.held) < limit + 4


def test_8_the_cache_of_titles_is_bounded() -> None:
    tiny = tiny_scorer()
    scorer = Scorer(tiny.manifest, tiny.encoder, tiny.mixture, top_n=1, cache_size=10)
    for i in range(100):
        scorer.score([f"Title {i}", f"Title {i + 1}"])
    assert len(scorer._cache) == 10


def test_8_the_threads_of_a_stopped_consumer_end(registry: FolderRegistry) -> None:
    before = threading.active_count()
    reloader = Reloader(loader_of(registry), serving="good", metrics=Metrics(), interval_s=0.01)
    http = HttpServer(host="127.0.0.1", port=0, metrics=Metrics().registry, live=lambda: None, ready=lambda: None)
    reloader.start()
    http.start()
    reloader.stop()
    http.stop()
    wait_until(lambda: threading.active_count() == before, "both threads end")


# ---- the tests themselves --------------------------------------------------------------------------------------------

MAX_NAME = 80
"""Characters that the name of a test may have."""


def test_no_name_of_a_test_is_too_long_to_read_at_a_glance() -> None:
    for file in (ROOT / "tests").rglob("test_*.py"):
        names = {node.name for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.FunctionDef)}
        assert not {name for name in names if name.startswith("test_") and len(name) > MAX_NAME}, file
