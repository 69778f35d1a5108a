"""How fast the spool is: appends with and without sync, reading, and opening a full one. Prints medians.

python bench/spool.py [--folder DIR] [--size BYTES] [--rounds N] [--total-mib N]
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from peerwatch.model import SystemClock
from peerwatch.spool import Position, Spool, SpoolConfig, SpooledEnvelope
from peerwatch.telemetry import CollectorRegistry

SCHEMA_ID = b"\x01" * 32
SCHEMAS = {SCHEMA_ID: os.urandom(20_000)}


def main() -> None:
    """Run every measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="where to write (default: a temporary folder)")
    parser.add_argument("--size", type=int, default=3000, help="bytes of an envelope (a report of 300 series: 3000)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--total-mib", type=int, default=512, help="how much the full spool holds")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="spool-bench-", dir=options.folder))
    try:
        run(folder, options.size, options.rounds, options.total_mib << 20)
    finally:
        shutil.rmtree(folder)


def run(folder: Path, size: int, rounds: int, total_bytes: int) -> None:
    """Print a line per measurement."""
    print(f"envelopes of {size} bytes, {rounds} rounds, medians")
    for sync, count in ((True, 300), (False, 5000)):
        times = [append_s(folder / f"append-{sync}-{round_}", size, count, sync=sync) for round_ in range(rounds)]
        median = statistics.median(times)
        print(f"append, sync={sync!s:5}: {count / median:9.0f}/s  {median / count * 1e6:7.0f} µs each")
    full = folder / "full"
    count = fill(full, size, total_bytes)
    sealed = statistics.median(open_s(full, total_bytes) for _ in range(rounds))
    print(f"open {count} envelopes, {used_mib(full):.0f} MiB: {sealed * 1000:9.1f} ms")
    for max_bytes in (64 << 10, 1 << 20):
        median = statistics.median(drain_s(full, total_bytes, max_bytes, ack=False) for _ in range(rounds))
        print(
            f"read, {max_bytes >> 10:4} KiB at a time: {count / median:9.0f}/s  {count * size / median / 1e6:7.0f} MB/s"
        )
    took = drain_s(full, total_bytes, 1 << 20, ack=True)
    print(f"read and ack, 1 MiB at a time (once, with sync): {count / took:9.0f}/s")
    print(f"peak RSS of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def opened(folder: Path, *, sync: bool = True, max_bytes: int = 512 << 20) -> Spool:
    """A spool with its defaults but for sync and size."""
    config = SpoolConfig(sync=sync, max_bytes=max_bytes)
    return Spool.open(folder, config, clock=SystemClock(), registry=CollectorRegistry())


def append(spool: Spool, size: int, first: int, count: int) -> None:
    """Append `count` envelopes."""
    content = os.urandom(size)
    for seq in range(first, first + count):
        spool.append(SpooledEnvelope(Position(1, seq), 1_700_000_000_000 + seq, content, (SCHEMA_ID,)), SCHEMAS)


def append_s(folder: Path, size: int, count: int, *, sync: bool) -> float:
    """Seconds for `count` appends into an empty spool with one receiver."""
    spool = opened(folder, sync=sync)
    spool.reader("hub")
    start = time.perf_counter()
    append(spool, size, 1, count)
    took = time.perf_counter() - start
    spool.close()
    return took


def fill(folder: Path, size: int, total_bytes: int) -> int:
    """Fill a spool up to just below its limit; how many envelopes it took."""
    spool = opened(folder, sync=False, max_bytes=total_bytes)
    spool.reader("hub")
    count = int(total_bytes * 0.97) // (size + 150)
    append(spool, size, 1, count)
    assert spool.stats().dropped_items == 0
    spool.close()
    return count


def open_s(folder: Path, max_bytes: int) -> float:
    """Seconds to open a spool."""
    start = time.perf_counter()
    spool = opened(folder, max_bytes=max_bytes)
    took = time.perf_counter() - start
    spool.close()
    return took


def drain_s(folder: Path, spool_bytes: int, max_bytes: int, *, ack: bool) -> float:
    """Seconds to hand everything out to one receiver."""
    spool = opened(folder, max_bytes=spool_bytes)
    reader = spool.reader("hub")
    start = time.perf_counter()
    while items := reader.backfill(max_bytes):
        if ack:
            reader.ack(1, [(items[0].position.seq, items[-1].position.seq)])
    took = time.perf_counter() - start
    spool.close()
    return took


def used_mib(folder: Path) -> float:
    """What the folder holds."""
    return sum(path.stat().st_size for path in folder.iterdir()) / (1 << 20)


if __name__ == "__main__":
    main()
