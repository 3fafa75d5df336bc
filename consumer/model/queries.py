"""Postings as vectors: what a mixture is asked. Serving and training both make their queries here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch

from consumer.model.encoder import Encoder
from consumer.model.head_words import Head, find_head
from schemas.text import title_key


@dataclass(frozen=True, slots=True)
class Queries:
    """A batch of n postings to score.

    `title` holds unit rows `(n, dim)` of the cleaned titles, `line` those of the titles as posted where the model has a line
    part, `body` those of the bodies where it has a body part: rows of zeros for postings without a body. `keys` are the n title
    keys that the table of exact titles is asked for, `heads` the heads of the cleaned titles.
    """

    title: torch.Tensor
    line: torch.Tensor | None
    keys: Sequence[str]
    body: torch.Tensor | None = None
    heads: Sequence[Head] = ()


class QueryEncoders(NamedTuple):
    """The encoder of each part of a model that needs vectors; None where the model has no such part."""

    title: Encoder
    line: Encoder | None = None
    body: Encoder | None = None


def make_queries(
    encoders: QueryEncoders,
    clean: Sequence[str],
    lines: Sequence[str],
    bodies: Sequence[str] = (),
    *,
    title: torch.Tensor | None = None,
) -> Queries:
    """Return the queries of postings with these cleaned titles, titles as posted and bodies ("" for none).

    `title` holds the vectors `(n, dim)` of the cleaned titles if the caller has them; else each distinct one is encoded once.
    """
    line: torch.Tensor | None
    if title is None and encoders.line is encoders.title:  # a static model: both spellings, which are often one, in one go
        both = _encode_distinct(encoders.title, [*clean, *lines])
        title, line = both[: len(clean)], both[len(clean) :]
    else:
        title = _encode_distinct(encoders.title, clean) if title is None else title
        line = encoders.line.encode(list(lines)) if encoders.line else None
    body = encoders.body.encode(list(bodies)) if encoders.body and any(bodies) else None
    return Queries(title, line, [title_key(text) for text in clean], body, [find_head(text) for text in clean])


def _encode_distinct(encoder: Encoder, texts: Sequence[str]) -> torch.Tensor:
    """Return the vectors `(len(texts), dim)`, each distinct text encoded once."""
    place = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    return encoder.encode(list(place))[[place[text] for text in texts]]
