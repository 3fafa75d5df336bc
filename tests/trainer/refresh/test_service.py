"""The refresh service: what makes it refresh, what a rejected candidate leaves behind, and that no labelled row is lost."""

import contextlib
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import confluent_kafka as ck
import pytest

from consumer.errors import BackgroundFailed, BrokerError, RegistryError
from consumer.memory_broker import MemoryBroker, MemorySource
from consumer.messages import TopicPartition
from consumer.registry.folder import FolderRegistry
from schemas.artifact import Manifest
from tests.conftest import ROOT
from tests.support.brokers import wait_until
from tests.support.trainer_data import OCCUPATIONS, POSTINGS, write_encoder, write_postings, write_release
from tests.trainer.refresh.test_drift import event as enriched_event
from trainer.__main__ import main
from trainer.data.files import DEFAULT_RULES
from trainer.data.labels import LabelRules
from trainer.options import TrainOptions
from trainer.publish import publish
from trainer.refresh.drift import DriftLimits, DriftMonitor, Reference, WindowFigures
from trainer.refresh.drift_reference import read_reference, write_reference
from trainer.refresh.gate import GateLimits
from trainer.refresh.metrics import Metrics
from trainer.refresh.service import RefreshPolicy, RefreshService
from trainer.refresh.topic_thread import EnrichedWatch, LabelledIntake, Reading
from trainer.refresh.watched_files import Look, Watch

NEW = [(f"{title} Two", code) for title, code in POSTINGS[::3]]
TRUCKER = ("Trucker Z", "53-3032.00")
TOPIC = TopicPartition("postings.labelled", 0)


@dataclass
class Place:
    """Folders of one service: data, registry, state; and a clock that stands still."""

    root: Path
    tiny: Path
    metrics: Metrics = field(default_factory=Metrics)
    now: float = 1_000_000.0
    drift: Sequence[str] = ()
    stopped: bool = False

    def service(
        self, *, postings: str = "data/*.csv", onet: Path | None = None, rules: LabelRules = DEFAULT_RULES, **policy: Any
    ) -> RefreshService:
        """A service as a new process would make it."""
        state = self.root / "state"
        state.mkdir(exist_ok=True)
        options = TrainOptions(
            postings=[str(self.root / postings)],
            onet=onet or self.tiny / "release",
            registry=self.root / "registry",
            encoder=str(self.tiny / "encoder"),
            device="cpu",
            cache=state / "cache",
            new_categories=rules.new_categories,
            unclassified=rules.unclassified,
        )
        return RefreshService(
            options,
            RefreshPolicy(**{"min_new": 5, "min_interval_s": 60, "retry_s": 30, **policy}),
            GateLimits(ece=0.5),
            Watch(options.postings, options.onet, state, collected=state / "labelled.jsonl", rules=options.rules),
            metrics=self.metrics,
            stop=lambda: self.stopped,
            drift=lambda: self.drift,
            clock=lambda: self.now,
        )

    def write(self, rows: Sequence[tuple[str, str]], name: str = "rows.csv") -> None:
        (self.root / "data").mkdir(exist_ok=True)
        write_postings(self.root / "data" / name, rows)

    @property
    def registry(self) -> FolderRegistry:
        return FolderRegistry(self.root / "registry")

    def shown(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"occustream_trainer_{name}", labels)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    write_release(folder / "release")
    write_encoder(folder / "encoder")
    return folder


