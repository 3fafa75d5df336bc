"""Fine-tuning of a transformer encoder on labelled titles. It takes minutes to hours, and an interrupted run is resumed.

The result is an encoder folder like any other: category embeddings are trained on its vectors as on those of any encoder.
"""

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from transformers import PrinterCallback, TrainerCallback

from consumer.errors import ConfigError
from consumer.model.encoder import load_model
from consumer.model.encoder_folder import find_encoder, weights_sha256
from consumer.safe_files import replace_file
from trainer.fit.category_embeddings import Progress
from trainer.fit.category_loss import BATCH, BucketSampler, CategoryLoss, Task

ENCODER_LR, CATEGORY_LR = 6e-5, 3e-3
TUNED_SHARE = 0.6
"""The share of the tuned weights in the published ones; the original weights have the rest (WiSE-FT, Wortsman et al. 2022).

On new titles the mean of both encoders is better than either. No other share was tried."""
IDENTITY, CATEGORIES = "finetune.json", "categories.safetensors"


class _Trainer(SentenceTransformerTrainer):
    """A trainer whose checkpoints hold the category vectors beside the encoder, and which writes no model cards."""

    sampler: BucketSampler
    category_loss: CategoryLoss

    def get_batch_sampler(self, *_args: Any, **_kwargs: Any) -> BucketSampler:  # noqa: ANN401 - of the base class
        return self.sampler

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Add no callback: it would look the base model up on the hub."""

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:  # noqa: ANN401, ARG002
        folder = Path(output_dir or str(self.args.output_dir))
        self.model.save_pretrained(str(folder), create_model_card=False)
        save_file({"categories": self.category_loss.categories.detach().cpu().contiguous()}, folder / CATEGORIES)

    def _load_from_checkpoint(self, checkpoint_path: str) -> None:  # type: ignore[override]  # as sentence-transformers has it
        super()._load_from_checkpoint(checkpoint_path)
        with torch.no_grad():
            self.category_loss.categories.copy_(load_file(Path(checkpoint_path) / CATEGORIES)["categories"])


class _ProgressCallback(TrainerCallback):
    """Calls `progress` with (step, steps, mean loss since the last call)."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:  # noqa: ANN401, ARG002
        """Pass the loss of a training log on; logs of other kinds have none."""
        if logs and "loss" in logs:
            self.progress(state.global_step, state.max_steps, float(logs["loss"]))


def finetune(
    encoder: str,
    texts: Sequence[str],
    labels: torch.Tensor,
    weights: torch.Tensor,
    categories_start: torch.Tensor,
    *,
    folder: Path,
    seed: int,
    epochs: int = 3,
    device: str = "auto",
    save_steps: int = 200,
    max_seq_length: int = 128,
    progress: Progress = lambda *_: None,
) -> Path:
    """Fine-tune `encoder` on `texts`; returns `folder`, where the result is saved as a SentenceTransformer.

    `labels` and `weights` are `(texts,)`. `categories_start` `(c, dim)` are the first category vectors, such as class means.
    A checkpoint is written to `<folder>.checkpoints` every `save_steps` steps. Called again with the same arguments, an
    interrupted run goes on from its last complete checkpoint, and a finished run returns at once. Raises ValueError for data
    from which nothing can be learned, EncoderError for the encoder or the device, and ConfigError if `folder` or its
    checkpoints belong to another run.
    """
    task = Task(list(texts), labels, weights, categories_start)
    task.check()
    identity = {"encoder": weights_sha256(find_encoder(encoder)), "task": task.digest(), "seed": seed, "epochs": epochs}
    identity |= {"max_seq_length": max_seq_length}
    work = folder.with_name(folder.name + ".checkpoints")  # beside `folder`, whose weights are hashed as its identity
    if folder.exists():
        if _read_identity(folder) != identity:
            raise ConfigError(f"{folder} exists and is not the result of this run; name another folder, or remove it")
        return folder
    last = _prepare_checkpoints(work, identity)
    model = _load(encoder, device, task, max_seq_length)
    trainer = _make_trainer(model, task, work, seed=seed, epochs=epochs, save_steps=save_steps, progress=progress)
    trainer.train(resume_from_checkpoint=str(last) if last else None)
    _blend(model, _load(encoder, device, task, max_seq_length), TUNED_SHARE)
    return _publish(model, folder, work, identity)


