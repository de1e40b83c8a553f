"""How large the bias of smoothing may be while a method runs."""

from __future__ import annotations

_OF_EPSILON = 0.5  # of the precision
_OF_GAP = 0.25  # of what the loss still lies above its lower bound
_PATIENCE = 6  # steps without progress until the goal falls, and within which progress is fast
_SMALLER, _LARGER = 0.7, 1.5


class BiasGoal:
    r"""What $f^\sigma(x_t) - f(x_t)$ should be, from what is known of the objective.

    - With a lower bound: a quarter of $f(x_t)$ less that bound.
    - With a precision and the distance to a minimizer: half the precision.
    - With less: as much as the loss falls by in a few steps. The goal grows while the loss falls by
      more than the goal within 6 steps, and becomes 0.7 of itself after 6 steps without that much
      progress.

    It is never below half the precision, where that is known.

    Args:
        epsilon: precision, if known.
        lower: a value that the objective is never below, if known.
        searching: whether it must find out by itself, if there is no lower bound.
    """

    def __init__(self, epsilon: float | None, lower: float | None, *, searching: bool) -> None:
        self._least = _OF_EPSILON * epsilon if epsilon is not None else 0.0
        self._lower = lower
        self._searching = searching
        self._found: float | None = None
        self._reference, self._since = 0.0, 0

    def at(self, loss: float, bias: float) -> float:
        """The goal for the next step, after a loss and a bias were measured."""
        if self._lower is not None:
            return max(self._least, _OF_GAP * (loss - self._lower))
        if self._searching:
            return max(self._least, self._search(loss, bias))
        return self._least

    def _search(self, loss: float, bias: float) -> float:
        if self._found is None:
            self._found, self._reference = max(bias, 0.0), loss
        progress = self._reference - loss
        if progress > self._found:
            if self._since < _PATIENCE:
                larger = min(_LARGER * self._found, progress)
                self._found = larger if self._found else _OF_GAP * progress
            self._reference, self._since = loss, 0
        else:
            self._since += 1
            if self._since >= _PATIENCE:
                self._found *= _SMALLER
                self._reference, self._since = min(self._reference, loss), 0
        return self._found
