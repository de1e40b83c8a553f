"""The settings of `pprs compare`: defaults and checks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from pprs.io.files import check_file
from pprs.io.folder import check_name
from pprs.io.settings import MOST_SAMPLES
from pprs.pipeline import Mesh, Microbatches, ScheduleName
from pprs.pipeline.schedule import ranks_for
from pprs.smoothing import NoiseKind, Perturbation, Scale
from pprs.theory import pipeline_time

MethodName: TypeAlias = Literal["gd", "agd", "adam", "one-draw-adam", "pprs", "adam-smoothed"]


@dataclass(frozen=True)
class CompareConfig:
    """Train a few-shot classifier through a pipeline with several methods, at equal pipeline time.

    Every method's step size is chosen on held-out training images; then every method is trained
    with every seed, and a table, a summary, curves and the weights are written.
    """

    name: str = "digits"
    """Folder under --out that the run is written to; if it exists, the next free name is used."""
    out: Path = Path("runs")
    """Where the runs are."""

    methods: tuple[MethodName, ...] = get_args(MethodName)
    """What is compared."""
    seeds: int = 3
    """How often each method is trained: each seed draws examples, initial weights and noise."""
    seed: int = 0
    """Names the whole experiment; the same seed gives the same numbers."""

    shots: int = 5
    """Labelled images per class for training; all others are for testing."""
    loss: Literal["hinge", "cross-entropy"] = "hinge"
    """Training loss."""
    depth: int = 20
    """Layers of the ReLU network; pipeline time counts each as a node of the pipeline."""
    width: int = 64
    """Features of each hidden layer."""
    dtype: Literal["float32", "float64"] = "float32"
    """Precision of parameters and data."""

    budget: int = 10_000
    """Pipeline time of each run; a step costs 2(samples + depth - 1), or 2 depth for one pass."""
    samples: int = 10
    """Perturbations per step of the methods that average them (K)."""
    sigma: float = 0.03
    """Standard deviation of the perturbations, in the parameters' units."""
    noise: NoiseKind = "shared"
    """A perturbation for the whole batch, or "example": one for each example, of less variance."""
    antithetic: bool = False
    """Draw perturbations in pairs X, -X; samples/microbatches must be even."""
    scale: Scale | None = None
    """"filter" makes sigma relative to the norm of each filter; unset, it is absolute."""
    momentum: float | Literal["nesterov"] = 0.9
    """Momentum of AGD and PPRS: a number, or "nesterov" for the sequence of the convex theory."""
    lr: tuple[float, ...] = ()
    """Step sizes to choose from, instead of each method's grid; a single one needs no search."""

    stages: int = 2
    """Consecutive pieces the network is cut into; a process each, or two with the looped,
    interleaved and V-shaped schedules."""
    replicas: int = 1
    """Copies of the pipeline, which share the perturbations of a step."""
    schedule: ScheduleName = "gpipe"
    """Order in which the microbatches run."""
    microbatches: int | None = None
    """Pieces of a step, a divisor of samples; by default the smallest that fills every stage."""

    trace: Path | None = None
    """File for a Chrome trace of the last steps of the first run that averages, to open in Perfetto
    or with `pprs trace`."""

    points: int = 20
    """How often in a run the loss and the accuracy are measured and logged."""

    def __post_init__(self) -> None:
        for name in ("seeds", "width", "points", "shots", "stages", "replicas"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise ValueError(f"methods must name each method once, got {self.methods}")
        if self.depth < max(2, self.stages):
            raise ValueError(
                f"depth must be at least 2 and at least the number of stages: got depth "
                f"{self.depth} and {self.stages} stages"
            )
        if self.samples > MOST_SAMPLES:
            raise ValueError(f"samples go up to {MOST_SAMPLES:,} here, got {self.samples}")
        self._check_step_sizes()
        if self.momentum != "nesterov" and not 0 <= self.momentum < math.inf:
            raise ValueError(f'momentum must be at least 0 or "nesterov", got {self.momentum}')
        self._check_processes()
        if self.budget < pipeline_time(self.samples, self.depth):
            raise ValueError(
                f"budget must pay for a step, 2(samples + depth - 1) = "
                f"{pipeline_time(self.samples, self.depth)}, got {self.budget}"
            )
        check_file(self.trace)
        check_name(self.name)

    @property
    def perturbation(self) -> Perturbation:
        """The law of the perturbations of the methods that average."""
        return Perturbation(self.sigma, self.samples, self.noise, self.antithetic, self.scale)

    @property
    def processes(self) -> int:
        """How many there are."""
        return self.replicas * ranks_for(self.schedule, self.stages)

    def _check_processes(self) -> None:
        ranks = ranks_for(self.schedule, self.stages)
        if self.depth < self.processes:
            raise ValueError(
                f"depth must be at least the number of processes, over which the methods of a "
                f"single pass are cut: got depth {self.depth}, and {self.processes} processes for "
                f"replicas={self.replicas} and stages={self.stages}"
            )
        Microbatches(
            self.perturbation,
            "perturbations",
            self.schedule,
            Mesh(self.replicas, ranks),
            self.stages // ranks,
            self.microbatches,
        )

    def _check_step_sizes(self) -> None:
        for lr in self.lr:
            if not 0 < lr < math.inf:
                raise ValueError(f"lr must hold positive step sizes, got {lr}")
        if self.shots == 1 and len(self.lr) != 1:
            raise ValueError(
                "shots=1 leaves no training image to hold out for choosing the step size: give one "
                "step size with lr, or more shots"
            )
