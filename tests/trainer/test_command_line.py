"""Wrong use of `occustream-trainer` ends with one clear line and the right exit status; it publishes nothing."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.command_line import Cli
from tests.support.tiny_model import publish
from tests.support.training_data import write_encoder, write_postings, write_release
from trainer.__main__ import main

Complaint = Callable[..., str]
GOOD_USE = ("train", "--postings", "jobs.csv", "--registry", "registry", "--onet", "onet", "--device", "cpu")


@pytest.fixture
def complaint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Complaint:
    """Run a command that must fail, in `tmp_path` with good `jobs.csv` and `onet` in it; returns its one line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # where releases of O*NET are kept
    write_postings(Path("jobs.csv"))
    write_release(Path("onet"))

    def run(*arguments: str, status: int = 1) -> str:
        try:
            found = main(arguments)
        except SystemExit as wrong_use:  # argparse leaves so
            found = wrong_use.code
        out, err = capsys.readouterr()
        assert (found, out) == (status, "")
        assert "Traceback" not in err
        assert not list(tmp_path.rglob("manifest.json"))
        (line,) = (line for line in err.splitlines() if line.startswith("occustream-trainer"))
        return line

    return run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--postings missing.csv", "missing.csv cannot be read: No such file or directory"),
        ("--postings jobs.csv onet", "onet: cannot tell the format from its ending"),
        ("--onet missing", "--onet missing is no folder"),
        ("--onet .", "Occupation Data.txt cannot be read"),
        ("--onet 31.0 --onet-mirror nowhere", "O*NET 31.0 could not be fetched from nowhere/db_31_0_text.zip: "),
        ("--registry jobs.csv", "registry jobs.csv cannot be written: File exists"),
        ("--registry jobs.csv/registry", "registry jobs.csv/registry cannot be written: Not a directory"),
        ("--encoder empty", "empty holds no .safetensors weights; save the encoder with SentenceTransformer.save_pretrained"),
        ("--encoder pickle", "pickle/pytorch_model.bin may be a pickle, which can run any code; remove it"),
        ("--encoder broken", "broken cannot be loaded as a SentenceTransformer"),
        ("--encoder ./no/such", "encoder './no/such' is no folder and the hub does not give it"),
        ("--cache jobs.csv", "the embedding cache jobs.csv/"),
    ],
)
def test_what_cannot_be_trained_on_is_named(arguments: str, message: str, complaint: Complaint, tmp_path: Path) -> None:
    for folder in ("empty", "pickle", "broken"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "config.json").write_text("{}")
    (tmp_path / "pickle" / "pytorch_model.bin").write_bytes(b"\x80\x04N.")
    (tmp_path / "broken" / "model.safetensors").write_bytes(b"junk")
    assert message in complaint(*GOOD_USE, *arguments.split())


HEADER = "ID,TITLE_RAW,ONET\n"
GOOD = "1,Nurse,29-1141.00\n"
LATIN_1 = "2,Infirmi\u00e8re,29-1141.00\n".encode("latin-1")
JSON_ROW = '{"TITLE_RAW": "Infirmi\u00e8re", "ONET": "29-1141.00"}\n'


