"""What the tests of the refresh service share: a folder with its data, registry and state, messages, and events."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from consumer.memory_broker import MemoryBroker, MemorySource
from consumer.messages import TopicPartition
from consumer.registry.folder import FolderRegistry
from schemas.events import EnrichedPosting, JobPosting, ModelInfo, OccupationMatch
from tests.support.training_data import POSTINGS, write_encoder, write_postings, write_release
from trainer.data.files import DEFAULT_RULES
from trainer.data.labels import LabelRules
from trainer.options import TrainOptions
from trainer.refresh.gate import GateLimits
from trainer.refresh.labelled_topic import LabelledTopic
from trainer.refresh.metrics import Metrics
from trainer.refresh.service import RefreshPolicy, RefreshService
from trainer.refresh.watched_files import WatchedFiles

NEW = [(f"{title} Two", code) for title, code in POSTINGS[::3]]
TOPIC = TopicPartition("postings.labelled", 0)


@dataclass
class ServiceFolders:
    """The folders of one service (data, registry, state), its metrics, and a clock that stands still."""

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
            WatchedFiles(options.postings, options.onet, state, collected=state / "labelled.jsonl", rules=options.rules),
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

    def read_metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"occustream_trainer_{name}", labels)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    write_release(folder / "release")
    write_encoder(folder / "encoder")
    return folder


@pytest.fixture(scope="session")
def first_folders(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of a service that has put a first version in service."""
    folders = ServiceFolders(tmp_path_factory.mktemp("first"), tiny)
    folders.write(POSTINGS)
    assert folders.service().refresh_if_due() == "promoted"
    return folders.root


@pytest.fixture
def empty_folders(tiny: Path, tmp_path: Path) -> ServiceFolders:
    (tmp_path / "folders").mkdir()
    return ServiceFolders(tmp_path / "folders", tiny)


@pytest.fixture
def folders(tiny: Path, first_folders: Path, tmp_path: Path) -> ServiceFolders:
    """A copy of `first`, an hour later, as a new process finds it."""
    shutil.copytree(first_folders, tmp_path / "folders")
    folders = ServiceFolders(tmp_path / "folders", tiny, now=1_003_600.0)
    # A copied file has another name, so nothing may hang on names for what was seen.
    assert folders.service().refresh_if_due() == "nothing"
    return folders


def message(title: Any, code: str = "29-1141.00") -> bytes:
    return json.dumps({"TITLE_RAW": title, "ONET": code, "BODY": "long"}).encode()


def start_topic(broker: MemoryBroker, folders: ServiceFolders, fault: Callable[[str], None] = lambda _: None) -> LabelledTopic:
    (folders.root / "state").mkdir(exist_ok=True)
    source = MemorySource(broker, topic=TOPIC.topic, group_id="g", fault=fault)
    made = LabelledTopic(source, folders.root / "state" / "labelled.jsonl", folders.metrics)
    made.start()
    return made


def stored_titles(folders: ServiceFolders) -> list[str]:
    return [json.loads(line)["title"] for line in (folders.root / "state" / "labelled.jsonl").read_bytes().splitlines()]


def event(
    code: str = "29-1141.00", *, score: float = 0.8, decision: Any = "accept", version: str = "v1", matches: int = 1
) -> EnrichedPosting:
    match = OccupationMatch(rank=1, onet_code=code, onet_title="-", soc_major=code[:2], score=score, probability=0.9)
    return EnrichedPosting(
        event_id="t:0:0",
        posting=JobPosting(posting_id="1", title="x"),
        occupations=(match,) * matches,
        decision=decision,
        model=ModelInfo(version=version, encoder_id="-", taxonomy_version="-", trained_at=datetime(2025, 1, 1, tzinfo=UTC)),
        enriched_at=datetime(2025, 1, 1, tzinfo=UTC),
    )
