"""Find values that have stopped changing, although the observer may have been stopped too."""

from __future__ import annotations

from collections.abc import Mapping


class StallDetector:
    """Finds heartbeats that have not changed for too long.

    The observer may have been stopped itself, or the machine may have slept: after a long gap
    between two calls it starts to count anew.

    Args:
        seconds: how long a heartbeat may stay the same.
        now: the time, by any clock that never goes back.
    """

    def __init__(self, seconds: float, now: float) -> None:
        self._seconds = seconds
        self._looked = now
        self._seen: dict[int, tuple[object, float]] = {}

    def stalled(self, signs: Mapping[int, object], now: float) -> list[int]:
        """The numbers of the heartbeats that have not changed for too long.

        Args:
            signs: the present values by number; a missing number is not watched any more.
            now: the time.
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
