"""Leave a training loop together when a signal asks for it."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from types import FrameType

import torch
import torch.distributed as dist

from pprs.pipeline.launcher.environment import device
from pprs.pipeline.launcher.signals import handled

_ASK = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopping:
    """Inside the block, SIGINT, SIGTERM and SIGHUP are noted and do not end this process.

    They reach the ranks one by one, at any moment. What all ranks do together, such as saving a
    checkpoint, they must do at the same step, so they ask whether any of them has been signalled:

        with Stopping() as stopping:
            while step < steps:
                ...
                if stopping.agreed():
                    save()
                    break

    Example:
        >>> with Stopping() as stopping:
        ...     print(stopping.agreed())
        None
    """

    def __init__(self) -> None:
        self._noted: signal.Signals | None = None
        self._handlers = ExitStack()

    def agreed(self, group: dist.ProcessGroup | None = None) -> signal.Signals | None:
        """The signal that some rank has noted, the same for all ranks; a collective call.

        Args:
            group: the ranks that are to agree, by default all.

        Returns:
            the signal, that of the highest number if there are several, or `None`.
        """
        number = self._noted or 0
        if dist.is_initialized():
            where = device() if dist.get_backend(group) == "nccl" else torch.device("cpu")
            most = torch.tensor([number], device=where)
            dist.all_reduce(most, dist.ReduceOp.MAX, group)
            number = int(most.item())
        return signal.Signals(number) if number else None

    def _note(self, number: int, _: FrameType | None) -> None:
        self._noted = signal.Signals(number)

    def __enter__(self) -> Stopping:
        self._noted = None
        self._handlers.enter_context(handled(self._note, _ASK))
        return self

    def __exit__(self, *_: object) -> None:
        self._handlers.close()
