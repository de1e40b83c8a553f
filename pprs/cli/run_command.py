"""Run a command whose options are the fields of a class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from pprs.cli.dispatch import say

T = TypeVar("T")


def configured(
    program: str, config: type[T], run: Callable[[T], object], arguments: Sequence[str]
) -> int:
    """Run a command in this process; returns its exit code."""
    import tyro

    try:
        run(tyro.cli(config, prog=program, args=arguments))
    except ValueError as error:
        return say(str(error), 2)
    return 0


def launched(
    program: str, config: type[T], run: Callable[[T], object], arguments: Sequence[str]
) -> int:
    """As `configured`, for a command that starts processes and reads a TOML file."""
    import tyro

    from pprs.io.settings import path_option, read_settings
    from pprs.pipeline import LaunchError, LaunchInterrupted

    try:
        path, rest = path_option("--config", program, arguments)
        default = read_settings(config, path) if path else config()
        run(tyro.cli(config, prog=f"{program} [--config FILE]", args=rest, default=default))
    except ValueError as error:
        return say(str(error), 2)
    except LaunchError as error:
        return say(str(error), 1)
    except LaunchInterrupted as error:
        return say(f"{error}; what was logged so far is kept", 128 + error.signal)
    return 0
