"""Token numbers of titles, remembered word by word: tokenising is most of what a static model costs."""

from collections.abc import Sequence
from itertools import accumulate, chain
from typing import Any

import torch
from tokenizers import Tokenizer

MAX_WORDS = 200_000
"""How many words are remembered, at some 100 bytes each. When there would be more, all of them are forgotten."""
MAX_WORD_CHARS = 40
"""Longer words are not remembered."""


class WordTokens:
    """Turns texts into token numbers, as the `preprocess` of a StaticEmbedding does, but tokenises each word only once.

    Where the tokenizer may look across spaces, the whole text counts as one word.
    """

    def __init__(self, tokenizer: Tokenizer, *, max_tokens: int) -> None:
        """Wrap `tokenizer`. Of each text only the first `max_tokens` tokens are kept."""
        self._tokenizer = tokenizer
        self._separator = " " if _splits_at_spaces(tokenizer) else None
        self._max_tokens = max_tokens
        self._known: dict[str, list[int]] = {}

    def __call__(self, texts: Sequence[str]) -> dict[str, Any]:
        """Return the token numbers of all texts, `(tokens,)`, and where those of each text begin, `(texts,)`; both are int64."""
        words = [text.split(self._separator) if self._separator else [text] for text in texts]
        known = self._tokenize(set(chain.from_iterable(words)))
        tokens = [list(chain.from_iterable(map(known.__getitem__, each)))[: self._max_tokens] for each in words]
        offsets = accumulate(map(len, tokens[:-1]), initial=0) if tokens else ()
        return {
            "input_ids": torch.tensor(list(chain.from_iterable(tokens)), dtype=torch.long),
            "offsets": torch.tensor(list(offsets), dtype=torch.long),
        }

    def _tokenize(self, words: set[str]) -> dict[str, list[int]]:
        """Return the token numbers of each word. Only words that are not remembered go through the tokenizer."""
        found = {word: self._known[word] for word in words if word in self._known}
        if new := list(words - found.keys()):
            encodings = self._tokenizer.encode_batch(new, add_special_tokens=False)
            made = {word: encoding.ids for word, encoding in zip(new, encodings, strict=True)}
            found |= made
            if len(self._known) + len(made) > MAX_WORDS:
                self._known = {}
            self._known |= {word: ids for word, ids in made.items() if len(word) <= MAX_WORD_CHARS}
        return found


def _splits_at_spaces(tokenizer: Tokenizer) -> bool:
    """Return whether the tokens of a text are those of its words, one after the other, as with BERT's tokenizer."""
    parts = (tokenizer.normalizer, tokenizer.pre_tokenizer)
    return [type(part).__name__ for part in parts] == ["BertNormalizer", "BertPreTokenizer"]
