"""A disk that refuses: envelopes are kept in memory, within a bound, and go to disk when it can be."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from peerwatch.errors import StoreError
from peerwatch.spool import Position
from peerwatch.testing.disk import MemoryDisk
from tests.spool.kit import BIG, SCHEMAS, Rig, drain, envelope, segments, seqs, small


@pytest.fixture
def disk() -> MemoryDisk:
    return MemoryDisk()


@pytest.fixture
def rig(disk: MemoryDisk) -> Rig:
    return Rig(Path("unused"), small(), disk=disk)


def test_a_full_disk_costs_the_oldest_first(rig: Rig, disk: MemoryDisk) -> None:
    """What the spool itself holds makes room for the new."""
    rig.append(*range(1, 61))
    assert len(segments(disk)) > 2
    disk.capacity_bytes = disk.used_bytes
    rig.append(*range(61, 71))
    left = drain(rig)
    assert left == list(range(left[0], 71))
    assert rig.metric("dropped_total", reason="disk_full") == left[0] - 1 > 0
    assert (rig.spool.stats().degraded, rig.spool.stats().in_memory) == ("", 0)


def test_the_newest_segment_is_never_given(rig: Rig, disk: MemoryDisk) -> None:
    """It knows the last position, and what it holds is as good as what would come in its place."""
    rig.append(1, 2)
    before = {name: disk.size(name) for name in disk.names()}
    disk.capacity_bytes = disk.used_bytes + 20
    rig.append(3, 4)
    assert (rig.spool.stats().dropped_items, rig.spool.stats().in_memory) == (0, 2)
    assert {name: disk.size(name) for name in disk.names()} == before, "a write that failed leaves nothing behind"
    assert drain(rig) == [1, 2, 3, 4]


def test_a_full_disk_with_nothing_to_give_keeps_envelopes_in_memory(rig: Rig, disk: MemoryDisk) -> None:
    """They are handed out from there, and go to disk when there is room again."""
    disk.capacity_bytes = 10
    rig.append(1, 2)
    assert "No space left" in rig.spool.stats().degraded
    assert (rig.spool.stats().in_memory, rig.metric("degraded"), drain(rig)) == (2, 1, [1, 2])
    disk.capacity_bytes = None
    rig.append(3)
    assert rig.spool.stats().in_memory == 3
    rig.clock.advance(5)
    rig.append(4)
    assert (rig.spool.stats().in_memory, rig.spool.stats().degraded, rig.metric("degraded")) == (0, "", 0)
    rig.spool.reader("hub").ack(1, [(2, 3)])
    disk.restart()
    rig.open()
    assert drain(rig) == [1, 4]


def test_memory_is_bounded(disk: MemoryDisk) -> None:
    """Its oldest go first, counted; an envelope that does not fit at all is counted too."""
    rig = Rig(Path("unused"), small(memory_bytes=2048), disk=disk)
    disk.read_only = True
    rig.append(*range(1, 101))
    left = drain(rig)
    assert left == list(range(left[0], 101))
    assert rig.metric("dropped_total", reason="memory_full") == left[0] - 1 > 0
    assert rig.spool.stats().bytes <= rig.config.memory_bytes
    rig.append(101, size=2000)
    assert (drain(rig), rig.spool.stats().items) == ([], 0)
    assert rig.metric("dropped_total", reason="memory_full") == 101
    assert rig.spool.last_position() == Position(1, 101)


def test_a_read_only_folder_at_open_is_said(disk: MemoryDisk) -> None:
    """What is on disk is still delivered, new envelopes stay in memory, and the reason is clear."""
    before = Rig(Path("unused"), small(), disk=disk)
    before.append(1)
    before.spool.close()
    disk.read_only = True
    rig = Rig(Path("unused"), small(), disk=disk)
    assert "Read-only file system" in rig.spool.stats().degraded
    rig.append(2)
    rig.spool.reader("hub").ack(1, [(5, 5)])
    assert (drain(rig), rig.spool.stats().in_memory, rig.metric("errors_total", operation="cursor") > 0) == (
        [1, 2],
        1,
        True,
    )
    disk.read_only = False
    rig.reopen()
    assert (drain(rig), rig.spool.stats().degraded) == ([1, 2], "")


def test_acks_that_could_not_be_saved_are_saved_when_closing(rig: Rig, disk: MemoryDisk) -> None:
    """A short trouble of the disk does not even cost resends."""
    rig.append(1, 2)
    reader = rig.spool.reader("hub")
    disk.read_only = True
    reader.ack(1, [(1, 1)])
    disk.read_only = False
    rig.reopen()
    assert drain(rig) == [2]


def test_a_folder_that_cannot_be_had_is_tried_again(tmp_path: Path) -> None:
    """A file in the way: memory. Out of the way: disk, without a restart."""
    (tmp_path / "spool").write_bytes(b"")
    rig = Rig(tmp_path / "spool", small())
    assert "spool" in rig.spool.stats().degraded
    rig.append(1)
    assert rig.spool.floor() == Position(0, 0)
    (tmp_path / "spool").unlink()
    rig.clock.advance(5)
    rig.append(2)
    assert (rig.spool.stats().degraded, rig.spool.stats().in_memory, rig.spool.floor()) == ("", 0, Position(1, 1))
    rig.reopen()
    assert drain(rig) == [1, 2]
    rig.spool.close()


def test_old_segments_that_appear_late_are_left_alone(tmp_path: Path) -> None:
    """A mount that comes after the start: its envelopes are for the next start, not mixed in."""
    first = Rig(tmp_path / "late", small())
    first.append(1)
    first.spool.close()
    (tmp_path / "spool").write_bytes(b"")
    rig = Rig(tmp_path / "spool", small())
    (tmp_path / "spool").unlink()
    (tmp_path / "late").rename(tmp_path / "spool")
    rig.clock.advance(5)
    rig.append(1, epoch=2)
    assert "restart to use them" in rig.spool.stats().degraded
    assert rig.spool.floor() == Position(0, 0)
    rig.spool.close()
    rig.open()
    assert [item.position for item in rig.spool.reader("hub").backfill(BIG)] == [Position(1, 1)]
    rig.spool.close()


def test_a_failed_sync_keeps_the_envelope_in_memory(rig: Rig, disk: MemoryDisk) -> None:
    """What may not be on the medium is not called durable; the retry goes to a new file."""
    rig.append(1)
    disk.fail_syncs = 1
    rig.append(2)
    assert rig.spool.stats().in_memory == 1
    rig.clock.advance(5)
    rig.append(3)
    assert (len(segments(disk)), rig.spool.stats().in_memory) == (2, 0)
    disk.restart()
    rig.open()
    assert drain(rig) == [1, 2, 3]


def test_a_floor_holds_when_only_memory_knows_of_it() -> None:
    """A drop lifts the floor, the next envelope tells it and does not reach the disk: the power cut undoes no drop."""
    for seed in range(20):
        disk = MemoryDisk()
        rig = Rig(Path("unused"), small(), disk=disk)
        rig.spool.reader("hub")
        seq = 0
        while not rig.spool.stats().dropped_items:
            rig.append(seq := seq + 1)
        told = rig.spool.floor()
        assert told is not None and told > Position(1, 1)
        disk.read_only = True
        rig.append(seq + 1)
        disk.read_only = False
        disk.restart(Random(seed))
        rig.open()
        assert drain(rig)[0] >= told.seq


def test_memory_holds_the_schemas_it_uses(rig: Rig, disk: MemoryDisk) -> None:
    """Also those that only came with an envelope that is gone, and no longer than needed."""
    disk.read_only = True
    for seq in range(1, 101):
        rig.spool.append(envelope(seq, ids=(b"schema-one",)), SCHEMAS if seq == 1 else {})
    assert rig.spool.schema(b"schema-one") == SCHEMAS[b"schema-one"]
    rig.spool.append(envelope(101, ids=(b"schema-two",)), SCHEMAS)
    for seq in range(102, 202):
        rig.spool.append(envelope(seq, ids=()), {})
    assert rig.spool.schema(b"schema-one") is None
    disk.read_only = False
    rig.reopen()
    assert drain(rig)[-1] == 201


def test_a_disk_that_fails_for_a_moment_costs_nothing(rig: Rig, disk: MemoryDisk) -> None:
    """A read error that may pass is told to the caller, and the envelopes stay."""

    class Refusing(MemoryDisk):
        refuse = False

        def read(self, name: str, offset: int, count: int) -> bytes:
            if self.refuse:
                raise StoreError(f"read {name}: Too many open files")
            return super().read(name, offset, count)

    refusing = Refusing()
    rig = Rig(Path("unused"), small(), disk=refusing)
    rig.append(1)
    reader = rig.spool.reader("hub")
    refusing.refuse = True
    with pytest.raises(StoreError, match="Too many open files"):
        reader.fresh(BIG)
    refusing.refuse = False
    assert seqs(reader.fresh(BIG)) == [1]


def test_a_receiver_that_came_in_bad_times_is_noted_later(rig: Rig, disk: MemoryDisk) -> None:
    """With the next envelope that reaches the disk, so that a crash does not make it unknown."""
    disk.read_only = True
    rig.spool.reader("hub")
    disk.read_only = False
    rig.append(1)
    assert "hub.cursor" in disk.names()
