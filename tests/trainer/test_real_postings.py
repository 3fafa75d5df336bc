"""Real postings: every row is read, and the four methods rank in their known order."""

import csv
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from consumer.model.encoder import SentenceEncoder
from schemas.text import clean_title, title_key
from tests.conftest import SHARED, needs_shared
from tests.support.trainer_data import write_postings
from trainer.data.files import read_postings
from trainer.data.onet import read_taxonomy
from trainer.options import FitOptions, Method, TrainOptions
from trainer.train import train

RELEASE, LABELLED = SHARED / "onet_29_3", SHARED / "postings_labelled.csv"
CATEGORIES, ROWS_EACH, ONET_TITLES = 120, 12, 5

pytestmark = needs_shared


class RememberingEncoder:
    """An encoder that embeds each text once for several trainings."""

    def __init__(self, encoder: SentenceEncoder) -> None:
        self._encoder, self._known = encoder, dict[str, torch.Tensor]()
        self.ref, self.device = encoder.ref, encoder.device

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        self._known.update(zip(new, self._encoder.encode(new), strict=True))
        return torch.stack([self._known[text] for text in texts])


def sample(folder: Path, *, seed: int = 0) -> TrainOptions:
    """Return options for a seeded sample of the postings, with the part of the release that describes its categories."""
    rng = random.Random(seed)
    rows_of: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    with LABELLED.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            rows_of[row["ONET"]].append((row["TITLE_RAW"], row["ONET"]))
    codes = rng.sample(sorted(code for code, rows in rows_of.items() if len(rows) >= ROWS_EACH), CATEGORIES)
    postings = write_postings(folder / "sample.csv", [row for code in codes for row in rng.sample(rows_of[code], ROWS_EACH)])
    for path in RELEASE.glob("*.txt"):
        header, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
        (folder / path.name).write_text(header + "".join(line for line in lines if line[:10] in codes), encoding="utf-8")
    return TrainOptions(postings=[str(postings)], onet=folder, registry=folder / "registry", onet_titles=ONET_TITLES)


def only(method: Method) -> FitOptions:
    """Return a method without the other parts, which would hide its faults."""
    return FitOptions(method=method, parts=frozenset())


def test_every_labelled_posting_is_read() -> None:
    labelled = read_postings([str(LABELLED)], read_taxonomy(RELEASE).names)
    assert len(labelled.postings) == 10_793
    assert not labelled.left_out


def test_the_whole_release_is_read_and_is_the_packaged_taxonomy() -> None:
    taxonomy = read_taxonomy(RELEASE)
    assert taxonomy.categories == read_taxonomy(None).categories
    assert set(taxonomy.titles) == set(taxonomy.numbers)
    known = {code: {title_key(clean_title(title)) for title in titles} for code, titles in taxonomy.titles.items()}
    for name, rows in (("Alternate Titles.txt", 56_560), ("Sample of Reported Titles.txt", 7_796)):
        lines = (RELEASE / name).read_text(encoding="utf-8").splitlines()[1:]
        assert len(lines) == rows
        assert all(title_key(clean_title(title)) in known[code] for code, title in (line.split("\t")[:2] for line in lines))


def test_the_four_methods_come_out_in_the_known_order(
    encoder: SentenceEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remembering = RememberingEncoder(encoder)
    monkeypatch.setattr("trainer.prepare.load_encoder", lambda *_, **__: remembering)
    options = sample(tmp_path, seed=2)
    methods: tuple[Method, ...] = ("direct", "mean", "hinge", "softmax")
    top_1 = {m: train(replace(options, fit=only(m), holdout=0.3), lambda _: None)["metrics"]["top_1"] for m in methods}
    assert top_1["direct"] < top_1["mean"] <= top_1["softmax"], top_1
    assert top_1["direct"] < top_1["hinge"] < top_1["softmax"], top_1
