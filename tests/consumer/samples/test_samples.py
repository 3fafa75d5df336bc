"""`check-config --sample` shows what `run` would make of messages, names the profile that fits, and says what to set."""

import gzip
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from consumer.__main__ import main
from consumer.errors import InvalidMessage
from consumer.feeds.fields import ByNames
from consumer.feeds.profiles import profile_names, read_profile
from consumer.messages import Message
from consumer.samples.files import MAX_SAMPLES, read_samples
from consumer.samples.judge import judge, rank_profiles
from consumer.samples.report import MAX_SHOWN
from tests.support.messages import BAD_VALUES, make_codec, make_message, posting_bytes

Shown = tuple[int, str, str]
Show = Callable[..., Shown]
LEVER = {"id": "l-1", "text": "Sawyer", "descriptionPlain": "Saw timber.", "categories": {"location": "Tacoma"}}


@pytest.fixture
def show(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Show:
    """Write a file, run `check-config --sample` on it; returns exit status, standard output in single spaces, standard error."""
    for name in [name for name in os.environ if name.startswith("OCCUSTREAM_")]:
        monkeypatch.delenv(name)

    def run(name: str, content: str | bytes, *flags: str) -> Shown:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        status = main(["check-config", "--kafka", "test.mock.num.brokers=1", "--sample", str(path), *flags])
        captured = capfd.readouterr()
        return status, " ".join(re.sub("[\u2500-\u257f]", " ", captured.out).split()), captured.err

    return run


def read(tmp_path: Path, name: str, content: str | bytes) -> list[Message]:
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_samples(tmp_path / name, ("title",))[0]


def lines(*messages: Any) -> str:
    return "\n".join(map(json.dumps, messages))


def test_what_is_found_in_each_message_is_shown_and_status_0_says_that_all_are_good(show: Show) -> None:
    posting = {"title": "Roofer", "description": "Slates. " * 50, "id": 7, "company": {"name": "Pennine"}, "date": "2026-10-01"}
    status, shown, _ = show("a.jsonl", lines(posting, {"title": "Glazier", "lang": "en", "city_name": "Bath"}))
    assert status == 0
    assert "a.jsonl:0:1 posting title Roofer body 399 characters: Slates. Slates." in shown
    assert 'id 7 company {"name":"Pennine"} date 2026-10-01 a.jsonl:0:2' in shown
    assert "title Glazier body none id a.jsonl:0:2 (the message's key or place: it has none of its own)" in shown
    assert "location Bath language en" in shown
    assert "2 messages: 2 postings, 0 deletes, 0 dead letters." in shown


def test_a_dead_letter_is_explained_and_the_profile_that_would_mend_it_is_named(show: Show) -> None:
    status, shown, _ = show("a.jsonl", lines(LEVER, {**LEVER, "id": "l-2"}))
    assert status == 1
    assert "dead letter why no_title: none of the fields" in shown
    assert "Profile lever fits best: 2 of 2 messages would be enriched or are deletes, 6 fields found that count." in shown
    assert 'Set --profile lever, OCCUSTREAM_PROFILE=lever, or profile = "lever".' in shown


def test_with_the_right_profile_nothing_is_left_to_set(show: Show) -> None:
    status, shown, _ = show("a.jsonl", lines(LEVER), "--profile", "lever")
    assert (status, "The profile in use, lever, fits best: 1 of 1 message" in shown) == (0, True)


def test_a_mapping_that_finds_all_is_not_argued_with(show: Show) -> None:
    message = {"role": {"name": "Roofer"}, "text_of_it": "Slates.", "ref": "r-1"}
    status, shown, _ = show("a.json", lines(message), *mapping_flags("title=role.name", "body=text_of_it", "posting_id=ref"))
    assert (status, "No profile finds more than the present settings: 1 of 1 message" in shown) == (0, True)


@pytest.mark.parametrize("nonsense", [{"name": "x"}, {"title": ["a", "b"]}, {"name": "x", "id": 1, "office": "y"}])
def test_no_profile_is_named_for_what_it_finds_by_chance(nonsense: dict[str, Any], show: Show) -> None:
    status, shown, _ = show("a.json", lines(nonsense))
    advice = "No profile finds more than the present settings: 0 of 1 message"
    assert (status, advice in shown, "A mapping names other places of fields" in shown) == (1, True, True)


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ({"title": "Baker", "referencenumber": "b-1", "url": "u", "description": "Bakes."}, "indeed"),
        ({"job": {"title": "Baker", "id": 1, "internal_job_id": 2, "absolute_url": "u", "content": "Bakes."}}, "greenhouse"),
        ({"id": 1, "text": "Baker", "descriptionPlain": "Bakes."}, "lever"),
    ],
)
def test_a_profile_is_named_by_the_sign_of_its_feed_or_by_all_that_it_finds(message: Any, name: str, show: Show) -> None:
    assert f"Profile {name} fits best" in show("a.json", lines(message))[1]


def mapping_flags(*given: str) -> list[str]:
    return [part for each in given for part in ("--mapping", each)]


