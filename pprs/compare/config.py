"""The settings of `pprs compare`: defaults and checks."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from pprs._arguments import model_and_data
from pprs.compare.methods import FEWEST, METHODS, MOST_TRIALS, MethodName, Setting, candidates
from pprs.io.files import check_file
from pprs.io.folder import check_name
from pprs.optim import FACTORS
from pprs.optim.registry import OPTIMIZERS
from pprs.pipeline import ScheduleName
from pprs.pipeline.schedule import ranks_for
from pprs.smoothing import DEFAULT_SIGMA, NoiseKind, Scale
from pprs.training import TrainConfig

_SAME = (
    "shift_labels", "weight_decay", "decay", "warmup", "clip", "noise", "batch", "precision",
    "momentum",
)  # fmt: skip
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}


@dataclass(frozen=True)
class Defaults:
    """What is taken where nothing is set."""

    name: str
    loss: str
    side_by_side: int
    trials: int
    tuning_seeds: int
    seeds: int
    held_out: float
    depth: int | None = None
    steps: int | None = None
    time: str | None = None


DIGITS = Defaults("digits", "hinge", 2, 3, 1, 5, 0.4, 20, 60)
FULL = Defaults("digits-full", "hinge", 2, 4, 4, 10, 0.4, 20, 250)
OWN = Defaults("compare", "cross-entropy", 1, 5, 1, 5, 0.2, time="5m")


@dataclass(frozen=True)
class CompareConfig:
    """Should you smooth? Train your own model by several methods at equal pipeline time and equal
    wall time, and get one sentence as the answer.

    Every method gets as many trials of its step size (and sigma), on examples held out from the
    training data; then each is trained with several seeds. Without a model: a few-shot classifier
    of scikit-learn's digits. After Ctrl-C the same command goes on.
    """

    model: str | None = None
    """Function without arguments that returns the model: package.module:function or
    file.py:function."""
    data: str | None = None
    """Function without arguments that returns the data set, or a pair (training, test)."""
    loss: str | None = None
    """"cross-entropy" (by default), "hinge" (for the digits), "mse", or a function (outputs,
    targets) as module:function."""
    shift_labels: bool = False
    """The label of each token is that of the next one, as for `pprs train`."""
    metric: Literal["accuracy", "loss"] | None = None
    """What decides; by default the accuracy where there is a label for each example."""

    optimizer: str = "adam"
    """The plain optimizer, and that behind the smoothing: "agd", "sgd", "adam", "adamw", or what
    module:callable makes of (parameters, lr=lr)."""
    lr: float | None = None
    """Its step size if you know a good one: others are tried around it."""
    momentum: float | Literal["nesterov"] = 0.9
    """Momentum of AGD, PPRS and SGD; AGD and PPRS also take "nesterov"."""
    weight_decay: float = 0.0
    """Weight decay of sgd, adam and adamw."""
    decay: str = "constant"
    """Schedule of the step size, as for `pprs train`; the searched step has none."""
    warmup: int = 0
    """Steps in which the step size rises, before it decays."""
    clip: float | None = None
    """Largest norm of the gradient by all parameters together; unset, it is not clipped."""

    methods: tuple[MethodName, ...] = ()
    """What is compared with the plain optimizer, beside it; by default one draw per step, PPRS,
    smoothing and the searched step, and with --full GD and AGD, too."""
    samples: int = 12
    """Perturbations per step of the methods that average them (K)."""
    sigma: float | None = None
    """The only sigma of the perturbations; unset, it is tried around 0.01 of the norm of each
    filter."""
    noise: NoiseKind = "shared"
    """A perturbation for the whole batch, or "example": one for each example, of less variance."""
    antithetic: bool = False
    """Draw perturbations in pairs X, -X; the searched step does so anyway where it can."""
    scale: Scale | None = None
    """"filter" makes a given sigma relative to the norm of each filter."""

    steps: int | None = None
    """Steps of the plain optimizer: what they take is the budget of all methods, in pipeline time
    and in seconds. By default 10 epochs, 100 to 1,000 steps; 60 for the digits."""
    epochs: int | None = None
    """The same, by how often it sees each example."""
    batch: int | None = None
    """Examples in a batch; by default all, up to 32 (of the digits all)."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """"bfloat16" computes in it where torch.autocast does."""

    time: str | None = None
    """How long all may take, such as 90s, 5m or 1h: if it is too short, fewer trials, seeds or
    steps are run, which is said. By default 5m for your own model."""
    trials: int | None = None
    """Step sizes (and sigmas) tried for each method, 1 to 9; 5 by default, 3 for the digits. With
    1 nothing is searched."""
    tuning_seeds: int | None = None
    """Seeds of each trial; 1 by default."""
    seeds: int | None = None
    """How often each method is trained at last; 5 by default."""
    seed: int = 0
    """The first of them; the same seed gives the same numbers."""
    held_out: float | None = None
    """Share of the training examples on which trials are compared; 0.2 by default, 0.4 for the
    digits. The same share is for testing where the data are no pair."""
    capture: bool | None = None
    """Record steps of methods in one process, as for `pprs train`; by default for the digits."""
    tested: int = 1000
    """Test examples, at most."""
    points: int = 5
    """How often in a run the loss and the metric are measured and logged."""
    full: bool = False
    """Of the digits the larger table: more steps, trials, seeds and methods."""

    depth: int | None = None
    """Nodes that the theory's pipeline time counts: a step of K passes takes 2(K + depth - 1). By
    default --stages if several, else the model's layers with weights, or the digits' layers."""
    shots: int = 5
    """Digits for training of each class; up to --tested of all others are for testing."""
    width: int = 64
    """Features of each hidden layer of the digits' network."""

    side_by_side: int | None = None
    """Processes that each run trials and seeds of their own, where the model is not cut; 1 by
    default, which has all cores, 2 for the digits."""
    stages: int = 1
    """Consecutive pieces the model is cut into, a process each."""
    replicas: int = 1
    """Copies of the pipeline, which share the perturbations of a step."""
    schedule: ScheduleName = "gpipe"
    """Order in which the microbatches run."""
    microbatches: int | None = None
    """Pieces of a step of several perturbations; by default the fewest that fill every stage."""

    name: str | None = None
    """Folder under --out that is written to; if it exists, the next free name is used."""
    out: Path = Path("runs")
    """Where the runs are."""
    trace: Path | None = None
    """File for a Chrome trace of the first run that averages, for Perfetto or `pprs trace`."""

    def __post_init__(self) -> None:
        self._check_task()
        for name in ("seeds", "tuning_seeds", "trials", "steps", "epochs", "batch", "depth",
                     "stages", "side_by_side", "width", "points", "shots", "replicas",
                     "tested"):  # fmt: skip
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.trials is not None and self.trials > MOST_TRIALS:
            raise ValueError(f"trials go up to {MOST_TRIALS}, got {self.trials}")
        if self.held_out is not None and not 0 < self.held_out < 1:
            raise ValueError(f"held_out must be a share between 0 and 1, got {self.held_out}")
        if self.lr is not None and not 0 < self.lr < math.inf:
            raise ValueError(f"lr must be above 0, got {self.lr}")
        if self.sigma is not None and not 0 < self.sigma < math.inf:
            raise ValueError(f"sigma must be above 0, got {self.sigma}")
        if self.steps is not None and self.epochs is not None:
            raise ValueError("steps and epochs both say how long to train: pass one of them")
        if len(set(self.methods)) < len(self.methods):
            raise ValueError(f"methods must name each method once, got {self.methods}")
        self._check_methods()
        if self.momentum != "nesterov" and not 0 <= self.momentum < math.inf:
            raise ValueError(f'momentum must be at least 0 or "nesterov", got {self.momentum}')
        _ = self.limit
        check_file(self.trace)
        check_name(self.chosen.name)

    @cached_property
    def chosen(self) -> Defaults:
        """The settings that have a default of their own for each kind of task."""
        usual = OWN if self.model else FULL if self.full else DIGITS
        values = vars(usual) | {
            name: getattr(self, name) for name in vars(usual) if getattr(self, name) is not None
        }
        return Defaults(**values)

    @property
    def limit(self) -> float:
        """Seconds that all may take."""
        if self.chosen.time is None:
            return math.inf
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", self.chosen.time.strip())
        seconds = float(found[1]) * _SECONDS[found[2]] if found else 0.0
        if not seconds:
            raise ValueError(
                f"time must be a number with s, m or h, such as 90s, 5m or 1h, got {self.time!r}"
            )
        return seconds

    @property
    def compared(self) -> tuple[MethodName, ...]:
        """The methods; the first one is plain."""
        more: tuple[MethodName, ...] = ("gd", "agd") if self.full else ()
        names = self.methods or (*FEWEST, *more)
        names = tuple(name for name in names if name != "plain")
        if self.optimizer == "agd":  # of which these are other names
            drop = "smoothed" if "pprs" in names else "", "agd"
            names = tuple(name for name in names if name not in drop)
        return ("plain", *names)

    @property
    def in_a_run(self) -> int:
        """Processes that share a run that is compared."""
        return self.replicas * ranks_for(self.schedule, self.stages)

    @property
    def processes(self) -> int:
        """How many there are."""
        return self.in_a_run if self.in_a_run > 1 else self.chosen.side_by_side

    @property
    def task(self) -> str:
        """What is trained, in words."""
        if self.model:
            return f"{self.model} on {self.data}"
        return f"digits, {self.shots} a class, {self.chosen.depth} layers"

    def label(self, method: MethodName) -> str:
        """What tables call a method."""
        return METHODS[method].named(self.optimizer)

    def samples_of(self, method: MethodName) -> int:
        """Passes of a step."""
        return self.samples if METHODS[method].averages else 1

    def candidates(self, method: MethodName, trials: int) -> list[Setting]:
        """What is tried for a method, the likeliest first."""
        sigma = DEFAULT_SIGMA if self.sigma is None else self.sigma
        return candidates(
            METHODS[method],
            trials,
            optimizer=self.optimizer,
            lr=self.lr,
            sigma=sigma,
            fixed_sigma=self.sigma is not None,
        )

    def training(
        self,
        method: MethodName,
        setting: Setting,
        steps: int,
        seed: int,
        *,
        alone: bool = False,
        checks: bool = False,
        traced: bool = False,
    ) -> TrainConfig:
        """The settings of a run.

        Args:
            method: which one.
            setting: its step size and sigma.
            steps: of the optimizer.
            seed: of the run.
            alone: in one process.
            checks: compare the cut model with the whole one in the first step.
            traced: record the last steps, if a trace is asked for.
        """
        made = METHODS[method]
        optimizer = made.optimizer or self.optimizer
        values = {name: getattr(self, name) for name in _SAME} | dict(made.fixed or {})
        known = OPTIMIZERS.get(optimizer)
        for name in ("momentum", "weight_decay"):
            if known is None or name not in known.options:
                del values[name]
        if made.gradient == "searched":
            values |= {"decay": "constant", "warmup": 0}
        if made.perturbed:
            values |= {
                "sigma": setting.sigma,
                "scale": "filter" if self.sigma is None else self.scale,
            }
        shared = made.averages and not alone
        pairs = self.samples % (2 * len(FACTORS)) == 0 and made.gradient == "searched"
        able = (alone or self.in_a_run == 1) and self.microbatches is None and not traced
        return TrainConfig(
            model=self.model or "digits",
            data=self.data or "digits",
            loss=self.chosen.loss,
            optimizer=optimizer,
            lr="search" if setting.lr is None else setting.lr,
            samples=self.samples_of(method),
            antithetic=made.averages and (self.antithetic or pairs),
            steps=steps,
            seed=seed,
            capture=able and (not self.model if self.capture is None else self.capture),
            check=checks,
            trace=self.trace if traced else None,
            stages=1 if alone else self.stages if shared else self.in_a_run,
            replicas=self.replicas if shared else 1,
            schedule=self.schedule if shared else "gpipe",
            microbatches=self.microbatches if shared else 1 if not made.averages else None,
            **values,
        )

    def _check_task(self) -> None:
        model_and_data(self.model, self.data)
        if self.model and (self.full or self.shots != 5 or self.width != 64):
            raise ValueError("full, shots and width are for the digits: leave them out, or --model")
        depth = self.chosen.depth
        if not self.model and depth is not None and depth < max(2, self.in_a_run):
            raise ValueError(
                f"depth must be at least 2 and at least the number of processes: got depth "
                f"{self.depth}, and {self.in_a_run} processes for replicas={self.replicas} and "
                f"stages={self.stages}"
            )

    def _check_methods(self) -> None:
        if len(self.compared) == 1:
            raise ValueError("methods must name one to compare with the plain optimizer")
        if "searched" in self.compared and self.samples % len(FACTORS):
            raise ValueError(
                f"samples must be a multiple of {len(FACTORS)} for the searched step, got "
                f"{self.samples}: pass another, or --methods "
                f"{' '.join(m for m in self.compared[1:] if m != 'searched') or 'pprs'}"
            )
        if self.samples < 2:
            raise ValueError(f"samples must be at least 2, got {self.samples}")
        for method in self.compared:
            self.training(method, self.candidates(method, 1)[0], 1, self.seed)
