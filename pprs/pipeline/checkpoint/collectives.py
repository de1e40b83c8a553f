"""Collective calls over gloo, by which ranks write and read a checkpoint together."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import distributed_c10d
from torch.distributed.constants import default_pg_timeout


class CheckpointError(RuntimeError):
    """A checkpoint cannot be written or read; the message names the file and the reason."""


class Collectives:
    """Collective calls of a group of ranks, over gloo connections of their own.

    So a thread can make them while training uses the group. Two threads need two of these.

    Args:
        group: all ranks by default, whose collective call this is; a process without a process
            group is alone.
    """

    def __init__(self, group: dist.ProcessGroup | None) -> None:
        joined = dist.is_initialized()
        self.rank = dist.get_rank(group) if joined else 0
        self.size = dist.get_world_size(group) if joined else 1
        self._gloo = _connected(self.rank, self.size, group) if self.size > 1 else None

    def together(self, work: Callable[[], Any]) -> list[Any]:
        """Run `work` on every rank and all-gather the results, which must be JSON.

        Raises:
            ValueError: on all ranks, if that is what it raised on one.
            CheckpointError: on all ranks, if it failed otherwise on any; it says on which, and how.
        """
        try:
            mine = [work(), None, False]
        except Exception as error:
            kind = "" if isinstance(error, ValueError | CheckpointError) else type(error).__name__
            mine = [None, f"{kind}: {error}" if kind else str(error), isinstance(error, ValueError)]
        results = self._gather(mine)
        if any(said is not None for _, said, _ in results):
            refused = any(refusal for _, _, refusal in results)
            raise (ValueError if refused else CheckpointError)(_sentence([r[1] for r in results]))
        return [value for value, _, _ in results]

    def first(self, work: Callable[[], Any]) -> Any:
        """Run `work` on rank 0 and broadcast its result, or its error."""
        return self.together(lambda: work() if self.rank == 0 else None)[0]

    def decision(self, of_first: bool) -> bool:
        """Broadcast what rank 0 passes."""
        flag = torch.tensor([of_first], device="cpu")
        if self._gloo is not None:
            self._gloo.broadcast(flag, 0).wait()
        return bool(flag)

    # torch's all_gather_object would pickle; nothing that belongs to a checkpoint does.
    def _gather(self, value: Any) -> list[Any]:
        if self._gloo is None:
            return [value]
        text = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        lengths = [torch.zeros(1, dtype=torch.int64, device="cpu") for _ in range(self.size)]
        own = torch.tensor([text.numel()], device="cpu")
        self._gloo.allgather([lengths], [own]).wait()
        padded = torch.zeros(max(int(n) for n in lengths), dtype=torch.uint8, device="cpu")
        padded[: text.numel()] = text
        texts = [torch.empty_like(padded) for _ in range(self.size)]
        self._gloo.allgather([texts], [padded]).wait()
        return [
            json.loads(t[: int(n)].numpy().tobytes()) for t, n in zip(texts, lengths, strict=True)
        ]


def check_plain(where: str, value: Any) -> None:
    """Raise `ValueError` unless JSON gives the value back as it is; a tuple becomes a list."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{where} must have strings as keys, got {key!r}")
            check_plain(f"{where}[{key!r}]", item)
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            check_plain(f"{where}[{i}]", item)
    elif type(value) not in (bool, int, float, str, type(None)):
        raise ValueError(
            f"{where} must be a number, a string, None, or a list or dictionary of these, "
            f"got {value!r}"
        )


def _connected(rank: int, size: int, group: dist.ProcessGroup | None) -> Any:
    # Not new_group: all ranks of the world would have to call it, and for some ranks only
    # (use_local_synchronization) it hangs where they have made other groups before.
    name = [uuid.uuid4().hex]
    dist.broadcast_object_list(name, group=group, group_src=0)
    store = distributed_c10d.PrefixStore(
        f"checkpoints/{name[0]}", distributed_c10d._get_default_store()
    )
    return dist.ProcessGroupGloo(store, rank, size, default_pg_timeout)


def _sentence(said: list[str | None]) -> str:
    if None not in said and len(set(said)) == 1:
        return str(said[0])
    return "; ".join(f"rank {i}: {words}" for i, words in enumerate(said) if words is not None)
