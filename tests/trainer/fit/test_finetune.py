"""Fine-tuning fits the encoder to the categories, resumes an interrupted run, and never mixes two runs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from consumer.errors import ConfigError, EncoderError
from consumer.model.encoder import SentenceEncoder, load_encoder
from consumer.model.encoder_folder import DEFAULT_ENCODER, weights_sha256
from tests.conftest import needs_model

pytest.importorskip("accelerate", reason="fine-tuning needs accelerate and datasets")
pytest.importorskip("datasets", reason="fine-tuning needs accelerate and datasets")

from trainer.fit.category_embeddings import EmbeddedRows, weighted_sums
from trainer.fit.category_loss import BATCH, BucketSampler, Task
from trainer.fit.finetune import finetune

pytestmark = [pytest.mark.model, needs_model]

TITLES = [f"{level} {job}" for level in ("", "senior", "junior", "lead", "head") for job in ("nurse", "driver", "cook", "clerk")]
LABELS = torch.arange(len(TITLES)) // 4
"""The level of a job, which MiniLM's own vectors do not follow."""


@pytest.fixture(scope="module")
def start(encoder: SentenceEncoder) -> torch.Tensor:
    rows = EmbeddedRows(encoder.encode(TITLES), LABELS, torch.ones(len(TITLES)))
    return torch.nn.functional.normalize(weighted_sums(rows, 5)[0], dim=1)


@pytest.fixture
def run(start: torch.Tensor, tmp_path: Path) -> Callable[..., Path]:
    def tune(name: str = "encoder", **other: Any) -> Path:
        options = {"folder": tmp_path / name, "seed": 0, "epochs": 4, "device": "cpu", "save_steps": 2, **other}
        return finetune(DEFAULT_ENCODER, TITLES, LABELS, torch.ones(len(TITLES)), start, **options)

    return tune


class Killed(Exception):
    pass


def kill_at(step: int) -> Callable[[int, int, float], None]:
    def progress(done: int, _steps: int, _loss: float) -> None:
        if done >= step:
            raise Killed

    return progress


def margin(encoder: SentenceEncoder) -> float:
    """Return how much closer titles of one category are than titles of two."""
    rows = encoder.encode(TITLES)
    same = LABELS[:, None] == LABELS
    cosines = rows @ rows.T
    return float(cosines[same & ~torch.eye(len(same), dtype=torch.bool)].mean() - cosines[~same].mean())


def test_titles_of_one_category_move_together_and_the_loss_falls(run: Callable[..., Path], encoder: SentenceEncoder) -> None:
    losses: list[float] = []
    folder = run(progress=lambda _step, _steps, loss: losses.append(loss))
    assert margin(load_encoder(str(folder), device="cpu")) > margin(encoder)
    assert losses[-1] < losses[0]
    assert [path.name for path in folder.parent.iterdir()] == ["encoder"], "checkpoints are gone once it is finished"


def test_a_run_that_is_killed_goes_on_to_the_same_result(run: Callable[..., Path]) -> None:
    whole = run("whole")
    with pytest.raises(Killed):
        run("killed", progress=kill_at(4))
    checkpoints = whole.with_name("killed.checkpoints")
    broken = checkpoints / "checkpoint-5"  # as a kill leaves it that comes while a checkpoint is written
    shutil.copytree(max(checkpoints.glob("checkpoint-*")), broken)
    (broken / "trainer_state.json").unlink()
    steps: list[int] = []
    assert weights_sha256(run("killed", progress=lambda step, _steps, _loss: steps.append(step))) == weights_sha256(whole)
    assert min(steps) > 2, "it went on, and did not start again"


def test_a_finished_run_is_not_repeated_and_never_taken_for_another(run: Callable[..., Path]) -> None:
    folder = run(epochs=1)
    assert run(epochs=1, progress=kill_at(0)) == folder
    with pytest.raises(ConfigError, match="exists and is not the result of this run"):
        run(epochs=2)


def test_checkpoints_of_another_run_are_refused(run: Callable[..., Path]) -> None:
    with pytest.raises(Killed):
        run(progress=kill_at(2))
    with pytest.raises(ConfigError, match="holds checkpoints of another run"):
        run(seed=1)


def test_data_that_teach_nothing_are_refused(start: torch.Tensor, tmp_path: Path) -> None:
    def tune(labels: torch.Tensor, weights: torch.Tensor, categories: torch.Tensor, encoder: str = DEFAULT_ENCODER) -> None:
        finetune(encoder, TITLES[: len(labels)], labels, weights, categories, folder=tmp_path / "e", seed=0, device="cpu")

    ones = torch.ones(len(TITLES))
    with pytest.raises(ValueError, match=r"0 texts, 0 labels, 0 weights: .* at least 1"):
        tune(LABELS[:0], ones[:0], start)
    with pytest.raises(ValueError, match="labels from 0 to 4, but the categories are 0 to 3"):
        tune(LABELS, ones, start[:4])
    with pytest.raises(ValueError, match="weights must be finite and above 0"):
        tune(LABELS, ones * 0, start)
    with pytest.raises(ValueError, match="vectors have 384 components, the categories 7"):
        tune(LABELS, ones, start[:, :7])
    with pytest.raises(EncoderError, match="no folder and the hub does not give it"):
        tune(LABELS, ones, start, "no such/en coder")


def test_an_epoch_has_every_full_row_and_a_sample_of_light_ones_in_its_own_order() -> None:
    weights = torch.cat((torch.ones(200), torch.full((500,), 0.3)))
    task = Task(["x" * (n % 40) for n in range(700)], torch.zeros(700, dtype=torch.long), weights, torch.zeros(1, 2))
    sampler = BucketSampler(task, seed=0, light_rows=100)
    epochs = []
    for epoch in (0, 1, 0):
        sampler.set_epoch(epoch)
        batches = list(sampler)
        rows = sorted(row for batch in batches for row in batch)
        assert len(batches) == len(sampler)
        assert max(map(len, batches)) <= BATCH
        assert rows[:200] == list(range(200))
        assert len(set(rows)) == 300
        epochs.append(json.dumps(batches))
    assert epochs[0] == epochs[2] != epochs[1]
