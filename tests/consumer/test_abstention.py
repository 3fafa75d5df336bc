"""Postings whose answer does not count: published with all occupations, `unclassified`, and with the reason."""

import json
from typing import Any

import pytest

from consumer.abstention import Abstainer
from consumer.delivery.dead_letter_share import DeadLetterShare
from consumer.delivery.protocol import count_delivered
from consumer.enrich import Outcome, enrich
from consumer.limits import Limits
from consumer.metrics import Metrics
from consumer.model.scorer import Scorer
from consumer.rules import Rules
from tests.support.messages import make_codec, make_message, posting_bytes
from tests.support.tiny_model import (
    CALIBRATION,
    CATEGORIES,
    LetterEncoder,
    all_tensors,
    parts_with_body,
    tensors_with_body,
    tiny_scorer,
)

GERMAN, ENGLISH = "Staatlich anerkannte Erzieherin für die Nachmittagsbetreuung", "Preschool Teacher"
GERMAN_BODY = "Wir suchen eine Kollegin, die gern mit Kindern arbeitet und am Nachmittag Zeit hat. Sie haben eine Ausbildung."
ENGLISH_BODY = "You look after the children in the afternoon and plan the week with your colleagues. This is what we offer."


def outcome_of(posting: bytes, scorer: Scorer | None = None, rules: Rules | None = None) -> Outcome:
    (outcome,) = enrich([make_message(posting)], scorer or tiny_scorer(), make_codec(), Metrics(), rules)
    return outcome


def event_of(posting: bytes, scorer: Scorer | None = None, rules: Rules | None = None) -> dict[str, Any]:
    record = outcome_of(posting, scorer, rules).record
    assert record is not None
    event: dict[str, Any] = json.loads(record.value or b"")
    return event


def found(title: str, scorer: Scorer | None = None, rules: Rules | None = None, **fields: Any) -> str | None:
    event = event_of(posting_bytes(title, **fields), scorer, rules)
    assert (event["reason"] == "language") == (event["language"] is not None)
    language: str | None = event["language"]
    return language


def test_a_foreign_posting_is_unclassified_and_all_its_occupations_are_published() -> None:
    sure = CALIBRATION.model_copy(update={"new": CALIBRATION.new.model_copy(update={"accept_at": 0.0})})
    foreign = event_of(posting_bytes(GERMAN), tiny_scorer(calibration=sure))
    plain = event_of(posting_bytes(GERMAN), tiny_scorer(calibration=sure), Rules(abstainer=Abstainer(("any",))))
    assert (plain["decision"], plain["reason"], plain["language"]) == ("accept", None, None)
    assert (foreign["decision"], foreign["reason"], foreign["language"], foreign["backoff"]) == (
        "unclassified",
        "language",
        "de",
        None,
    )
    for name in ("occupations", "groups", "evidence"):
        assert foreign[name] == plain[name]


@pytest.mark.parametrize(
    ("stated", "title", "language"),
    [
        ("de", ENGLISH, "de"),
        ("de-AT", ENGLISH, "de"),
        ({"code": "pl"}, ENGLISH, "pl"),
        (["fr"], ENGLISH, "fr"),
        ("en", GERMAN, None),
        ("English", GERMAN, None),
        ("en", "看護師", "ja"),
        (["en", "de"], ENGLISH, None),
        (["en", "de"], GERMAN, "de"),
        ("klingon", ENGLISH, None),
        (None, ENGLISH, None),
        (7, GERMAN, "de"),
    ],
)
def test_what_a_posting_states_of_its_language_counts_before_its_text(stated: Any, title: str, language: str | None) -> None:
    assert found(title, language=stated) in ({language} if language != "ja" else {"ja", "zh"})


@pytest.mark.parametrize(
    ("title", "body", "reads_body", "language"),
    [
        (ENGLISH, GERMAN_BODY, False, None),
        (ENGLISH, GERMAN_BODY, True, "de"),
        (ENGLISH, ENGLISH_BODY, True, None),
        (GERMAN, ENGLISH_BODY, False, "de"),
        (GERMAN, ENGLISH_BODY, True, "de"),
        ("Koch", GERMAN_BODY, False, "de"),
        ("Koch", ENGLISH_BODY, False, None),
        ("Koch", None, False, None),
    ],
)
def test_the_title_decides_and_the_body_where_the_title_does_not(title: str, body: Any, reads_body: bool, language: Any) -> None:
    scorer = tiny_scorer(tensors=tensors_with_body(), **parts_with_body()) if reads_body else tiny_scorer(tensors=all_tensors())
    assert found(title, scorer, body=body) == language


