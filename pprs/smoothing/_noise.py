"""Gaussian noise as a function of names, never of the order of calls."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass

import torch


def fresh_seed() -> int:
    """A seed from the operating system's entropy; no generator of torch or Python is touched."""
    return secrets.randbits(63)


def derive_seed(*words: int | str) -> int:
    """A seed from 0 to 2^63 - 1 that depends on every word, the same on every machine."""
    digest = hashlib.blake2b("/".join(map(str, words)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


@dataclass(frozen=True)
class Noise:
    r"""The noise of one microbatch of one step.

    Each parameter has a stream of standard normals of its own, keyed by ``(seed, step, microbatch,
    parameter name)``; the k-th draw of the stream is the parameter's part of $X_k$. So the
    noise does not depend on how a model is cut into stages, nor on the order in which they run.

    Args:
        seed: any integer; names the run.
        step: the step t of Algorithm 1.
        microbatch: which microbatch of the step.
    """

    seed: int
    step: int
    microbatch: int = 0

    def stream(self, name: str, device: torch.device) -> torch.Generator:
        """A new generator at the start of the stream of the parameter called ``name``."""
        key = derive_seed(self.seed, self.step, self.microbatch, name)
        return torch.Generator(device=device).manual_seed(key)
