"""Each distinct text is embedded once, and every title finds its own row."""

import pytest
import torch

from tests.factories import LetterEncoder
from trainer import embed
from trainer.embed import TitleEmbeddings

TITLES = ["Nurse", "Chef", "  Nurse ", "Head Chef", "Nurse", "a" * 500]


@pytest.mark.parametrize("chunk", [1, 2, 2_048])
def test_titles_of_one_text_are_embedded_once(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embed, "CHUNK", chunk)
    encoder = LetterEncoder()
    embeddings = TitleEmbeddings(encoder, TITLES)
    assert sorted(encoder.seen) == sorted(set(TITLES)), "as they are: what a title's text is, is said elsewhere"
    assert len(embeddings) == 5
    expected = LetterEncoder().encode(TITLES)
    assert torch.equal(embeddings.of(TITLES), expected)


def test_no_titles_are_no_rows() -> None:
    assert TitleEmbeddings(LetterEncoder(), []).of([]).shape == (0, 27)


def test_progress_is_no_part_of_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    TitleEmbeddings(LetterEncoder(), TITLES)
    out, err = capsys.readouterr()
    assert (out, "embedding titles" in err) == ("", True)
