"""The hierarchy of the Standard Occupational Classification (SOC 2018), which O*NET-SOC codes such as 29-1141.00 extend."""

from typing import Literal, NamedTuple

MAJOR_GROUPS: dict[str, str] = {
    "11": "Management",
    "13": "Business and Financial Operations",
    "15": "Computer and Mathematical",
    "17": "Architecture and Engineering",
    "19": "Life, Physical, and Social Science",
    "21": "Community and Social Service",
    "23": "Legal",
    "25": "Educational Instruction and Library",
    "27": "Arts, Design, Entertainment, Sports, and Media",
    "29": "Healthcare Practitioners and Technical",
    "31": "Healthcare Support",
    "33": "Protective Service",
    "35": "Food Preparation and Serving Related",
    "37": "Building and Grounds Cleaning and Maintenance",
    "39": "Personal Care and Service",
    "41": "Sales and Related",
    "43": "Office and Administrative Support",
    "45": "Farming, Fishing, and Forestry",
    "47": "Construction and Extraction",
    "49": "Installation, Maintenance, and Repair",
    "51": "Production",
    "53": "Transportation and Material Moving",
    "55": "Military Specific",
}
"""Titles of the 23 major groups by their two digits, without the word "Occupations" that ends each."""

Digits = Literal[2, 3, 5, 6, 8]


class Level(NamedTuple):
    """A level of the hierarchy: codes of one group share their first `digits` digits, the first `characters` as written."""

    digits: Digits
    characters: int
    name: str


LEVELS = (
    Level(8, 10, "O*NET-SOC code"),
    Level(6, 7, "detailed occupation, 6 digits"),
    Level(5, 6, "broad occupation, 5 digits"),
    Level(3, 4, "minor group, 3 digits"),
    Level(2, 2, "major group, 2 digits"),
)
"""All levels, finest first.

A few minor groups of SOC 2018 (15-1200, 31-1100, 51-5100) have a fourth digit: here they are taken by three.
"""
GROUP_LEVELS = tuple(reversed(LEVELS[1:]))
"""The levels at which several codes can share a group, coarsest first."""


def soc_major(onet_code: str) -> str:
    """Return the two digits of a code's major group: `29` for `29-1141.00`."""
    return onet_code[:2]


def group_code(onet_code: str, level: Level) -> str:
    """Return how the SOC writes a code's group at a level of `GROUP_LEVELS`: `29-1000` at three digits for `29-1141.00`."""
    digits = onet_code.replace("-", "")[: level.digits]
    return f"{digits[:2]}-{digits[2:]:0<4}"


def soc_code(onet_code: str) -> str:
    """Return the six-digit code of the SOC 2018 that an O*NET-SOC code extends: `29-1141` for `29-1141.00`."""
    return onet_code[:7]
