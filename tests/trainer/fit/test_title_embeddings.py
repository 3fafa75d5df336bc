"""Each distinct text is embedded once, and each title gets its own row."""

from pathlib import Path

import pytest
import torch

from consumer.errors import RegistryError
from tests.support.tiny_model import LetterEncoder
from trainer.fit.title_embeddings import EmbeddingCache, TitleEmbeddings

TITLES = ["Nurse", "Chef", "  Nurse ", "Head Chef", "Nurse", "a" * 500]


@pytest.mark.parametrize("chunk", [1, 2, 2_048])
def test_titles_of_one_text_are_embedded_once(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.fit.title_embeddings.CHUNK", chunk)
    encoder = LetterEncoder()
    embeddings = TitleEmbeddings(encoder, TITLES)
    assert sorted(encoder.seen) == sorted(set(TITLES)), "as they are: what a title's text is, is said elsewhere"
    assert len(embeddings) == 5
    expected = LetterEncoder().encode(TITLES)
    assert torch.equal(embeddings.look_up(TITLES), expected)


def test_no_titles_are_no_rows() -> None:
    assert TitleEmbeddings(LetterEncoder(), []).look_up([]).shape == (0, 27)


def test_a_vector_in_the_cache_is_not_computed_again(tmp_path: Path) -> None:
    first, second = LetterEncoder(), LetterEncoder()
    made = TitleEmbeddings(first, TITLES, EmbeddingCache(tmp_path, first))
    found = TitleEmbeddings(second, TITLES, EmbeddingCache(tmp_path, second))
    assert (made.computed, found.computed, second.seen) == (5, 0, [])
    assert torch.equal(made.look_up(TITLES), found.look_up(TITLES))


def test_a_cache_that_breaks_is_named_with_the_way_out(tmp_path: Path) -> None:
    encoder = LetterEncoder()
    titles = [f"title {n}" for n in range(3_000)]
    cache = EmbeddingCache(tmp_path, encoder)
    TitleEmbeddings(encoder, titles, cache)
    (path,) = tmp_path.glob("*.sqlite")
    whole = path.read_bytes()
    path.write_bytes(whole[:4_096] + b"\xff" * (len(whole) - 4_096))
    with pytest.raises(RegistryError, match=rf"embedding cache {path} cannot be used: .*; remove it"):
        cache.get(titles)
    with pytest.raises(RegistryError, match="cannot be used"):
        cache.put(["new"], torch.zeros(1, 27))


def test_progress_is_no_part_of_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    TitleEmbeddings(LetterEncoder(), TITLES)
    out, err = capsys.readouterr()
    assert (out, "embedding titles" in err) == ("", True)
