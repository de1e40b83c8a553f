"""Keep freed memory in the process, for the next step."""

from __future__ import annotations

import ctypes

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_ALWAYS = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let the C library's allocator reuse large blocks, instead of giving each back at once.

    A training step frees its gradients and activations and needs the same again in the next; to
    get every page anew from the system can cost a third of a step on a CPU.

    Returns:
        Whether this allocator has the setting; only glibc's has.
    """
    allocator = ctypes.CDLL(None)
    if not hasattr(allocator, "mallopt") or not hasattr(allocator, "gnu_get_libc_version"):
        return False
    settings = {_MMAP_THRESHOLD: _ALWAYS, _TRIM_THRESHOLD: _ALWAYS, _TOP_PAD: 1 << 26}
    done = [allocator.mallopt(name, value) for name, value in settings.items()]
    return all(done)
