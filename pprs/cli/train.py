"""`pprs train`: train a model of the user's; its flags are in `pprs/training/config.py`.

By default they come from a file, or from an old run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path

from pprs._processes import EarlyProcesses
from pprs.cli.dispatch import say
from pprs.io.settings import path_option, read_settings
from pprs.pipeline import LaunchError
from pprs.training import Interrupted, train
from pprs.training.config import TrainConfig
from pprs.training.resume import run_folder

_PROGRAM = "pprs train [--config FILE]"
# Each says how long to train; the one that is given replaces that of the file.
_LENGTHS = {"--steps": "epochs", "--epochs": "steps"}


def main(arguments: Sequence[str], early: EarlyProcesses | None = None) -> int:
    """Run the command, in processes that were started for it, if any; returns its exit code."""
    try:
        train(parse(arguments), early)
    except ValueError as error:
        return say(str(error), 2)
    except LaunchError as error:
        return say(str(error), 1)
    except Interrupted as error:
        return say(str(error), 128 + error.signal)
    return 0


def parse(arguments: Sequence[str]) -> TrainConfig:
    """The settings that a command line asks for.

    `--config FILE` and `--resume RUN` name a file of defaults; the flags beside them win.

    Args:
        arguments: those after `pprs train`.

    Raises:
        ValueError: for settings that are wrong or do not fit each other.
    """
    import tyro

    file, rest = path_option("--config", _PROGRAM, arguments)
    resume, _ = path_option("--resume", _PROGRAM, rest)
    if file and resume:
        raise ValueError("--config and --resume both give the defaults: pass one of them")
    path = run_folder(resume) / "config.toml" if resume else file
    default = _defaults(path, rest) if path else tyro.MISSING_NONPROP
    return tyro.cli(TrainConfig, prog=_PROGRAM, args=rest, default=default)


class _Unchecked(TrainConfig):
    def __post_init__(self) -> None:
        """The flags may still add what a file lacks."""


def _defaults(path: Path, flags: Sequence[str]) -> TrainConfig:
    read = read_settings(_Unchecked, path)
    # Not an _Unchecked, of which tyro would make another.
    default = object.__new__(TrainConfig)
    for field in fields(TrainConfig):
        object.__setattr__(default, field.name, getattr(read, field.name))
    for flag, other in _LENGTHS.items():
        if any(word.partition("=")[0] == flag for word in flags):
            object.__setattr__(default, other, None)
    return default
