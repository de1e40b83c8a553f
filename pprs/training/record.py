"""The record of a run, to cite or repeat it: settings with their defaults, and versions."""

from __future__ import annotations

import platform
from typing import Any

import torch

from pprs import __version__
from pprs.pipeline import device
from pprs.training.config import TrainConfig
from pprs.training.task import Task


def as_used(config: TrainConfig, task: Task, microbatches: int | None) -> dict[str, Any]:
    """Every setting that depends on others or on the data, as it is used, and the surroundings.

    Args:
        config: the settings.
        task: what is trained.
        microbatches: of a whole batch; `None` before the first step, if that is to find out.

    Returns:
        What a TOML file can hold.
    """
    perturbation, order = config.perturbation, task.order
    used = {
        "lr": config.step_size,
        "perturbation": f"{perturbation}",
        "sigma": perturbation.sigma,
        "scale": perturbation.scale or "absolute",
        "samples": perturbation.samples,
        "noise": perturbation.noise,
        "antithetic": perturbation.antithetic,
        "batch": order.batch,
        "examples": order.examples,
        "steps": task.steps,
        "steps_per_epoch": order.steps_per_epoch,
        "evaluate": config.evaluate or order.steps_per_epoch,
        "split": config.divided,
        "microbatches": microbatches,
        "seed": config.seed,
        "processes": config.processes,
        "device": _device(),
        "pprs": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    return {name: value for name, value in used.items() if value is not None}


def _device() -> str:
    here = device()
    return torch.cuda.get_device_name(here) if here.type == "cuda" else here.type
