"""Memory that a process frees stays with it."""

import ctypes

import pytest
import warm

from pprs.pipeline.launcher.allocator import keep_freed_memory

pytestmark = pytest.mark.dist
BLOCK = 1 << 26  # bytes: as large as a layer's weights


class Statistics(ctypes.Structure):
    """The struct mallinfo2 of glibc's malloc.h."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


def freed(told):
    """Of a large block: what the allocator maps for it alone, keeps when it is freed, and takes
    from the system for the next one; nothing where it cannot be told or asked.
    """
    allocator = ctypes.CDLL(None)
    if not hasattr(allocator, "mallinfo2"):
        return None
    allocator.mallinfo2.restype = Statistics
    allocator.malloc.restype, allocator.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    allocator.free.argtypes = [ctypes.c_void_p]
    if told and not keep_freed_memory():
        return None
    before = allocator.mallinfo2()
    block = allocator.malloc(BLOCK)
    mapped = allocator.mallinfo2().hblkhd - before.hblkhd
    allocator.free(block)
    after = allocator.mallinfo2()
    allocator.malloc(BLOCK)
    again = allocator.mallinfo2()
    taken = again.arena + again.hblkhd - after.arena - after.hblkhd
    return mapped, after.arena - before.arena, taken


def test_freed_blocks_are_not_fetched_from_the_system_again():
    found = warm.call(freed, True)
    if found is None:
        pytest.skip("this C library's allocator cannot be told, or asked")
    mapped, kept, taken = found
    assert mapped == 0
    assert kept >= BLOCK
    assert taken == 0
    mapped, kept, taken = warm.call(freed, False)
    assert mapped >= BLOCK
    assert kept == 0
    assert taken >= BLOCK
