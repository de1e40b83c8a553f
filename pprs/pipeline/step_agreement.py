"""Check that all ranks take a step with the same settings and the same batch."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from pprs.pipeline.arguments import fingerprint
from pprs.pipeline.launcher import check_same
from pprs.pipeline.stage import PerturbedStage
from pprs.pipeline.tied import Tied
from pprs.smoothing import Perturbation

_UNREAD = -1
_LIMIT = 1 << 14  # numbers of a tensor that are looked at, spread over all of it


@dataclass(frozen=True)
class StepAgreement:
    """A collective call, with what this rank passes to it.

    Args:
        settings: what must be the same on all ranks, by name.
        own: a number for what may differ between ranks; the others must learn when it changes.
        x: the inputs, on the ranks with the first and the last stage.
        y: the targets, on the same ranks.
        tied: parameters of which ranks hold copies that must be equal.
    """

    settings: Mapping[str, object]
    own: int
    x: Sequence[Any] = ()
    y: Any = None
    tied: Tied | None = None

    def agreed(self, what: str, device: torch.device, group: dist.ProcessGroup | None) -> Any:
        """Compare settings and batches of all ranks; a collective call, of one small message.

        Args:
            what: name of the call, for errors.
            device: where the ranks compute.
            group: the ranks.

        Raises:
            ValueError: on all ranks alike, if settings or copies of a tied parameter differ, or two
                ranks read different batches.
        """
        mine = [_number(self.settings), self.own]
        size = dist.get_world_size(group)
        if size == 1:
            return tuple(mine)
        mine += [_checksum(self.x), _checksum((self.y,)), *_of_copies(self.tied)]
        sent = torch.tensor(mine, device=device)
        received = [torch.empty_like(sent) for _ in range(size)]
        dist.all_gather(received, sent, group=group)
        rows = torch.stack(received).tolist()
        if any(row[0] != rows[0][0] for row in rows):
            check_same(self.settings, group, f"{what} must be called alike on all ranks")
        ranks = dist.get_process_group_ranks(group or dist.group.WORLD)
        _check_batches(what, ranks, rows)
        if self.tied is not None:
            _check_copies(what, ranks, rows, self.tied)
        return tuple(tuple(row[:2]) for row in rows)


@dataclass
class Lockstep:
    """Whether the ranks still take their steps together, which an error on one of them ends.

    Args:
        group: the ranks.
    """

    group: dist.ProcessGroup | None
    _broken: bool = False

    def check(self) -> None:
        """Raise `RuntimeError` if they do not."""
        if self._broken:
            raise RuntimeError(
                "a step has failed on this rank, and what the others sent since is lost: start "
                "all ranks again"
            )

    @contextmanager
    def watched(self) -> Iterator[None]:
        """A block of messages between several ranks, which lose each other if it fails."""
        try:
            yield
        except BaseException:
            self._broken = dist.get_world_size(self.group) > 1
            raise


def check_alike(
    perturbation: Perturbation,
    names: Iterable[str],
    whole: nn.Module,
    group: dist.ProcessGroup | None,
    **settings: object,
) -> None:
    """Raise `ValueError` on all ranks if any builds another pipeline; a collective call.

    Args:
        perturbation: what is averaged.
        names: of all trainable parameters of the network.
        whole: the network's chain.
        group: the ranks.
        settings: the others.
    """
    noise = (perturbation.noise, perturbation.antithetic, perturbation.scale)
    own = {"samples": perturbation.samples, "sigma": perturbation.sigmas(names, 0), "noise": noise}
    weights = "the network's initial parameters (seed them alike)"
    check_same({**settings, **own, weights: fingerprint(whole)}, group)


def agreed_step(
    inputs: Sequence[Tensor],
    read: tuple[Sequence[Any], Any],
    stages: Mapping[int, PerturbedStage],
    device: torch.device,
    group: dist.ProcessGroup | None,
    centres: int = 1,
    tied: Tied | None = None,
) -> object:
    """A key of the kind of step that this is, the same on all ranks; a collective call.

    Args:
        inputs: of the step.
        read: inputs and targets, if this rank has a stage that reads them.
        stages: of this rank, by number.
        device: where it computes.
        group: the ranks.
        centres: how many share the step.
        tied: parameters of which ranks hold copies.

    Raises:
        ValueError: on all ranks alike, if they do not take the step alike.
        RuntimeError: without gradients.
    """
    settings = {
        **_surroundings(device, stages),
        "gradients": torch.is_grad_enabled(),
        "the shapes of x": [tuple(x.shape) for x in inputs],
        "the number of centres": centres,
    }
    kinds = tuple(kind for stage in stages.values() for kind in stage.kinds())
    call = StepAgreement(settings, hash((tuple(x.dtype for x in inputs), kinds)), *read, tied)
    agreed = call.agreed(f"step {next(iter(stages.values())).step}", device, group)
    if not torch.is_grad_enabled():
        raise RuntimeError("a step needs gradients: it was called under torch.no_grad()")
    return agreed


def agreed_inputs(
    read: Sequence[Any],
    stages: Mapping[int, PerturbedStage],
    device: torch.device,
    tied: Tied,
) -> None:
    """As `agreed_step`, for a forward pass of one copy alone."""
    call = StepAgreement(_surroundings(device, stages), 0, read, None, tied)
    call.agreed("the pipeline", device, tied.group)


def check_copies(tied: Tied) -> None:
    """Raise `ValueError` if copies of a tied parameter differ; a collective call of a copy."""
    if tied.holders:
        StepAgreement({}, 0, tied=tied).agreed("the checkpoint", tied.device, tied.group)


def _surroundings(device: torch.device, stages: Mapping[int, nn.Module]) -> dict[str, object]:
    enabled = torch.is_autocast_enabled(device.type)
    return {
        "autocast": torch.get_autocast_dtype(device.type) if enabled else None,
        "training": next(iter(stages.values())).training,
    }


def _check_batches(what: str, ranks: Sequence[int], rows: Sequence[Sequence[int]]) -> None:
    readers = [(rank, row[2:]) for rank, row in zip(ranks, rows, strict=True)]
    for i, name in enumerate("xy"):
        read = [(rank, sums) for rank, sums in readers if sums[i] != _UNREAD]
        for rank, sums in read[1:]:
            if sums[i] != read[0][1][i]:
                raise ValueError(
                    f"{what}: {name} on rank {rank} is not that on rank {read[0][0]}, and labels "
                    f"would meet other examples: pass the same batch on the ranks with the first "
                    f"and the last stage. Seed every process alike, give a DataLoader that "
                    f"shuffles a generator of its own (torch.Generator().manual_seed(0)), draw in "
                    f"a data set from seeded generators only; or read on one rank and broadcast"
                )


def _of_copies(tied: Tied | None) -> list[int]:
    """A number for each tied parameter that equal copies have in common."""
    held = [tied.here.get(name) for name in tied.holders] if tied is not None else []
    return [_UNREAD if p is None else 2 * _checksum((p,)) + p.requires_grad for p in held]


def _check_copies(
    what: str, ranks: Sequence[int], rows: Sequence[Sequence[int]], tied: Tied
) -> None:
    size, before = dist.get_world_size(tied.group), len(rows[0]) - len(tied.holders)
    for column, (name, holders) in enumerate(tied.holders.items(), before):
        for first in range(0, len(rows), size):  # copy by copy
            found = {ranks[first + i]: rows[first + i][column] for i in holders}
            if len({*found.values()}) > 1:
                raise ValueError(
                    f"{what}: stages on ranks {' and '.join(map(str, found))} share parameter "
                    f"{name!r}, but what they hold of it is no longer equal: on all of them, give "
                    f"it the same optimizer with the same settings, one that treats each parameter "
                    f"by itself, and freeze or change it alike; or untie it"
                )


def _checksum(tensors: Sequence[Any]) -> int:
    """A checksum of tensors, shapes and types; another order of the examples changes it."""
    found = [x for x in tensors if isinstance(x, Tensor)]
    if not found:
        return _UNREAD
    total = 0
    for x in found:
        flat = x.detach().reshape(-1)
        some = flat[:: (len(flat) // _LIMIT) | 1].cpu().contiguous().resolve_conj()
        if (x.is_floating_point() or x.is_complex()) and x.element_size() > 1:  # 8 bits add nothing
            some = some + 0.0  # -0.0 is 0.0
        about = f"{tuple(x.shape)} {x.dtype}".encode()
        total = zlib.crc32(some.view(torch.uint8).numpy().data, zlib.crc32(about, total))
    return total


def _number(value: object) -> int:
    return zlib.crc32(repr(value).encode())
