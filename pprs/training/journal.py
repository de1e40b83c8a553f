"""The log of a run, in the process that has the losses."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import tomli_w
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from safetensors.torch import save_file
from torch import Tensor

from pprs.io.files import replacing
from pprs.io.folder import Log, to_json
from pprs.io.settings import RESUMED, USED
from pprs.training.config import TrainConfig
from pprs.training.ending import SUMMARY
from pprs.training.resume import cut_back, kept_settings, resumptions

WEIGHTS = "weights.safetensors"

# Without a progress bar, a line comes after this part of the run, or this many seconds.
_LINES, _SECONDS = 20, 60.0


class Journal:
    """Writes a run's folder while it goes on, with a progress bar if the output is a terminal.

    Args:
        config: the settings.
        folder: of the run; what it has of later steps than `step` is removed.
        step: how many were taken before.
        steps: of the whole run.
        used: what the settings have become, as `as_used` gives it.
    """

    def __init__(
        self, config: TrainConfig, folder: Path, step: int, steps: int, used: Mapping[str, Any]
    ) -> None:
        self.folder, self._config, self._steps = folder, config, steps
        self.console = Console()
        self._metrics = folder / "metrics.jsonl"
        with self._writing(self._metrics):
            records = cut_back(self._metrics, step)
            file = folder / "config.toml"
            if step:
                used = {**used, RESUMED: [*resumptions(file, step), step]}
            with replacing(file) as partial:
                partial.write_text(tomli_w.dumps({**kept_settings(config), USED: used}))
            (folder / SUMMARY).unlink(missing_ok=True)
            self._log = Log(self._metrics)
        self.last: dict[str, Any] = records[-1] if records else {}
        self._board = _board(folder, step) if config.tensorboard else None
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._bar = self._progress.add_task("training", total=steps, completed=step)
        self._said, self._said_at = step, time.monotonic()
        self._ended_with: int | None = None  # the step of the last line

    def __enter__(self) -> Journal:
        done = self._progress.tasks[0].completed
        after = f", going on after step {done:.0f} of {self._steps}" if done else ""
        self.say(f"writing to {self.folder}{after}")
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        if self._board is not None:
            self._board.close()
        with suppress(OSError):  # what could not be written was said before
            self._log.close()

    def step(self, record: Mapping[str, Any]) -> None:
        """Write what is known of a step."""
        self.last = dict(record)
        with self._writing(self._metrics):
            self._log.write(record)
        if self._board is not None:
            for name, value in record.items():
                if name != "step" and value is not None:
                    self._board.add_scalar(name, value, record["step"])
            self._board.flush()
        self._progress.update(
            self._bar, completed=record["step"], description=f"loss {record['loss']:.4g}"
        )
        evaluated = any(name.startswith(("validation_", "training_")) for name in record)
        if evaluated or (not self.console.is_terminal and self._is_time(record["step"])):
            self._said, self._said_at = record["step"], time.monotonic()
            self._say_step()

    def finish(self, summary: Mapping[str, Any], weights: Mapping[str, Tensor] | None) -> None:
        """Write how the run ended and, if it has reached its end, its weights."""
        if weights is not None:
            path = self.folder / WEIGHTS
            with self._writing(path), replacing(path) as partial:
                save_file(dict(weights), partial)
        path = self.folder / SUMMARY
        text = to_json({"config": kept_settings(self._config), **summary}, indent=2)
        with self._writing(path), replacing(path) as partial:
            partial.write_text(text + "\n")
        report = self._report()
        if weights is not None:
            self._progress.stop()
            if self.last and self._ended_with != self.last["step"]:
                self._say_step()
            self.say(
                f"{self.folder} has {WEIGHTS}, {SUMMARY}, metrics.jsonl, config.toml, "
                f"checkpoints{report}"
            )

    def _report(self) -> str:
        """Write the report and return its name; whatever goes wrong there ends no training."""
        from pprs.report import write

        try:
            return f" and {write(self.folder).name}"
        except Exception as error:
            self.say(f"there is no report: {str(error) or type(error).__name__}")
            return ""

    def say(self, sentence: str) -> None:
        """Print a line."""
        self.console.print(sentence, highlight=False, markup=False, soft_wrap=True)

    def _say_step(self) -> None:
        self._ended_with = self.last["step"]
        self.say(_line(self.last, self._steps))

    def _is_time(self, step: int) -> bool:
        share = step * _LINES // self._steps > self._said * _LINES // self._steps
        due = share or time.monotonic() - self._said_at > _SECONDS
        return due and step < self._steps  # the end has a line of its own

    @contextmanager
    def _writing(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            first = "make room there, then" if full else "once it can be written,"
            raise RuntimeError(
                f"cannot write {path}: {error.strerror or error}; {first} go on with: pprs train "
                f"--resume {self.folder}"
            ) from error


def _board(folder: Path, step: int) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    # What was written of later steps does not count.
    return SummaryWriter(folder, purge_step=step + 1)


def _line(record: Mapping[str, Any], steps: int) -> str:
    shown = [
        f"{name.replace('_', ' ')} {value:.4g}"
        for name, value in record.items()
        if name.endswith(("loss", "accuracy"))
    ]
    return ", ".join([f"step {record['step']} of {steps}", f"epoch {record['epoch']}", *shown])
