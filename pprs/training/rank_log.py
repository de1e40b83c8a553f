"""The stack of a rank that fails, in the folder of its run."""

from __future__ import annotations

import traceback
from contextlib import suppress
from pathlib import Path

import torch.distributed as dist

from pprs._user_line import user_line
from pprs.pipeline import LaunchError


def log_of(folder: Path, rank: int | None) -> Path:
    """The file in which a rank writes its stack."""
    return folder / f"rank-{rank}.log"


def with_log(error: LaunchError, folder: Path) -> str:
    """What to say of a rank that failed: where its stack is, or the stack itself."""
    log = log_of(folder, error.rank)
    return f"{error.sentence}; its stack is in {log}" if log.exists() else str(error)


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
