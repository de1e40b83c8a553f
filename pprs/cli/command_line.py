"""The commands of `pprs`, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module

from pprs._imports import first_imports
from pprs.cli.dispatch import Command, dispatch, say

USAGE = """usage: pprs <command> [options]

commands:
  train      train your own model on your own data through a pipeline
  compare    should you smooth? train your own model by several methods at equal cost, and
             get a sentence as the answer
  report     what runs have found, on one page with their curves
  plan       what a step would take, by schedule, microbatches, perturbations and devices
  bounds     how long a precision takes, at least and by method, for given constants
  simulate   run methods on a worst-case function over depths of the pipeline
  trace      where the time of a recorded pipeline went, and a picture of it
  explore    a page to try limits and schedules in, with a run of your own laid over them

`pprs <command> --help` lists a command's options, `pprs --version` prints the version."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code, see `dispatch`."""
    return dispatch("pprs", USAGE, _COMMANDS, arguments, install="pip install 'pprs[train]'")


def _imported(name: str) -> Command:
    """A command that has a file of its own here, which is imported when it is run."""

    def run(arguments: Sequence[str]) -> int:
        with first_imports():
            command = import_module(f"pprs.cli.{name}")
        code: int = command.main(arguments)
        return code

    return run


def _moved(name: str, now: str) -> Command:
    return lambda _: say(f"`pprs {name}` is no longer a command: {now}", 2)


_COMMANDS: Mapping[str, Command] = {
    "train": _imported("early_train"),
    **{
        name: _imported(name)
        for name in ["compare", "plan", "report", "bounds", "simulate", "trace", "explore"]
    },
    "bench": _moved(
        "bench", "call `python -m benchmarks.gradient.main` or `... .pipeline.main` in a clone"
    ),
    "study": _moved("study", "call `pprs-study`, after `pip install ./experiments` in a clone"),
}
