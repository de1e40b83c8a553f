"""Gaussian noise as a function of names, never of the order of calls."""

from __future__ import annotations

import functools
import hashlib
import math
import numbers
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import torch
from torch import Tensor

from pprs.smoothing import _philox
from pprs.smoothing._philox import Segments
from pprs.smoothing.native import cuda, kernels
from pprs.smoothing.native.kernels import Perturbed
from pprs.smoothing.native.recording import Key, Keys


class Role(IntEnum):
    """What a draw is for; the draws of different roles are independent."""

    PARAMETER = 0  # the parameter's part of X_k, element by element
    FORWARD = 1  # an implicit linear map's noise, on the way forward
    BACKWARD = 2  # and on the way back
    RESIDUAL = 3  # what the jitter of a factor adds


def fresh_seed() -> int:
    """A seed from the operating system's entropy; no generator of torch or Python is touched."""
    return secrets.randbits(63)


def checked_seed(seed: int | None) -> int:
    """The seed that was given, or a fresh one; `ValueError` for anything but an integer."""
    if seed is None:
        return fresh_seed()
    if not isinstance(seed, numbers.Integral) or isinstance(seed, bool):
        raise ValueError(f"seed must be an integer, got {seed!r}")
    return int(seed)


def derive_seed(*words: int | str) -> int:
    """A seed from 0 to 2^63 - 1 that depends on every word, the same on every machine."""
    digest = hashlib.blake2b("/".join(map(str, words)).encode(), digest_size=8).digest()
    return _seed(digest)


def _seed(digest: bytes) -> int:
    return int.from_bytes(digest, "little") >> 1


@dataclass(frozen=True)
class Noise:
    r"""The noise of one microbatch of one step.

    Every parameter has streams of standard normals of its own, keyed by `(seed, step, microbatch,
    parameter name)`, one for each perturbation and role. So the noise does not depend on how a
    model is cut into stages, nor on the order in which they run.

    Args:
        seed: any integer; names the run.
        step: the step t of Algorithm 1.
        microbatch: which microbatch of the step.
    """

    seed: int
    step: int
    microbatch: int = 0

    def normals(
        self,
        name: str,
        role: Role,
        shape: Sequence[int],
        dtype: torch.dtype,
        device: torch.device,
        *,
        first: int = 0,
    ) -> Tensor:
        """Draws for the parameter called `name`.

        Args:
            name: the parameter's full name.
            role: what they are for.
            shape: `(streams, ...)`; each row holds the first elements of a stream.
            dtype: a real floating-point type; those below 32 bits are rounded from float32.
            device: where to draw.
            first: the number of the stream of row 0.
        """
        streams, *rest = shape
        segments = Segments(_origin(device), math.prod(rest), streams, first)
        return self._draw(name, role, segments, dtype).view(shape)

    def perturbed(
        self,
        name: str,
        parameter: Tensor,
        sigma: float,
        samples: int,
        share: int,
        scale: Tensor | None = None,
        dtype: torch.dtype | None = None,
        first: int = 0,
    ) -> Tensor | None:
        """Add the draws with the role `PARAMETER`, times sigma, to a parameter, in one go.

        Args:
            name: the parameter's full name.
            parameter: any shape.
            sigma: factor of the draws.
            samples: how many.
            share: so many consecutive samples read the same stream.
            scale: another factor, for each row of dimension 0, or for all, a vector.
            dtype: of the result on a CUDA device; by default the parameter's.
            first: the number of the stream of sample 0.

        Returns:
            Shape `(samples, *parameter.shape)`, or `None` where that cannot be done at once.
        """
        if parameter.dtype not in {torch.float32, torch.float64}:
            return None
        base = parameter.reshape(-1)
        segments = Segments(_origin(base.device), base.numel(), samples, first, share)
        key, role = self.key(name), Role.PARAMETER
        what = Perturbed(base, sigma, scale)
        if base.is_cuda:
            drawn = cuda.normals(key, role, segments, base.dtype, what, dtype)
        else:
            drawn = kernels.normals(key, role, segments, base.dtype, what)
        return None if drawn is None else drawn.view(samples, *parameter.shape)

    def rows(self, name: str, index: Tensor, width: int, dtype: torch.dtype, share: int) -> Tensor:
        r"""Rows of the draws with the role `PARAMETER` for a parameter of two dimensions.

        Args:
            name: the parameter's full name.
            index: which rows of each sample, integers, shape `(samples, ...)`.
            width: the length of a row.
            dtype: as for `normals`.
            share: the number of consecutive samples that read the same stream.

        Returns:
            Shape `(*index.shape, width)`.
        """
        starts = index.reshape(len(index), -1).to(torch.int64) * width
        segments = Segments(starts, width, len(starts), share=share)
        return self._draw(name, Role.PARAMETER, segments, dtype).view(*index.shape, width)

    def _draw(self, name: str, role: Role, segments: Segments, dtype: torch.dtype) -> Tensor:
        wide = torch.float64 if dtype == torch.float64 else torch.float32
        key = self.key(name)
        if segments.starts.is_cuda:
            drawn = cuda.normals(key, role, segments, wide, None, dtype)
        else:
            drawn = kernels.normals(key, role, segments, wide)
        if drawn is None:
            drawn = _philox.normals(key, role, segments, wide)
        return drawn.to(dtype)

    def key(self, name: str) -> int | Key:
        """The key of a parameter's streams."""
        return self.numbers([name])[0]

    def numbers(self, names: Iterable[str]) -> list[int]:
        """The keys of the streams of several."""
        begun = hashlib.blake2b(
            f"{self.seed}/{self.step}/{self.microbatch}/".encode(), digest_size=8
        )
        numbers = []
        for name in names:
            of_name = begun.copy()
            of_name.update(name.encode())
            numbers.append(_seed(of_name.digest()))
        return numbers


@dataclass(frozen=True)
class RecordedNoise(Noise):
    """The noise of a pass that is recorded, and run later with the keys of other steps.

    Args:
        keys: that each run fills in.
    """

    seed: int = 0
    step: int = 0
    keys: Keys = field(kw_only=True)

    def key(self, name: str) -> Key:
        """Where the key will stand."""
        return self.keys.key(name)


class Streams:
    """The streams of one parameter, one for each independent X.

    Args:
        noise: of the pass.
        name: the parameter's full name.
        count: how many there are.
    """

    def __init__(self, noise: Noise, name: str, count: int) -> None:
        self.key = noise.key(name)
        self._noise, self._name, self._count = noise, name, count

    def normals(self, role: Role, *shape: int, like: Tensor) -> Tensor:
        """Draws of shape `(streams, *shape)`, of the type and on the device of `like`."""
        shape = (self._count, *shape)
        return self._noise.normals(self._name, role, shape, like.dtype, like.device)


@functools.cache
def _origin(device: torch.device) -> Tensor:
    return torch.zeros((1, 1), dtype=torch.int64, device=device)
