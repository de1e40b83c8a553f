"""`pprs plan`: what a step would take, by schedule, microbatches, perturbations and devices."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pprs._arguments import counts, model_and_data, non_negative, positive
from pprs.cli.run_command import launched
from pprs.io.files import check_file, write_json
from pprs.io.notices import progress
from pprs.io.settings import MOST_SAMPLES
from pprs.pipeline.launcher.environment import cores
from pprs.plan.advice import advice, command, disturbed, shown, size
from pprs.plan.failures import failing
from pprs.plan.measured_profile import measured_profile
from pprs.plan.predict import Machine, Prediction
from pprs.plan.profile import Profile
from pprs.plan.search import Plan, search
from pprs.plan.subject import built_in, checked, named_subject, perturbation
from pprs.training.config import TrainConfig

_MOST_DEVICES = 10_000


@dataclass(frozen=True)
class PlanConfig:
    """What a step of your model would take: measured layers, predicted pipelines, advice.

    Without a model, a ReLU network is measured. With links, speeds, or more devices than cores, the
    devices are simulated: each as fast as this machine, times its speed.
    """

    model: str | None = None
    """Function without arguments that returns the model: package.module:function or
    file.py:function."""
    data: str | None = None
    """Function without arguments that returns the data set, or a pair (training, validation)."""
    loss: str = "cross-entropy"
    """"cross-entropy", "hinge", "mse", or a function (outputs, targets) as module:function."""
    shift_labels: bool = False
    """As for `pprs train`."""
    width: int = 512
    """Features of each layer of the network that is measured without a model."""
    depth: int = 8
    """Its linear layers."""
    batch: int = 8
    """Examples of a step (m)."""
    samples: int = 16
    """Perturbations of a step (K), the most that are looked at."""
    sigma: float | None = None
    """Standard deviation of the perturbations; unset, 0.01 of the norm of each filter."""
    devices: int = 2
    """Processes of the pipeline."""
    repeat: int = 1
    """Plan for a model that has its layers so many times in a row."""
    speeds: tuple[float, ...] = ()
    """Relative speeds of the devices, one for each; all 1 by default."""
    latency: float | None = None
    """Seconds that a message takes between two devices; by default as measured here."""
    bandwidth: float | None = None
    """Bytes a second between two devices; by default as measured here."""
    overlap: bool = True
    """Messages are under way while their receiver works, as here; not on GPUs with a stage each."""
    memory: float | None = None
    """GiB of each device; unlimited by default."""
    optimizer_state: float = 2.0
    """Bytes of the optimizer's state for each byte of parameters: 2 for Adam, 1 for momentum."""
    mtbf: float | None = None
    """Hours between two failures of one device, on average; by default none fails."""
    checkpoint: float = 10.0
    """Seconds that a checkpoint takes, if devices fail."""
    restart: float = 60.0
    """Seconds to start again, if devices fail."""
    target: float | None = None
    """Seconds that a step may take: what K fits?"""
    tolerance: float = 0.1
    """How much longer than a plain step a free one may take, relative."""
    repeats: int = 7
    """Steps of which medians are measured."""
    profile: Path | None = None
    """File of an earlier measurement to read, instead of measuring."""
    save_profile: Path | None = None
    """File to write what was measured to."""
    json: Path | None = None
    """File to write all predictions to."""

    def __post_init__(self) -> None:
        counts(
            **{name: getattr(self, name) for name in (
                "width", "depth", "batch", "samples", "devices", "repeat", "repeats"
            )}
        )  # fmt: skip
        for name, most in (("samples", MOST_SAMPLES), ("devices", _MOST_DEVICES)):
            if getattr(self, name) > most:
                raise ValueError(f"{name} go up to {most:,} here, got {getattr(self, name)}")
        model_and_data(self.model, self.data)
        for name in ("sigma", "bandwidth", "memory", "mtbf", "target"):
            if (value := getattr(self, name)) is not None:
                positive(**{name: value})
        for name in ("latency", "optimizer_state", "checkpoint", "restart", "tolerance"):
            if (value := getattr(self, name)) is not None:
                non_negative(**{name: value})
        if self.speeds and len(self.speeds) != self.devices:
            raise ValueError(
                f"speeds must name one number for each of {self.devices} devices, got "
                f"{len(self.speeds)}"
            )
        for speed in self.speeds:
            positive(speeds=speed)
        check_file(self.save_profile)
        check_file(self.json)

    @property
    def simulated(self) -> bool:
        """Whether the devices are not processes of this machine."""
        given = self.speeds or self.latency is not None or self.bandwidth is not None
        return bool(given) or self.devices > cores()


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    return launched("pprs plan", PlanConfig, run, arguments)


def run(config: PlanConfig) -> Plan:
    """Measure or read, predict, say what follows, and write it where the settings say.

    Raises:
        ValueError: for a model, a profile or a machine that does not fit.
    """
    from rich.console import Console

    profile = _profiled(config)
    if config.save_profile is not None:
        profile.save(config.save_profile)
    plan = search(
        profile.repeated(config.repeat),
        _machine(config, profile),
        config.samples,
        simulated=config.simulated,
        tolerance=config.tolerance,
    )
    console = Console()
    _show(plan, console)
    paragraph = advice(plan, config.target)
    if config.mtbf is not None:
        paragraph += " " + _failures(config, plan)
    console.print(f"\n{paragraph}", markup=False, highlight=False)
    line = "" if disturbed(plan) else shlex.join(command(plan, _flags(config)))
    if line and config.repeat == 1:
        console.print(f"\n{line}", markup=False, highlight=False, soft_wrap=True)
    if config.json is not None:
        write_json(config.json, as_json(plan, paragraph, line))
        console.print(f"predictions written to {config.json}", markup=False)
    return plan


