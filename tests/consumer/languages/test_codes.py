"""The language that a posting states, in the spellings of feeds."""

from typing import Any

import pytest

from consumer.languages.codes import read_languages
from consumer.languages.understood import find_understood, guess_languages, parse_languages


@pytest.mark.parametrize(
    ("value", "codes"),
    [
        ("en", {"en"}),
        ("en-US", {"en"}),
        ("en_GB", {"en"}),
        ("ENG", {"en"}),
        (" English ", {"en"}),
        ("English (US)", {"en"}),
        ("Deutsch", {"de"}),
        ("ger", {"de"}),
        ("zh-Hant-TW", {"zh"}),
        ("français", {"fr"}),
        ("日本語", {"ja"}),
        ("nb-NO", {"no"}),
        ("de, en", {"de", "en"}),
        ("French and English", {"fr", "en"}),
        (["fr", "nl"], {"fr", "nl"}),
        ({"code": "de"}, {"de"}),
        ({"code": "de", "label": "German"}, {"de"}),
        ({"@type": "Language", "name": "Spanish"}, {"es"}),
        ({"name": "Klingon", "value": "pl"}, {"pl"}),
        ([{"locale": "pt_BR"}], {"pt"}),
        ("xx", set()),
        ("", set()),
        ("remote", set()),
        (7, set()),
        (True, set()),
        ("e" * 500, set()),
        ([[[[["en"]]]]], set()),
    ],
)
def test_a_stated_language_is_read_in_any_spelling(value: Any, codes: set[str]) -> None:
    assert read_languages(value) == codes


@pytest.mark.parametrize(
    ("encoder", "languages"),
    [
        ("sentence-transformers/all-MiniLM-L6-v2", ("en",)),
        ("models/ours", ("en",)),
        ("sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2", ("any",)),
        ("intfloat/multilingual-e5-small", ("any",)),
        ("sentence-transformers/LaBSE", ("any",)),
        ("BAAI/bge-m3", ("any",)),
    ],
)
def test_multilingual_encoders_are_known_by_their_names(encoder: str, languages: tuple[str, ...]) -> None:
    assert guess_languages(encoder) == languages


@pytest.mark.parametrize(
    ("setting", "stored", "understood"),
    [
        (("auto",), (), {"en"}),
        (("auto",), ("en", "de"), {"en", "de"}),
        (("auto",), ("any",), None),
        (("fr",), ("any",), {"fr"}),
        (("any",), ("en",), None),
    ],
)
def test_the_setting_beats_the_version_and_that_its_encoders_name(setting: Any, stored: Any, understood: Any) -> None:
    assert find_understood(setting, stored, "letters") == (None if understood is None else frozenset(understood))


@pytest.mark.parametrize("text", ["", "english", "en,any", "xx", ","])
def test_a_setting_that_names_no_language_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="two-letter codes"):
        parse_languages(text)