def _blend(tuned: SentenceTransformer, original: SentenceTransformer, share: float) -> None:
    """Move the weights of `tuned` back towards those of `original`, so that `share` of the change is left."""
    old = original.state_dict()
    mixed = {
        name: torch.lerp(old[name], new, share) if new.is_floating_point() else new for name, new in tuned.state_dict().items()
    }
    tuned.load_state_dict(mixed)


def _make_trainer(
    model: SentenceTransformer, task: Task, work: Path, *, seed: int, epochs: int, save_steps: int, progress: Progress
) -> _Trainer:
    cuda = model.device.type == "cuda"
    bf16 = cuda and torch.cuda.is_bf16_supported()
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(work),
        num_train_epochs=epochs,
        per_device_train_batch_size=BATCH,
        learning_rate=ENCODER_LR,
        learning_rate_mapping={"^categories$": CATEGORY_LR},
        lr_scheduler_type="linear",
        warmup_steps=min(50, math.ceil(epochs * len(task.texts) / BATCH / 10)),
        save_steps=save_steps,
        save_total_limit=2,
        logging_steps=min(20, save_steps),
        seed=seed,
        use_cpu=not cuda,
        bf16=bf16,
        fp16=cuda and not bf16,
        dataloader_pin_memory=cuda,
        disable_tqdm=True,
        report_to="none",
    )
    dataset = Dataset.from_dict({"text": list(task.texts), "label": list(range(len(task.texts)))})
    loss = CategoryLoss(model, task)
    trainer = _Trainer(model, arguments, train_dataset=dataset, loss=loss, callbacks=[_ProgressCallback(progress)])
    trainer.sampler, trainer.category_loss = BucketSampler(task, seed=seed), loss
    trainer.remove_callback(PrinterCallback)
    return trainer


def _load(encoder: str, device: str, task: Task, max_seq_length: int) -> SentenceTransformer:
    model: SentenceTransformer = load_model(find_encoder(encoder), device)
    model.max_seq_length = min(max_seq_length, model.max_seq_length or max_seq_length)
    if model.get_embedding_dimension() != task.categories.shape[1]:
        raise ValueError(
            f"the encoder's vectors have {model.get_embedding_dimension()} components, the categories {task.categories.shape[1]}"
        )
    return model


def _prepare_checkpoints(work: Path, identity: dict[str, Any]) -> Path | None:
    """Create the folder of checkpoints; returns the last complete checkpoint of this run, if any."""
    if work.exists() and _read_identity(work) != identity:
        raise ConfigError(f"{work} holds checkpoints of another run; name another folder, or remove it")
    try:
        work.mkdir(parents=True, exist_ok=True)
        _write(work / IDENTITY, identity)
    except OSError as error:
        raise ConfigError(f"{work} cannot be written: {error.strerror or error}; name another folder") from error
    found = [path for path in work.glob("checkpoint-*") if _is_complete(path)]
    return max(found, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _is_complete(checkpoint: Path) -> bool:
    """Return whether a checkpoint was written completely: the trainer's state is written last."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text())
    except (OSError, ValueError):
        return False
    return True


def _publish(model: SentenceTransformer, folder: Path, work: Path, identity: dict[str, Any]) -> Path:
    """Move the finished encoder to `folder` in one step, then delete the checkpoints."""
    finished = work / "finished"
    model.save_pretrained(str(finished), create_model_card=False)
    _write(finished / IDENTITY, identity)
    finished.rename(folder)
    shutil.rmtree(work)
    return folder


def _read_identity(folder: Path) -> Any:  # noqa: ANN401 - JSON
    try:
        return json.loads((folder / IDENTITY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _write(path: Path, value: dict[str, Any]) -> None:
    with replace_file(path) as staged:
        staged.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
