"""`pprs.minimize` on a norm: the line whose largest error at 40 points is least.

A linear program has the exact answer, and is the way to solve a problem as small as this. Where a
function goes through a network or a simulation no such program exists, and this call is the same.
"""

import numpy as np
import torch
from scipy.optimize import linprog

import pprs

generator = np.random.default_rng(0)
t = np.linspace(-1, 1, 40)
powers = np.stack([t**k for k in range(6)], axis=1)  # a polynomial of degree 5
goal = np.abs(t) + 0.02 * generator.standard_normal(40)


def largest_error(coefficients):
    """The norm of the errors: the largest of them in absolute value."""
    errors = torch.from_numpy(powers) @ coefficients - torch.from_numpy(goal)
    return errors.abs().max()


above, ones = np.hstack([powers, -np.ones((40, 1))]), [0.0] * 6 + [1.0]
below = np.hstack([-powers, -np.ones((40, 1))])
exact = linprog(
    ones, np.vstack([above, below]), np.concatenate([goal, -goal]), bounds=(None, None)
).fun

start = torch.zeros(6, dtype=torch.float64)
print(f"at the start {largest_error(start):.4f}, at the minimum {exact:.4f} (linear program)")
for method, options in [("auto", {}), ("adam", {"lr": 0.01}), ("adam", {"lr": 0.1})]:
    found = pprs.minimize(
        largest_error, start, method=method, depth=100, time=100_000, seed=0, **options
    )
    said = f"{method} {options or ''}".strip()
    print(f"{said:20} {found.fun:.4f} after {found.nit} steps, {found.time:.0f} units of time")
