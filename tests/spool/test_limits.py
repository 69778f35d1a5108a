"""Bytes, envelopes and age are bounded: the oldest go first, and every drop is counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from peerwatch.spool import Position
from peerwatch.testing.disk import MemoryDisk
from tests.spool.kit import BIG, SCHEMAS, Rig, drain, envelope, segments, small

DAY_MS = 86_400_000


@pytest.fixture
def disk() -> MemoryDisk:
    return MemoryDisk()


@pytest.fixture
def rig(disk: MemoryDisk) -> Rig:
    return Rig(Path("unused"), small(), disk=disk)


def test_a_full_spool_drops_its_oldest_segment(rig: Rig, disk: MemoryDisk) -> None:
    """Newest stay, the drop is counted, and the floor says what will not come."""
    reader = rig.spool.reader("hub")
    rig.append(*range(1, 201))
    assert reader.pending().count == rig.spool.stats().items
    left = drain(rig)
    stats = rig.spool.stats()
    assert left == list(range(left[0], 201))
    assert (stats.dropped_items, rig.metric("dropped_total", reason="full")) == (left[0] - 1, left[0] - 1)
    assert rig.spool.floor() == Position(1, left[0])
    assert stats.bytes == sum(disk.size(name) for name in segments(disk)) <= rig.config.max_bytes
    assert stats.dropped_bytes == rig.metric("dropped_bytes_total", reason="full") > 0


def test_delivered_envelopes_are_freed_and_not_counted_as_dropped(rig: Rig, disk: MemoryDisk) -> None:
    """With receivers that keep up the spool stays small."""
    reader = rig.spool.reader("hub")
    for seq in range(1, 501):
        rig.append(seq)
        reader.ack(1, [(seq, seq)])
    assert (rig.spool.stats().dropped_items, len(segments(disk))) == (0, 1)


def test_items_are_bounded_too(disk: MemoryDisk) -> None:
    """Many tiny envelopes cost memory for their index, so their number has a limit."""
    rig = Rig(Path("unused"), small(max_items=20), disk=disk)
    rig.append(*range(1, 51), size=1)
    left = drain(rig)
    assert left == list(range(left[0], 51)) and 10 <= len(left) <= 20
    assert rig.spool.stats().dropped_items == left[0] - 1


def test_age_drops_what_is_too_old(rig: Rig) -> None:
    """After max_age of being open, envelopes go, counted."""
    rig.append(1, 2, 3)
    rig.clock.advance(3601)
    rig.append(4)
    rig.append(5)
    assert drain(rig) == [4, 5]
    assert rig.metric("dropped_total", reason="age") == 3


def test_age_goes_on_counting_after_a_restart(rig: Rig) -> None:
    """Half the time before and half after make a whole."""
    rig.append(1)
    rig.clock.advance(1850)
    rig.append(2)
    rig.reopen()
    rig.clock.advance(1850)
    rig.append(1, 2, epoch=2)
    reader = rig.spool.reader("hub")
    assert [item.position for item in reader.backfill(BIG)] == [Position(1, 2)]


@pytest.mark.parametrize("jump_ms", [365 * DAY_MS, -DAY_MS])
def test_a_clock_that_jumps_expires_nothing(rig: Rig, jump_ms: int) -> None:
    """Only time spent open ages envelopes; the wall clock and the envelopes' own times are not judged."""
    rig.append(1, 2)
    rig.clock.jump(jump_ms)
    jumped = envelope(3)
    rig.spool.append(type(jumped)(jumped.position, rig.clock.now_ms(), jumped.envelope, jumped.schema_ids), SCHEMAS)
    rig.reopen()
    rig.append(1, epoch=2)
    assert (drain(rig), rig.spool.stats().dropped_items) == ([1, 2, 3, 1], 0)


def test_segments_that_a_power_cut_brings_back_are_within_the_limit(disk: MemoryDisk) -> None:
    """Not every removal is synced; at the next opening the oldest go again."""
    rig = Rig(Path("unused"), small(), disk=disk)
    files: dict[str, bytes] = {}
    for seq in range(1, 301):
        rig.append(seq)
        files.update({name: disk.read(name, 0, BIG) for name in segments(disk)})
    rig.spool.close()
    for name, content in files.items():
        disk.write(name, 0, content)
    rig.open()
    assert sum(disk.size(name) for name in segments(disk)) <= rig.config.max_bytes
    assert drain(rig)[-1] == 300


def test_a_segment_carries_the_schemas_it_uses(rig: Rig) -> None:
    """However many older segments are gone, every envelope that is left can be read."""
    for seq in range(1, 201):
        rig.spool.append(envelope(seq, ids=(b"schema-one", b"schema-two")), SCHEMAS if seq == 1 else {})
    assert rig.spool.stats().dropped_items > 0
    rig.reopen()
    assert {one: rig.spool.schema(one) for one in SCHEMAS} == SCHEMAS


def test_what_every_receiver_had_is_not_counted_as_dropped(rig: Rig) -> None:
    """Of a dropped segment only those count that someone still needed."""
    one, two = rig.spool.reader("one"), rig.spool.reader("two")
    for seq in range(1, 201):
        rig.append(seq)
        one.ack(1, [(seq, seq)])
        if seq % 2:
            two.ack(1, [(seq, seq)])
    left = drain(rig, "two")
    assert rig.spool.stats().dropped_items == 100 - len(left) > 0
    assert two.pending().count == len(left)


def test_many_drops_in_a_row_count_each_once(rig: Rig) -> None:
    """What was appended is either still there or counted."""
    for burst in range(1, 8):
        rig.append(*range(1, 80), epoch=burst)
        stats = rig.spool.stats()
        assert stats.items + stats.dropped_items == 79 * burst


def test_a_segment_is_not_larger_than_configured(rig: Rig, disk: MemoryDisk) -> None:
    """With its seal, so that dropping one gives room for one."""
    rig.append(*range(1, 150))
    sizes = [disk.size(name) for name in segments(disk)]
    assert len(sizes) > 4 and max(sizes) <= rig.config.segment_bytes
