"""A process that is killed at any moment has lost nothing that it acknowledged."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from peerwatch.store.config import StoreConfig
from peerwatch.store.store import Store
from peerwatch.telemetry import CollectorRegistry
from tests.store.material import EVERYTHING_MS, ManualClock, cells_of, decode, envelope, matrix, series

ROUNDS = 10
STEP_MS = 7


def open_store(folder: Path) -> Store:
    config = StoreConfig(compact_span_ms=2000, min_free_bytes=0, segment_bytes=20_000, flush_interval_s=0.001)
    return Store.open(folder, config, clock=ManualClock(10**10), decode_envelope=decode, registry=CollectorRegistry())


def write(folder: Path, first: int) -> None:
    """The child: appends one batch after the other, prints its number once it is acknowledged."""
    store = open_store(folder)
    layout = store.layout(tuple(series("x", i=str(i)) for i in range(3)))

    def keep_up() -> None:
        while True:
            store.maintain()

    threading.Thread(target=keep_up, daemon=True).start()
    for seq in range(first, first + 100_000):
        store.append([envelope(seq, (layout, matrix([seq * STEP_MS], [[seq], [-seq], [seq / 8]])))])
        sys.stdout.write(f"{seq}\n")
        sys.stdout.flush()


@pytest.mark.chaos
def test_kill_9_loses_nothing(tmp_path: Path) -> None:
    """Killed again and again while it appends, flushes and compacts: each acknowledged batch is there exactly once."""
    rng = random.Random(1)
    acknowledged = -1
    for _ in range(ROUNDS):
        command = [sys.executable, "-m", "tests.store.test_kill", str(tmp_path), str(acknowledged + 1)]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=dict(os.environ))
        assert child.stdout is not None
        lines = [child.stdout.readline()]
        threading.Timer(rng.uniform(0.1, 1.5), os.kill, (child.pid, signal.SIGKILL)).start()
        lines += child.stdout.readlines()
        child.wait()
        child.stdout.close()
        told = [int(line) for line in lines if line.strip().isdigit() and line.endswith(b"\n")]
        acknowledged = max([acknowledged, *told])
        store = open_store(tmp_path)
        found = cells_of(store.select([], *EVERYTHING_MS))
        assert len(found) == 3
        for cells in found.values():
            present = [time_ms // STEP_MS for time_ms in cells]
            assert present in (list(range(acknowledged + 1)), list(range(acknowledged + 2)))
        acknowledged = max(acknowledged, len(present) - 1)
        assert store.stats().damage == 0
        store.close()
    assert acknowledged > ROUNDS


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))
