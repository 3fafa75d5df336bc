"""`occustream-consumer score`: every row of a file is scored or reported with its number, as `run` would have done."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from consumer.__main__ import main
from schemas.events import EnrichedPosting
from tests.support.command_line import Cli, run_in_new_interpreter
from tests.support.paths import ROOT

CSV = (
    b"\xef\xbb\xbfID,TITLE_RAW,BODY,pay rate\r\n"
    b'1,Registered Nurse - ICU,"line one\nline ""two""",41.50\r\n'
    b"2,Caf\xe9 Manager,,18\r\n"
    b"\r\n"
    b"3, ,no title,\r\n"
    b"4,Line Cook,,,too,many\r\n"
    b'5,"CDL-A Truck\nDriver",,30\r\n'
    b"6\r\n"
)
Run = subprocess.CompletedProcess[bytes]


def lines(output: bytes) -> list[EnrichedPosting]:
    return [EnrichedPosting.model_validate_json(line) for line in output.splitlines()]


@pytest.fixture(scope="module")
def csv_run(cli: Cli, starter_registry: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    path = tmp_path_factory.mktemp("score") / "jobs.csv"
    path.write_bytes(CSV)
    return cli("consumer", "score", "--registry", str(starter_registry), "--device", "cpu", "--input", str(path))


def test_each_good_row_is_one_line_of_output_in_order_under_its_row_number(csv_run: Run) -> None:
    found = lines(csv_run.stdout)
    assert [posting.event_id for posting in found] == ["jobs.csv:0:2", "jobs.csv:0:7"]
    assert [posting.posting.posting_id for posting in found] == ["1", "5"]
    assert [posting.occupations[0].onet_code[:7] for posting in found] == ["29-1141", "53-3032"]
    assert all(len(posting.occupations) == 5 for posting in found)


def test_each_bad_row_is_reported_with_its_number_and_the_status_is_1(csv_run: Run) -> None:
    *complaints, summary = sorted(csv_run.stderr.decode().splitlines(), key=lambda line: "postings scored" in line)
    assert [line.partition(": ")[0].rpartition("row ")[2] for line in sorted(complaints, key=lambda c: c[c.index("row ") :])] == [
        "3", "5", "6", "8"
    ]  # fmt: skip
    for reason in ("row 3: not_utf8", "row 5: empty_title", "jobs.csv, row 6: 6 cells under 4 columns", "row 8: no_title"):
        assert any(line.startswith(reason) for line in complaints)
    assert summary.startswith("2 postings scored with version ")
    assert summary.endswith(", 4 bad rows")
    assert csv_run.returncode == 1


def test_quoted_newlines_and_extra_columns_pass_through(csv_run: Run) -> None:
    nurse, driver = (json.loads(line)["posting"] for line in csv_run.stdout.splitlines())
    assert (nurse["body"], nurse["pay rate"]) == ('line one\nline "two"', "41.50")
    assert (driver["title"], driver["pay rate"]) == ("CDL-A Truck Driver", "30")


def test_json_lines_go_from_standard_input_to_standard_output(cli: Cli, starter_registry: Path, csv_run: Run) -> None:
    good = b'{"ID": 1, "title": "Registered Nurse - ICU", "nested": {"kept": [1, null]}}\n'
    stdin = good + b"\n" + b'{"title": "Cook"\n' + b"[]\r\n" + b'{"title": "Line Cook"}'
    done = cli("consumer", "score", "--registry", str(starter_registry), "--device", "cpu", "--top-n", "2", stdin=stdin)
    nurse, cook = lines(done.stdout)
    assert (nurse.event_id, cook.event_id, cook.posting.posting_id) == ("stdin:0:1", "stdin:0:5", "stdin:0:5")
    assert json.loads(done.stdout.splitlines()[0])["posting"]["nested"] == {"kept": [1, None]}
    assert [match.onet_code for match in nurse.occupations] == [m.onet_code for m in lines(csv_run.stdout)[0].occupations[:2]]
    assert [line.split(":")[:2] for line in done.stderr.decode().splitlines()[:2]] == [
        ["row 3", " not_json"],
        ["row 4", " not_an_object"],
    ]
    assert done.returncode == 1


def test_a_delete_is_named_and_is_no_bad_row(starter_registry: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = ['{"title": "Cook"}', '{"id": 7, "removed": true}', '{"op": "d", "before": {"id": 1}, "after": null}']
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    given = ["--registry", str(starter_registry), "--input", f"{tmp_path}/a.jsonl", "--output", f"{tmp_path}/out.jsonl"]
    assert main(["score", *given, "--device", "cpu"]) == 0
    told = capfd.readouterr().err
    assert "row 2: a delete, nothing to score: an advertisement that was removed" in told
    assert "row 3: a delete, nothing to score: a Debezium change" in told
    assert "1 postings scored with version" in told
    assert "0 bad rows, 2 deletes" in told
    assert len(lines((tmp_path / "out.jsonl").read_bytes())) == 1


def test_a_file_without_bad_rows_is_written_where_asked_and_the_status_is_0(starter_registry: Path, tmp_path: Path) -> None:
    output, version = tmp_path / "out.jsonl", json.loads((starter_registry / "CURRENT").read_text())["version"]
    options = ["--format", "tsv", "--output", str(output), "--version", version, "--device", "cpu"]
    stdin = "job_title\tcity\nKöchin, Küche\tBern\n".encode()
    done = run_in_new_interpreter("consumer", "score", "--registry", str(starter_registry), *options, stdin=stdin)
    (posting,) = lines(output.read_bytes())
    assert (posting.posting.title, posting.model.version) == ("Köchin, Küche", version)
    assert (done.returncode, done.stdout) == (0, b"")
    # triton 3.9.0 reports frozen objects as leaks when a process ends; see consumer/registry/loader.py.
    (summary,) = done.stderr.decode().splitlines()
    assert summary == f"1 postings scored with version {version}, 0 bad rows"


def test_a_reader_that_has_seen_enough_gets_no_traceback(starter_registry: Path, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_bytes(b'{"title": "Cook"}\n' * 2_000)
    command = [sys.executable, "-m", "consumer", "score", "--registry", str(starter_registry), "--device", "cpu"]
    command += ["--input", str(tmp_path / "in.jsonl")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout
        assert process.stderr
        assert process.stdout.readline()
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()
    assert process.returncode == 1


def test_columns_are_known_in_any_case_and_the_delimiter_is_found(cli: Cli, starter_registry: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("sep=;\n Job_Title ; JOB_ID;pay\nRegistered Nurse, ICU;n-1;41,50\n")
    done = cli("consumer", "score", "--registry", str(starter_registry), "--device", "cpu", "--input", str(tmp_path / "a.csv"))
    (nurse,) = lines(done.stdout)
    assert (nurse.posting.posting_id, nurse.posting.title) == ("n-1", "Registered Nurse, ICU")
    assert json.loads(done.stdout)["posting"]["pay"] == "41,50"


Score = Callable[..., tuple[int, str]]


@pytest.fixture
def score(starter_registry: Path, capfd: pytest.CaptureFixture[str]) -> Score:
    """Run in this process; returns the exit status and the one line on standard error that is ours."""

    def run(*arguments: str | Path, registry: Path = starter_registry) -> tuple[int, str]:
        status = main(["score", "--registry", str(registry), "--device", "cpu", *map(str, arguments)])
        stderr = capfd.readouterr().err
        assert "Traceback" not in stderr
        (line,) = (line for line in stderr.splitlines() if line.startswith("occustream-consumer: "))
        return status, line

    return run


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "id,job\n1,Cook\n", "a.csv has no column for the title: one of title_raw, title, job_title,"),
        ("a.csv", "", "a.csv is empty"),
        ("a.txt", "title\nCook\n", "a.txt: the ending names no format (.csv, .tsv, .jsonl, .ndjson); say --format"),
    ],
)
def test_an_input_that_is_no_table_is_refused_naming_file_and_fault(
    name: str, content: str, said: str, score: Score, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    status, line = score("--input", tmp_path / name)
    assert status == 2
    assert said in line


@pytest.mark.parametrize(("version", "said"), [("v9", "no artifact at"), ("../v9", "'../v9' is no version name")])
def test_a_version_that_is_not_there_is_refused(version: str, said: str, score: Score, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("title\nCook\n")
    status, line = score("--input", tmp_path / "a.csv", "--version", version)
    assert status == 1
    assert said in line


def test_a_registry_without_a_version_in_service_is_refused_saying_what_to_run(score: Score, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("title\nCook\n")
    status, line = score("--input", tmp_path / "a.csv", registry=tmp_path / "empty")
    assert status == 2
    assert "holds no promoted model version; run occustream-trainer train" in line


def test_an_output_that_cannot_be_written_is_refused(score: Score, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("title\nCook\n")
    status, line = score("--input", tmp_path / "a.csv", "--output", tmp_path / "no" / "folder.jsonl")
    assert (status, line) == (2, f"occustream-consumer: {tmp_path}/no/folder.jsonl cannot be written: No such file or directory")


def test_an_input_is_never_overwritten_by_its_own_output(score: Score, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"title": "Cook"}\n')
    assert score("--input", path, "--output", path)[0] == 2
    assert path.read_text() == '{"title": "Cook"}\n'


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_one_clear_line(score: Score, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("title\nCook\n")
    assert "No space left" in score("--input", tmp_path / "a.csv", "--output", "/dev/full")[1]


def test_rows_before_an_unreadable_place_are_scored(
    starter_registry: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text('title\nCook\nChef\n"Driver')
    assert main(
        ["score", "--registry", str(starter_registry), "--input", f"{tmp_path}/a.csv", "--output", f"{tmp_path}/out.jsonl"]
    )
    assert "a.csv, row 4: unexpected end of data; is a quote missing?" in capfd.readouterr().err
    assert len(lines((tmp_path / "out.jsonl").read_bytes())) == 2
