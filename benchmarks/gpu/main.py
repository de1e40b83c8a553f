"""All that is to be known of a machine with one CUDA device, in a few minutes.

`python -m benchmarks.gpu.main --folder gpu` times gradients, runs the tests of smoothing there,
trains one stage over NCCL, and writes `gpu.json` and `gpu.md`.
"""

from __future__ import annotations

import dataclasses
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.gradient.cases import CASES, Case, Transformer
from benchmarks.gradient.draws import measured, table
from benchmarks.gradient.main import Way, peak_of, timed, ways
from benchmarks.gradient.profiling import launches
from pprs.cli.run_command import configured
from pprs.io.files import write_json
from pprs.smoothing import force_way

_ROOT = Path(__file__).parent.parent.parent
_TESTS = ("tests/smoothing", "tests/optim", "tests/pipeline/test_cuda.py")
_CAPTION = (
    "Time of one gradient of K·m rows over a plain one of m rows, MLP 784-2048×3-10: plain, "
    "smoothed, captured"
)
_ENOUGH = 2.0  # seconds that a way is timed for


@dataclass(frozen=True)
class GpuBench:
    """Test and time smoothing on this machine's CUDA device."""

    folder: Path = Path("gpu")
    """Where the figures, the table and the tests' log go."""
    device: str = "cuda"
    """Where; "cpu" only shows that the program runs."""
    repeats: int = 10
    """How often each way is timed; the table shows medians."""
    tests: bool = True
    """Run the tests."""
    workers: int = 8
    """Processes that run them."""
    seconds: float = 200.0
    """After so long no further case of the first table is begun; for the second it is a quarter."""
    minutes: float = 7.0
    """After so long the tests are stopped, and all ends."""


def main(arguments: Sequence[str]) -> int:
    """Run it from a command line, and give the code that the process ends with."""
    return configured("benchmarks.gpu.main", GpuBench, bench_gpu, arguments)


def bench_gpu(config: GpuBench) -> None:
    """Write `gpu.json` and `gpu.md`, after each part what is known by then."""
    config.folder.mkdir(parents=True, exist_ok=True)
    device, begun = torch.device(config.device), time.perf_counter()
    found: dict[str, Any] = {"machine": _machine(device), "gradients": [], "draws": []}
    limit = time.perf_counter() + config.seconds
    for row in _gradients(config, device):
        found["gradients"].append(row)
        _write(config, found)
        print(row, flush=True)
        if time.perf_counter() > limit:
            break
    found["draws"] = measured(device, config.repeats, config.seconds / 4)
    _write(config, found)
    if config.tests:
        found["tests"] = _tested(config, 60 * config.minutes - (time.perf_counter() - begun))
        _write(config, found)


def _write(config: GpuBench, found: Mapping[str, Any]) -> None:
    write_json(config.folder / "gpu.json", found)
    (config.folder / "gpu.md").write_text(report(found), encoding="utf-8")


def _machine(device: torch.device) -> dict[str, Any]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {"device": name, "torch": torch.__version__, "python": sys.version.split()[0]}


def _tested(config: GpuBench, seconds: float) -> str:
    """The last line that pytest says, such as "700 passed in 60.00s", if it ends in time."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:benchmark", "-p", "no:cacheprovider"]
    options = ["-n", str(config.workers), "--tb=short", "--device", config.device]
    log = config.folder / "tests.log"
    with log.open("w", encoding="utf-8") as file:
        try:
            subprocess.run(
                [*command, *options, *_TESTS], cwd=_ROOT, stdout=file, check=False, timeout=seconds
            )
        except subprocess.TimeoutExpired:
            return f"not done after {seconds:.0f} s, see {log.name}"
    return log.read_text(encoding="utf-8").splitlines()[-1]


def _cases() -> Mapping[str, Case]:
    """Those of the gradient benchmark, and a wider transformer in bfloat16."""
    wide = dataclasses.replace(
        CASES["transformer"], network=_wide_transformer, autocast=torch.bfloat16, example=(64, 1024)
    )
    grid = ((1, 16), (1, 64), (2, 32), (8, 16))
    more = {
        f"transformer-1024 bf16, m {m}, K {k}": dataclasses.replace(wide, batch=m, samples=k)
        for m, k in grid
    }
    return {**{str(name): case for name, case in CASES.items()}, **more}


def _wide_transformer() -> nn.Module:
    return Transformer(width=1024, layers=12)


def _gradients(config: GpuBench, device: torch.device) -> Iterator[dict[str, Any]]:
    """Ratios to a plain pass of as many rows, of the way that is chosen and of each forced one."""
    for name, case in _cases().items():
        network = case.network().to(device)
        by_name = ways(case, device, network)
        runs = {way: by_name[way] for way in ("plain", "recorded", "shared", "captured", "example")}
        runs |= dict.fromkeys(("implicit", "materialised"), by_name["shared"])
        runs = {way: run for way, run in runs.items() if _can(way, run)}
        seconds: dict[str, list[float]] = {way: [] for way in runs}
        for repeat in range(-2, config.repeats):  # the first ones warm up
            for way, run in runs.items():
                if sum(seconds[way]) > _ENOUGH:
                    continue
                with _forced(way):
                    spent = timed(run, device)
                if repeat >= 0:
                    seconds[way].append(spent)
        medians = {way: statistics.median(spent) for way, spent in seconds.items()}
        row: dict[str, Any] = {"case": name, "seconds": medians}
        if device.type == "cuda":
            named = [way for way in runs if way in by_name]
            memory = {way: peak_of(by_name[way], network, device) for way in named}
            row["memory"] = memory["shared"] / memory["plain"]
            row["kernels"] = {way: launches(by_name[way]) for way in memory}
        yield row


def _can(way: str, run: Way) -> bool:
    """Whether it can be timed: one way that fails does not take the others with it."""
    try:
        with _forced(way):
            run()
    except Exception:
        print(f"{way} fails:", traceback.format_exc(limit=-3), flush=True)
        return False
    return True


def _forced(way: str) -> Any:
    return force_way(way) if way in ("implicit", "materialised") else nullcontext()  # type: ignore[arg-type]


def report(found: Mapping[str, Any]) -> str:
    """The table of `gpu.md`."""
    machine = found["machine"]
    lines = [f"## {machine['device']}, torch {machine['torch']}, Python {machine['python']}", ""]
    if "tests" in found:
        lines += [f"Tests on the device: {found['tests']}", ""]
    lines += [
        "| case | plain | plain recorded | captured | shared | example | all implicit "
        "| all materialised | peak memory | kernels, plain / shared |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in found["gradients"]:
        seconds = row["seconds"]
        ratios = [
            f"{seconds[way] / seconds['plain']:.2f}" if way in seconds else "failed"
            for way in ("recorded", "captured", "shared", "example", "implicit", "materialised")
        ]
        kernels = row.get("kernels", {})
        count = " / ".join(f"{kernels[way]['count']:.0f}" for way in ("plain", "shared") if kernels)
        memory = f"{row['memory']:.2f}" if "memory" in row else ""
        cells = [row["case"], f"{seconds['plain'] * 1e3:.2f} ms", *ratios, memory, count]
        lines.append(f"| {' | '.join(cells)} |")
    if found["draws"]:
        lines += [
            "",
            _CAPTION,
            "",
        ]
        lines += table(found["draws"])
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
