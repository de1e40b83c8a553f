"""Runs that are started as a process of their own: `runs.py FOLDER SILENCE`."""

import os
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist

from pprs.pipeline import LaunchInterrupted, launch
from pprs.pipeline.launcher import Stopping, report_progress

GRACE = 3600  # seconds: no test waits for its end
MOST = 100_000  # steps, far more than any test lets it take


def trains(folder):
    """Steps until a signal; then all ranks write the step at which they leave."""
    rank, step = dist.get_rank(), 0
    with Stopping() as stopping:
        while not (received := stopping.agreed()) and step < MOST:
            step += 1
            report_progress([rank], step)
            dist.all_reduce(torch.ones(1))
            if step == 1:
                Path(folder, f"pid-{rank}").write_text(str(os.getpid()))
            time.sleep(0.005)  # what a step takes
    Path(folder, f"left-{rank}").write_text(f"{received!r} at {step}")


if __name__ == "__main__":
    try:
        launch(trains, 2, sys.argv[1], silence=float(sys.argv[2]), grace=GRACE)
    except LaunchInterrupted as error:
        print(error, file=sys.stderr)
        sys.exit(128 + error.signal)
