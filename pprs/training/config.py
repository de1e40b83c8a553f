"""The settings of `pprs train`: defaults and checks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pprs._arguments import meant
from pprs.io.files import check_file
from pprs.io.folder import check_name
from pprs.io.settings import MOST_SAMPLES
from pprs.optim import FACTORS
from pprs.optim.registry import OPTIMIZERS
from pprs.pipeline import Mesh, ScheduleName
from pprs.pipeline.microbatches import Microbatches, Split
from pprs.pipeline.partitioner import Balance
from pprs.pipeline.schedule import ranks_for
from pprs.smoothing import DEFAULT_SIGMA, NoiseKind, Perturbation, Scale
from pprs.training.losses import LOSSES

DECAYS = ("constant", "cosine", "linear")


@dataclass(frozen=True)
class TrainConfig:
    """Train your own model on your own data through a pipeline.

    What goes on is written to a folder, from which --resume goes on after an interruption.
    """

    model: str = ""
    """Function without arguments that returns the model: package.module:function or
    file.py:function."""
    data: str = ""
    """Function without arguments that returns the data set, or a pair (training, validation)."""

    loss: str = "cross-entropy"
    """"cross-entropy", "hinge", "mse", or a function (outputs, targets) as module:function."""
    shift_labels: bool = False
    """The label of each token is that of the next one, for language models whose labels are their
    inputs: outputs[:, :-1] against labels[:, 1:]; for cross-entropy."""
    optimizer: str = "agd"
    """"agd", "sgd", "adam", "adamw", or what module:callable makes of (parameters, lr=lr)."""
    lr: float | Literal["search"] | None = None
    """Step size; unset, 0.001 for adam and adamw, and for others their own or 0.01. "search": each
    step tries three, which share the perturbations, and keeps the best; see docs/training.md."""
    momentum: float | Literal["nesterov"] = 0.9
    """Momentum of agd and sgd; agd also takes "nesterov", the sequence of the convex theory."""
    weight_decay: float = 0.0
    """Weight decay of sgd, adam and adamw."""
    decay: str = "constant"
    """Schedule of the step size: "constant", "cosine", "linear" (both to 0), or a function of the
    optimizer that returns a torch LRScheduler, as module:function."""
    warmup: int = 0
    """Steps in which the step size rises, before it decays."""
    clip: float | None = None
    """Largest norm of the gradient by all parameters together; unset, it is not clipped."""

    sigma: float | None = None
    """Standard deviation of the perturbations of the parameters; unset, 0.01 of the norm of each
    filter where there are several, and else no smoothing. AGD and SGD ask for it."""
    samples: int | Literal["auto"] = 1
    """Perturbations per step (K): 1 is a plain step, unless a sigma is given. "auto": as many as
    stages, which costs less than two plain steps of the pipeline."""
    noise: NoiseKind = "shared"
    """A perturbation for the whole batch, or "example": one for each example, of less variance."""
    antithetic: bool = False
    """Draw perturbations in pairs X, -X."""
    scale: Scale | None = None
    """"filter" makes sigma relative to the norm of each filter; unset, it is absolute."""

    steps: int | None = None
    """Steps of the optimizer; either these or epochs."""
    epochs: int | None = None
    """How often each example is seen."""
    batch: int | None = None
    """Examples in a batch; by default all, up to 32."""
    accumulate: int = 1
    """Batches in a step of the optimizer."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """"bfloat16" computes in it where torch.autocast does; "float32" leaves the model as it is."""
    recompute: bool = False
    """Run each stage again for its backward instead of keeping activations: less memory."""

    capture: bool = False
    """Record a step of one stage on a CPU, and run it again without its Python: small networks take
    half the time. Hooks, prints and lists in the model are not looked at again: docs/capture.md."""

    check: bool = True
    """Compare the cut model with yours before the first step, on a few examples, and stop if they
    differ."""

    evaluate: int | None = None
    """Steps between two evaluations on the validation data; by default an epoch."""
    target_loss: float | None = None
    """Stop when the loss at an evaluation is this low."""
    target_accuracy: float | None = None
    """Stop when the accuracy at an evaluation is this high."""

    stages: int = 2
    """Consecutive pieces the model is cut into; a process each, or two with the looped,
    interleaved and V-shaped schedules."""
    replicas: int = 1
    """Copies of the pipeline, which share the microbatches."""
    schedule: ScheduleName = "gpipe"
    """Order in which the microbatches run."""
    split: Split | None = None
    """What microbatches divide: the "perturbations", or the "examples" of a batch; by default the
    perturbations if there are several."""
    microbatches: int | Literal["auto"] | None = None
    """Pieces of a batch; by default the fewest that fill every stage, "auto" measures."""
    balance: Balance = "parameters"
    """What stages share evenly: "parameters", or the "time" they take, which is measured."""
    cut: tuple[str, ...] = ()
    """Names of the layers with which the second and every later stage begins, instead."""
    seed: int = 0
    """Keys weights, order, dropout and noise; the same seed gives the same numbers."""
    silence: float = 60.0
    """Seconds after which a rank that gives no sign of life ends the run."""
    max_restarts: int = 0
    """How often all ranks start again, from the newest checkpoint, after one has failed."""

    save_every: int | None = None
    """Steps between two checkpoints."""
    save_minutes: float = 10.0
    """Minutes between two checkpoints; 0 for none but those of --save-every and of the end."""
    keep: int = 3
    """How many of the newest checkpoints stay."""
    resume: Path | None = None
    """Folder of a run, or one of its checkpoints, to go on from; its settings are the defaults."""

    name: str = "train"
    """Folder under --out that the run is written to; if it exists, the next free name is used."""
    out: Path = Path("runs")
    """Where the runs are."""
    trace: Path | None = None
    """File for a Chrome trace of the last steps, to open in Perfetto or with `pprs trace`."""
    tensorboard: bool = False
    """Write TensorBoard's event files into the folder, too."""

    def __post_init__(self) -> None:
        for name in ("model", "data"):
            if not getattr(self, name):
                raise ValueError(f"{name} is missing: pass --{name} package.module:function")
        if (self.steps is None) == (self.epochs is None):
            got = "neither" if self.steps is None else "both"
            raise ValueError(f"exactly one of steps and epochs says how long to train, got {got}")
        self._check_ranges()
        self._check_learning()
        if self.lr == "search":
            self._check_search()
        self._check_pipeline()
        if self.capture:
            self._check_capture()
        check_file(self.trace)
        check_name(self.name)

    @property
    def step_size(self) -> float | Literal["search"] | None:
        """What lr is, or by default; `None`: that of an optimizer of the user's."""
        known = OPTIMIZERS.get(self.optimizer)
        return known.lr if self.lr is None and known else self.lr

    @property
    def count(self) -> int:
        """The number of perturbations; "auto" fills the stages, in whole pairs and candidates."""
        if self.samples != "auto":
            return self.samples
        unit = self.candidates * (2 if self.antithetic else 1)
        return math.ceil(self.stages / unit) * unit

    @property
    def perturbation(self) -> Perturbation:
        """The law of the perturbations."""
        how = self.count, self.noise, self.antithetic
        if self.sigma is None and self.count > 1:
            return Perturbation.filter(DEFAULT_SIGMA, *how)
        return Perturbation(self.sigma or 0.0, *how, self.scale)

    @property
    def divided(self) -> Split:
        """What the microbatches divide."""
        return self.split or ("perturbations" if self.count > 1 else "examples")

    @property
    def candidates(self) -> int:
        """Step sizes that share the perturbations of a step."""
        return len(FACTORS) if self.lr == "search" else 1

    @property
    def processes(self) -> int:
        """How many there are."""
        return self.replicas * ranks_for(self.schedule, self.stages)

    def microbatches_of(self, batch: int) -> int:
        """The number of microbatches of a batch of this many examples.

        Raises:
            ValueError: if none fits the schedule and the replicas.
        """
        number = None if self.microbatches == "auto" else self.microbatches
        ranks = ranks_for(self.schedule, self.stages)
        mesh, each = Mesh(self.replicas, ranks), self.stages // ranks
        how = self.perturbation, self.divided, self.schedule, mesh, each, number, self.candidates
        return Microbatches(*how).chosen(batch)

    def _check_ranges(self) -> None:
        for name in (
            "steps", "epochs", "batch", "accumulate", "evaluate", "stages", "replicas",
            "save_every", "keep",
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        for name in ("weight_decay", "warmup", "save_minutes", "max_restarts"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
        for name in ("lr", "clip", "silence"):
            value = getattr(self, name)
            if value == "search" and name == "lr":
                continue
            if value is not None and (isinstance(value, str) or not 0 < value < math.inf):
                or_search = ' or "search"' if name == "lr" else ""
                raise ValueError(f"{name} must be above 0{or_search}, got {value}")
        if self.target_loss is not None and not math.isfinite(self.target_loss):
            raise ValueError(f"target_loss must be a finite number, got {self.target_loss}")
        if self.target_accuracy is not None and not 0 < self.target_accuracy <= 1:
            raise ValueError(
                f"target_accuracy must be above 0, up to 1: got {self.target_accuracy}"
            )

    def _check_learning(self) -> None:
        for name, known in (("loss", LOSSES), ("optimizer", OPTIMIZERS), ("decay", DECAYS)):
            value = getattr(self, name)
            if value not in known and ":" not in value:
                raise ValueError(
                    f"{name} must be one of {', '.join(known)}, or module:function, got "
                    f"{value!r}{meant(value, known)}"
                )
        if self.shift_labels and self.loss != "cross-entropy":
            raise ValueError(f"shift_labels is for cross-entropy, got {self.loss}")
        if self.momentum == "nesterov":
            able = [name for name, known in OPTIMIZERS.items() if known.sequence]
            if self.optimizer not in able:
                raise ValueError(
                    f'momentum="nesterov" is for {", ".join(able)}, got {self.optimizer}'
                )
        elif not 0 <= self.momentum < math.inf:
            raise ValueError(f'momentum must be at least 0 or "nesterov", got {self.momentum}')
        able = [name for name, known in OPTIMIZERS.items() if "weight_decay" in known.options]
        if self.weight_decay and self.optimizer not in able:
            raise ValueError(f"weight_decay is for {', '.join(able)}, got {self.optimizer}")
        if self.warmup and self.decay not in DECAYS:
            raise ValueError(f"warmup is for {', '.join(DECAYS)}: let {self.decay} do it itself")

    def _check_search(self) -> None:
        for name, usual in (("decay", "constant"), ("warmup", 0)):
            if getattr(self, name) != usual:
                raise ValueError(
                    f"{name}={getattr(self, name)} changes a step size that lr=search finds: leave "
                    f"one of them out"
                )
        if self.accumulate > 1:
            raise ValueError(
                f"accumulate={self.accumulate} adds up gradients at one point, but lr=search takes "
                f"each at the best of {self.candidates}: take a larger batch instead"
            )
        if self.split == "examples":
            raise ValueError(
                f"split=examples divides a batch, but the {self.candidates} steps that lr=search "
                f"tries share the perturbations: leave it out"
            )
        try:
            self.perturbation.among(self.candidates)
        except ValueError as error:
            raise ValueError(f"lr=search: {error}") from None

    def _check_capture(self) -> None:
        fits = {
            "stages": self.stages == 1,
            "replicas": self.replicas == 1,
            "microbatches": self.microbatches in (None, self.candidates),
            "recompute": not self.recompute,
            "trace": self.trace is None,
        }
        others = [f"{name}={getattr(self, name)}" for name, does in fits.items() if not does]
        if others:
            raise ValueError(
                f"capture records an undivided step of one stage in one process: it does not go "
                f"with {', '.join(others)}"
            )

    def _check_pipeline(self) -> None:
        perturbation = self.perturbation  # checks its fields
        ranks_for(self.schedule, self.stages)
        if self.samples == "auto" and self.stages == 1:
            raise ValueError(
                "samples=auto takes as many as stages, and one stage never waits: pass a number"
            )
        if self.count > MOST_SAMPLES:
            raise ValueError(f"samples go up to {MOST_SAMPLES:,} here, got {self.count}")
        known = OPTIMIZERS.get(self.optimizer)
        if self.count > 1 and self.sigma is None and known and not known.adaptive:
            raise ValueError(
                f"samples={self.count} before {self.optimizer} needs a sigma, since no single "
                f"value did well in most of the study's tasks: --sigma {DEFAULT_SIGMA} --scale "
                f"filter, {DEFAULT_SIGMA} of each filter's norm, is a place to start from, and "
                f"the default before adam"
            )
        if self.count > self.candidates and not perturbation.sigma:
            few = "one" if self.candidates == 1 else f"samples={self.candidates}"
            raise ValueError(
                f"sigma=0 makes all samples={self.count} equal: pass a sigma, or {few}"
            )
        if self.divided == "perturbations":
            self.microbatches_of(batch=1)
