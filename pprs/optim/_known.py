"""What is known of the function that `minimize` gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pprs._arguments import counts, positive, real


@dataclass(frozen=True)
class Known:
    r"""What is known of the objective; what is not is `None`.

    Args:
        dimension: d.
        depth: $\Delta$, at least 1.
        epsilon: precision $\varepsilon > 0$.
        lipschitz: L > 0.
        smoothness: constant $\beta > 0$ of the gradient.
        radius: R > 0.
        lower: a value that the objective is never below.
    """

    dimension: int
    depth: int
    epsilon: float | None
    lipschitz: float | None
    smoothness: float | None
    radius: float | None
    lower: float | None

    def __post_init__(self) -> None:
        counts(depth=self.depth)
        for name in ("epsilon", "lipschitz", "smoothness", "radius"):
            if (value := getattr(self, name)) is not None:
                positive(**{name: value})
        if self.lower is not None:
            real(lower=self.lower)

    def needed(self, method: str, *names: str) -> dict[str, Any]:
        """Some of it, for a method that cannot do without.

        Raises:
            ValueError: for what is not known.
        """
        absent = [name for name in names if getattr(self, name) is None]
        if absent:
            raise ValueError(
                f"method={method!r} needs {', '.join(absent)}; method='auto' does without"
            )
        return {name: getattr(self, name) for name in names}
