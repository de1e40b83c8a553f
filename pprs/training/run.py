"""The loop in a rank: step, evaluate, log, save, until the end or a signal."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch.distributed as dist

from pprs.io.folder import claim
from pprs.io.settings import USED
from pprs.pipeline import Checkpoints, Stopping, check_same, restarts, resume_run, save_run
from pprs.pipeline.communication import broadcast
from pprs.training.config import TrainConfig
from pprs.training.journal import Journal
from pprs.training.learning import Learning
from pprs.training.rank_log import RankLog
from pprs.training.record import as_used
from pprs.training.refusal import share
from pprs.training.resume import CHECKPOINTS, abandoned, numbers_of, saved_last
from pprs.training.searching import StagedSteps
from pprs.training.stages import Stages
from pprs.training.take_step import take_step
from pprs.training.task import Task

# What the summary leaves to the log.
_OF_A_STEP = ("lr", "seconds", "evaluation_seconds")


def run_rank(
    config: TrainConfig,
    folder: Path | None,
    start: Path | None,
    interrupted: Callable[[signal.Signals, Path], None] | None = None,
) -> None:
    """Train, as one rank of many.

    Args:
        config: the settings.
        folder: of the run; if there is none yet, the rank that logs claims one.
        start: the checkpoint to go on from, if there is one; after a restart the newest.
        interrupted: called with the signal that has ended the run, and its folder.
    """
    with RankLog(folder) as log:
        share()
        check_same(vars(config))
        if restarts():
            folder = folder or _from_first(lambda: abandoned(config))
            start = _from_first(lambda: saved_last(folder) if folder else None)
        received, folder = _trained(config, folder, start, log)
    if received is not None and interrupted is not None:
        interrupted(received, folder)


def _trained(
    config: TrainConfig, folder: Path | None, start: Path | None, log: RankLog
) -> tuple[signal.Signals | None, Path]:
    """The signal that has ended the run, if one has, and its folder."""
    kept = numbers_of(start) if start else {}
    task = Task.of(config)
    stages = Stages(config, task, kept.get("layout", {}))
    if folder is None:
        folder = stages.from_logger(claim(config.out, config.name) if stages.logs else None)
        assert folder is not None
        log.folder = folder
    with ExitStack() as stack:
        stopping = stack.enter_context(Stopping())
        checkpoints = stack.enter_context(
            Checkpoints(
                folder / CHECKPOINTS,
                every=config.save_every,
                minutes=config.save_minutes or None,
                keep=config.keep,
            )
        )
        run = _Run(config, task, stages, checkpoints, start)
        if stages.logs:
            used = as_used(config, task, stages.whole_batch)
            journal = Journal(config, folder, stages.pipeline.steps, task.steps, used)
            run.journal = stack.enter_context(journal)
            _say_microbatches(journal, config, task.order.batch)
            _say_cost(journal, config)
            if stages.pipeline.noise_size is not None:
                stages.pipeline.noise_size.tell = journal.say
            if stages.pipeline.captured is not None:
                stages.pipeline.captured.tell = journal.say
        received = run.go(stopping, folder)
    return received, folder


class _Run:
    def __init__(
        self,
        config: TrainConfig,
        task: Task,
        stages: Stages,
        checkpoints: Checkpoints,
        start: Path | None,
    ) -> None:
        self._config, self._task, self._stages = config, task, stages
        self._pipeline = stages.pipeline
        self._checkpoints = checkpoints
        parameters = self._pipeline.named_parameters().values()
        self._learning = Learning(config, parameters, task.steps, StagedSteps(stages))
        self._measured: dict[str, float] = {}
        self._saved: int | None = None
        self.journal: Journal | None = None
        if start is not None:
            self._resume(start)

    def go(self, stopping: Stopping, folder: Path) -> signal.Signals | None:
        """Train to the end, or to the step in which a signal came: then return it."""
        before, received = self._pipeline.steps, None
        while received is None and not self._ended():
            first = self._pipeline.steps == before
            self._step()
            if first and self.journal is not None and self._pipeline.checked:
                self.journal.say(self._pipeline.checked)
            received = stopping.agreed()
            if self._checkpoints.due(self._pipeline.steps):
                self._save()
        ended = self._ended()
        if self._saved != self._pipeline.steps:
            self._save()
        self._checkpoints.close()  # what the summary says must be true
        if self._config.trace and self._pipeline.steps > before:
            timeline = self._pipeline.timeline()
            if timeline is not None and self._pipeline.replica == 0:
                timeline.save(self._config.trace)
                timeline.save(folder / "trace.json")
            broadcast(None, 0)  # it is there before the report is written
        weights = None
        if ended:
            with self._learning.evaluating():
                weights = self._stages.weights()
        if self.journal is not None:
            self.journal.finish(self._summary(ended or received), weights)
        return None if ended else received

    def _step(self) -> None:
        step, start = self._pipeline.steps, time.perf_counter()
        epoch = step // self._task.order.steps_per_epoch + 1
        taken = take_step(self._stages, self._learning, step, self._config.clip)
        record: dict[str, Any] = {"step": step + 1, "epoch": epoch, **taken}
        record["seconds"] = time.perf_counter() - start
        if self._evaluates(step + 1):
            start = time.perf_counter()
            measured = self._evaluate()
            if measured:
                record |= {**measured, "evaluation_seconds": time.perf_counter() - start}
        if self.journal is not None:
            if math.isnan(record["loss"]):
                none = f"step {step + 1}: none of its labels counts, so its gradient is 0"
                self.journal.say(none)
            self.journal.step(record)

    def _evaluates(self, step: int) -> bool:
        every = self._config.evaluate or self._task.order.steps_per_epoch
        return step % every == 0 or step == self._task.steps

    def _evaluate(self) -> dict[str, float]:
        validation, config = self._task.validation, self._config
        if validation is None and config.target_loss is config.target_accuracy is None:
            return {}
        with self._learning.evaluating():
            self._measured = self._stages.evaluate(validation or self._task.training)
        where = "training" if validation is None else "validation"
        return {f"{where}_{name}": value for name, value in self._measured.items()}

    def _ended(self) -> str | None:
        """Why there is nothing more to do, if so."""
        loss, accuracy = self._config.target_loss, self._config.target_accuracy
        measured = self._measured
        if loss is not None and measured.get("loss", loss + 1) <= loss:
            return "target_loss"
        if accuracy is not None and measured.get("accuracy", 0.0) >= accuracy:
            return "target_accuracy"
        end = "epochs" if self._config.steps is None else "steps"
        return end if self._pipeline.steps >= self._task.steps else None

    def _save(self) -> None:
        save_run(
            self._checkpoints,
            self._pipeline,
            self._learning.saved,
            learning=self._learning.state(),
            layout=self._stages.layout(),
            measured=self._measured,
        )
        self._saved = self._pipeline.steps

    def _resume(self, start: Path) -> None:
        kept = resume_run(self._checkpoints, self._pipeline, self._learning.saved, start)
        self._learning.load(kept["learning"])
        self._measured = kept["measured"]
        if start == self._checkpoints.latest(contents=False):
            self._saved = self._pipeline.steps
        else:  # the newest is where a restart goes on
            self._save()

    def _summary(self, ended: str | signal.Signals | None) -> dict[str, Any]:
        last = self.journal.last if self.journal is not None else {}
        return {
            USED: as_used(self._config, self._task, self._stages.whole_batch),
            "ended": ended.name if isinstance(ended, signal.Signals) else ended,
            **{name: value for name, value in last.items() if name not in _OF_A_STEP},
            "step": self._pipeline.steps,
            "steps": self._task.steps,
            "microbatches": self._stages.whole_batch,
            "parameters": sum(p.numel() for p in self._task.model.parameters()),
        }


def _say_microbatches(journal: Journal, config: TrainConfig, batch: int) -> None:
    """Say how many there are, if not as many as were asked for."""
    wanted, chosen = config.microbatches, config.microbatches_of(batch)
    if wanted not in (None, "auto", chosen):
        journal.say(
            f"microbatches: {chosen}, as a batch of {batch} examples cannot be divided into "
            f"{wanted} equal parts"
        )


def _say_cost(journal: Journal, config: TrainConfig) -> None:
    """Say what perturbations cost in the theory's units, a pass of a batch through one stage."""
    count, stages = config.count, config.stages
    if count > 1:
        journal.say(
            f"samples: {count} perturbations through {stages} stages take "
            f"{2 * (count + stages - 1)} units of pipeline time a batch (a unit is its pass "
            f"through one stage); one plain pass takes {2 * stages}, or "
            f"{2 * (2 * stages - 1) / stages:.3g} as {stages} microbatches of its examples"
            if stages > 1
            else f"samples: {count} perturbations in one process are {count} passes of a batch"
        )


def _from_first(found: Callable[[], Path | None]) -> Path | None:
    """What the first process finds, in all processes; a collective call."""
    first: Path | None = broadcast(found() if dist.get_rank() == 0 else None, 0)
    return first
