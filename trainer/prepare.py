"""Everything that a training run reads and embeds before it fits a model."""

import random
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer

from consumer.errors import EncoderError
from consumer.model.encoder import Encoder, load_encoder
from schemas.events import LabelledPosting
from schemas.tables import TableError
from schemas.text import body_text, plain_text
from trainer.data.cleaned_titles import cached_clean_title, cached_title_key
from trainer.data.files import LabelledRows, read_postings
from trainer.data.listed_titles import list_unambiguous_titles
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
    """The inputs that all fits of a run share, and the labelled postings and reject examples with their titles embedded."""

    labelled: LabelledRows
    titles: Titles
    """Of the postings that have a category."""
    reject_titles: Titles
    inputs: FitInputs
    distinct_titles: int
    embedded_titles: int = 0
    """How many of the distinct titles were not in the cache."""

    @property
    def postings(self) -> Sequence[LabelledPosting]:
        """The postings that have a category."""
        return self.labelled.postings

    @property
    def rejects(self) -> Sequence[LabelledPosting]:
        """The reject examples: postings that no occupation fits."""
        return self.labelled.rejects

    @property
    def codes(self) -> list[str]:
        """The code of each posting that has a category."""
        return [posting.onet_code for posting in self.postings]


def prepare(options: TrainOptions, work: Path, say: Say, *, clean_text: Callable[[str], str] = cached_clean_title) -> Data:
    """Read and embed all data that `options` name. New encoders are written to the folder `work`.

    `clean_text` is what serving does to a title. An evaluation passes another function to measure what cleaning is worth.
    Raises TableError for data, EncoderError for the encoder, RegistryError for the cache.
    """
    taxonomy, labelled = _read_data(options, say)
    weights = torch.full((len(labelled.postings),), ONET_WEIGHT) if options.unlabelled else weigh_rows(labelled, options.weights)
    encoder = load_encoder(
        options.encoder, device=options.device, max_seq_length=options.max_seq_length, precision=options.precision
    )
    taken = frozenset(cached_title_key(posting.title) for posting in labelled.postings if options.unlabelled)
    onet_titles, onet_labels = _sample_onet_titles(taxonomy, options, taken)
    lines, onet_lines = [plain_text(posting.title) for posting in labelled.all], [plain_text(title) for title in onet_titles]
    clean, onet_clean = [clean_text(line) for line in lines], [clean_text(title) for title in onet_titles]
    cache = EmbeddingCache(options.cache, encoder) if options.cache else None
    embeddings = TitleEmbeddings(encoder, [*clean, *onet_clean], cache)

    onet_rows = EmbeddedRows(embeddings.look_up(onet_clean), onet_labels, torch.full((len(onet_labels),), ONET_WEIGHT))
    onet = Titles(onet_clean, onet_lines, onet_rows, encoder.ref.sha256)
    labels = _number_labels(labelled, taxonomy)
    rows = EmbeddedRows(embeddings.look_up(clean), labels, weights)
    bodies = [body_text(posting.body or "") for posting in labelled.all]
    titles, reject_titles = _split_off_rejects(Titles(clean, lines, rows, encoder.ref.sha256, bodies))
    inputs = _make_inputs(options, taxonomy, encoder, onet, work, say)
    return Data(labelled, titles, reject_titles, inputs, len(embeddings), embeddings.computed)


def _read_data(options: TrainOptions, say: Say) -> tuple[Taxonomy, LabelledRows]:
    """Return the taxonomy with its new categories, and the labelled rows."""
    taxonomy = read_taxonomy(options.onet)
    if options.unlabelled:
        labelled, what = list_unambiguous_titles(taxonomy), "titles of O*NET's, no postings,"
    else:
        labelled, what = read_postings(options.postings, taxonomy.names, rules=options.rules), "labelled postings"
    taxonomy = taxonomy.add_categories(labelled.categories)
    _describe_data(labelled, taxonomy, say, what=what)
    return taxonomy, labelled


