"""Shows and writes what happens in a run, in the one process that has the losses."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tomli_w
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from safetensors.torch import save_file
from torch import Tensor

from pprs.compare.config import CompareConfig, MethodName
from pprs.compare.methods import METHODS
from pprs.compare.plot import plot_curves
from pprs.compare.run import Point, TrainingRun
from pprs.compare.search import ChosenStepSize, Trial
from pprs.compare.summary import as_data, heading, result_table, search_table, summaries
from pprs.io.folder import Log, to_json
from pprs.io.settings import as_toml


class Reporter:
    """Writes a run's folder while it goes on, with a progress bar if the output is a terminal.

    Args:
        config: the settings.
        folder: an empty folder.
        work: pipeline time of everything that will be reported.
    """

    def __init__(self, config: CompareConfig, folder: Path, work: int) -> None:
        self.config, self.folder = config, folder
        self.console = Console()
        self._log = Log(folder / "metrics.jsonl")
        self._curves: dict[MethodName, list[list[Point]]] = {m: [] for m in config.methods}
        self._choices: dict[MethodName, ChosenStepSize] = {}
        self._start = time.perf_counter()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._bar = self._progress.add_task("starting", total=work)

    def __enter__(self) -> Reporter:
        (self.folder / "config.toml").write_text(tomli_w.dumps(as_toml(self.config)))
        (self.folder / "weights").mkdir()
        self.console.print(f"writing to {self.folder}", highlight=False)
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        self._log.close()

    def trial(self, trial: Trial, share: int) -> None:
        """A candidate of the search has ended; `share` processes each end one at a time."""
        run = trial.run
        self._advance(f"step size search: {_name(run)}", run.steps * run.step_time * share)

    def choices(
        self, trials: Sequence[Trial], choices: Mapping[MethodName, ChosenStepSize]
    ) -> None:
        """The search has ended."""
        for trial in trials:
            self._write("search", trial.run, trial.point)
        self._choices = dict(choices)
        if trials:
            self.console.print(
                "accuracy on held-out training images by step size, [bold]\\[best][/bold]:"
            )
            self.console.print(search_table(self.config, choices))

    def point(self, run: TrainingRun, point: Point) -> None:
        """A run was measured."""
        self._write("train", run, point)
        curves = self._curves[run.method]
        if run.seed == len(curves):
            curves.append([])
        before = curves[run.seed][-1].pipeline_time if curves[run.seed] else 0
        curves[run.seed].append(point)
        self._advance(f"{_name(run)}, seed {run.seed}", point.pipeline_time - before)

    def weights(self, run: TrainingRun, weights: dict[str, Tensor]) -> None:
        """A run has ended."""
        save_file(weights, self.folder / "weights" / f"{run.method}-seed{run.seed}.safetensors")

    def finish(self) -> None:
        """Everything has ended: write the summary and the curves, show the table."""
        self._progress.stop()
        wall = time.perf_counter() - self._start
        result = summaries(self._choices, self._curves)
        summary = as_data(self.config, self._choices, result, wall)
        (self.folder / "summary.json").write_text(to_json(summary, indent=2) + "\n")
        plot_curves(self.config, self._curves, self.folder / "curves.png")
        self.console.print(heading(self.config), highlight=False)
        self.console.print(result_table(result))
        self.console.print(
            f"{wall:.0f} s; {self.folder} has summary.json, metrics.jsonl, curves.png and weights",
            highlight=False,
        )

    def _write(self, phase: str, run: TrainingRun, point: Point) -> None:
        values: dict[str, Any] = asdict(point)
        examples = "held_out" if phase == "search" else "test"
        values |= {f"{examples}_{name}": values.pop(name) for name in ("loss", "accuracy")}
        key = {"phase": phase, "method": run.method, "seed": run.seed, "lr": run.lr}
        self._log.write(key | values)

    def _advance(self, what: str, work: int) -> None:
        self._progress.update(self._bar, description=what, advance=work)


def _name(run: TrainingRun) -> str:
    return f"{METHODS[run.method].label}, step size {run.lr:g}"
