"""Crosswalk files: read as O*NET publishes them, and refused with file and row where they are wrong."""

from pathlib import Path

import pytest

from consumer.crosswalks import read_crosswalks
from consumer.errors import ConfigError

ONET = "O*NET-SOC Code,O*NET-SOC Title,ESCO Code,ESCO Title"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        (f"{ONET}\n29-1141.00,Nurses,2221.1,nurse\n29-1141.00,Nurses,2221.2,ward nurse\n", ("2221.1", "2221.2")),
        ("\ufeffO*NET-SOC 2019 Code,O*NET-SOC 2019 Title,2018 SOC Code\n29-1141.00,Nurses,29-1141\n", ("29-1141",)),
        ("2020 CIP Code,2020 CIP Title,O*NET-SOC 2019 Code\n51.3801,Nursing,29-1141.00\n", ("51.3801",)),
        ("onet_code;uri\n29-1141;http://esco.example/nurse\n", ("http://esco.example/nurse",)),
        (f"{ONET}\n29-1141.00,Nurses,2221.1,nurse\n29-1141.00,Nurses,2221.1,nurse\n11-1011.00,Chiefs,None,\n", ("2221.1",)),
    ],
)
def test_the_codes_of_an_occupation_are_read_in_their_order(tmp_path: Path, text: str, codes: tuple[str, ...]) -> None:
    assert read_crosswalks({"x": write(tmp_path / "x.csv", text)}) == {"29-1141.00": {"x": codes}}


def test_several_files_are_joined_by_occupation(tmp_path: Path) -> None:
    one = write(tmp_path / "1.csv", f"{ONET}\n29-1141.00,Nurses,2221.1,nurse\n")
    two = write(tmp_path / "2.csv", "O*NET-SOC Code,CIP Code\n29-1141.00,51.3801\n11-1011.00,52.0201\n")
    assert read_crosswalks({"esco": one, "cip": two}) == {
        "29-1141.00": {"esco": ("2221.1",), "cip": ("51.3801",)},
        "11-1011.00": {"cip": ("52.0201",)},
    }


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (f"{ONET}\n29-1141.00,Nurses,2221.1,nurse\nnurse,Nurses,2221.1,nurse\n", r"x\.csv, row 3: 'nurse'.*no O\*NET-SOC code"),
        (f"{ONET}\n29-1141.00,Nurses,2221.1,nurse,more\n", r"x\.csv, row 2: 5 cells under 4 columns"),
        (f"{ONET}\n", r"x\.csv has no row with a code"),
        ("", r"x\.csv is empty"),
        ("Occupation,ESCO Code\nNurses,2221.1\n", r"one column of O\*NET-SOC codes.*'Occupation', 'ESCO Code'"),
        ("O*NET-SOC Code,ESCO Code,CIP Code\n29-1141.00,1,2\n", "Keep two columns"),
        (f"{ONET}\n" + "".join(f"29-1141.00,Nurses,{n},nurse\n" for n in range(201)), r"row 202: 29-1141\.00 has more than 200"),
        (f"{ONET}\n29-1141.00,Nurses,{'9' * 201},nurse\n", r"row 2: '9+' under 'ESCO Code' is no code"),
    ],
)
def test_a_wrong_file_is_refused_with_its_row(tmp_path: Path, text: str, error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        read_crosswalks({"x": write(tmp_path / "x.csv", text)})


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.csv cannot be read"):
        read_crosswalks({"x": tmp_path / "gone.csv"})
