"""Which batch of an optimizer's step this is."""


class BatchNumber:
    """Counts the batches of each step, from 0; a resumed run counts as one that never stopped."""

    def __init__(self) -> None:
        self._at = -1, 0

    def next(self, step: int) -> int:
        """The number of the batch that comes now, in this step."""
        number = self._at[1] + 1 if self._at[0] == step else 0
        self._at = step, number
        return number
