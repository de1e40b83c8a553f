"""How far a comparison is, and how long it will take."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from pprs.compare.amount import shown

# Without a bar a line comes after this part of the work.
_LINES = 10
# And while measuring, after these seconds.
_SECONDS = 10.0


class Advance:
    """A progress bar if the output is a terminal, lines else; both with the time that is left.

    Args:
        console: to write to.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self._total = self._done = 0.0
        self._begun = time.monotonic()
        self._said: float = _SECONDS  # of time, and then parts of the work
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("measuring a step of each method", total=None, left="")

    def __enter__(self) -> Advance:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def measuring(self, what: str) -> None:
        """Something begins whose time is not known yet."""
        self._bar.update(self._task, description=f"measuring: {what}")
        passed = time.monotonic() - self._begun
        if not self.console.is_terminal and passed > self._said:
            self._said = passed + _SECONDS
            self.say(f"measuring for {shown(passed)}: {what}")

    def begin(self, seconds: float) -> None:
        """So many seconds of work are expected."""
        self._total, self._begun, self._said, self._done = seconds, time.monotonic(), 0, 0.0
        self._bar.update(self._task, total=seconds, completed=0.0, left=self._left())

    def did(self, what: str, seconds: float) -> None:
        """Work that was expected to take so long has ended."""
        self._done = min(self._total, self._done + seconds)
        self._bar.update(self._task, completed=self._done, description=what, left=self._left())
        part = int(_LINES * self._done / self._total) if self._total else 0
        if not self.console.is_terminal and part > self._said:
            self._said = part
            self.say(f"{self._done / self._total:.0%}: {what}, {self._left()}")

    def say(self, sentence: str) -> None:
        """Print a line."""
        self.console.print(sentence, highlight=False, markup=False, soft_wrap=True)

    def _left(self) -> str:
        left = self._total - self._done
        if self._done:  # as fast as so far
            left *= (time.monotonic() - self._begun) / self._done
        return f"about {shown(left)} left"
