"""How large the bias of smoothing may be while a method runs."""

from __future__ import annotations

import numpy as np

from pprs.theory.objective import Array, Mask

_OF_EPSILON = 0.5  # of the precision
_OF_GAP = 0.25  # of what the loss still lies above its lower bound
_PATIENCE = 6  # steps without progress until the goal falls, and within which progress is fast
_SMALLER, _LARGER = 0.7, 1.5
_SHARE, _STALLED = 0.05, 50  # of the gap, and in so many steps: the least that a loss falls by


class BiasGoal:
    r"""What $f^\sigma(x_t) - f(x_t)$ should be, from what is known of the objective.

    - With a lower bound: a quarter of $f(x_t)$ less that bound.
    - With a precision and the distance to a minimizer: half the precision.
    - With less: as much as the loss falls by in a few steps. The goal grows while the loss falls by
      more than the goal within 6 steps, and becomes 0.7 of itself after 6 steps without that much
      progress.

    It is never below half the precision, where that is known.

    A lower bound that the objective comes nowhere near would keep the goal, and so sigma, much too
    large. Where 50 steps bring a loss by less than 5 % nearer to it, it is left aside, and the goal
    is from then on what it is without. (Steps that lower it by so much took at most 29, where the
    bound was the minimum: on the 13 problems of benchmarks/minimize.)

    Args:
        epsilon: precision, if known.
        lower: a value that the objective is never below, if known.
        searching: whether it must find out by itself, if there is no lower bound.

    Attributes:
        aside: where the lower bound was left aside, shaped as a loss.
    """

    def __init__(self, epsilon: float | None, lower: float | None, *, searching: bool) -> None:
        self._least = _OF_EPSILON * epsilon if epsilon is not None else 0.0
        self._lower = lower
        self._searching = searching
        self._found = self._reference = self._since = np.zeros(())
        self._nearest, self._waited = np.array(np.inf), np.zeros(())
        self.aside: Mask = np.zeros((), bool)

    def at(self, loss: Array, bias: Array, anew: Mask | bool = False) -> Array:
        """The goal for the next step, after a loss and a bias were measured, of every start.

        Starts that begin `anew`, as all do once, forget what they have searched.
        """
        if self._lower is None:
            return self._untold(loss, bias, anew)
        gap = loss - self._lower
        stalled = self._stalled(gap) & ~self.aside
        self.aside = self.aside | stalled
        told = np.maximum(self._least, _OF_GAP * gap)
        return np.where(self.aside, self._untold(loss, bias, stalled), told)

    def _untold(self, loss: Array, bias: Array, anew: Mask | bool) -> Array:
        if self._searching:
            return np.maximum(self._least, self._search(loss, bias, anew))
        return np.full_like(loss, self._least)

    def _stalled(self, gap: Array) -> Mask:
        """Where the loss has not come nearer to the lower bound for long."""
        nearer = gap < (1 - _SHARE) * self._nearest
        self._nearest = np.where(nearer, gap, self._nearest)
        self._waited = np.where(nearer, 0, self._waited + 1)
        stalled: Mask = self._waited >= _STALLED
        return stalled

    def _search(self, loss: Array, bias: Array, anew: Mask | bool) -> Array:
        found = np.where(anew, np.maximum(bias, 0.0), self._found)
        self._reference = np.where(anew, loss, self._reference)
        self._since = np.where(anew, 0, self._since)
        progress = self._reference - loss
        advanced = progress > found
        quick = advanced & (self._since < _PATIENCE)
        since = np.where(advanced, 0, self._since + 1)
        stuck = since >= _PATIENCE
        larger = np.where(found > 0, np.minimum(_LARGER * found, progress), _OF_GAP * progress)
        self._found = np.where(quick, larger, np.where(stuck, _SMALLER * found, found))
        lowest = np.where(stuck, np.minimum(self._reference, loss), self._reference)
        self._reference = np.where(advanced, loss, lowest)
        self._since = np.where(stuck, 0, since)
        return self._found
