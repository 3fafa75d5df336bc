"""Fills a settings class: flags beat the environment, the environment beats a TOML file. Knows no single setting.

The same code loads any subclass of `LayeredSettings`; the start of its variables' names is its `env_prefix`.
"""

import argparse
import difflib
import os
import tomllib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from consumer.errors import ConfigError
from consumer.masking import mask_pair, mask_servers


@dataclass(frozen=True, slots=True)
class Table:
    """Marks a setting that holds values by name: a flag gives one of them, and those of all layers are merged by name."""

    what: str
    """What the table holds, in words."""
    dotted: bool = False
    """Whether names have dots. Environment variables have underscores for them; TOML reads a.b as a table in a table."""
    repeats: bool = False
    """Whether a flag that is given again for one name adds a value. If not, it replaces the value."""
    secret: bool = False
    """Whether values may be secret, so that no error shows them."""


Properties = dict[str, str | int | float | bool]
"""The properties of a client library by their full names."""
KafkaTable = Annotated[Properties, Table("librdkafka properties", dotted=True, secret=True)]
"""The type of a setting that holds librdkafka properties by their names."""


class LayeredSettings(BaseSettings):
    """A settings class for `load_settings`. A subclass must set `env_prefix` in its `model_config`."""

    foreign_prefixes: ClassVar[tuple[str, ...]] = ()
    """Variables that start so belong to another program, though they have this class's prefix."""

    model_config = SettingsConfigDict(env_nested_delimiter="__", frozen=True, extra="forbid", env_ignore_empty=True)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings' signature
        init_settings: PydanticBaseSettingsSource,
        *_args: PydanticBaseSettingsSource,
        **_sources: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read neither environment nor file when an object is made: `load_settings` merges them."""
        return (init_settings,)


class _Environment(EnvSettingsSource):
    """Reads the environment, JSON where a value is JSON. A text keeps its quotes: to JMESPath they are part of it."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:  # noqa: ANN401 - as its parent
        try:
            decoded = super().decode_complex_value(field_name, field, value)
        except ValueError as error:
            if field_name not in self.settings_cls.model_fields:  # a value in a table: it is text
                raise
            name = f"{self.env_prefix}{field_name}".upper()
            raise ConfigError(f"{name} is no JSON object: {error}; to set one value of it, write {name}__NAME=VALUE") from error
        return value if isinstance(decoded, str) else decoded


AnySettings = TypeVar("AnySettings", bound=LayeredSettings)


def add_flags(
    parser: argparse.ArgumentParser, settings_class: type[LayeredSettings], names: Collection[str] | None = None
) -> None:
    """Give `parser` a flag for each setting of the class, or only for `names`, and `--config`."""
    add_config_flag(parser, settings_class)
    for name in settings_class.model_fields:
        if names is None or name in names:
            add_flag(parser, settings_class, name)


def add_config_flag(parser: argparse.ArgumentParser, settings_class: type[LayeredSettings]) -> None:
    """Give `parser` the flag `--config`, which names a file of settings."""
    variable = _variable(settings_class, "config")
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"a TOML file of these settings ({variable})")


def add_flag(
    parser: "argparse.ArgumentParser | argparse._ArgumentGroup", settings_class: type[LayeredSettings], name: str
) -> None:
    """Give `parser`, or a group of it, the flag of one setting."""
    field = settings_class.model_fields[name]
    flag = _flag(name)
    if name in tables(settings_class):
        parser.add_argument(flag, action="append", metavar="NAME=VALUE", help=field.description)
    elif field.annotation is bool:
        parser.add_argument(flag, action="store_true", default=None, help=field.description)
    else:
        default = "" if field.is_required() or field.default in (None, frozenset()) else f" (default: {field.default})"
        parser.add_argument(flag, metavar=name.rsplit("_", 1)[-1].upper(), help=f"{field.description}{default}")


def load_settings(settings_class: type[AnySettings], flags: Mapping[str, Any]) -> AnySettings:
    """Return validated settings from parsed flags, the environment and a file.

    `flags` holds text by the names of settings, and the path of the file as `config`. A flag that is None was not given.
    Other entries are ignored. Raises ConfigError, which names everything that is wrong.
    """
    given = parse_flags(settings_class, flags)
    file = flags.get("config") or os.environ.get(_variable(settings_class, "config"))
    try:
        layers = [_read_toml(Path(file)) if file else {}, _Environment(settings_class)(), given]
    except SettingsError as error:
        raise ConfigError(f"the environment is not understood: {error}") from error
    merged: dict[str, Any] = {}
    for layer in layers:
        merged |= layer
    for name in merged.keys() & tables(settings_class).keys():
        merged[name] = _merge_table(name, layers, tables(settings_class)[name])
    return make_settings(settings_class, merged)


