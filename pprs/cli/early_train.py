"""`pprs train`, whose ranks import what they need while this process does the same, and checks."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from multiprocessing import current_process

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
    no_run = not {"-h", "--help"}.isdisjoint(arguments)
    # A script that calls this without a guard, imported by a rank.
    is_rank = "RANK" in os.environ or getattr(current_process(), "_inheriting", False)
    # A pipe to a rank would take the place of a closed one, and what is printed.
    closed = None in (sys.stdin, sys.stdout, sys.stderr)
    if no_run or is_rank or closed or "torch" in sys.modules:
        return 0
    stages = re.search(r" --stages[= ](\d+) ", f" {' '.join(arguments)} ")
    return min(int(stages[1]) if stages else STAGES, os.cpu_count() or 1)