@pytest.mark.parametrize("title", ["Apply now", "2025-06-01", "jobs@example.com", "Hiring event"])
def test_a_title_that_names_no_job_is_unclassified_and_its_occupations_published(title: str) -> None:
    sure = CALIBRATION.model_copy(update={"new": CALIBRATION.new.model_copy(update={"accept_at": 0.0})})
    event = event_of(posting_bytes(title), tiny_scorer(calibration=sure))
    assert (event["decision"], event["reason"], len(event["occupations"])) == ("unclassified", "no_job", 3)


def test_a_title_that_names_no_job_leaves_the_word_to_a_body_that_is_read() -> None:
    reading = tiny_scorer(tensors=tensors_with_body(), **parts_with_body())
    assert event_of(posting_bytes("Apply now", body=ENGLISH_BODY), reading)["reason"] is None
    assert event_of(posting_bytes("Apply now"), reading)["reason"] == "no_job"


def test_a_version_says_which_languages_it_understands() -> None:
    assert found(GERMAN, tiny_scorer(languages=("en", "de"))) is None
    assert found(GERMAN, tiny_scorer(languages=("any",))) is None
    assert found(GERMAN, tiny_scorer(languages=("en", "fr"))) == "de"


def test_a_multilingual_encoder_understands_all_languages() -> None:
    many = LetterEncoder.ref.model_copy(update={"id": "intfloat/multilingual-e5-small"})
    scorer = tiny_scorer()
    scorer.manifest = scorer.manifest.model_copy(update={"encoder": many})
    assert found(GERMAN, scorer) is None


def test_the_setting_beats_what_the_version_says() -> None:
    assert found(GERMAN, tiny_scorer(languages=("any",)), Rules(abstainer=Abstainer(("en",)))) == "de"


def test_a_stated_language_changes_the_decision_and_not_the_cached_answer() -> None:
    scorer = tiny_scorer(cache_size=9)
    titles = [posting_bytes("Cook", language=language) for language in ("en", "de", "en")]
    assert [event_of(posting, scorer)["reason"] for posting in titles] == [None, "language", None]
    assert len(scorer._cache) == 1


def test_a_limit_of_a_message_and_of_its_topic_reaches_the_answer() -> None:
    nurse, _cook, driver = (category.onet_code for category in CATEGORIES)
    event = event_of(posting_bytes("Cook", allowed_codes=["29-", "53-"]))
    assert {match["onet_code"] for match in event["occupations"]} == {nurse, driver}
    assert event["posting"]["allowed_codes"] == ["29-", "53-"]
    both = event_of(posting_bytes("Cook", allowed_codes=["29-", "53-"]), rules=Rules(Limits({"postings.raw": ("53-",)})))
    assert [match["onet_code"] for match in both["occupations"]] == [driver]


def test_each_rule_that_lowered_a_decision_is_counted() -> None:
    metrics = Metrics()
    for posting in (posting_bytes(GERMAN), posting_bytes("Cook", allowed_codes="x"), posting_bytes("Cook")):
        count_delivered(outcome_of(posting), metrics, DeadLetterShare())
    counts = {
        reason: metrics.registry.get_sample_value("occustream_rules_total", {"reason": reason})
        for reason in ("language", "limits", "no_job")
    }
    assert counts == {"language": 1, "limits": 1, "no_job": 0}


def test_occupations_have_the_soc_code_and_the_codes_of_crosswalks() -> None:
    plain = event_of(posting_bytes("Cook"))["occupations"]
    assert [(match["soc_code"], match["crosswalks"]) for match in plain] == [(match["onet_code"][:7], None) for match in plain]
    tiny, nurse = tiny_scorer(), CATEGORIES[0].onet_code
    scorer = Scorer(tiny.manifest, tiny.encoder, tiny.mixture, top_n=3, crosswalks={nurse: {"esco": ("2221.1", "2221.2")}})
    found = {match["onet_code"]: match["crosswalks"] for match in event_of(posting_bytes("Cook"), scorer)["occupations"]}
    assert found == {category.onet_code: {} for category in CATEGORIES} | {nurse: {"esco": ["2221.1", "2221.2"]}}