def parse_flags(settings_class: type[LayeredSettings], flags: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that parsed flags give, not validated yet. Raises ConfigError for a table's flag without NAME=VALUE."""
    given = {name: value for name, value in flags.items() if name in settings_class.model_fields and value is not None}
    for name, table in tables(settings_class).items():
        if name in given:
            given[name] = _parse_table_flags(_flag(name), given[name], table)
    return given


def make_settings(settings_class: type[AnySettings], values: Mapping[str, Any]) -> AnySettings:
    """Return validated settings. Raises ConfigError, which names everything that is wrong."""
    try:
        return settings_class(**values)
    except ValidationError as error:
        raise ConfigError(_explain(error, settings_class)) from error


def unknown_variables(settings_class: type[LayeredSettings]) -> list[str]:
    """Return a warning for each variable that has the prefix but names no setting, with the nearest name that does."""
    known = [_variable(settings_class, name) for name in (*settings_class.model_fields, "config")]
    entries = tuple(f"{_variable(settings_class, name)}__" for name in tables(settings_class))
    warnings = []
    for variable in os.environ:
        if not variable.startswith(_variable(settings_class, "")) or variable in known:
            continue
        if variable.startswith((*entries, *settings_class.foreign_prefixes)):
            continue
        near = difflib.get_close_matches(variable, known, 1)
        warnings.append(f"{variable} is no setting and is ignored" + (f"; did you mean {near[0]}?" if near else ""))
    return warnings


def _variable(settings_class: type[LayeredSettings], name: str) -> str:
    """Return the name of a setting's environment variable."""
    return f"{settings_class.model_config['env_prefix']}{name.upper()}"


def _flag(name: str) -> str:
    """Return the flag of a setting."""
    return f"--{name.replace('_', '-')}"


def tables(settings_class: type[LayeredSettings]) -> dict[str, Table]:
    """Return the settings of a class that are tables, by name."""
    return {
        name: mark for name, field in settings_class.model_fields.items() for mark in field.metadata if isinstance(mark, Table)
    }


def _parse_table_flags(flag: str, arguments: Sequence[str], table: Table) -> dict[str, Any]:
    """Return the values that NAME=VALUE gives, each time the flag is given. Raises ConfigError."""
    values: dict[str, Any] = {}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        if not equals or not name:
            raise ConfigError(f"{flag} takes NAME=VALUE, not {mask_pair(argument) if table.secret else repr(argument)}")
        spelled = _spell(name, table)
        values[spelled] = [*values.get(spelled, []), value] if table.repeats else value
    return values


def _merge_table(name: str, layers: Sequence[Mapping[str, Any]], table: Table) -> dict[str, Any]:
    """Merge the values of all layers, name by name. Raises ConfigError."""
    merged: dict[str, Any] = {}
    for layer in layers:
        values = layer.get(name) or {}
        if not isinstance(values, dict):
            raise ConfigError(f"{name}: a table of {table.what} is expected, not {type(values).__name__}")
        merged |= _flatten(values, table)
    return merged


def _flatten(values: Mapping[str, Any], table: Table, prefix: str = "") -> dict[str, Any]:
    """Return values by their full names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        path = f"{prefix}{_spell(name, table)}"
        flat |= _flatten(value, table, f"{path}.") if table.dotted and isinstance(value, dict) else {path: value}
    return flat


def _spell(name: str, table: Table) -> str:
    return name.lower().replace("_", ".") if table.dotted else name.lower()


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"--config {path} cannot be read: {error}") from error


def _explain(error: ValidationError, settings_class: type[LayeredSettings]) -> str:
    """Return everything that is wrong, in one line and in the words of the settings."""
    faults = []
    for fault in error.errors(include_url=False):
        name = ".".join(str(part) for part in fault["loc"] if part != "[key]")
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            near = difflib.get_close_matches(name, settings_class.model_fields, 1)
            message = "no such setting" + (f"; did you mean {near[0]}?" if near else "")
        if fault["type"] == "missing":
            message = f"is required: give {_flag(name)}, {_variable(settings_class, name)}, or {name} in the file"
        # What is missing or unknown has no value of its own.
        secret = any(table.secret and name.startswith(setting) for setting, table in tables(settings_class).items())
        hidden = not name or secret or fault["type"] in ("extra_forbidden", "missing")
        value = "" if hidden else f" (got {fault['input']!r})"
        faults.append(mask_servers(f"{name}: {message}{value}" if name else message))
    return "wrong settings: " + "; ".join(faults)
