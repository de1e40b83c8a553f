"""Where in a user's code an error came from."""

from __future__ import annotations

import sysconfig
import traceback
from pathlib import Path

import numpy as np
import torch

# Where errors come out whoever caused them; a model that is installed may lie beside these.
_NOT_THE_USERS = tuple(
    f"{Path(str(file)).parent}/" for file in (__file__, torch.__file__, np.__file__)
)
_PYTHONS = sysconfig.get_path("stdlib")
_INSTALLED = ("site-packages", "dist-packages")


def user_line(error: BaseException) -> str:
    """File and line of the last call in the user's code, or nothing if there is none.

    That of an installed package counts where the user has none.
    """
    found: list[str] = []
    installed: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        for frame in traceback.extract_tb(cause.__traceback__):
            inside = any(part in _INSTALLED for part in Path(frame.filename).parts)
            if frame.filename.startswith((*_NOT_THE_USERS, "<")):
                continue
            if frame.filename.startswith(_PYTHONS) and not inside:
                continue
            (installed if inside else found).append(
                f"{Path(frame.filename).name}, line {frame.lineno}"
            )
        cause = cause.__cause__
    last = (found or installed)[-1:]
    return last[0] if last else ""