@pytest.fixture(scope="module")
def first(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A place where a first version is in service."""
    place = Place(tmp_path_factory.mktemp("first"), tiny)
    place.write(POSTINGS)
    assert place.service().turn() == "promoted"
    return place.root


@pytest.fixture
def empty(tiny: Path, tmp_path: Path) -> Place:
    (tmp_path / "place").mkdir()
    return Place(tmp_path / "place", tiny)


@pytest.fixture
def place(tiny: Path, first: Path, tmp_path: Path) -> Place:
    """A copy of `first`, an hour later, as a new process finds it."""
    shutil.copytree(first, tmp_path / "place")
    place = Place(tmp_path / "place", tiny, now=1_003_600.0)
    # A copied file has another name, so nothing may hang on names for what was seen.
    assert place.service().turn() == "nothing"
    return place


def test_a_first_version_is_put_in_service_and_says_what_the_next_is_compared_with(place: Place) -> None:
    registry = place.registry
    manifest = registry.load(registry.read_current() or "").manifest
    assert manifest.training["triggers"] == ["first"]
    assert (manifest.training["verdict"], manifest.training["reasons"]) == ("passed", [])
    assert manifest.training["gate"]["rows"] == manifest.metrics["rows"] > 5
    assert manifest.training["split"] == "digest"


def test_without_a_labelled_row_there_is_nothing_to_do(empty: Place) -> None:
    service = empty.service()
    assert service.turn() == "nothing"
    assert service.ready() == "no version is in service yet"
    assert service.live() is None


def test_a_name_that_stands_for_no_file_is_told_once(empty: Place, caplog: pytest.LogCaptureFixture) -> None:
    service = empty.service(postings="dta/*.csv")
    assert [service.turn(), service.turn()] == ["nothing", "nothing"]
    assert [record.message for record in caplog.records] == [f"no file at: {empty.root / 'dta/*.csv'}"]


def test_new_rows_are_trained_on_and_only_their_titles_are_embedded(place: Place) -> None:
    before = place.registry.read_current()
    place.write(NEW[:4], "new.csv")
    service = place.service()
    assert service.turn() == "nothing"
    assert place.shown("waiting_rows") == 4
    place.write(NEW, "new.csv")
    assert service.turn() == "promoted"
    assert place.shown("embedded_titles") == len(NEW)
    assert place.shown("rows") == len(POSTINGS) + len(NEW)
    assert (place.shown("waiting_rows"), service.ready()) == (0, None)
    current = place.registry.load(place.registry.read_current() or "").manifest
    assert current.training["compared_with"] == before
    assert current.training["triggers"] == ["postings"]
    place.now += 3_600
    assert service.turn() == "nothing"


def test_a_worse_candidate_is_kept_with_its_reasons_and_never_serves(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    before = place.registry.read_current()
    codes = [code for _title, code in POSTINGS]
    random.Random(0).shuffle(codes)
    place.write([(title, code) for (title, _code), code in zip(POSTINGS, codes, strict=True)])
    service = place.service()
    assert service.turn() == "rejected"
    assert place.registry.read_current() == before == service.version
    rejected = place.registry.list_versions()[-1]
    assert rejected.training["verdict"] == "rejected"
    assert any(reason.startswith("top-1 fell from 1.000") for reason in rejected.training["reasons"])
    assert all(reason in caplog.text for reason in rejected.training["reasons"])
    assert place.shown("refreshes_total", outcome="rejected") == 1
    place.now += 3_600
    assert place.service().turn() == "nothing"  # the same rows would be rejected again
    place.registry.promote(rejected.version)  # a person overrules
    assert place.registry.roll_back() == before


def test_refreshes_keep_their_distance_and_wait_for_no_one_who_asks_once(place: Place) -> None:
    place.now = 1_000_030.0
    place.write(NEW, "new.csv")
    assert place.service().turn() == "skipped"
    assert place.service().turn(hold_back=False) == "promoted"


def test_a_code_without_posting_is_reason_enough(place: Place) -> None:
    place.write([TRUCKER], "new.csv")
    assert place.service().turn() == "promoted"
    assert place.registry.list_versions()[-1].training["triggers"] == ["unseen_codes"]


def test_a_code_of_a_new_category_is_reason_enough_where_those_are_asked_for(place: Place) -> None:
    columns = ("TITLE_RAW", "ONET", "ONET_NAME")
    write_postings(place.root / "data" / "new.csv", [("Prompter", "15-9999.00", "Prompt Engineers")], columns=columns)
    assert place.service().turn() == "nothing"
    assert place.service(rules=LabelRules(new_categories=True)).turn() == "promoted"
    assert place.registry.list_versions()[-1].training["triggers"] == ["unseen_codes"]
    assert place.service(rules=LabelRules(new_categories=True)).turn() == "nothing"


def test_a_posting_that_comes_again_is_no_new_row_and_one_that_is_labelled_again_is_one(tiny: Path, tmp_path: Path) -> None:
    columns, path = ("ID", "TITLE_RAW", "ONET"), tmp_path / "a.csv"
    rows = [("1", "Nurse", "29-1141.00"), ("2", "Cook", "35-2014.00"), ("3", "Job", "Unclassified"), ("", "Cook", "35-2014.00")]

    def look(*rows: tuple[str, str, str]) -> Look:
        write_postings(path, rows, columns=columns)
        return watch.look()

    watch = Watch([str(path)], tiny / "release", tmp_path, collected=tmp_path / "none")
    watch.remember(look(*rows), at=0)
    assert watch.look().new_codes == {}
    assert look(*rows, rows[0], rows[2]).new_codes == {}, "the same again"
    assert look(*rows, rows[3]).new_codes == {"35-2014.00": 1}, "without an id, another posting"
    assert look(*rows, ("2", "Cook", "11-1011.00")).new_codes == {"11-1011.00": 1}, "a correction"
    assert look(*rows, ("4", "Job", "Unclassified")).new_codes == {"Unclassified": 1}, "one more reject example"


def test_a_row_outside_the_taxonomy_is_no_reason(place: Place) -> None:
    place.write([*POSTINGS, *((f"Astronaut {n}", "99-9999.00") for n in range(20))])
    assert place.service().turn() == "nothing"


def test_a_new_release_of_onet_is_reason_enough(place: Place, tmp_path: Path) -> None:
    release = write_release(tmp_path / "release", occupations={**OCCUPATIONS, "11-1011.03": "Chief Sustainability Officers"})
    assert place.service(onet=release).turn() == "promoted"
    assert place.registry.list_versions()[-1].training["triggers"] == ["onet"]


def test_the_schedule_refreshes_without_new_rows(place: Place) -> None:
    assert place.service(every_s=3_700.0).turn() == "nothing"
    assert place.service(every_s=3_600.0).turn() == "promoted"


def test_drift_refreshes_once_there_is_a_row_to_learn_from(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    place.drift = ["the mix moved"]
    service = place.service()
    assert [service.turn(), service.turn()] == ["nothing", "nothing"]
    assert caplog.text.count("the mix moved") == 1
    place.write(NEW[:1], "new.csv")
    assert service.turn() == "promoted"
    assert place.registry.list_versions()[-1].training["triggers"] == ["drift"]


def test_a_file_caught_half_written_is_tried_again(place: Place) -> None:
    lines = "".join(json.dumps({"title": title, "onet_code": code}) + "\n" for title, code in NEW)
    data = place.root / "data"
    (data / "new.jsonl").write_text(lines[:-20])
    service = place.service(postings="data")
    assert service.turn() == "failed"
    assert service.turn() == "nothing"  # not again at once
    (data / "new.jsonl").write_text(lines)
    place.now += 31
    assert service.turn() == "promoted"
    assert place.shown("refreshes_total", outcome="failed") == 1


def test_a_refresh_that_fails_is_tried_again_with_all_its_rows(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.write(NEW, "new.csv")

    def broken(*_: object, **__: object) -> None:
        raise RegistryError("the disk is full")

    before, service = place.registry.read_current(), place.service()
    with monkeypatch.context() as patched:
        patched.setattr("trainer.refresh.candidate.publish", broken)
        assert service.turn() == "failed"
    assert place.registry.read_current() == before
    place.now += 31
    assert service.turn() == "promoted"
    assert place.shown("rows") == len(POSTINGS) + len(NEW)


def test_an_error_that_nobody_foresaw_is_a_refresh_that_failed(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place.write(NEW, "new.csv")

    def broken(*_: object, **__: object) -> None:
        raise OverflowError("date value out of range")

    service = place.service()
    with monkeypatch.context() as patched:
        patched.setattr("trainer.refresh.service.refresh", broken)
        assert service.turn() == "failed"
    assert "date value out of range" in caplog.text
    assert service.turn() == "nothing"  # not again at once
    place.now += 31
    assert service.turn() == "promoted"


def test_told_to_stop_it_breaks_off_between_steps(place: Place) -> None:
    place.write(NEW, "new.csv")
    before, service, place.stopped = place.registry.list_versions(), place.service(), True
    assert service.turn() == "nothing"
    assert place.registry.list_versions() == before
    place.stopped = False
    assert service.turn() == "promoted"


def test_old_versions_go_and_rollback_still_works(place: Place) -> None:
    service = place.service(every_s=1.0, keep=3)
    for _ in range(4):
        place.now += 3_600
        assert service.turn() == "promoted"
    kept = [manifest.version for manifest in place.registry.list_versions()]
    assert len(kept) == 3
    assert place.registry.read_current() == kept[-1]
    assert [place.registry.roll_back(), place.registry.roll_back()] == [kept[1], kept[0]]
    with pytest.raises(RegistryError, match="no earlier version"):
        place.registry.roll_back()


def test_a_candidate_is_judged_again_where_another_version_was_promoted_meanwhile(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, service = place.registry, place.service()
    artifact = registry.load(registry.read_current() or "")
    registry.publish(artifact.manifest.model_copy(update={"version": "other", "files": {}}), artifact.tensors)
    others = iter(("other",))

    def another_trainer_comes_first(*told: Any, **options: Any) -> Manifest:
        for version in others:
            registry.promote(version)
        return publish(*told, **options)

    monkeypatch.setattr("trainer.refresh.candidate.publish", another_trainer_comes_first)
    place.write(NEW, "new.csv")
    assert service.turn() == "promoted"
    promoted = registry.load(registry.read_current() or "").manifest
    assert promoted.training["compared_with"] == "other"
    assert len(registry.list_versions()) == 3, "nothing is stored of the judgement that came too late"


def test_pruning_spares_what_serves_the_one_before_it_and_encoders_in_use(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = place.registry
    artifact = registry.load(registry.read_current() or "")
    used = artifact.manifest.line_encoder
    assert used is not None

    def published(name: str, days: int) -> Manifest:
        changes = {"version": name, "trained_at": artifact.manifest.trained_at + timedelta(days=days), "files": {}}
        return registry.publish(artifact.manifest.model_copy(update=changes), artifact.tensors)

    for days, name in enumerate(("a", "b", "c", "d"), start=1):
        published(name, days)
    registry.promote("a")
    stray = place.root / "registry" / "encoders" / ("f" * 64)
    stray.mkdir()
    assert registry.prune(1) == ["b", "c", "d"]
    assert stray.is_dir()  # its version may be about to come
    assert registry.read_current() == "a"
    monkeypatch.setattr("consumer.registry.folder.YOUNG_S", -1.0)
    assert registry.prune(1) == []
    assert not stray.exists()
    assert registry.find_encoder(used.sha256) is not None
    assert registry.roll_back() == artifact.manifest.version
    assert not list((place.root / "registry").glob(".removed-*"))


def message(title: Any, code: str = "29-1141.00") -> bytes:
    return json.dumps({"TITLE_RAW": title, "ONET": code, "BODY": "long"}).encode()


def intake(broker: MemoryBroker, place: Place, fault: Callable[[str], None] = lambda _: None) -> LabelledIntake:
    (place.root / "state").mkdir(exist_ok=True)
    source = MemorySource(broker, topic=TOPIC.topic, group_id="g", fault=fault)
    made = LabelledIntake(source, place.root / "state" / "labelled.jsonl", place.metrics)
    made.start()
    return made


def stored(place: Place) -> list[str]:
    return [json.loads(line)["title"] for line in (place.root / "state" / "labelled.jsonl").read_bytes().splitlines()]


def test_labelled_messages_are_stored_and_what_is_none_is_counted(empty: Place) -> None:
    broker = MemoryBroker({TOPIC.topic: 1})
    for value in (
        message("RN"),
        b"\xff",
        None,
        b"[]",
        message(""),
        message("\ud800"),
        b"[" * 100_000,
        message("Chef", "35-2014.00"),
    ):
        broker.append(TOPIC, value)
    reader = intake(broker, empty)
    reader.drain(lambda: False)
    reader.close()
    assert stored(empty) == ["RN", "Chef"]
    assert broker.committed["g", TOPIC] == 8
    assert empty.shown("labelled_total", outcome="invalid") == 6


def test_a_row_is_on_the_disk_before_its_offset_is_committed_and_is_stored_once(empty: Place) -> None:
    broker = MemoryBroker({TOPIC.topic: 1})
    for title in ("RN", "RN", "CNA"):
        broker.append(TOPIC, message(title))

    def crash(at: str) -> None:
        if at == "before:commit":
            raise BrokerError("gone")

    with pytest.raises(BrokerError):
        intake(broker, empty, crash).take(0.1)
    assert stored(empty) == ["RN", "RN", "CNA"]
    assert broker.committed["g", TOPIC] == 0
    path = empty.root / "state" / "labelled.jsonl"
    path.write_bytes(path.read_bytes()[:-5])  # and the machine lost power
    intake(broker, empty).take(0.1)
    assert stored(empty) == ["RN", "RN", "CNA"]
    assert broker.committed["g", TOPIC] == 3
    assert empty.shown("labelled_total", outcome="again") == 2


def test_a_message_is_read_as_a_row_of_a_file_is(empty: Place) -> None:
    broker = MemoryBroker({TOPIC.topic: 1})
    for fields in (
        {"title": "Job fair", "ONET_NAME": "Unclassified"},
        {"ID": 7, "title": "RN", "ONET": "29-1141.00", "BODY": None},
    ):
        broker.append(TOPIC, json.dumps(fields).encode())
    intake(broker, empty).drain(lambda: False)
    rows = [json.loads(line) for line in (empty.root / "state" / "labelled.jsonl").read_bytes().splitlines()]
    assert [(row["title"], row["onet_code"]) for row in rows] == [("Job fair", "Unclassified"), ("RN", "29-1141.00")]
    assert rows[1]["posting_id"] == "7"
    assert not empty.shown("labelled_total", outcome="invalid")


def test_rows_from_the_topic_are_trained_on(place: Place) -> None:
    broker = MemoryBroker({TOPIC.topic: 1})
    for title, code in NEW:
        broker.append(TOPIC, message(title, code))
    intake(broker, place).drain(lambda: False)
    assert place.service().turn() == "promoted"
    assert place.shown("rows") == len(POSTINGS) + len(NEW)


def test_a_reading_thread_that_dies_ends_the_service(place: Place) -> None:
    def crash(at: str) -> None:
        if at == "before:poll":
            raise BrokerError("gone")

    reading = Reading("labelled", intake(MemoryBroker({TOPIC.topic: 1}), place))
    broken = Reading("labelled", intake(MemoryBroker({TOPIC.topic: 1}), place, crash))
    try:
        reading.start()
        broken.start()
        broken._thread.join(5.0)
        reading.check()
        with pytest.raises(BackgroundFailed, match="labelled"):
            place.service().run(lambda _seconds: None, broken.check)
    finally:
        reading.stop()


def arguments(place: Place, *more: str) -> list[str]:
    given = {
        "--postings": str(place.root / "data" / "*.csv"),
        "--onet": str(place.tiny / "release"),
        "--encoder": str(place.tiny / "encoder"),
        "--device": "cpu",
        "--registry": str(place.root / "registry"),
        "--state": str(place.root / "state"),
        "--gate-ece": "0.5",
    }
    return ["serve", *(text for pair in given.items() for text in pair), *more]


def test_once_tells_by_its_exit_status_what_it_came_to(place: Place) -> None:
    assert main(arguments(place, "--once")) == 0
    wrong = [
        (title, dict(zip(OCCUPATIONS, [*list(OCCUPATIONS)[1:3], "11-1011.00"], strict=False))[code]) for title, code in POSTINGS
    ]
    place.write(wrong)
    assert main(arguments(place, "--once", "--min-new", "5")) == 3
    (place.root / "data" / "new.csv").write_text("nothing of use\n")
    assert main(arguments(place, "--once")) == 1
    assert main(arguments(place, "--labelled-topic", "t")) == 2


def test_once_reads_the_topic_to_its_end_over_librdkafka(place: Place) -> None:
    owner = ck.Producer({"bootstrap.servers": "ignored", "test.mock.num.brokers": 1, "log_level": 3})
    broker = next(iter(owner.list_topics(timeout=30).brokers.values()))
    servers = f"{broker.host}:{broker.port}"
    producer = ck.Producer({"bootstrap.servers": servers, "log_level": 3})
    for title, code in NEW:
        producer.produce("labelled", message(title, code))
    assert producer.flush(30) == 0
    topic = ("--bootstrap-servers", servers, "--labelled-topic", "labelled")
    assert main(arguments(place, "--once", "--min-new", str(len(NEW)), *topic)) == 0
    newest = place.registry.list_versions()[-1]
    assert newest.training["rows"] == len(POSTINGS) + len(NEW)
    assert place.registry.read_current() == newest.version
    assert sorted(stored(place)) == sorted(title for title, _code in NEW)


def test_enriched_events_are_summed_up_and_shown(empty: Place) -> None:
    broker, group = MemoryBroker({TOPIC.topic: 1}), "g"
    for score in (0.5, 0.7):
        broker.append(TOPIC, enriched_event(score=score, decision="review").model_dump_json().encode())
    broker.append(TOPIC, b"no event")
    monitor = DriftMonitor(2, DriftLimits())
    reader = EnrichedWatch(MemorySource(broker, topic=TOPIC.topic, group_id=group), monitor, lambda: "v1", empty.metrics)
    reader.start()
    assert reader.take(0.1) == 3
    assert (empty.shown("unsure_ratio"), empty.shown("similarity"), empty.shown("drift_psi", by="group")) == (1.0, 0.6, 0.0)
    assert empty.shown("enriched_total", outcome="invalid") == 1
    assert broker.committed[group, TOPIC] == 3


def test_no_figure_of_a_window_is_shown_before_there_is_one_and_none_of_another_version() -> None:
    metrics, window = Metrics(), WindowFigures(2, 0.5, 0.7, {"29": 1.0}, {"29-1141.00": 1.0})

    def shown() -> list[float | None]:
        value = metrics.registry.get_sample_value
        drift = value("occustream_trainer_drift_psi", {"by": "group"})
        return [value("occustream_trainer_unsure_ratio"), value("occustream_trainer_similarity"), drift]

    for version in ("v1", "v2"):
        metrics.in_service(version)
        assert shown() == [pytest.approx(math.nan, nan_ok=True), pytest.approx(math.nan, nan_ok=True), None]
        metrics.window(window, {"group": 0.3})
        metrics.in_service(version)
        assert shown() == [0.5, 0.7, 0.3]


def test_drift_is_measured_against_the_same_window_before_and_after_a_restart(empty: Place) -> None:
    broker, path = MemoryBroker({TOPIC.topic: 1}), empty.root / "drift.json"
    memory = partial(write_reference, path)

    def read(code: str, *, remember: Callable[[Reference], None] = memory) -> Sequence[str]:
        """What a service that is started, reads one window of `code` and ends says of it."""
        for _ in range(2):
            broker.append(TOPIC, enriched_event(code).model_dump_json().encode())
        monitor = DriftMonitor(2, DriftLimits(), read_reference(path, events=2))
        source = MemorySource(broker, topic=TOPIC.topic, group_id="g")
        reader = EnrichedWatch(source, monitor, lambda: "v1", empty.metrics, remember=remember)
        reader.start()
        reader.take(0.1)
        reader.close()
        return monitor.reasons

    def full(_reference: Reference) -> None:
        raise OSError("no space left on the device")

    nurse, cook = "29-1141.00", "35-2014.00"
    assert read(cook, remember=full) == []  # goes on, and is forgotten
    assert not path.exists()
    assert [bool(read(code)) for code in (nurse, nurse, cook, nurse)] == [False, False, True, False]
    path.write_text("{")
    assert [bool(read(code)) for code in (cook, cook, nurse)] == [False, False, True]


def test_one_state_folder_serves_one_service(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    import fcntl

    with (place.root / "state" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(arguments(place, "--once")) == 2
    assert "another serve is running" in capsys.readouterr().err


@contextlib.contextmanager
def running(place: Place, *more: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """A service in a process of its own, and what it has logged so far."""
    command = [sys.executable, "-m", "trainer", *arguments(place, "--http-port", "0", "--look-s", "1", "--min-new", "5", *more)]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    seen: list[str] = []
    assert process.stderr is not None
    reader = threading.Thread(target=lambda: seen.extend(iter(process.stderr.readline, "")))  # type: ignore[union-attr]
    reader.start()
    try:
        yield process, seen
    finally:
        process.kill()
        process.wait()
        reader.join()


def test_the_running_service_answers_refreshes_and_stops_at_sigterm(place: Place) -> None:
    with running(place) as (process, seen):
        address = told(seen, "metrics at ").split()[-1]
        place.write(NEW, "new.csv")
        told(seen, "is in service")
        promoted = 'occustream_trainer_refreshes_total{outcome="promoted"} 1.0'
        wait_until(lambda: promoted in urllib.request.urlopen(address).read().decode(), "the refresh is counted")
        assert urllib.request.urlopen(address.replace("/metrics", "/readyz")).status == 200
        asked = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
        assert time.monotonic() - asked < 10
    assert place.registry.list_versions()[-1].training["triggers"] == ["postings"]


def test_the_running_service_keeps_what_drift_is_measured_against(place: Place) -> None:
    owner = ck.Producer({"bootstrap.servers": "ignored", "test.mock.num.brokers": 1, "log_level": 3})
    broker = next(iter(owner.list_topics(timeout=30).brokers.values()))
    servers = f"{broker.host}:{broker.port}"
    producer = ck.Producer({"bootstrap.servers": servers, "log_level": 3})
    version = place.registry.read_current() or ""
    value, kept = enriched_event(version=version).model_dump_json().encode(), place.root / "state" / "drift.json"
    producer.produce("enriched", value)
    assert producer.flush(30) == 0
    with running(place, "--bootstrap-servers", servers, "--enriched-topic", "enriched", "--drift-window", "2") as (process, _):
        deadline = time.monotonic() + 60
        while not kept.exists() and time.monotonic() < deadline:  # it reads from the newest on, once it has joined
            producer.produce("enriched", value)
            assert producer.flush(30) == 0
            time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    reference = read_reference(kept, events=2)
    assert reference is not None
    assert reference.version == version


def told(lines: list[str], text: str) -> str:
    """Wait for a line that holds `text`."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if found := [line for line in lines if text in line]:
            return found[0]
        time.sleep(0.1)
    raise AssertionError(f"no {text!r} in {lines}")


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    shown = capsys.readouterr().out
    for text in ("Reasons to refresh", "Exit status of --once", "--labelled-topic", "crontab", "--gate-ece"):
        assert text in shown
