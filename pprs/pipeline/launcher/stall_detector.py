"""Notice what has stopped changing, by a clock that may itself have stood still."""

from __future__ import annotations

from collections.abc import Mapping


class StallDetector:
    """Watches signs of life that should change again and again.

    Whoever looks may have been stopped too, or the machine may have slept. Then nothing can be
    said about the others, so after a long gap between two looks it starts counting anew.

    Args:
        seconds: how long a sign may stay the same.
        now: the time, by any clock that never goes back.
    """

    def __init__(self, seconds: float, now: float) -> None:
        self._seconds = seconds
        self._looked = now
        self._seen: dict[int, tuple[object, float]] = {}

    def stalled(self, signs: Mapping[int, object], now: float) -> list[int]:
        """Take in the signs as they are now.

        Args:
            signs: values by number; a number that is missing is not watched any more.
            now: the time.

        Returns:
            the numbers of those that have not changed for too long.
        """
        late = now - self._looked > self._seconds / 2
        self._looked = now
        before = {} if late else self._seen
        self._seen = {
            number: before[number]
            if number in before and before[number][0] == sign
            else (sign, now)
            for number, sign in signs.items()
        }
        return [n for n, (_, since) in self._seen.items() if now - since > self._seconds]
