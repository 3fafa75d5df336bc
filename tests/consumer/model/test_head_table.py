"""The table of heads counts what titles with the same last words were, and backs off from two words to one to none."""

import math

import pytest
import torch

from consumer.model.head_table import COMMON_SHARE, FLOOR, LEAST_SPECIFICITY, NEW_CODE, HeadTable
from consumer.model.head_words import find_head
from schemas.artifact import KnownTitle

CPU = torch.device("cpu")
NURSE, RECRUITER, MANAGER, PILOT = range(4)


def make_table(*titles: tuple[str, int]) -> HeadTable:
    return HeadTable([KnownTitle(title=title, category=category, weight=1) for title, category in titles], 4, CPU)


def ask(table: HeadTable, *titles: str) -> torch.Tensor:
    return table.look_up([find_head(title) for title in titles]).exp()


def test_titles_that_end_alike_speak_for_a_title_never_seen() -> None:
    table = make_table(("Nurse Recruiter", RECRUITER), ("Pilot Recruiter", RECRUITER), ("Flight Nurse", NURSE))
    found = ask(table, "Gardener Recruiter", "Night Nurse", "Night Nurse Recruiter")
    assert found.argmax(dim=1).tolist() == [RECRUITER, NURSE, RECRUITER]
    torch.testing.assert_close(found.sum(dim=1), torch.ones(3))


def test_the_probability_is_that_of_witten_and_bell_above_a_floor() -> None:
    table = make_table(("Bank Office Manager", MANAGER), ("Shop Manager", PILOT), ("Hotel Manager", PILOT))
    one = torch.full((4,), 1 / 4) * (1 - 3 / (3 + 2 * NEW_CODE)) + torch.tensor([0, 0, 1, 2]) / (3 + 2 * NEW_CODE)
    two = one * (1 - 1 / (1 + NEW_CODE)) + torch.tensor([0, 0, 1, 0]) / (1 + NEW_CODE)
    for title, expected in (("Farm Manager", one), ("Clinic Office Manager", two)):
        torch.testing.assert_close(ask(table, title)[0], (1 - FLOOR) * expected + FLOOR / 4)


def test_heads_that_no_title_has_say_nothing() -> None:
    assert torch.equal(ask(make_table(("Nurse", NURSE)), "Welder", "")[0], torch.full((4,), 0.25))


def test_a_batch_is_answered_as_its_titles_one_by_one() -> None:
    titles = ["Farm Manager", "Welder", "Bank Office Manager", "", "Head Nurse", "Office Managers"]
    table = make_table(("Office Manager", MANAGER), ("Head Nurse", NURSE), ("Farm Manager", PILOT), ("Nurse", NURSE))
    torch.testing.assert_close(ask(table, *titles), torch.cat([ask(table, title) for title in titles]))


def test_a_title_of_many_postings_counts_once() -> None:
    once = make_table(("Farm Manager", PILOT), ("Bank Manager", MANAGER))
    often = make_table(("Farm Manager", PILOT), ("farm manager", PILOT), ("Bank Manager", MANAGER))
    torch.testing.assert_close(ask(once, "Manager"), ask(often, "Manager"))


@pytest.mark.parametrize(
    ("title", "vague"), [("Manager", True), ("Managers", True), ("Shop Manager", False), ("Recruiter", False)]
)
def test_only_a_bare_head_of_many_categories_is_vague(title: str, vague: bool) -> None:
    spread = [(f"Kind {number} Manager", number % 4) for number in range(40)]
    table = make_table(*spread, *[(f"Kind {number} Recruiter", RECRUITER) for number in range(40)])
    found = float(table.find_specificity([find_head(title)])[0])
    assert found == pytest.approx(math.log(11 / 41 / COMMON_SHARE) if vague else 0.0)
    assert found >= LEAST_SPECIFICITY
