"""How many draws are free: the time of a gradient of K·m rows over a plain one of m rows."""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from benchmarks.gradient.cases import CASES
from benchmarks.gradient.main import Way, timed, ways
from benchmarks.report import processor
from pprs.cli.run_command import configured
from pprs.io.files import check_file, write_json

BATCHES = (1, 2, 8)
DRAWS = (1, 2, 4, 8, 16, 32, 64, 128)
_WAYS = ("plain", "shared", "captured")


@dataclass(frozen=True)
class DrawsBench:
    """Time gradients of K draws of m examples by an MLP 784-2048×3-10, three ways."""

    repeats: int = 7
    """How often each is timed; the table shows minima, which other programs disturb least."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where."""
    json: Path | None = None
    """File to write all figures to."""

    def __post_init__(self) -> None:
        if self.repeats < 1:
            raise ValueError(f"repeats must be at least 1, got {self.repeats}")
        check_file(self.json)


def main(arguments: Sequence[str]) -> int:
    """Run it from a command line; returns its exit code."""
    return configured("benchmarks.gradient.draws", DrawsBench, bench_draws, arguments)


def bench_draws(config: DrawsBench) -> None:
    """Run the benchmark, print its table, and write the figures where the settings say."""
    rows = measured(torch.device(config.device), config.repeats)
    machine = {
        "device": torch.cuda.get_device_name() if config.device == "cuda" else processor(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }
    print("\n".join(table(rows)))
    if config.json is not None:
        write_json(config.json, {"machine": machine, "rows": rows})


def measured(device: torch.device, repeats: int, seconds: float = math.inf) -> list[dict[str, Any]]:
    """The shortest seconds of every pass; each repeat runs all of them, one after the other.

    Args:
        device: where.
        repeats: how often.
        seconds: after which it ends, with those that have run.
    """
    case = CASES["mlp-2048"]
    # Of one thread the processor's time, in which other programs have less part.
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    network, end = case.network().to(device), time.perf_counter() + seconds
    rows: list[dict[str, Any]] = [
        {"batch": m, "samples": k, **dict.fromkeys(_WAYS, math.inf)} for m in BATCHES for k in DRAWS
    ]
    by_row: dict[int, dict[str, Way]] = {}
    for _ in range(repeats):
        for number, row in enumerate(rows):
            if time.perf_counter() > end and rows[0]["plain"] < math.inf:
                return [row for row in rows if row["plain"] < math.inf]
            if number not in by_row:
                sized = dataclasses.replace(case, batch=row["batch"], samples=row["samples"])
                by_row[number] = ways(sized, device, network)
            for way in _WAYS:
                row[way] = min(row[way], timed(by_row[number][way], device, clock))
    return rows


def table(rows: Iterable[dict[str, Any]]) -> list[str]:
    """Lines of a table, times of all ways over that of a plain pass of m rows."""
    rows = list(rows)
    draws = list(dict.fromkeys(row["samples"] for row in rows))
    lines = [f"| m | {' | '.join(f'K {k}' for k in draws)} |", "|---" * (len(draws) + 1) + "|"]
    for batch in dict.fromkeys(row["batch"] for row in rows):
        own = [row for row in rows if row["batch"] == batch]
        base = own[0]["plain"]
        cells = [", ".join(f"{row[way] / base:.2f}" for way in _WAYS) for row in own]
        lines.append(f"| {batch} | {' | '.join(cells)} |")
    return lines


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