@pytest.mark.parametrize("command", ["train", "distill", "evaluate"])
@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("bad.csv", b"", "bad.csv is empty"),
        ("bad.jsonl", b"", "bad.jsonl is empty"),
        ("bad.csv", HEADER.encode(), "no labelled posting to learn from in bad.csv: no rows"),
        ("bad.csv", (HEADER + GOOD * 3).encode() + LATIN_1, "bad.csv, row 5: not UTF-8; convert the file, e.g. with iconv"),
        ("bad.csv", (HEADER + GOOD).encode("utf-16"), "bad.csv is not UTF-8 text; convert it, e.g. with iconv"),
        ("bad.jsonl", JSON_ROW.encode() + JSON_ROW.encode("latin-1"), "bad.jsonl, row 2: not UTF-8; convert the file"),
        ("bad.jsonl", JSON_ROW.encode("utf-16"), "bad.jsonl, row 1: not UTF-8; convert the file"),
        (
            "bad.csv",
            (HEADER + "1,Nurse,15-9999.00\n").encode(),
            "a label outside the taxonomy, first at bad.csv, row 2",
        ),
        ("bad.csv", (HEADER + "1,Coder,15-1132.00\n").encode(), "a code of an older O*NET-SOC that was split, first at bad.csv"),
        ("bad.csv", (HEADER + "1,Nurse,Unclassified\n").encode(), "bad.csv: reject examples: 1 rows labelled Unclassified"),
    ],
)
def test_postings_that_cannot_be_learned_from_are_named_with_their_place(
    command: str, name: str, content: bytes, message: str, complaint: Complaint, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    registry = () if command == "evaluate" else ("--registry", "registry")
    assert message in complaint(command, "--postings", name, *registry, "--device", "cpu")


def test_an_encoder_that_is_not_there_names_the_ways_to_have_it(complaint: Complaint) -> None:
    assert complaint(*GOOD_USE, "--encoder", "./no/such").endswith(
        "give the path of a folder, or download it where there is a network"
    )


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        *(("--holdout", share, f"between 0 and 1, not {share}") for share in ("0", "1", "-1", "nan", "inf")),
        ("--holdout", "abc", "a number between 0 and 1, not abc"),
        ("--accept-precision", "1.5", "between 0 and 1, not 1.5"),
        *(("--epochs", epochs, f"at least 1, not {epochs}") for epochs in ("0", "-3")),
        ("--epochs", "1.5", "a whole number, at least 1, not 1.5"),
        ("--onet-titles", "0", "at least 1, not 0"),
        ("--max-seq-length", "x", "at least 1, not x"),
        *(("--seed", seed, f"from 0 to 2^63 - 1, not {seed}") for seed in ("-1", str(2**63), "x")),
        ("--method", "magic", "invalid choice: 'magic' (choose from"),
        ("--split", "half", "invalid choice: 'half'"),
        ("--unclassified", "keep", "invalid choice: 'keep' (choose from"),
        ("--without", "title", "invalid choice: 'title'"),
        ("--max-exemplars", "0", "at least 1, not 0"),
        ("--registry", "", "an empty name; is a variable unset?"),
        *((option, "", "an empty name; is a variable unset?") for option in ("--onet", "--postings", "--encoder", "--device")),
        ("--rounds", "21", "at most 20, not 21: each is a fit"),
    ],
)
def test_a_wrong_option_is_wrong_use(option: str, value: str, message: str, complaint: Complaint) -> None:
    line = complaint("train", "--postings", "jobs.csv", "--registry", "registry", f"{option}={value}", status=2)
    assert f"argument {option}: " in line
    assert message in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--finetune-encoder jobs.csv", "--finetune-encoder jobs.csv is a file; name a folder"),
        ("--html onet", "onet cannot be written: it is a folder; name a file"),
        ("--json no/such.json", "no/such.json cannot be written: there is no folder no"),
        ("--splits time", "no split could be measured on"),
    ],
)
def test_what_cannot_be_written_or_measured_is_reported(
    arguments: str, message: str, complaint: Complaint, tmp_path: Path
) -> None:
    encoder = str(write_encoder(tmp_path / "encoder"))
    command = ("evaluate", "--postings", "jobs.csv", "--encoder", encoder, "--device", "cpu", "--onet", "onet")
    assert message in complaint(*command, *arguments.split(), status=2)


@pytest.mark.parametrize(
    ("arguments", "missing"), [("", "COMMAND"), ("train --postings starter", "--registry"), ("promote --registry r", "VERSION")]
)
def test_what_is_missing_on_the_command_line_is_named(arguments: str, missing: str, complaint: Complaint) -> None:
    assert complaint(*arguments.split(), status=2).endswith(f"the following arguments are required: {missing}")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("promote v1", "no artifact at registry/versions/v1"),
        ("promote ../x", "'../x' is no version name"),
        ("rollback", "registry/CURRENT knows no earlier version to roll back to"),
    ],
)
def test_a_version_that_is_not_there_cannot_be_put_in_service(arguments: str, message: str, complaint: Complaint) -> None:
    Path("registry").mkdir()
    assert message in complaint(*arguments.split(), "--registry", "registry")


def test_a_file_is_no_registry(complaint: Complaint) -> None:
    for command in ("list", "rollback", "promote v1"):
        assert "jobs.csv" in complaint(*command.split(), "--registry", "jobs.csv")


def test_a_registry_without_versions_says_how_to_make_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--registry", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path} holds no model version; make one with 'occustream-trainer train'\n"


@pytest.mark.parametrize("command", ["list", "promote v1", "rollback", "export --output out"])
def test_a_registry_that_is_not_there_is_not_made(command: str, complaint: Complaint) -> None:
    message = complaint(*command.split(), "--registry", "missing")
    assert message.endswith("there is no folder missing; 'occustream-trainer train' makes a registry")
    assert not Path("missing").exists()


def test_a_version_in_service_that_cannot_be_read_is_shown_with_the_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for version in ("v1", "v2"):
        publish(tmp_path, version)
    shutil.rmtree(tmp_path / "versions" / "v2")
    assert main(["list", "--registry", str(tmp_path)]) == 1
    out, err = capsys.readouterr()
    assert err.startswith("version v2 is in service and cannot be read: no artifact at ")
    assert "v1" in out
    assert "no version that can be read is in service; promote one" in out


def test_the_command_itself_says_one_line_on_bad_bytes_and_leaves_nothing(cli: Cli, tmp_path: Path) -> None:
    postings = tmp_path / "jobs.csv"
    postings.write_bytes(b"TITLE_RAW,ONET\n" + b"Nurse,29-1141.00\n" * 55 + "Infirmière,29-1141.00\n".encode("latin-1"))
    result = cli("trainer", "train", "--postings", str(postings), "--registry", str(tmp_path / "registry"))
    assert (result.returncode, result.stdout) == (1, b"")
    (line,) = result.stderr.decode().splitlines()
    assert line == f"occustream-trainer: {postings}, row 57: not UTF-8; convert the file, e.g. with iconv"
    assert not (tmp_path / "registry" / "versions").exists()
