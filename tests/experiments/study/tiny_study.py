"""`pprs-study` with a tiny study, for tests that need a process of its own."""

import sys

import pprs_experiments.study.command
from experiments.study.small import SmallTask, small_cell
from pprs_experiments.cli import main
from pprs_experiments.study.job import Effort

EFFORT = Effort(trials=2, tuning_seeds=1, seeds=2, points=2)


def tiny(quick):
    """Two tasks; the full study takes long."""
    steps = 10 if quick else 100_000
    return [
        small_cell(steps=steps),
        small_cell(name="small/deep", task=SmallTask(depth=5), steps=steps, questions=(6,)),
    ], EFFORT


if __name__ == "__main__":
    pprs_experiments.study.command.plan = tiny
    sys.exit(main(sys.argv[1:]))
