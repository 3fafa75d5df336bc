"""Exact search over the categories, answers that a cache cannot change, and an artifact that proves itself before it serves."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from consumer.errors import ArtifactError
from consumer.model.encoder import SentenceEncoder, load_encoder
from consumer.model.mixture import Mixture, Tensors
from consumer.model.scorer import Scorer, check_serveable
from consumer.registry.folder import FolderRegistry
from consumer.registry.loader import ScorerLoader
from schemas.artifact import Calibration, Category, GoldenTitle, Mix, Thresholds
from tests.support.tiny_model import CATEGORIES, LetterEncoder, manifest, tiny_scorer

CPU = torch.device("cpu")
TITLES = ["registered nurse", "Line Cook", "CDL truck driver", "Cook", "Heavy Truck Drivers", ""]


class Given:
    """An encoder that answers with the vectors it was given, in order of the texts' numbers."""

    device, ref = CPU, LetterEncoder.ref

    def __init__(self, rows: torch.Tensor) -> None:
        self.rows = rows

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        return self.rows[[int(text) for text in texts]]


@pytest.mark.parametrize(("texts", "categories", "k"), [(1, 1, 1), (7, 50, 5), (3, 4, 9), (0, 5, 2), (2, 1_016, 1_016)])
def test_the_top_k_is_that_of_a_full_sort(texts: int, categories: int, k: int) -> None:
    rng = np.random.default_rng(texts)
    named = tuple(Category(onet_code=f"11-{i:04d}.00", onet_title=str(i)) for i in range(categories))
    matrix = rng.normal(size=(categories, 16)).astype("float32")
    rows = rng.normal(size=(texts, 16)).astype("float32")
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    mixture = Mixture(Tensors(named, torch.from_numpy(matrix)), Mix(scale=7.0), None, CPU)
    scored = Scorer(manifest(), Given(torch.from_numpy(rows)), mixture, top_n=k).score([str(i) for i in range(texts)])
    cosines = rows.astype("float64") @ (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).T
    order = np.argsort(-cosines, axis=1)[:, :k]
    weights = np.exp(7.0 * cosines)
    assert [[int(match.onet_title) for match in s.occupations] for s in scored] == order.tolist()
    for name, expected in (("score", cosines), ("probability", weights / weights.sum(axis=1, keepdims=True))):
        found = np.array([[getattr(match, name) for match in s.occupations] for s in scored]).reshape(order.shape)
        np.testing.assert_allclose(found, np.take_along_axis(expected, order, 1), atol=1e-5)


@pytest.mark.parametrize(
    ("embeddings", "complaint"),
    [
        (torch.ones(2, 4), "3 rows are expected of the title embeddings of shape"),
        (torch.ones(3), "3 rows are expected of the title embeddings of shape"),
        (torch.tensor([[1.0, 0.0], [float("nan"), 0.0], [1.0, 0.0]]), "NaN, infinite or of length zero"),
        (torch.tensor([[1.0, 0.0], [float("inf"), 0.0], [1.0, 0.0]]), "NaN, infinite or of length zero"),
        (torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0]]), "NaN, infinite or of length zero"),
    ],
)
def test_embeddings_without_a_direction_make_no_mixture(embeddings: torch.Tensor, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Mixture(Tensors(CATEGORIES, embeddings), Mix(), None, CPU)


def test_matches_are_ranked_best_first_and_fully_named() -> None:
    scored = tiny_scorer(top_n=2).score(["Heavy Truck Drivers"])[0]
    assert [match.rank for match in scored.occupations] == [1, 2]
    best, second = scored.occupations
    assert (best.onet_code, best.onet_title, best.soc_major) == ("53-3032.00", "Heavy Truck Drivers", "53")
    assert best.score == pytest.approx(1.0, abs=1e-6)
    assert best.score >= second.score
    assert best.probability >= second.probability > 0


@pytest.mark.parametrize(
    ("accept_at", "review_at", "decision"),
    [(0.0, 0.0, "accept"), (2.0, 0.0, "review"), (2.0, 2.0, "unclassified"), (0.3, 2.0, "accept")],
)
def test_the_calibrated_probability_decides(accept_at: float, review_at: float, decision: str) -> None:
    thresholds = Thresholds(accept_at=accept_at, review_at=review_at)
    scorer = tiny_scorer(calibration=Calibration(new=thresholds, known=thresholds))
    assert scorer.score(["Cook"])[0].decision == decision


@settings(max_examples=30)
@given(st.lists(st.lists(st.sampled_from(TITLES), max_size=5), max_size=6), st.integers(0, 4))
def test_a_cache_changes_no_answer_and_never_outgrows_its_size(batches: list[list[str]], cache_size: int) -> None:
    cached, plain = tiny_scorer(cache_size=cache_size), tiny_scorer()
    for titles in batches:
        for found, expected in zip(cached.score(titles), plain.score(titles), strict=True):
            assert [m.onet_code for m in found.occupations] == [m.onet_code for m in expected.occupations]
            assert [m.score for m in found.occupations] == pytest.approx([m.score for m in expected.occupations], abs=1e-5)
        assert len(cached._cache) <= cache_size


def test_each_distinct_text_is_computed_once() -> None:
    encoder = LetterEncoder()
    scorer = tiny_scorer(encoder=encoder, cache_size=2)
    scorer.score(["Cook", " Cook\n", "Ｃｏｏｋ", "Nurse"])
    scorer.score(["Nurse", "Cook"])
    assert encoder.seen == ["Cook", "Nurse"]
    scorer.score(["Driver"])
    scorer.score(["Cook", "Driver", "Nurse"])
    assert encoder.seen == ["Cook", "Nurse", "Driver", "Nurse"], "the least recently used one made room"


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"template": "title-v0"}, "text template 'title-v0'"),
        ({"golden": ()}, "no golden titles"),
        (
            {"golden": (GoldenTitle(title="Cooks, Restaurant", onet_code="29-1141.00", score=1.0),)},
            "fails on golden title 'Cooks, Re",
        ),
        ({"golden": (GoldenTitle(title="Cooks, Restaurant", onet_code="35-2014.00", score=0.9),)}, "35-2014.00 at 1.000, not"),
    ],
)
def test_an_artifact_that_is_not_what_it_says_does_not_serve(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ArtifactError, match=complaint):
        check_serveable(tiny_scorer(**changes))


def test_a_golden_score_that_is_no_number_proves_nothing() -> None:
    with pytest.raises(ValidationError, match="finite"):
        GoldenTitle(title="Cooks, Restaurant", onet_code="35-2014.00", score=float("nan"))


@pytest.mark.parametrize(
    ("title", "code"),
    [
        ("Part-time RN - Medical/Surgical Nampa (flexible schedule)", "29-1141"),
        ("CDL-A Truck Driver - Home Weekly", "53-3032"),
        ("Line Cook", "35-2014"),
        ("Certified Nursing Assistant (CNA) - Nights", "31-1131"),
    ],
)
def test_the_starter_model_knows_an_everyday_title(
    title: str, code: str, starter_registry: Any, encoder: SentenceEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(name: str, **options: Any) -> SentenceEncoder:
        return encoder if name == encoder.ref.id else load_encoder(name, **options)  # the same weights are not loaded again

    monkeypatch.setattr("consumer.registry.loader.load_encoder", load)
    registry = FolderRegistry(starter_registry)
    loader = ScorerLoader(registry, device="cpu", precision="fp32")
    found = [match.onet_code[:7] for match in loader.load(registry.read_current() or "").score([title])[0].occupations]
    assert code in found
