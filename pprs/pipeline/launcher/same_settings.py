"""Check that all ranks were started with the same settings."""

from __future__ import annotations

from collections.abc import Mapping

import torch.distributed as dist

from pprs.pipeline.communication import gathered


def check_same(
    settings: Mapping[str, object],
    group: dist.ProcessGroup | None = None,
    wanted: str = "all ranks must be started with the same settings",
) -> None:
    """Raise `ValueError` on all ranks if any has different settings; a collective call.

    Args:
        settings: values by name, compared by their `repr`.
        group: the ranks that are to agree, by default all.
        wanted: what all should have, for the error.

    Raises:
        ValueError: if two ranks differ; it names the first setting that does.

    Example:
        >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
        >>> check_same({"sigma": 0.1})  # silent: every rank has it
        >>> dist.destroy_process_group()
    """
    everyone = gathered({name: repr(value) for name, value in settings.items()}, group)
    ranks = dist.get_process_group_ranks(group or dist.group.WORLD)
    first = everyone[0]
    for rank, other in zip(ranks, everyone, strict=True):
        for name in [*first, *other]:
            if first.get(name) != other.get(name):
                raise ValueError(
                    f"rank {rank} has {_shown(name, other)}, but rank {ranks[0]} has "
                    f"{_shown(name, first)}: {wanted}"
                )


def _shown(name: str, settings: Mapping[str, str]) -> str:
    return f"{name}={settings[name]}" if name in settings else f"no {name}"
