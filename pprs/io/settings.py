"""Settings of a command, a dataclass, in a TOML file."""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from pprs._arguments import meant

T = TypeVar("T")

USED = "used"
"""A table of a run's file that sets nothing: what was used where nothing was set, and versions."""
RESUMED = "resumed_after"
"""In that table: the steps after which a run was interrupted and has gone on."""

# Far beyond what is of use; the numbers of microbatches that fit are found among all smaller ones.
MOST_SAMPLES = 1_000_000


def path_option(
    option: str, program: str, arguments: Sequence[str]
) -> tuple[Path | None, list[str]]:
    """Take an option that names a file or folder out of a command line.

    Returns:
        The path, if the option is there, and the other arguments.
    """
    parser = argparse.ArgumentParser(prog=program, add_help=False, allow_abbrev=False)
    parser.add_argument(option, type=Path)
    known, rest = parser.parse_known_args(arguments)
    return getattr(known, option.strip("-")), rest


def as_toml(settings: Any) -> dict[str, Any]:
    """What a TOML file holds for settings; unset ones are left out."""
    values = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(settings).items()}
    return {k: v for k, v in values.items() if v is not None}


def read_settings(kind: type[T], path: Path) -> T:
    """Read settings from a TOML file; what it does not name keeps its default.

    Args:
        kind: a dataclass, whose fields are the keys.
        path: of the file.

    Raises:
        ValueError: if the file cannot be read, or holds an unknown key, a value of a wrong type, or
            settings that do not fit each other.
    """
    try:
        values = tomllib.loads(path.read_text())
    except OSError as error:
        raise ValueError(f"cannot read the config file {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid TOML: {error}") from None
    if isinstance(values.get(USED), dict):
        del values[USED]
    try:
        return kind(**checked(kind, values))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def checked(kind: type[Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Values of the types that the fields of a dataclass have.

    Raises:
        ValueError: for an unknown key, or a value of a wrong type.
    """
    return {key: _checked(kind, key, value) for key, value in values.items()}


def _checked(kind: type[Any], key: str, value: Any) -> Any:
    from typeguard import TypeCheckError, check_type

    names = [field.name for field in fields(kind)]
    if key not in names:
        hint = meant(key, names) or f": there are {', '.join(names)}"
        raise ValueError(f"unknown key {key!r}{hint}")
    hint = get_type_hints(kind)[key]
    if isinstance(value, list):
        value = tuple(value)
    if isinstance(value, str) and Path in (hint, *getattr(hint, "__args__", ())):
        if "\0" in value:
            raise ValueError(f"{key} must be a path, got {value!r}")
        value = Path(value)
    try:
        if (
            isinstance(value, bool) and hint is not bool
        ):  # Python counts it as an integer, a user does not
            raise TypeCheckError("is a boolean")
        return check_type(value, hint)
    except TypeCheckError:
        wanted = str(hint).replace("typing.", "").replace("pathlib.", "")
        wanted = hint.__name__ if isinstance(hint, type) else wanted
        raise ValueError(f"{key} must be {wanted}, got {type(value).__name__} {value!r}") from None