def test_envelopes_and_deletes_are_shown_as_run_takes_them(show: Show) -> None:
    change = {"before": {"id": 5}, "after": None, "op": "d", "source": {"connector": "pg"}, "ts_ms": 1}
    status, shown, _ = show("a.json", lines(change))
    assert (status, "delete envelope debezium why a Debezium change" in shown) == (0, True)
    status, shown, _ = show("a.json", lines(change), "--on-delete", "dead-letter")
    assert (status, "dead letter envelope debezium why deleted: " in shown) == (1, True)


def test_of_many_messages_dead_letters_are_shown_first(show: Show) -> None:
    many = [{"title": f"Roofer {number}"} for number in range(MAX_SHOWN + 10)]
    status, shown, _ = show("a.jsonl", lines(*many, {"name": "x"}))
    assert (status, shown.count(" posting title ")) == (1, MAX_SHOWN - 1)
    assert "11 more are not shown. 31 messages: 30 postings, 0 deletes, 1 dead letter." in shown


@pytest.mark.parametrize(
    ("name", "content", "values"),
    [
        ("a.json", '{\n "title": "Roofer",\n "n": 1.10}', [b'{\n "title": "Roofer",\n "n": 1.10}']),
        ("a.json", '[{"title": "A", "n": 1.10}, {"title": "B"}]', [b'{"title":"A","n":1.10}', b'{"title":"B"}']),
        ("a.json", '{"title": "A"}\n{"title": "B"}\n', [b'{"title": "A"}', b'{"title": "B"}']),
        ("a.jsonl", '{"title": "A"}\n\n{"title"\n', [b'{"title": "A"}', b'{"title"']),
        ("a.csv", "title,id\nA,1\nB,\n", [b'{"title": "A", "id": "1"}', b'{"title": "B"}']),
        ("a.tsv", "title\tid\nA\t1\n", [b'{"title": "A", "id": "1"}']),
        ("a.bin", b"\x00\x00\x00\x00*\x02\x08\n", [b"\x00\x00\x00\x00*\x02\x08\n"]),
    ],
)
def test_a_file_holds_one_message_a_list_lines_or_rows(name: str, content: Any, values: list[bytes], tmp_path: Path) -> None:
    assert [message.value for message in read(tmp_path, name, content)] == values


def test_a_row_that_is_none_is_told_beside_the_others(show: Show) -> None:
    status, shown, _ = show("a.csv", "title,id\nCook,1\nChef,2,3\n")
    assert (status, "1 message: 1 posting" in shown, "row 3: 3 cells under 2 columns" in shown) == (1, True, True)


def test_no_more_messages_are_looked_at_than_the_limit(tmp_path: Path) -> None:
    assert len(read(tmp_path, "a.jsonl", '{"title": "A"}\n' * (MAX_SAMPLES + 5))) == MAX_SAMPLES


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.jsonl", "", "a.jsonl holds no message"),
        ("a.csv", "id,job\n1,Cook\n", "a.csv has no column for the title: one of "),
        ("a.jsonl", gzip.compress(b'{"title": "Cook"}', mtime=0), "a.jsonl is compressed with gzip; unpack it first"),
        ("a.json.gz", gzip.compress(b'{"title": "Cook"}', mtime=0), "a.json.gz is compressed with gzip"),
        ("a.csv", "title\nCook\n".encode("utf-16"), "a.csv is UTF-16; save it as UTF-8"),
        ("a.xlsx", b"PK\x03\x04...", "a.xlsx is an archive or a workbook"),
    ],
)
def test_a_file_without_messages_is_one_line_and_status_2(name: str, content: str | bytes, said: str, show: Show) -> None:
    status, shown, error = show(name, content)
    assert (status, shown) == (2, "")
    assert said in error


def test_a_file_that_is_not_there_is_one_line_and_status_2(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["check-config", "--kafka", "test.mock.num.brokers=1", "--sample", "nowhere.json"]) == 2
    assert "nowhere.json cannot be read: No such file" in capfd.readouterr().err


@pytest.mark.parametrize("name", profile_names())
def test_each_profile_fits_its_own_example_best(name: str) -> None:
    message = make_message(read_profile(name).example.encode())
    (best, fit), *_others = rank_profiles([message], lambda finder, heard: make_codec(finder=finder, on_envelope=heard))
    assert (best, fit.good, fit.found, fit.signs) == (name, 1, 3, 1)


def test_every_reason_that_the_codec_gives_is_told_in_the_codecs_words() -> None:
    samples = [make_message(posting_bytes()), *(make_message(value) for _reason, value in BAD_VALUES)]
    judged = judge(samples, lambda finder, heard: make_codec(finder=finder, on_envelope=heard), ByNames())
    assert [each.detail for each in judged if each.outcome == "dead letter"] == list(refusals(samples))


def refusals(messages: list[Message]) -> Iterator[str]:
    for message in messages:
        try:
            make_codec().decode(message)
        except InvalidMessage as error:
            yield str(error)


def test_profiles_are_listed_with_what_they_are_for(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["profiles"]) == 0
    shown = capfd.readouterr().out
    assert all(name in shown for name in profile_names())
