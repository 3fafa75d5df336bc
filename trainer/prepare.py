"""Everything that a training run reads and embeds before it fits a model."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from consumer.errors import EncoderError
from consumer.model.encoder import load_encoder
from schemas.events import LabelledPosting
from schemas.text import body_text, plain_text
from trainer.data.cleaned_titles import cached_clean_title, cached_title_key
from trainer.data.files import LabelledRows, read_postings
from trainer.data.onet import Taxonomy, read_taxonomy
from trainer.data.repeats import describe_disagreement
from trainer.fit.calibration import REJECT
from trainer.fit.category_embeddings import EmbeddedRows
from trainer.fit.encoders import distill_encoder
from trainer.fit.inputs import ONET_WEIGHT, FitInputs, Titles
from trainer.fit.title_embeddings import EmbeddingCache, TitleEmbeddings
from trainer.fit.token_vectors import load_tokenizer
from trainer.options import Say, TrainOptions


@dataclass(frozen=True, slots=True)
class Data:
    """Everything that fits share, and the labelled postings and reject examples with their titles embedded."""

    taxonomy: Taxonomy
    labelled: LabelledRows
    titles: Titles
    """Of the postings that have a category."""
    reject_titles: Titles
    inputs: FitInputs
    distinct_titles: int
    embedded_titles: int = 0
    """Those of them that no cache had."""

    @property
    def postings(self) -> Sequence[LabelledPosting]:
        """The postings that have a category."""
        return self.labelled.postings

    @property
    def rejects(self) -> Sequence[LabelledPosting]:
        """The reject examples."""
        return self.labelled.rejects

    @property
    def codes(self) -> list[str]:
        """The postings' codes."""
        return [posting.onet_code for posting in self.postings]


def prepare(options: TrainOptions, work: Path, say: Say, *, clean_text: Callable[[str], str] = cached_clean_title) -> Data:
    """Read and embed everything that `options` name; `work` is a folder for encoders in the making.

    `clean_text` is what serving does to a title, or, to measure what that is worth, something else.
    """
    taxonomy, labelled = _read_data(options, say)
    codes = [posting.onet_code for posting in labelled.postings]
    encoder = load_encoder(
        options.encoder, device=options.device, max_seq_length=options.max_seq_length, precision=options.precision
    )
    onet_titles, onet_labels = _sample_onet_titles(taxonomy, options)
    lines = [plain_text(posting.title) for posting in (*labelled.postings, *labelled.rejects)]
    clean = [clean_text(line) for line in lines]
    onet_clean = [clean_text(title) for title in onet_titles]
    embeddings = TitleEmbeddings(
        encoder, [*clean, *onet_clean], EmbeddingCache(options.cache, encoder) if options.cache else None
    )
    onet = EmbeddedRows(embeddings.look_up(onet_clean), torch.tensor(onet_labels), torch.full((len(onet_labels),), ONET_WEIGHT))
    tokenizer = _find_tokenizer(options.encoder, say)
    titles_of_onet = Titles(onet_clean, [plain_text(title) for title in onet_titles], onet, encoder.ref.sha256)
    begin = None
    if tokenizer and options.fit.needs_tokens:
        begin = distill_encoder(titles_of_onet, tokenizer, seed=options.seed, cache=options.cache)
    inputs = FitInputs(
        taxonomy_version=taxonomy.version,
        categories=taxonomy.categories,
        onet=titles_of_onet,
        encoder=encoder,
        encoder_name=options.encoder,
        tokenizer=tokenizer,
        work=work,
        descriptions=taxonomy.descriptions,
        distilled=begin,
    )
    numbers = taxonomy.numbers
    labels = torch.tensor([*(numbers[code] for code in codes), *(REJECT for _ in labelled.rejects)])
    bodies = [body_text(posting.body or "") for posting in (*labelled.postings, *labelled.rejects)]
    rows = EmbeddedRows(embeddings.look_up(clean), labels, torch.ones(len(labels)))
    titles, reject_titles = _split_off_rejects(Titles(clean, lines, rows, encoder.ref.sha256, bodies))
    return Data(taxonomy, labelled, titles, reject_titles, inputs, len(embeddings), embeddings.computed)


def _read_data(options: TrainOptions, say: Say) -> tuple[Taxonomy, LabelledRows]:
    """Return the labelled rows and the taxonomy with what they add to it."""
    taxonomy = read_taxonomy(options.onet)
    labelled = read_postings(options.postings, taxonomy.names, rules=options.rules)
    taxonomy = taxonomy.add_categories(labelled.categories)
    _describe_data(labelled, taxonomy, say)
    return taxonomy, labelled


def _split_off_rejects(titles: Titles) -> tuple[Titles, Titles]:
    """Return the titles of categories, and those of reject examples."""
    fits = titles.rows.labels != REJECT
    return titles.select(fits), titles.select(~fits)


def _find_tokenizer(encoder: str, say: Say) -> Any:  # noqa: ANN401 - tokenizers.Tokenizer
    try:
        return load_tokenizer(encoder)
    except EncoderError as error:
        say(f"no token vectors, titles as posted are not used: {error}")
        return None


def _sample_onet_titles(taxonomy: Taxonomy, options: TrainOptions) -> tuple[list[str], list[int]]:
    """Return O*NET's titles with their category numbers: first every category's name, then a seeded sample of its job titles."""
    rng = random.Random(options.seed)  # noqa: S311 - a sample, not a secret
    titles = [category.onet_title for category in taxonomy.categories]
    labels = list(range(len(titles)))
    for number, category in enumerate(taxonomy.categories):
        known = taxonomy.titles.get(category.onet_code, ())
        chosen = rng.sample(known, min(len(known), options.onet_titles))
        titles += chosen
        labels += [number] * len(chosen)
    return titles, labels


def _describe_data(labelled: LabelledRows, taxonomy: Taxonomy, say: Say) -> None:
    codes = {posting.onet_code for posting in labelled.postings}
    titles = sum(map(len, taxonomy.titles.values()))
    say(
        f"{len(labelled.postings):,} labelled postings in {len(codes):,} of {len(taxonomy.categories):,} categories; "
        f"{titles:,} O*NET titles"
    )
    for line in labelled.describe():
        say(line)
    if disagreed := describe_disagreement(
        [cached_title_key(p.title) for p in labelled.postings], [p.onet_code for p in labelled.postings]
    ):
        say(disagreed)
