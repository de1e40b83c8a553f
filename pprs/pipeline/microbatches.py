"""How the work of a step is divided into microbatches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

from torch import Tensor

from pprs.pipeline.mesh import Mesh
from pprs.pipeline.schedule import (
    Schedule,
    check_pairs,
    check_schedule,
    default_microbatches,
    fitting,
    stages_each,
)
from pprs.smoothing import Perturbation

Split: TypeAlias = Literal["perturbations", "examples"]
"""What the microbatches of a step divide."""


@dataclass(frozen=True)
class Microbatches:
    """The division of a step into microbatches, by perturbations or by examples.

    Args:
        perturbation: what is averaged.
        split: `"perturbations"`: a microbatch carries some of the K perturbations, each of the
            whole batch. `"examples"`: some of the examples, at K perturbations of its own.
        schedule: its name.
        mesh: the processes.
        each: stages of a process.
        number: the number M asked for, or `None` for the smallest that gives every stage one.
        candidates: centres that the microbatches are shared among evenly.

    Raises:
        ValueError: if the numbers do not fit each other.

    Example:
        >>> from pprs.pipeline import Mesh
        >>> mesh = Mesh(replicas=1, ranks=4)
        >>> Microbatches(
        ...     Perturbation(0.1, samples=16), "perturbations", "gpipe", mesh, each=1
        ... ).chosen(batch=5)
        4
    """

    perturbation: Perturbation
    split: Split
    schedule: str
    mesh: Mesh
    each: int
    number: int | None = None
    candidates: int = 1

    def __post_init__(self) -> None:
        if self.split not in get_args(Split):
            raise ValueError(f"split must be one of {get_args(Split)}, got {self.split!r}")
        if self.split == "examples" and self.candidates > 1:
            raise ValueError(
                f"the {self.candidates} centres of a step share its perturbations, but "
                f'split="examples" divides the examples: take split="perturbations"'
            )
        stages_each(self.schedule, self.each)
        if self.number is not None and (not isinstance(self.number, int) or self.number < 1):
            raise ValueError(f"microbatches must be at least 1, got {self.number!r}")
        if self.split == "perturbations":
            self.chosen(batch=1)
        elif self.number is not None:
            check_schedule(self.schedule, self.mesh, self.each, self.number)

    def shared_by(self, candidates: int, measured: bool) -> Microbatches:
        """The same for so many centres.

        Args:
            candidates: how many.
            measured: whether the number was, which may be another one now.

        Raises:
            ValueError: if they cannot share the microbatches evenly.
        """
        return replace(self, candidates=candidates, number=None if measured else self.number)

    def chosen(self, batch: int) -> int:
        """The number of microbatches for a batch of this many examples.

        Examples are divided into equal parts: the largest number up to the one asked for that does
        so and fits the schedule.

        Raises:
            ValueError: if none fits.
        """
        wanted = self.number
        if wanted is None:
            stages = self.mesh.ranks * self.each
            pieces, copies = self._pieces(batch), self.mesh.replicas
            wanted = default_microbatches(pieces, stages, copies, self.candidates)
        if self.split == "examples":
            some = [m for m in self.possible(batch) if m <= wanted]
            wanted = some[-1] if some else default_microbatches(batch, wanted)
        self.order(wanted, batch)
        return wanted

    def possible(self, batch: int) -> list[int]:
        """All numbers of microbatches that fit a batch of this many examples."""
        some = fitting(self.schedule, self.mesh, self.each, self._pieces(batch))
        return [number for number in some if number % self.candidates == 0]

    def order(self, number: int, batch: int) -> Schedule:
        """The schedule of this many microbatches.

        Raises:
            ValueError: if they do not fit.
        """
        divided = self.split == "perturbations"
        things = {"samples": self.perturbation.samples} if divided else {"batch": batch}
        order = check_schedule(self.schedule, self.mesh, self.each, number, **things)
        if divided:
            check_pairs(self.perturbation, number)
        if self.candidates > 1:
            self._check_shared(number)
        return order

    def numbers(self, number: int, replica: int) -> tuple[list[int], list[int]]:
        """Of each microbatch of a copy, the number that keys its noise, and its candidate.

        Every candidate has the same noise.
        """
        own, each = number // self.mesh.replicas, number // self.candidates
        mine = range(replica * own, (replica + 1) * own)
        return [i % each for i in mine], [i // each for i in mine]

    def slots(self, number: int) -> int:
        r"""The length of a step, in passes of one stage and microbatch.

        $(v - 1) \max(m, p) + m + p - 1$ for m microbatches of a copy on p processes with v stages
        each, if all take the same time and nothing else does.
        """
        own, ranks = number // self.mesh.replicas, self.mesh.ranks
        return (self.each - 1) * max(own, ranks) + own + ranks - 1

    def laid_out(self, batch: Tensor, number: int, replica: int) -> Tensor:
        """What a copy runs: shape `(microbatches, perturbations, examples, ...)`, a view."""
        own = number // self.mesh.replicas
        if self.split == "perturbations":
            return batch.expand(own, self.perturbation.samples // number, *batch.shape)
        parts = batch.reshape(number, -1, *batch.shape[1:])[replica * own : (replica + 1) * own]
        return parts[:, None].expand(-1, self.perturbation.samples, *parts.shape[1:])

    def examples_at_once(self, number: int, batch: int) -> int:
        """The number of examples of a loss, for this number of microbatches of a batch."""
        if self.perturbation.noise == "example":
            return 1
        return batch // number if self.split == "examples" else batch

    def _check_shared(self, number: int) -> None:
        if number % self.candidates:
            possible = ", ".join(map(str, self.possible(1)))
            fit = f"{possible} would fit" if possible else "none fits: change samples"
            raise ValueError(
                f"{self.candidates} centres share the microbatches of a step evenly, so "
                f"microbatches must be a multiple of {self.candidates}: got {number}; of the "
                f"divisors of samples={self.perturbation.samples}, {fit}"
            )

    def _pieces(self, batch: int) -> int:
        return self.perturbation.pieces if self.split == "perturbations" else batch
