"""Token numbers from the memory of words: the same as the tokenizer's own."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from consumer.model import word_tokens
from consumer.model.encoder_folder import DEFAULT_ENCODER
from consumer.model.word_tokens import WordTokens
from trainer.fit.token_vectors import load_tokenizer

MAX_TOKENS = 12
TITLES = [
    "Registered Nurse - Home Health Visits",
    "RN\u00a0(Med/Surg) \u2013 $5,000 sign-on",
    "",
    " two  spaces ",
    "Caf\u00e9 manager e\u0301\u0301 \u0301x",
    "\u770b\u8b77\u5e2b RN",
    "a\x1cb c\td\u2028e",
    "[SEP] [CLS]x [UNK]",
    "x" * 300,
    "one two three four five six seven eight nine ten eleven twelve thirteen",
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    made = load_tokenizer(DEFAULT_ENCODER)
    made.enable_truncation(MAX_TOKENS)
    return made


def split(features: dict[str, object]) -> list[list[int]]:
    ids, starts = features["input_ids"].tolist(), features["offsets"].tolist()  # type: ignore[attr-defined]
    return [ids[start:end] for start, end in zip(starts, [*starts[1:], len(ids)], strict=True)]


def own(tokenizer: Tokenizer, texts: list[str]) -> list[list[int]]:
    return [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]


def test_titles_have_the_tokenizers_own_tokens_asked_once_or_twice(tokenizer: Tokenizer) -> None:
    tokens = WordTokens(tokenizer, max_tokens=MAX_TOKENS)
    assert split(tokens(TITLES)) == own(tokenizer, TITLES)
    assert split(tokens(TITLES)) == own(tokenizer, TITLES)
    assert tokens([])["input_ids"].tolist() == []


@settings(deadline=None, max_examples=300)
@given(st.lists(st.text(max_size=40), min_size=1, max_size=6))
def test_any_text_has_the_tokenizers_own_tokens(tokenizer: Tokenizer, texts: list[str]) -> None:
    assert split(WordTokens(tokenizer, max_tokens=MAX_TOKENS)(texts)) == own(tokenizer, texts)


def test_what_is_remembered_is_bounded(tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_tokens, "MAX_WORDS", 20)
    tokens = WordTokens(tokenizer, max_tokens=MAX_TOKENS)
    for turn in range(30):
        texts = [f"nurse {turn}", f"word{turn} driver " + "y" * 50]
        assert split(tokens(texts)) == own(tokenizer, texts)
        assert len(tokens._known) <= 20


def test_a_tokenizer_that_may_look_across_spaces_is_left_its_own_way(tokenizer: Tokenizer) -> None:
    other = Tokenizer(models.Unigram([("\u2581one", -1.0), ("\u2581one\u2581two", -1.0), ("\u2581two", -1.0)], unk_id=0))
    other.pre_tokenizer = pre_tokenizers.Metaspace(split=False)
    titles = ["one two", "two one", "two one two two", "one"]
    assert len(own(other, ["one two"])[0]) == 1, "a token of two words"
    assert split(WordTokens(other, max_tokens=MAX_TOKENS)(titles)) == own(other, titles)
    assert split(WordTokens(other, max_tokens=2)(titles)) == [ids[:2] for ids in own(other, titles)]
