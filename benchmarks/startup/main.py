"""How long until `pprs train` trains: new processes, timed until their first step begins."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch

from benchmarks.report import processor
from benchmarks.startup.digits import FOLDER
from pprs.cli.run_command import configured
from pprs.io.files import check_file, write_json

_TASK = Path(__file__).with_name("digits.py")
_IMPORTS = ("torch", "torch.distributed.pipelining", "pprs", "pprs.smoothing, pprs.optim")
UNIT = "import torch.distributed.pipelining"
STEP, END = "first step", "end"


@dataclass(frozen=True)
class StartupBench:
    """Time imports, and `pprs train` until its first step begins, in new processes."""

    repeats: int = 7
    """How often each is timed, one after the other in each repeat; the table shows medians."""
    json: Path | None = None
    """File to write all figures to."""

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ValueError(f"repeats must be at least 1, got {self.repeats}")
        check_file(self.json)


def main(arguments: Sequence[str]) -> int:
    """Run it from a command line; returns its exit code."""
    return configured("benchmarks.startup.main", StartupBench, bench_startup, arguments)


def bench_startup(config: StartupBench) -> None:
    """Run the benchmark, print its table, and write the figures where the settings say."""
    seconds: dict[str, list[float]] = {}
    for _ in range(config.repeats):
        for name, taken in once().items():
            seconds.setdefault(name, []).append(taken)
    print("\n".join(table(seconds)))
    if config.json is not None:
        machine = {
            "processor": processor(),
            "cores": os.cpu_count(),
            "torch": torch.__version__,
        }
        write_json(config.json, {"machine": machine, "seconds": seconds})


def once() -> dict[str, float]:
    """Seconds of everything, by what it is."""
    found = {f"import {names}": imported(names) for names in _IMPORTS}
    for data in ("read", "load"):
        for stages in (1, 2):
            for until, taken in trained(data, stages).items():
                found[f"train, data {data}, {_counted(stages)}, {until}"] = taken
    return found


def imported(names: str) -> float:
    """Seconds that a new interpreter takes for an import, from its start to its end."""
    start = time.monotonic()
    subprocess.run([sys.executable, "-c", f"import {names}"], check=True)
    return time.monotonic() - start


def trained(data: str, stages: int) -> dict[str, float]:
    """Seconds until the last rank begins its first step, and until a run of one step has ended.

    Args:
        data: the function of the task that gives them.
        stages: a process for each.
    """
    with TemporaryDirectory() as folder:
        functions = ["--model", f"{_TASK}:model", "--data", f"{_TASK}:{data}"]
        run = ["--stages", str(stages), "--steps", "1", "--out", str(Path(folder, "runs"))]
        start = time.monotonic()
        subprocess.run(
            [sys.executable, "-m", "pprs", "train", *functions, *run],
            check=True,
            stdout=subprocess.DEVNULL,
            env=os.environ | {FOLDER: folder},
        )
        end = time.monotonic()
        begun = [float(Path(folder, str(rank)).read_text()) for rank in range(stages)]
    return {STEP: max(begun) - start, END: end - start}


def table(seconds: Mapping[str, Sequence[float]]) -> list[str]:
    """Lines of a table: medians, and the medians of each repeat's ratio to the unit's time."""
    lines = [f"| what | seconds | over `{UNIT}` |", "|---|---|---|"]
    for name, taken in seconds.items():
        ratio = median(t / unit for t, unit in zip(taken, seconds[UNIT], strict=True))
        lines.append(f"| {name} | {median(taken):.2f} | {ratio:.2f} |")
    return lines


def _counted(stages: int) -> str:
    return "1 stage" if stages == 1 else f"{stages} stages"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
