"""The same code loads any settings class, under its own prefix. For the consumer's own settings see test_settings.py."""

import argparse
from pathlib import Path

import pytest
from pydantic import Field
from pydantic_settings import SettingsConfigDict

from consumer.errors import ConfigError
from consumer.settings_loading import LayeredSettings, add_flags, load_settings, unknown_variables


class Knobs(LayeredSettings):
    """Settings of another program, without a table of Kafka properties."""

    model_config = SettingsConfigDict(env_prefix="OTHER_")

    min_rows: int = Field(3, ge=1, description="rows at least")
    folder: Path | None = Field(None, description="where things are")


def parse(*arguments: str) -> Knobs:
    parser = argparse.ArgumentParser()
    add_flags(parser, Knobs)
    return load_settings(Knobs, vars(parser.parse_args(arguments)))


def test_flags_beat_the_environment_of_the_class_and_that_beats_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "knobs.toml"
    file.write_text("min_rows = 4\nfolder = 'file'\n")
    monkeypatch.setenv("OTHER_CONFIG", str(file))
    assert parse() == Knobs(min_rows=4, folder=Path("file"))
    monkeypatch.setenv("OTHER_MIN_ROWS", "5")
    monkeypatch.setenv("OCCUSTREAM_FOLDER", "of another program")
    assert parse() == Knobs(min_rows=5, folder=Path("file"))
    assert parse("--min-rows", "6", "--folder", "flag") == Knobs(min_rows=6, folder=Path("flag"))


def test_nothing_is_read_from_outside_when_an_object_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_MIN_ROWS", "5")
    assert Knobs().min_rows == 3


def test_only_the_named_settings_get_a_flag() -> None:
    parser = argparse.ArgumentParser()
    add_flags(parser, Knobs, ["min_rows"])
    assert "--min-rows ROWS  rows at least (default: 3)" in " ".join(parser.format_help().split(" " * 5))
    with pytest.raises(SystemExit):
        parser.parse_args(["--folder", "x"])


def test_what_is_wrong_is_named_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "knobs.toml"
    file.write_text("min_row = 4\n")
    with pytest.raises(ConfigError) as caught:
        parse("--config", str(file), "--min-rows", "0")
    assert str(caught.value).startswith("wrong settings: ")
    assert "min_rows: Input should be greater than or equal to 1 (got '0')" in str(caught.value)
    assert "min_row: no such setting; did you mean min_rows?" in str(caught.value)


def test_only_variables_with_the_prefix_of_the_class_are_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER_MINROWS", "1")
    monkeypatch.setenv("OTHER_FOLDER", "x")
    monkeypatch.setenv("OCCUSTREAM_NOTHING", "x")
    assert unknown_variables(Knobs) == ["OTHER_MINROWS is no setting and is ignored; did you mean OTHER_MIN_ROWS?"]
