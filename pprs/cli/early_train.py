"""`pprs train`, whose ranks import what they need while this process does the same, and checks."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from multiprocessing import current_process
from pathlib import Path

from pprs._imports import first_imports
from pprs._processes import early_processes

_MODULES = ("torch.distributed.pipelining", "pprs.training.run")  # of every rank

STAGES = 2  # by default, which is needed before the settings can be imported


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    with early_processes(_ranks(arguments), _MODULES) as early:
        with first_imports():
            from pprs.cli import train
        return train.main(arguments, early)


def _ranks(arguments: Sequence[str]) -> int:
    """How many ranks to start: at least one is needed, and the others may turn out to be not."""
    no_run = not arguments or not {"-h", "--help"}.isdisjoint(arguments)
    # A script that calls this without a guard, imported by a rank.
    is_rank = "RANK" in os.environ or getattr(current_process(), "_inheriting", False)
    # A pipe to a rank would take the place of a closed one, and what is printed.
    closed = None in (sys.stdin, sys.stdout, sys.stderr)
    if no_run or is_rank or closed or "torch" in sys.modules or _misspelt(arguments):
        return 0
    stages = re.search(r" --stages[= ](\d+) ", f" {' '.join(arguments)} ")
    return min(int(stages[1]) if stages else STAGES, os.cpu_count() or 1)


def _misspelt(arguments: Sequence[str]) -> bool:
    """Whether there is an option that does not exist, which is said sooner without ranks.

    The names are read from the source, since to import the settings is to import torch.
    """
    try:
        source = (Path(__file__).parents[1] / "training" / "config.py").read_text()
    except OSError:  # packed in some other way
        return False
    known = {"config", *re.findall(r"^    (\w+):", source, re.MULTILINE)}
    words = [word[2:].partition("=")[0].replace("-", "_") for word in arguments if word[:2] == "--"]
    return not all({word, word.removeprefix("no_")} & known for word in words)
