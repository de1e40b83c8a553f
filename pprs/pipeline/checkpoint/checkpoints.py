"""Checkpoints of a run over several processes: written while it goes on, whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from time import monotonic
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from pprs._arguments import counts, positive
from pprs.pipeline.checkpoint.collectives import CheckpointError, Collectives, check_plain
from pprs.pipeline.checkpoint.directory import begin, finish, intact, newest
from pprs.pipeline.checkpoint.shard import write_shard
from pprs.pipeline.checkpoint.storage import Manifest, check_fits, read_manifest, read_tensors

_NICE = 10


class Checkpoints:
    """The checkpoints of a run, in a folder that all its ranks see.

    A checkpoint is a folder `<number>-step-<step>`. The number counts the saves, so that after
    going back to an older checkpoint the newest is still the one written last. It is written under
    another name and renamed when every rank's part is on the disk. The checksums find damage; they
    are no signature.

    Every rank makes one, and `due`, `save`, `close`, `latest`, `load` and `read` are
    collective calls. As a context manager it closes after success; a rank that fails leaves at
    once, since the others may never come.

    Args:
        folder: made at the first save.
        every: number of steps between saves, at least 1.
        minutes: time between saves, above 0.
        keep: how many of the newest complete checkpoints stay, at least 1.
        group: the ranks; all by default.

    Raises:
        ValueError: for numbers out of range.

    Example:
        >>> import tempfile
        >>> weight = torch.ones(3)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with Checkpoints(Path(folder), every=10) as checkpoints:
        ...         if checkpoints.due(step=10):
        ...             checkpoints.save(10, {"weight": weight}, {"step": 10})
        ...         _ = weight.zero_()
        ...     numbers = checkpoints.load(checkpoints.latest(), {"weight": weight})
        >>> numbers, weight
        ({'step': 10}, tensor([1., 1., 1.]))
    """

    def __init__(
        self,
        folder: Path,
        *,
        every: int | None = None,
        minutes: float | None = None,
        keep: int = 3,
        group: dist.ProcessGroup | None = None,
    ) -> None:
        counts(keep=keep, **({} if every is None else {"every": every}))
        positive(**({} if minutes is None else {"minutes": minutes}))
        self.folder = Path(folder).absolute()
        self.every, self.minutes, self.keep = every, minutes, keep
        # Two groups: what the writing thread says must not mix with what the caller's thread says.
        self._collectives, self._writers = Collectives(group), Collectives(group)
        self._last = monotonic()
        self._pending: _Background | None = None
        self._copies: Mapping[str, Tensor] = {}

    def due(self, step: int) -> bool:
        """Whether to save after `step` steps; the same on all ranks, by the clock of rank 0."""
        if step < 1:
            return False
        if self.every is not None and step % self.every == 0:
            return True
        if self.minutes is None:
            return False
        return self._collectives.decision(monotonic() - self._last >= 60 * self.minutes)

    def save(self, step: int, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
        """Copy the tensors, and write them while the caller goes on.

        Waits until the save before this one is written. The memory of the copies stays for the
        next save.

        Args:
            step: the number of steps done, at least 0.
            tensors: what belongs to this rank only, by full names; may be empty.
            numbers: JSON values. A key that several ranks pass has the same value on all.

        Raises:
            CheckpointError: if the save before this one failed; then this one is not begun.
            ValueError: for a negative step, or numbers that JSON cannot give back.
        """
        self._wait()
        if isinstance(step, bool) or not isinstance(step, int) or step < 0:
            raise ValueError(f"step must be an integer of at least 0, got {step!r}")
        check_plain("numbers", numbers)
        if "__metadata__" in tensors:
            raise ValueError(
                "tensors must not have the name '__metadata__', which safetensors uses"
            )
        copies = {name: _copied(t, self._copies.get(name)) for name, t in tensors.items()}
        self._copies = copies
        self._last, kept = monotonic(), dict(numbers)
        self._pending = _Background(lambda: self._write(step, copies, kept))

    def close(self) -> None:
        """Wait until the last save is written.

        Raises:
            CheckpointError: if it failed.
        """
        self._wait()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is None:
            self.close()

    def latest(self, *, contents: bool = True) -> Path | None:
        """The newest intact checkpoint, or `None` where there is none at all.

        Damaged ones are left out with a warning.

        Args:
            contents: read all files and compare them with their checksums; otherwise only what
                the manifest says of itself and of their sizes is checked.

        Raises:
            CheckpointError: if there are checkpoints, but all are damaged.
        """
        name = self._collectives.first(lambda: newest(self.folder, contents=contents))
        return None if name is None else self.folder / name

    def load(
        self,
        path: Path,
        tensors: Mapping[str, Tensor],
        optional: Mapping[str, Tensor] | None = None,
    ) -> dict[str, Any]:
        """Fill tensors in place from a checkpoint that any number of ranks has written.

        Args:
            path: the folder of the checkpoint.
            tensors: what this rank needs, by full names, on any device.
            optional: what it may need, too: those that the checkpoint lacks stay as they are.

        Returns:
            The numbers.

        Raises:
            CheckpointError: for a damaged checkpoint; it names the file, and one that is intact.
            ValueError: if it lacks a name, or a shape or type differs.
            After an error, which all ranks raise, no tensor of any rank has changed.
        """

        every = {**(optional or {}), **tensors}

        def names(manifest: Manifest) -> list[str]:
            wanted = [name for name in every if name in tensors or name in manifest.tensors]
            check_fits(manifest, {name: every[name] for name in wanted})
            return wanted

        read, numbers = self._read(Path(path), names)
        for name, value in read.items():
            every[name].detach().copy_(value)
        return numbers

    def read(
        self, path: Path, wanted: Callable[[str], bool]
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The tensors of a checkpoint whose names `wanted` accepts, new and on the CPU.

        For what does not exist yet, such as the state of a new optimizer.

        Returns:
            The tensors by name, and the numbers.

        Raises:
            CheckpointError: as `load`.
        """
        return self._read(Path(path), lambda manifest: [n for n in manifest.tensors if wanted(n)])

    def _read(
        self, path: Path, choose: Callable[[Manifest], list[str]]
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        read: dict[str, Tensor] = {}

        def work() -> dict[str, Any]:
            manifest = read_manifest(path)
            read.update(read_tensors(path, manifest, choose(manifest)))
            return manifest.numbers

        try:
            numbers: dict[str, Any] = self._collectives.together(work)[self._collectives.rank]
        except CheckpointError as error:
            other = self._collectives.first(lambda: intact(path))
            raise CheckpointError(f"{error}. {other}") from None
        return read, numbers

    def _wait(self) -> None:
        pending = self._pending
        if pending is not None:
            pending.join()
            self._pending = None  # not before: if this is interrupted, it still uses the copies
            pending.check()

    def _write(self, step: int, tensors: Mapping[str, Tensor], numbers: dict[str, Any]) -> None:
        writers = self._writers
        try:
            partial = self.folder / writers.first(lambda: begin(self.folder, step).name)
            try:
                parts = writers.together(
                    lambda: [*write_shard(partial, writers.rank, tensors), numbers]
                )
                writers.first(lambda: finish(partial, step, parts, self.keep))
            except (CheckpointError, ValueError):
                if writers.rank == 0:  # every rank has answered, so none still writes
                    shutil.rmtree(partial, ignore_errors=True)
                raise
        except Exception as error:
            raise CheckpointError(
                f"the checkpoint of step {step} was not saved: {error}. "
                f"Those before it are as they were"
            ) from error


def _copied(tensor: Tensor, before: Tensor | None) -> Tensor:
    """A contiguous copy on the CPU, in the memory of an earlier one if that fits."""
    if (
        before is None
        or before.is_inference()  # which could not be written to outside of inference mode
        or (before.shape, before.dtype) != (tensor.shape, tensor.dtype)
    ):
        return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
    return before.copy_(tensor.detach())


class _Background:
    """A thread of low priority whose error comes out where it is waited for."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._error: BaseException | None = None
        # A daemon: a rank that fails must leave, even while its peers keep this thread waiting.
        self._thread = threading.Thread(target=self._run, daemon=True, name="checkpoint")
        self._thread.start()

    def _run(self) -> None:
        try:
            _give_way()
            self._work()
        except BaseException as error:
            self._error = error

    def join(self) -> None:
        self._thread.join()

    def check(self) -> None:
        """Raise what the work raised."""
        if self._error is not None:
            raise self._error


def _give_way() -> None:
    """Give this thread a low priority: a rank waits for others in each step, long enough to write.

    Not the lowest one, with which a save beside other programs would take for ever.
    """
    if sys.platform == "linux":  # elsewhere it is the priority of the whole process
        with contextlib.suppress(OSError):  # forbidden: then it is only slower
            os.nice(_NICE)