def as_json(plan: Plan, paragraph: str, line: str) -> dict[str, Any]:
    """Everything, in types that JSON knows; infinite numbers are left out."""
    machine = plan.machine
    return {
        "format": "pprs plan 1",
        "model": plan.profile.model,
        "layers": [layer.name for layer in plan.profile.times[0].layers],
        "batch": plan.profile.batch,
        "samples": plan.samples,
        "simulated": plan.simulated,
        "machine": {
            "speeds": machine.speeds,
            "latency": machine.link.latency,
            "bandwidth": machine.link.bandwidth if machine.link.bandwidth < math.inf else None,
            "overlaps": machine.link.overlaps,
            "memory": machine.memory if machine.memory < math.inf else None,
        },
        "free": {
            "tolerance": plan.tolerance,
            "unit_time": plan.free_unit,
            "devices": plan.free,
            "one_device": plan.free_one,
        },
        "best": _prediction(plan.best),
        "plain": _prediction(plan.plain),
        "one_device": _prediction(plan.one),
        "plain_one_device": _prediction(plan.plain_one),
        "predictions": [_prediction(one) for one in plan.predictions],
        "advice": paragraph,
        "command": line,
    }


def _prediction(one: Prediction) -> dict[str, Any]:
    setting = one.setting
    return {
        "schedule": setting.schedule,
        "cut": [piece[0] for piece in setting.cut[1:]],
        "samples": setting.samples,
        "microbatches": setting.microbatches,
        "rows": setting.rows,
        "recompute": setting.recompute,
        "seconds": one.seconds,
        "bubble": one.bubble,
        "memory": one.memory,
    }


def _profiled(config: PlanConfig) -> Profile:
    if config.profile is not None:
        return Profile.load(config.profile)
    build: Any
    if config.model and config.data:
        settings = TrainConfig(
            model=config.model,
            data=config.data,
            loss=config.loss,
            shift_labels=config.shift_labels,
            batch=config.batch,
            samples=config.samples,
            sigma=config.sigma,
            optimizer="adam",
            steps=1,
            stages=1,
        )
        build = partial(named_subject, checked(settings))
    else:
        law = perturbation(config.sigma, config.samples)
        build = partial(built_in, config.width, config.depth, config.batch, law)
    devices = 1 if config.simulated else config.devices
    several = f" and {devices}" if devices > 1 else ""
    progress(f"measuring layers in 1{several} processes: some 20 s, or more…")
    return measured_profile(
        build, config.model or "a ReLU network", devices, repeats=config.repeats
    )


def _machine(config: PlanConfig, profile: Profile) -> Machine:
    link = replace(
        profile.link,
        latency=profile.link.latency if config.latency is None else config.latency,
        bandwidth=profile.link.bandwidth if config.bandwidth is None else config.bandwidth,
        overlaps=config.overlap,
    )
    memory = math.inf if config.memory is None else config.memory * 2**30
    speeds = config.speeds or (1.0,) * config.devices
    return Machine(speeds, link, memory, config.optimizer_state)


def _flags(config: PlanConfig) -> list[str]:
    flags = ["--model", config.model or "mine.py:model", "--data", config.data or "mine.py:data"]
    if config.loss != "cross-entropy":
        flags += ["--loss", config.loss]
    flags += ["--shift-labels"] if config.shift_labels else []
    flags += ["--optimizer", "adam", "--epochs", "10", "--batch", str(config.batch)]
    return flags + ([] if config.sigma is None else ["--sigma", f"{config.sigma:g}"])


def _failures(config: PlanConfig, plan: Plan) -> str:
    assert config.mtbf is not None
    count = len(plan.machine.speeds)
    seconds = failing(
        plan.best.seconds, count, 3600 * config.mtbf, config.checkpoint, config.restart
    )
    return (
        f"With a failure of one of {count} devices every {shown(3600 * config.mtbf / count)}, and "
        f"checkpoints as often as is best, a step takes {shown(seconds)} on average."
    )


def _show(plan: Plan, console: Any) -> None:
    from rich.table import Table

    kind = "simulated" if plan.simulated else "predicted from what was measured here"
    table = Table(
        title=f"{plan.profile.model}: a step of {plan.profile.batch} examples, {kind}",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    table.add_column("")
    for column in ("K", "schedule", "M", "step", "bubble", "memory"):
        table.add_column(column, justify="right", no_wrap=True)
    many = f"{len(plan.machine.speeds)} devices"
    rows = [("plain, one device", plan.plain_one), (f"plain, {many}", plan.plain)]
    rows.append(("smoothed, one device", plan.one))
    if len(plan.machine.speeds) == 1:
        rows = [rows[0], rows[2]]
    rows += [(f"smoothed, {many}", one) for one in _fastest_of_each(plan)]
    for name, one in rows:
        setting = one.setting
        again = ", again" if setting.recompute else ""
        table.add_row(
            name,
            str(setting.samples or "–"),
            setting.schedule + again,
            str(setting.microbatches),
            shown(one.seconds),
            f"{one.bubble:.0%}",
            size(max(one.memory)),
        )
    console.print(table)


def _fastest_of_each(plan: Plan) -> list[Prediction]:
    """The fastest prediction of each schedule for the K that was asked for, fastest first."""
    if len(plan.machine.speeds) == 1:
        return []
    some = [one for one in plan.predictions if one.setting.samples == plan.samples]
    ordered = sorted(some, key=lambda one: (not one.fits(plan.machine), one.seconds))
    found: dict[str, Prediction] = {}
    for one in ordered:
        found.setdefault(one.setting.schedule, one)
    return list(found.values())
