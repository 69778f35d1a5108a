"""Heap: what was freed goes back to the system, and threads share one heap. The one door to glibc's malloc.

A query over a month takes a hundred megabytes for a moment. glibc keeps them for the next time, once per thread that
ever ran such a query; Python's own `free` cannot tell it otherwise. With another C library nothing happens here.
"""

from __future__ import annotations

import ctypes
import os

import anyio
import anyio.to_thread

EVERY_S = 10.0
"""A trim takes 0.1 to 10 ms, by how much lies free, and a busy hub some 5 ms more to take pages again. There is nothing
that tells whether one is worth it: the C library counts what it has given back already as free, too."""
_M_ARENA_MAX = -8  # malloc.h


def share_one_heap() -> None:
    """Give all threads one heap; call before there are any. Python's lock lets only one of them allocate anyway."""
    libc = _glibc()
    if libc is not None:
        libc.mallopt(_M_ARENA_MAX, 1)


async def keep_small(every_s: float = EVERY_S) -> None:
    """Give freed memory back now and then, until cancelled."""
    libc = _glibc()
    while libc is not None:
        await anyio.sleep(every_s)
        await anyio.to_thread.run_sync(libc.malloc_trim, 0)


def _glibc() -> ctypes.CDLL | None:
    """The C library, where it is glibc."""
    try:
        version = os.confstr("CS_GNU_LIBC_VERSION")
    except (OSError, ValueError):  # no other system or library knows the name
        return None
    return ctypes.CDLL(None) if version else None
