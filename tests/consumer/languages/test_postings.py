"""Foreign postings are found by their text where it is sure, and English ones are left alone."""

from collections import defaultdict
from pathlib import Path

import pytest

from consumer.languages.detector import guess_language
from consumer.languages.english import is_english_text, is_plain_title
from consumer.languages.postings import find_foreign_language
from consumer.languages.scripts import find_languages_of_script
from tests.support.paths import ROOT

HERE = Path(__file__).parent
ENGLISH = frozenset({"en"})
MIN_FOUND = 0.92
"""The share of the foreign titles alone that must be found. Some could be English: "Assistante de direction"."""
OTHER_SCRIPTS = ("zh", "ja", "ko", "ru", "ar")


def read_pairs(name: str) -> list[tuple[str, str]]:
    """Return pairs of a language's code and a text."""
    lines = (HERE / name).read_text(encoding="utf-8").splitlines()
    return [(code, text) for code, text in (line.split("\t") for line in lines)]


TITLES, BODIES = read_pairs("foreign_titles.tsv"), read_pairs("foreign_bodies.tsv")
BODIES_OF: dict[str, list[str]] = defaultdict(list)
for _code, _body in BODIES:
    BODIES_OF[_code].append(_body)


def find(title: str, body: str | None = None, understood: frozenset[str] = ENGLISH, *, reads_body: bool = False) -> str | None:
    return find_foreign_language(title, body, understood, reads_body=reads_body)


def test_foreign_titles_are_found_without_a_body() -> None:
    assert len(TITLES) >= 200
    assert sum(find(title) is not None for _code, title in TITLES) >= MIN_FOUND * len(TITLES)


@pytest.mark.parametrize("code", OTHER_SCRIPTS)
def test_a_title_in_another_script_is_always_found_with_its_language(code: str) -> None:
    assert {find(title) for language, title in TITLES if language == code} <= {code, "zh"}
    assert all(code in find_languages_of_script(title) for language, title in TITLES if language == code)


def test_foreign_postings_with_a_body_are_nearly_all_found() -> None:
    found = [find(title, body) is not None for code, title in TITLES for body in BODIES_OF[code]]
    assert sum(found) >= 0.98 * len(found)


@pytest.mark.parametrize(("code", "body"), BODIES, ids=[f"{code}-{number}" for number, (code, _) in enumerate(BODIES)])
def test_a_foreign_body_is_known_with_its_language(code: str, body: str) -> None:
    assert not is_english_text(body)
    assert find("Manager", body, reads_body=True) == code


def test_starter_titles_are_left_alone() -> None:
    rows = (ROOT / "trainer/starter/onet_soc_2019.csv").read_text(encoding="utf-8").splitlines()[1:]
    titles = [row.split(",", 1)[1].strip('"') for row in rows]
    assert len(titles) > 1_000
    assert [title for title in titles if find(title) is not None] == []


@pytest.mark.parametrize(
    "title",
    [
        "Registered Nurse - ICU",
        "Sous Chef, Le Petit Jardin",
        "Maitre D'",
        "Barista",
        "Au Pair",
        "Café Manager",
        "Nurse, Centro Médico Las Palmas",
        "Sr. Software Engineer (San José, CA)",
        "Bilingual Customer Service Rep (Spanish)",
        "Concierge at Hôtel de Ville",
        "Software Engineer 软件",
        "QA",
        "RN",
        "CDL-A OTR $$$",
        "12345",
        "🚚 Driver",
        "Zamboni Operator",
        "Kindergarten Teacher",
    ],
)
def test_an_english_title_with_foreign_words_in_it_is_left_alone(title: str) -> None:
    assert find(title) is None


def test_an_english_body_does_not_vouch_for_a_foreign_title() -> None:
    body = "You will look after our guests and work with the team. This is what we offer you."
    assert find("Zimmermädchen für die Frühschicht", body) == "de"
    assert find("Barista", body) is None


def test_a_language_that_is_understood_is_not_foreign() -> None:
    title = "Staatlich anerkannte Erzieherin in Teilzeit"
    assert find(title) == "de"
    assert find(title, understood=frozenset({"en", "de"})) is None
    assert find("看護師（夜勤あり）", understood=frozenset({"en", "ja"})) is None


def test_english_is_foreign_to_a_model_that_does_not_understand_it() -> None:
    assert find("Registered Nurse", understood=frozenset({"de"})) == "en"


@pytest.mark.parametrize("text", ["", " ", "RN II", "1 2 3 4 5 6 7 8 9"])
def test_a_text_of_few_letters_says_nothing(text: str) -> None:
    assert guess_language(text, ENGLISH) is None


@pytest.mark.parametrize("text", ["x" * 1_000, "\ud800 nurse wanted", "\x00" * 50, "é" * 5_000, "a b " * 500])
def test_no_text_breaks_it(text: str) -> None:
    find(text, text, reads_body=True)


@pytest.mark.parametrize(
    ("title", "plain"), [("Registered Nurse", True), ("Krankenpfleger", False), ("Infirmière", False), ("", False)]
)
def test_plain_english_is_told_by_the_words_of_job_titles(title: str, plain: bool) -> None:
    assert is_plain_title(title) is plain
