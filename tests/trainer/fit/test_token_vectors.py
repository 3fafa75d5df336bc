"""Token vectors resemble their teacher, learn the labels of tuning, and are served like any other encoder."""

from pathlib import Path

import pytest
import torch
from torch.nn.functional import normalize

from consumer.model.encoder import UNPADDED_ROWS, SentenceEncoder, load_encoder
from tests.conftest import needs_model
from trainer.fit.category_embeddings import EmbeddedRows, fit_mean
from trainer.fit.token_vectors import TokenVectors, distill_tokens, load_tokenizer, save_encoder, tune_tokens

pytestmark = [pytest.mark.model, needs_model]

WORDS = {
    0: ["registered nurse", "icu nurse", "nurse practitioner", "charge nurse nights", "staff nurse"],
    1: ["truck driver", "cdl driver", "delivery driver", "bus driver", "driver local routes"],
    2: ["line cook", "prep cook", "sous chef", "pastry chef", "grill cook"],
}
TITLES = [title for titles in WORDS.values() for title in titles]
LABELS = torch.tensor([label for label, titles in WORDS.items() for _ in titles])
SHUFFLED = (LABELS * 2 + torch.arange(len(LABELS))) % 3
"""Labels that the meaning of the titles does not explain: only tuned vectors can know them."""


@pytest.fixture(scope="module")
def teacher(encoder: SentenceEncoder) -> torch.Tensor:
    return encoder.encode(TITLES)


@pytest.fixture(scope="module")
def static(teacher: torch.Tensor) -> TokenVectors:
    return distill_tokens(teacher, TITLES, load_tokenizer(), dim=8, seed=0, epochs=60)


def tune(static: TokenVectors, seed: int = 0) -> TokenVectors:
    return tune_tokens(static, TITLES, SHUFFLED, torch.ones(len(TITLES)), 4, seed=seed, epochs=150, batch=4)


def measure_recall(static: TokenVectors) -> float:
    """Return the share of titles whose own class mean is the nearest."""
    rows = EmbeddedRows(static.embed(TITLES), SHUFFLED, torch.ones(len(TITLES)))
    means = fit_mean(rows, normalize(torch.ones(3, rows.embeddings.shape[1]), dim=1), shrinkage=0.0)
    return float((rows.embeddings @ means.T).argmax(dim=1).eq(SHUFFLED).float().mean())


def test_a_distilled_title_points_where_its_teacher_does(static: TokenVectors, teacher: torch.Tensor) -> None:
    made = static.embed(TITLES)
    assert torch.allclose(made.norm(dim=1), torch.ones(len(TITLES)), atol=1e-5)
    assert float((made @ made.T - teacher @ teacher.T).abs().mean()) < 0.15


def test_tuning_learns_labels_that_the_teacher_could_not_tell(static: TokenVectors) -> None:
    assert measure_recall(tune(static)) > max(0.9, measure_recall(static))


def test_one_seed_gives_the_same_encoder_whatever_was_drawn_before(teacher: torch.Tensor) -> None:
    def made(seed: int) -> torch.Tensor:
        torch.rand(13)
        static = distill_tokens(teacher, TITLES, load_tokenizer(), dim=8, seed=seed, epochs=2, batch=4)
        return tune_tokens(static, TITLES, LABELS, torch.ones(len(TITLES)), 3, seed=seed, epochs=2, batch=4).vectors

    assert torch.equal(made(7), made(7))
    assert not torch.equal(made(7), made(8))


def test_tuning_leaves_what_it_was_given_as_it_was(static: TokenVectors) -> None:
    before = static.vectors.clone()
    tune(static)
    assert torch.equal(static.vectors, before)


def test_a_saved_encoder_serves_the_vectors_it_was_trained_to(static: TokenVectors, tmp_path: Path) -> None:
    save_encoder(static, tmp_path)
    served = load_encoder(str(tmp_path), device="cpu")
    texts = TITLES * (2 * UNPADDED_ROWS // len(TITLES) + 1)
    assert served.ref.dim == 8
    assert torch.allclose(served.encode(texts), static.embed(texts), atol=1e-6)
    assert served.encode([]).shape == (0, 8)


def test_a_served_encoder_cuts_long_texts_and_gives_zeros_for_unknown_words(static: TokenVectors, tmp_path: Path) -> None:
    save_encoder(static, tmp_path)
    served = load_encoder(str(tmp_path), device="cpu", max_seq_length=4)
    rows = served.encode(["nurse " * 4 + "driver " * 500, "nurse", "", "護士"])
    assert torch.allclose(rows[0], rows[1], atol=1e-6)
    assert not rows[2:].any()


def test_a_text_without_tokens_and_a_category_without_rows_do_no_harm(teacher: torch.Tensor) -> None:
    texts, vectors = [*TITLES, ""], torch.cat((teacher, teacher[:1]))
    static = distill_tokens(vectors, texts, load_tokenizer(), dim=8, seed=0, epochs=1)
    made = tune_tokens(static, texts, torch.cat((LABELS, LABELS[:1])), torch.ones(len(texts)), 9, seed=0, epochs=1)
    assert bool(made.vectors.isfinite().all())


def test_nothing_to_learn_from_is_refused_naming_what_is_needed(static: TokenVectors, teacher: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"0 titles with 0 teacher vectors: .* at least 1"):
        distill_tokens(teacher[:0], [], load_tokenizer(), seed=0)
    with pytest.raises(ValueError, match="15 titles with 14 teacher vectors"):
        distill_tokens(teacher[1:], TITLES, load_tokenizer(), seed=0)
    with pytest.raises(ValueError, match="dim 385 is not within 1 to 384"):
        distill_tokens(teacher, TITLES, load_tokenizer(), dim=385, seed=0)
    with pytest.raises(ValueError, match=r"0 texts, 0 labels, 0 weights: .* at least 1"):
        tune_tokens(static, [], LABELS[:0], torch.ones(0), 3, seed=0)
