"""The spool used from several threads at once, on a real disk."""

from __future__ import annotations

import threading
from pathlib import Path

from peerwatch.spool import Disk, Pending, Position
from tests.spool.kit import SCHEMAS, Rig, envelope, small


class SlowDisk(Disk):
    """A disk whose sync takes as long as the test wants."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.syncing = threading.Event()
        self.go_on = threading.Event()

    def sync(self, name: str) -> None:
        self.syncing.set()
        assert self.go_on.wait(10)
        super().sync(name)


def test_asking_never_waits_for_the_disk(tmp_path: Path) -> None:
    """While an append hangs in its sync, floor, last_position, stats and pending answer at once."""
    disk = SlowDisk(tmp_path)
    disk.go_on.set()
    rig = Rig(tmp_path, small(), disk=disk)
    reader = rig.spool.reader("hub")
    rig.append(1)
    disk.syncing.clear()
    disk.go_on.clear()
    thread = threading.Thread(target=rig.append, args=(2,))
    thread.start()
    assert disk.syncing.wait(10)
    seen = (rig.spool.floor(), rig.spool.last_position(), rig.spool.stats().items, reader.pending().count)
    assert thread.is_alive()
    disk.go_on.set()
    thread.join()
    assert seen == (Position(1, 1), Position(1, 1), 1, 1)
    assert rig.spool.last_position() == Position(1, 2)
    rig.spool.close()


def test_writing_and_reading_at_once_loses_nothing(tmp_path: Path) -> None:
    """One thread appends, two receivers take and acknowledge: each gets every envelope once."""
    rig = Rig(tmp_path, small(max_bytes=1 << 20, sync=0))
    count = 300
    got: dict[str, list[int]] = {"one": [], "two": []}
    readers = {name: rig.spool.reader(name) for name in got}

    def receive(name: str) -> None:
        while len(got[name]) < count:
            for item in readers[name].fresh(500) + readers[name].backfill(500):
                got[name].append(item.position.seq)
                readers[name].ack(1, [(item.position.seq, item.position.seq)])

    threads = [threading.Thread(target=receive, args=(name,)) for name in got]
    for thread in threads:
        thread.start()
    for seq in range(1, count + 1):
        rig.spool.append(envelope(seq), SCHEMAS)
    for thread in threads:
        thread.join(30)
    assert got == {"one": list(range(1, count + 1)), "two": list(range(1, count + 1))}
    assert [reader.pending() for reader in readers.values()] == [Pending(0, 0, None)] * 2
    rig.spool.close()
