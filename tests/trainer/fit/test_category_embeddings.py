"""Each method for category embeddings follows its formula, gives rows of length 1, and repeats itself for one seed."""

from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from trainer.fit.category_embeddings import EmbeddedRows, fit_direct, fit_hinge, fit_mean, fit_softmax, weighted_sums

CATEGORIES, DIM = 6, 16


def unit(rows: int, *, seed: int = 0) -> torch.Tensor:
    return normalize(torch.randn(rows, DIM, generator=torch.Generator().manual_seed(seed)), dim=1)


def clusters(per_category: int = 20, *, noise: float = 0.1, categories: int = CATEGORIES) -> EmbeddedRows:
    """Return rows scattered around one centre per category."""
    labels = torch.arange(categories).repeat_interleave(per_category)
    embeddings = normalize(unit(categories)[labels] + noise * unit(len(labels), seed=1), dim=1)
    return EmbeddedRows(embeddings, labels, torch.ones(len(labels)))


PRIOR = unit(CATEGORIES, seed=2)
METHODS: dict[str, Callable[[int], torch.Tensor]] = {
    "direct": lambda _seed: fit_direct(3 * PRIOR),
    "mean": lambda _seed: fit_mean(clusters(), PRIOR),
    "hinge": lambda seed: fit_hinge(clusters(), CATEGORIES, seed=seed),
    "softmax": lambda seed: fit_softmax(clusters(100), fit_mean(clusters(), PRIOR), seed=seed),
}


@pytest.mark.parametrize("method", METHODS)
def test_a_method_gives_one_row_of_length_one_per_category(method: str) -> None:
    made = METHODS[method](0)
    assert made.shape == (CATEGORIES, DIM)
    assert made.dtype == torch.float32
    assert not made.requires_grad
    assert torch.allclose(made.norm(dim=1), torch.ones(CATEGORIES), atol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_one_seed_gives_the_same_embeddings_whatever_was_drawn_before(method: str) -> None:
    first = METHODS[method](7)
    torch.rand(13)
    assert torch.equal(METHODS[method](7), first)
    assert torch.equal(METHODS[method](8), first) == (method in {"direct", "mean"})


@pytest.mark.parametrize("method", ["mean", "hinge", "softmax"])
def test_a_trained_method_finds_the_category_of_every_clear_row(method: str) -> None:
    rows = clusters()
    assert torch.equal((rows.embeddings @ METHODS[method](0).T).argmax(dim=1), rows.labels)


def test_direct_is_the_names_themselves() -> None:
    assert torch.allclose(fit_direct(3 * PRIOR), PRIOR)


@pytest.mark.parametrize("shrinkage", [0.0, 1.0, 5.0])
def test_the_prior_counts_as_so_many_further_rows(shrinkage: float) -> None:
    rows = clusters()
    expected = torch.stack([(rows.embeddings[rows.labels == c].sum(0) + shrinkage * PRIOR[c]) for c in range(CATEGORIES)])
    assert torch.allclose(fit_mean(rows, PRIOR, shrinkage=shrinkage), normalize(expected, dim=1), atol=1e-6)


@pytest.mark.parametrize("shrinkage", [0.0, 5.0])
def test_the_mean_of_a_category_without_rows_is_its_prior(shrinkage: float) -> None:
    made = fit_mean(clusters(categories=CATEGORIES - 1), PRIOR, shrinkage=shrinkage)
    assert torch.allclose(made[-1], PRIOR[-1], atol=1e-6)


def test_a_weight_of_two_is_a_row_that_comes_twice() -> None:
    rows = clusters(3)
    sums, counts = weighted_sums(EmbeddedRows(rows.embeddings, rows.labels, 2 * rows.weights), CATEGORIES)
    twice, number = weighted_sums(rows.concatenate(rows), CATEGORIES)
    assert torch.allclose(sums, twice, atol=1e-6)
    assert counts.tolist() == number.tolist() == [[6.0]] * CATEGORIES


def test_hinge_leaves_no_row_within_the_margin() -> None:
    rows = clusters()
    scores = rows.embeddings @ fit_hinge(rows, CATEGORIES, seed=0, epochs=40).T
    positive = scores.gather(1, rows.labels[:, None])
    hardest = scores.scatter(1, rows.labels[:, None], -2.0).max(dim=1, keepdim=True).values
    assert float((positive - hardest).min()) > 0.2


def test_softmax_lowers_the_cross_entropy_it_starts_from_and_leaves_the_start_alone() -> None:
    rows, start = clusters(noise=1.0), PRIOR.clone()
    made = fit_softmax(rows, start, seed=0, epochs=30, lr=0.05)
    loss = [cross_entropy(20 * rows.embeddings @ weights.T, rows.labels).item() for weights in (start, made)]
    assert loss[1] < 0.5 * loss[0]
    assert torch.equal(start, PRIOR)


def test_softmax_learns_nothing_from_rows_of_weight_zero() -> None:
    rows = clusters(10)
    wrong = EmbeddedRows(rows.embeddings, rows.labels.flip(0), torch.zeros(len(rows)))
    made = fit_softmax(rows.concatenate(wrong), PRIOR, seed=0, epochs=30, lr=0.05)
    assert torch.equal((rows.embeddings @ made.T).argmax(dim=1), rows.labels)


@pytest.mark.parametrize("method", ["hinge", "softmax"])
def test_progress_is_reported_after_every_epoch_with_a_falling_loss(method: str) -> None:
    reported: list[tuple[int, int, float]] = []
    progress = lambda *step: reported.append(step)  # noqa: E731
    rows = clusters(100, noise=2.0)
    if method == "hinge":
        fit_hinge(rows, CATEGORIES, seed=0, epochs=6, progress=progress)
    else:
        fit_softmax(rows, PRIOR, seed=0, epochs=6, progress=progress)
    assert [(epoch, epochs) for epoch, epochs, _ in reported] == [(n, 6) for n in range(1, 7)]
    assert reported[-1][2] < reported[0][2]


@pytest.mark.parametrize("rows", [1, 2, 31, 33, 257])
def test_any_number_of_rows_is_enough_to_train_on(rows: int) -> None:
    some = EmbeddedRows(unit(rows), torch.arange(rows) % CATEGORIES, torch.ones(rows))
    for made in (fit_hinge(some, CATEGORIES, seed=0, epochs=1), fit_softmax(some, PRIOR, seed=0, epochs=1)):
        assert bool(torch.isfinite(made).all())


def test_rows_are_chosen_and_joined_whole() -> None:
    rows = clusters(2)
    chosen = rows.select(rows.labels == 1)
    assert (len(chosen), set(chosen.labels.tolist())) == (2, {1})
    assert torch.equal(chosen.concatenate(rows).embeddings[:2], rows.embeddings[2:4])
    assert len(chosen.concatenate(rows)) == len(rows) + 2
