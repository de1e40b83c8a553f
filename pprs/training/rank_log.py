"""The stack of a rank that fails, in the folder of its run."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import torch.distributed as dist

from pprs._user_line import user_line
from pprs.pipeline import LaunchError


def log_of(folder: Path, rank: int | None) -> Path:
    """The file in which a rank writes its stack."""
    return folder / f"rank-{rank}.log"


def log_sizes(folder: Path) -> dict[Path, int]:
    """The bytes of the files that are there: for `with_log`, before the ranks start."""
    return {log: log.stat().st_size for log in folder.glob("rank-*.log")}


def with_log(error: LaunchError, folder: Path, before: Mapping[Path, int]) -> str:
    """What to say of a rank that failed: where its stack is, or the stack itself.

    Args:
        error: about the rank.
        folder: of the run.
        before: the sizes of the logs before the ranks started, since runs append to them.
    """
    log = log_of(folder, error.rank)
    written = log_sizes(folder).get(log, 0) > before.get(log, 0)
    return f"{error.sentence}; its stack is in {log}" if written else str(error)


class RankLog:
    """Inside, an exception is written to a file of this rank, and says where the file is.

    Args:
        folder: of the run; it may come later.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def __enter__(self) -> RankLog:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, Exception):
            return
        if self.folder is not None:
            log = log_of(self.folder, dist.get_rank())
            with suppress(OSError), log.open("a") as file:
                file.write("".join(traceback.format_exception(error)) + "\n")
                error.add_note(f"its stack is in {log}")
        place = user_line(error)
        if type(error) is RuntimeError and place and place not in str(error):
            # The terminal shows only this sentence, which so leads to the user's own line.
            error.args = (f"{str(error).strip().partition(chr(10))[0]} ({place})",)
