"""Every level of the SOC is read from a code by its digits, and its groups are written as the SOC writes them."""

import pytest

from schemas.soc import GROUP_LEVELS, LEVELS, group_code

CODES = ["11-1011.00", "15-1299.09", "29-1141.00", "53-7199.00"]


@pytest.mark.parametrize("code", CODES)
def test_a_group_code_keeps_the_digits_of_its_level_and_fills_up_with_zeros(code: str) -> None:
    for level in GROUP_LEVELS:
        group = group_code(code, level)
        assert len(group) == 7
        assert group.replace("-", "")[: level.digits] == code.replace("-", "")[: level.digits]
        assert set(group.replace("-", "")[level.digits :]) <= {"0"}


def test_group_codes_are_written_as_in_the_soc() -> None:
    assert [group_code("29-1141.00", level) for level in GROUP_LEVELS] == ["29-0000", "29-1000", "29-1140", "29-1141"]


@pytest.mark.parametrize("code", CODES)
def test_the_characters_of_a_level_hold_its_digits(code: str) -> None:
    for level in LEVELS:
        assert sum(character.isdigit() for character in code[: level.characters]) == level.digits


def test_group_levels_run_from_the_coarsest_to_the_finest_without_the_whole_code() -> None:
    assert [level.digits for level in GROUP_LEVELS] == [2, 3, 5, 6]
