"""What a proof costs: the time of the rule that has one over that of the fast rule.

`python -m benchmarks.minimize.proved` prints the ratios on the first 11 problems: a minute.
"""

from __future__ import annotations

import statistics

import torch

from benchmarks.minimize.main import constants_of, run
from benchmarks.minimize.problems import problems
from benchmarks.minimize.rivals import DEPTHS

_MOST = {"auto": 3000, "pprs-proved": 20_000}
_COUNT = 11  # the others take hours


def main() -> None:
    """Print the ratios at each depth, and their geometric mean."""
    torch.set_num_threads(1)
    for depth in DEPTHS:
        ratios = []
        for problem in problems()[:_COUNT]:
            given = constants_of(problem)
            fast, proved = (
                run(problem, depth, method, most, 0, **given) for method, most in _MOST.items()
            )
            assert fast.success, problem
            assert proved.success, problem
            ratios.append(proved.time / fast.time)
            print(f"depth {depth}: {ratios[-1]:.1f}", flush=True)
        print(f"depth {depth}, geometric mean: {statistics.geometric_mean(ratios):.1f}")


if __name__ == "__main__":
    main()
