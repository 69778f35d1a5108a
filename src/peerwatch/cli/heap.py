"""Heap: what was freed goes back to the system, and threads share one heap. The one door to glibc's malloc.

A query over a month takes a hundred megabytes for a moment. glibc keeps them for the next time, once per thread that
ever ran such a query; Python's own `free` cannot tell it otherwise. With another C library nothing happens here.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import anyio
import anyio.to_thread

_LOOK_S = 5.0
_GROWN_BYTES = 8 << 20
"""Growth worth a trim, which takes some 5 ms: less is ordinary work coming and going."""
_GROWN_SHARE = 0.1
"""The same for large processes: walking through their heap takes longer."""
_M_ARENA_MAX = -8  # malloc.h
_STATM = Path("/proc/self/statm")


def share_one_heap() -> None:
    """Give all threads one heap; call before there are any. Python's lock lets only one of them allocate anyway."""
    libc = _glibc()
    if libc is not None:
        libc.mallopt(_M_ARENA_MAX, 1)


async def keep_small() -> None:
    """Give freed memory back whenever the process has grown, until cancelled."""
    libc = _glibc()
    floor_bytes = 0
    while libc is not None:
        await anyio.sleep(_LOOK_S)
        if is_due(resident_bytes(), floor_bytes):
            await anyio.to_thread.run_sync(libc.malloc_trim, 0)
            floor_bytes = resident_bytes()
        else:
            floor_bytes = min(floor_bytes, resident_bytes())


def is_due(now_bytes: int, floor_bytes: int) -> bool:
    """Whether so much has been taken since the process was at its smallest that some of it may be free again."""
    return now_bytes - floor_bytes > max(_GROWN_BYTES, _GROWN_SHARE * floor_bytes)


def resident_bytes() -> int:
    """Memory that this process has right now. Linux only."""
    return int(_STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _glibc() -> ctypes.CDLL | None:
    """The C library, where it is glibc."""
    if "CS_GNU_LIBC_VERSION" not in os.confstr_names or not _STATM.exists():
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "malloc_trim") and hasattr(libc, "mallopt") else None
