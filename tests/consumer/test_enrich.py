"""A failure inside a batch is one posting's, or the device's: the posting alone is a dead letter, the device ends the process."""

from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from consumer.enrich import Outcome, enrich
from consumer.errors import ScorerFailed
from consumer.memory_broker import MemorySink, MemorySource
from consumer.metrics import Metrics
from consumer.model.answers import Answer
from consumer.model.scorer import Scorer
from tests.support.messages import DEAD, OUT, make_codec, make_message, posting_bytes
from tests.support.pipeline import Clock, make_pipeline, memory_broker
from tests.support.tiny_model import LetterEncoder, tiny_scorer

Failure = Callable[[Sequence[str]], Exception | None]


class FailingEncoder(LetterEncoder):
    """Raises what `failure` makes of the texts; `batches` holds how many it encoded each time."""

    def __init__(self, failure: Failure) -> None:
        super().__init__()
        self._failure = failure
        self.batches: list[int] = []

    def encode(self, texts: Sequence[str]) -> torch.Tensor:
        if (error := self._failure(texts)) is not None:
            raise error
        self.batches.append(len(texts))
        return super().encode(texts)


def poisoned(texts: Sequence[str]) -> Exception | None:
    return RuntimeError("index out of range") if any("poison" in text for text in texts) else None


def codes(scored: Answer) -> list[str]:
    """An answer without its numbers, which depend a little on the batch."""
    return [match.onet_code for match in scored.occupations]


def enriched(titles: Sequence[str], scorer: Scorer) -> list[Outcome]:
    messages = [make_message(posting_bytes(title), offset=offset) for offset, title in enumerate(titles)]
    return enrich(messages, scorer, make_codec(), Metrics())


@given(st.lists(st.sampled_from(["nurse", "cook", "poison", "a poison", "driver"]), max_size=40))
def test_only_the_postings_that_the_model_fails_on_become_dead_letters(titles: list[str]) -> None:
    outcomes = enriched(titles, tiny_scorer(encoder=FailingEncoder(poisoned)))
    assert [outcome.message.offset for outcome in outcomes] == list(range(len(titles)))
    for title, outcome in zip(titles, outcomes, strict=True):
        reason = outcome.error.reason if outcome.error else None
        assert reason == ("not_scored" if "poison" in title else None)


def test_the_dead_letter_says_what_the_model_said() -> None:
    (outcome,) = enriched(["poison"], tiny_scorer(encoder=FailingEncoder(poisoned)))
    assert outcome.error is not None
    assert "RuntimeError: index out of range" in outcome.error.detail
    assert outcome.record is not None
    assert outcome.record.value == posting_bytes("poison")


def test_a_device_that_fails_on_everything_is_nobodys_fault_and_no_dead_letter() -> None:
    scorer = tiny_scorer(encoder=FailingEncoder(lambda _texts: RuntimeError("device-side assert triggered")), cache_size=9)
    with pytest.raises(ScorerFailed, match=r"golden title.*device-side assert"):
        enriched(["nurse", "cook"], scorer)


def test_what_is_cached_does_not_hide_a_broken_device() -> None:
    broken: list[bool] = []
    encoder = FailingEncoder(lambda _texts: RuntimeError("sticky") if broken else None)
    scorer = tiny_scorer(encoder=encoder, cache_size=9)
    golden = scorer.manifest.golden[0].title
    scorer.score([golden])
    broken.append(True)
    assert enriched([golden], scorer)[0].error is None
    with pytest.raises(ScorerFailed):
        enriched(["never seen"], scorer)


@pytest.mark.parametrize("fits", [1, 3, 10])
def test_out_of_memory_a_batch_is_scored_in_pieces_and_later_ones_no_larger(fits: int) -> None:
    encoder = FailingEncoder(lambda texts: torch.OutOfMemoryError("no room") if len(texts) > fits else None)
    scorer = tiny_scorer(encoder=encoder)
    titles = [f"nurse {'x' * i}" for i in range(40)]
    plain = tiny_scorer().score(titles)
    assert [codes(scored) for scored in scorer.score(titles)] == [codes(scored) for scored in plain]
    tried = len(encoder.batches)
    scorer.score([f"cook {'x' * i}" for i in range(40)])
    assert max(encoder.batches) <= fits
    assert len(encoder.batches) - tried <= 40 / max(1, fits // 2), "nothing was tried again"


def test_a_posting_that_never_fits_in_memory_is_a_dead_letter_of_its_own() -> None:
    encoder = FailingEncoder(lambda texts: torch.OutOfMemoryError("no room") if "huge" in texts else None)
    outcomes = enriched(["nurse", "huge", "cook"], tiny_scorer(encoder=encoder))
    assert [outcome.error is None for outcome in outcomes] == [True, False, True]


def test_a_broken_device_ends_the_process_with_nothing_of_it_committed() -> None:
    broker = memory_broker(1)
    for number in range(4):
        broker.append(broker.partitions("postings.raw")[0], posting_bytes(f"Title {number}"))
    source = MemorySource(broker, topic="postings.raw", group_id="g")
    scorer = tiny_scorer()

    def fail(_texts: Sequence[str]) -> torch.Tensor:
        raise RuntimeError("CUDA error")

    scorer.encoder.encode = fail  # type: ignore[method-assign]
    pipeline = make_pipeline(source, MemorySink(broker), scorer=scorer, stop=lambda: False, clock=Clock(tick_s=0.001))
    with pytest.raises(ScorerFailed):
        pipeline.run()
    assert broker.messages(OUT) == broker.messages(DEAD) == []
    assert not any(broker.committed.values())
