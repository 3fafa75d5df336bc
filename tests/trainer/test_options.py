"""The options of a training run: what they say of the languages that the model will understand."""

import pytest

from trainer.options import TrainOptions, describe_options


@pytest.mark.parametrize(
    ("encoder", "languages", "understood"),
    [
        ("sentence-transformers/all-MiniLM-L6-v2", ("auto",), ("en",)),
        ("intfloat/multilingual-e5-small", ("auto",), ("any",)),
        ("intfloat/multilingual-e5-small", ("en", "de"), ("en", "de")),
        ("models/ours", ("any",), ("any",)),
    ],
)
def test_the_languages_of_a_model_are_what_was_said_or_what_its_encoders_name_says(
    encoder: str, languages: tuple[str, ...], understood: tuple[str, ...], tmp_path: object
) -> None:
    options = TrainOptions(postings=[], onet=None, registry=tmp_path, encoder=encoder, languages=languages)
    assert options.understood_languages == understood
    assert describe_options(options)["languages"] == list(languages)
