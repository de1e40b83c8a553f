"""Leave a training loop together when a signal asks for it."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any

import torch
import torch.distributed as dist

from pprs.pipeline.running.environment import device


class Stopping:
    """Inside, SIGINT, SIGTERM and SIGHUP do not end this process but are noted.

    They reach the ranks one by one, at any moment. What all ranks do together, such as saving a
    checkpoint, they must do at the same step, so they ask whether any of them has been signalled::

        with Stopping() as stopping:
            while step < steps:
                ...
                if stopping.agreed():
                    save()
                    break
    """

    def __init__(self) -> None:
        self._noted: signal.Signals | None = None
        self._previous: dict[signal.Signals, Any] = {}

    def agreed(self, group: dist.ProcessGroup | None = None) -> signal.Signals | None:
        """The signal that some rank has noted, the same for all ranks; a collective call.

        Args:
            group: the ranks that are to agree, by default all.

        Returns:
            the signal, that of the highest number if there are several, or ``None``.
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
        self._previous = {each: signal.signal(each, self._note) for each in _heeded()}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        stack: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            # What was not set from Python is None, and cannot be set from it.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _heeded() -> list[signal.Signals]:
    # nohup lets a process ignore SIGHUP, so that it goes on when its terminal is closed.
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGINT, signal.SIGTERM, *([] if ignored else [signal.SIGHUP])]
