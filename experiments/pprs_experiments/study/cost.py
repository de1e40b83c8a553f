r"""The price of a step: pipeline time, and gradient evaluations per example.

The pipeline is a chain of $\Delta$ nodes. A node takes $t(n) = (r + n) / (r + m)$ for a pass of n
rows forward, and the same backward: it costs as much as r rows to start a pass at all (to launch
it, to read the weights), whatever their number, and the unit is a pass of all m examples. So K
passes of all examples take $2 (K + \Delta - 1)$, Eq. (14), whatever r is. Two limits are the
theory's: with $r = \infty$ every pass takes 1, and with $r = 0$ each of the m functions of a finite
sum takes $1/m$.

Where the loss is a mean over examples, GPipe may divide every pass into microbatches. All methods
do so in the way that takes them the least time, rivals and smoothing alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from pprs._arguments import counts

OVERHEAD = 64.0
"""r as measured: forward and backward of linear layers of 256 to 1024 features, on one CPU core,
take as long as 59 to 63 rows more; smaller layers as long as hundreds."""


@dataclass(frozen=True)
class Price:
    """A price.

    Args:
        time: pipeline time.
        evaluations: gradient evaluations per example: over all training examples, their mean.
    """

    time: float
    evaluations: float

    def __add__(self, other: Price) -> Price:
        return Price(self.time + other.time, self.evaluations + other.evaluations)

    def __mul__(self, times: int) -> Price:
        return Price(self.time * times, self.evaluations * times)


@dataclass(frozen=True)
class Cost:
    r"""The cost model of a problem.

    Args:
        depth: number $\Delta$ of nodes.
        examples: number m of training examples.
        divisible: whether the loss is a mean over examples, so that microbatches are possible.
        overhead: r, in rows, at least 0; it may be infinite.

    Raises:
        ValueError: for arguments out of range.

    Example:
        >>> Cost(depth=10, examples=20, divisible=False).price(samples=8)
        Price(time=34.0, evaluations=8.0)
    """

    depth: int
    examples: int
    divisible: bool
    overhead: float = OVERHEAD

    def __post_init__(self) -> None:
        counts(depth=self.depth, examples=self.examples)
        if not self.overhead >= 0:
            raise ValueError(
                f"overhead is a number of rows: it must be at least 0, got {self.overhead!r}"
            )

    def node(self, rows: int) -> float:
        """The time of a node for a pass of some rows, one way."""
        if math.isinf(self.overhead):
            return 1.0
        return (self.overhead + rows) / (self.overhead + self.examples)

    def price(self, samples: int = 1, rows: int | None = None) -> Price:
        """The price of one gradient, the mean over K perturbations of a batch.

        Args:
            samples: number K of perturbations, each a pass of its own.
            rows: examples in the batch, all by default.
        """
        rows = self.examples if rows is None else rows
        return Price(self.time(samples, rows), samples * rows / self.examples)

    def time(self, samples: int, rows: int) -> float:
        """The pipeline time of K passes of some rows each, divided in the best way.

        Raises:
            ValueError: for numbers below 1.
        """
        counts(samples=samples, rows=rows)
        most = rows if self.divisible else 1
        return min(self._divided(samples, rows, pieces) for pieces in range(1, most + 1))

    def _divided(self, samples: int, rows: int, pieces: int) -> float:
        passes = samples * pieces + self.depth - 1
        return 2 * passes * self.node(math.ceil(rows / pieces))

    def streamed(self, rows: int) -> Price:
        """The price of one gradient where the pipeline never drains: one node, both ways."""
        return Price(2 * self.node(rows), rows / self.examples)