def _make_inputs(options: TrainOptions, taxonomy: Taxonomy, encoder: Encoder, onet: Titles, work: Path, say: Say) -> FitInputs:
    tokenizer = _find_tokenizer(options.encoder, say)
    token_vectors = None
    if tokenizer and options.fit.needs_tokens:
        token_vectors = distill_encoder(onet, tokenizer, seed=options.seed, cache=options.cache)
    return FitInputs(
        taxonomy_version=taxonomy.version,
        categories=taxonomy.categories,
        onet=onet,
        encoder=encoder,
        encoder_name=options.encoder,
        tokenizer=tokenizer,
        work=work,
        descriptions=taxonomy.descriptions,
        token_vectors=token_vectors,
        unlabelled=options.unlabelled,
    )


def _number_labels(labelled: LabelledRows, taxonomy: Taxonomy) -> torch.Tensor:
    """Return the category number of each posting, then REJECT for each reject example, `(rows,)`."""
    numbers = taxonomy.numbers
    return torch.tensor([*(numbers[posting.onet_code] for posting in labelled.postings), *(REJECT for _ in labelled.rejects)])


def weigh_rows(labelled: LabelledRows, weights: Mapping[str, float]) -> torch.Tensor:
    """Return how much each row counts in fits, `(rows,)`, by the weights of sources.

    Raises TableError for a source that no row has, and if no row is left to learn from.
    """
    counts = Counter(posting.source for posting in labelled.all if posting.source)
    for source in weights:
        if source not in counts:
            there = ", ".join(f"{name} ({rows:,} rows)" for name, rows in counts.most_common(20))
            raise TableError(
                f"--weight {source}: no row has this source; there are: {there or 'none: see --source-column for their column'}"
            )
    found = [weights.get(posting.source or "", 1.0) for posting in labelled.all]
    if not any(found[: len(labelled.postings)]):
        raise TableError("--weight: no row is left to learn from, as each has weight 0")
    return torch.tensor(found)


def _split_off_rejects(titles: Titles) -> tuple[Titles, Titles]:
    """Return the titles that have a category, and those of reject examples."""
    has_category = titles.rows.labels != REJECT
    return titles.select(has_category), titles.select(~has_category)


def _find_tokenizer(encoder: str, say: Say) -> Tokenizer | None:
    try:
        return load_tokenizer(encoder)
    except EncoderError as error:
        say(f"no token vectors, titles as posted are not used: {error}")
        return None


def _sample_onet_titles(taxonomy: Taxonomy, options: TrainOptions, taken: Collection[str]) -> tuple[list[str], torch.Tensor]:
    """Return O*NET's titles and their category numbers `(titles,)`: all category names, then a seeded sample of job titles.

    Job titles with a key in `taken`, which stand in the place of postings, are left out.
    """
    rng = random.Random(options.seed)  # noqa: S311 - a sample, not a secret
    titles = [category.onet_title for category in taxonomy.categories]
    labels = list(range(len(titles)))
    for number, category in enumerate(taxonomy.categories):
        known = [title for title in taxonomy.titles.get(category.onet_code, ()) if cached_title_key(title) not in taken]
        sample = rng.sample(known, min(len(known), options.onet_titles))
        titles += sample
        labels += [number] * len(sample)
    return titles, torch.tensor(labels)


def _describe_data(labelled: LabelledRows, taxonomy: Taxonomy, say: Say, *, what: str) -> None:
    codes = [posting.onet_code for posting in labelled.postings]
    titles = sum(map(len, taxonomy.titles.values()))
    say(f"{len(codes):,} {what} in {len(set(codes)):,} of {len(taxonomy.categories):,} categories; {titles:,} O*NET titles")
    for line in labelled.describe():
        say(line)
    if disagreement := describe_disagreement([cached_title_key(posting.title) for posting in labelled.postings], codes):
        say(disagreement)
