"""The range of standardised pixels."""

from __future__ import annotations

from torch import Tensor

from pprs._arguments import non_negative
from pprs.compare.scale import Scale


class PixelScale(Scale):
    """A standardisation that says what becomes of changes of pixels, and of their range."""

    @property
    def bounds(self) -> tuple[Tensor, Tensor]:
        """What pixels of 0 and of 1 become, `(c, 1, 1)` each: no image leaves this range."""
        return self.forward(self.mean.new_zeros(())), self.forward(self.mean.new_ones(()))

    def radius(self, epsilon: float) -> Tensor:
        r"""What a change of a pixel by $\varepsilon$ (8/255, say) becomes, shape `(c, 1, 1)`.

        Raises:
            ValueError: if it is negative.
        """
        non_negative(epsilon=epsilon)
        return epsilon / self.deviation
