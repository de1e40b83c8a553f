"""The rank whose failure came first, and the message about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.distributed.elastic.multiprocessing.errors import ProcessFailure

from pprs.pipeline.launcher.check_script import CAME_BACK, GUARD
from pprs.pipeline.launcher.heartbeat import SilentRank

# Errors that are about the run, not about the code.
_CLEAR = {
    SilentRank.__name__,
    "CheckpointError",
    "LaunchError",
    "NotFiniteError",
    "UnlikeError",
}


class LaunchError(RuntimeError):
    """A rank failed, and all others were stopped; the message names the rank and the reason.

    Args:
        sentence: which, where, and why.
        rank: its number.
        stack: where in the code, if that is known and of help.

    Attributes:
        sentence: the message without the stack.
        rank: its number, if it is known.
    """

    def __init__(self, sentence: str, rank: int | None = None, stack: str = "") -> None:
        super().__init__(f"{sentence}. Its stack:\n{stack}" if stack else sentence)
        self.sentence, self.rank = sentence, rank


@dataclass(frozen=True)
class Failure:
    """A process that has failed.

    Args:
        rank: its rank.
        ranks: how many there are.
        where: its stages and step, or nothing.
        process: what torch knows of it.
    """

    rank: int
    ranks: int
    where: str
    process: ProcessFailure

    def __str__(self) -> str:
        """The sentence without its end."""
        where = f"; {self.where}" if self.where else ""
        who = f"rank {self.rank} (of {self.ranks}, process {self.process.pid}{where})"
        if self.process.exitcode == CAME_BACK:
            return f"{who} {GUARD}"
        if self.process.exitcode < 0:
            return f"{who} was killed by {self.process.signal_name()}"
        said = self._said.get("message")
        if said is None:
            early = "" if self.process.exitcode else ", before it had done its work"
            return f"{who} left with exit code {self.process.exitcode}{early}"
        kind, _, sentence = first_line(said).partition(": ")
        return sentence if kind == SilentRank.__name__ else f"{who} failed with {first_line(said)}"

    @property
    def stack(self) -> str:
        """Where in the code an exception was raised, or nothing where that is no help."""
        kind = self._said.get("message", "").partition(": ")[0]
        return "" if kind in _CLEAR else self._said.get("extraInfo", {}).get("py_callstack", "")

    @property
    def order(self) -> tuple[int, int]:
        """A sort key, least for the failure that came first.

        A rank that was killed, or left without a word, did so by itself. An exception may only
        say that the connection to such a rank was lost; of those the first counts.
        """
        if self.process.exitcode < 0 or not self._said:
            return 0, self.rank
        return 1, Path(self.process.error_file).stat().st_mtime_ns

    @property
    def _said(self) -> dict[str, Any]:
        message = self.process.error_file_data.get("message")
        return message if isinstance(message, dict) else {}


def first_line(said: str) -> str:
    """The first line of a message; the stack has the rest."""
    lines = [line.strip() for line in said.strip().splitlines() if line.strip()] or [""]
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]


def first(failures: Sequence[Failure]) -> Failure:
    """The failure that came first; other ranks only lost their connection to that one."""
    return min(failures, key=lambda failure: failure.order)
