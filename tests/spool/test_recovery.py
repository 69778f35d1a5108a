"""After crashes and damage: nothing is lost silently, and nothing stops the rest."""

from __future__ import annotations

from pathlib import Path
from random import Random
from zlib import crc32

import pytest

from peerwatch.spool import Position
from peerwatch.testing.disk import MemoryDisk
from tests.spool.kit import BIG, Rig, drain, segments, small


@pytest.fixture
def disk() -> MemoryDisk:
    return MemoryDisk()


@pytest.fixture
def rig(disk: MemoryDisk) -> Rig:
    return Rig(Path("unused"), small(), disk=disk)


def test_a_torn_tail_is_cut(disk: MemoryDisk) -> None:
    """Wherever the last write tore, all before it is there and new envelopes follow."""
    probe = Rig(Path("unused"), small(), disk=MemoryDisk())
    probe.append(1, 2)
    assert isinstance(probe.disk, MemoryDisk)
    (name,) = segments(probe.disk)
    content = probe.disk.read(name, 0, BIG)
    one = content.index(b"1:2 ") - 1  # somewhere in the second envelope's record
    for cut in range(one, len(content)):
        disk = MemoryDisk()
        disk.write(name, 0, content[:cut])
        rig = Rig(Path("unused"), small(), disk=disk)
        assert rig.spool.stats().bytes == disk.size(name) < cut
        rig.append(1, epoch=2)
        rig.reopen()
        assert (drain(rig), rig.spool.stats().dropped_items) == ([1, 1], 0)


def test_a_flipped_bit_costs_one_envelope(rig: Rig, disk: MemoryDisk) -> None:
    """In the open segment and in a sealed one: it is counted, the rest goes on, and the file is kept aside."""
    rig.append(*range(1, 61))
    for name, seq in ((segments(disk)[0], 3), (segments(disk)[-1], 59)):
        disk.damage(name, disk.read(name, 0, BIG).index(f"1:{seq} ".encode()))
    rig.reopen()
    expected = [seq for seq in range(1, 61) if seq not in (3, 59)]
    assert (drain(rig), rig.metric("dropped_total", reason="corrupt")) == (expected, 2)
    rig.spool.reader("hub").ack(1, [(1, 60)])
    rig.append(1, epoch=2)
    rig.spool.reader("hub").ack(2, [(1, 1)])
    assert [name[16:] for name in disk.names() if name.endswith(".bad")] == [".seg.bad"] * 2
    assert rig.reopen().reader("hub").pending().count == 0


def test_any_damaged_byte_costs_little(disk: MemoryDisk) -> None:
    """Whichever byte of the files is hit, opening works and at most one envelope is missing, noticed."""
    source = Rig(Path("unused"), small(), disk=disk)
    source.append(*range(1, 31))
    source.spool.reader("hub").ack(1, [(5, 5)])
    source.spool.close()
    files = {name: disk.read(name, 0, BIG) for name in disk.names()}
    for name, content in files.items():
        for offset in range(0, len(content), 7):
            hurt = MemoryDisk()
            for other, data in files.items():
                hurt.write(other, 0, data)
            hurt.damage(name, offset)
            rig = Rig(Path("unused"), small(), disk=hurt)
            rig.append(1, epoch=2)
            missing = {*range(1, 31)} - {*drain(rig)} - {5}
            assert len(missing) <= 1
            noticed = rig.metric("damaged_total") + rig.metric("torn_total")
            assert not missing or noticed


def test_a_foreign_file_is_not_touched(rig: Rig, disk: MemoryDisk) -> None:
    """Only the spool's own names are read, renamed or removed."""
    disk.write("notes.txt", 0, b"mine")
    disk.write("zzzzzzzzzzzzzzzz.seg", 0, b"mine")
    rig.append(1)
    rig.reopen()
    assert (disk.read("notes.txt", 0, 9), disk.read("zzzzzzzzzzzzzzzz.seg", 0, 9)) == (b"mine", b"mine")


def test_a_segment_of_a_later_format_is_set_aside(rig: Rig, disk: MemoryDisk) -> None:
    """It is kept, not guessed at, and the spool goes on."""
    rig.append(1)
    (name,) = segments(disk)
    head = disk.read(name, 0, 8) + b"\x02\0\0\0"
    disk.write(name, 0, head + crc32(head).to_bytes(4, "little"))
    rig.reopen()
    rig.append(1, epoch=2)
    assert (drain(rig), name + ".bad" in disk.names(), rig.metric("damaged_total")) == ([1], True, 1)


def test_files_set_aside_do_not_pile_up(disk: MemoryDisk) -> None:
    """The newest two are kept."""
    for epoch in range(1, 6):
        rig = Rig(Path("unused"), small(), disk=disk)
        rig.append(1, epoch=epoch)
        rig.spool.close()
        name = segments(disk)[-1]
        disk.write(name, 0, b"x" * disk.size(name))
    Rig(Path("unused"), small(), disk=disk)
    assert len([name for name in disk.names() if name.endswith(".bad")]) == 2


def test_a_damaged_cursor_only_causes_resends(rig: Rig, disk: MemoryDisk) -> None:
    """The receiver is still known, so nothing that it needs is freed; what it had comes again."""
    hub, other = rig.spool.reader("hub"), rig.spool.reader("other")
    rig.append(1, 2, 3)
    hub.ack(1, [(2, 2)])
    other.ack(1, [(1, 3)])
    rig.spool.close()
    disk.damage("hub.cursor", 20)
    rig.open()
    assert (rig.spool.floor(), drain(rig), drain(rig, "other")) == (Position(1, 1), [1, 2, 3], [])


def test_a_lost_cursor_only_causes_resends(rig: Rig, disk: MemoryDisk) -> None:
    """Nothing that its receiver may need is freed before it can be known again, whatever the others have."""
    one, two = rig.spool.reader("one"), rig.spool.reader("two")
    rig.append(*range(1, 41))
    one.ack(1, [(1, 40)])
    two.ack(1, [(2, 2)])
    rig.spool.close()
    disk.remove("two.cursor")
    rig.open()
    rig.append(1, epoch=2)
    rig.spool.reader("one")
    assert rig.spool.floor() == Position(1, 1)
    assert drain(rig, "two") == [*range(1, 41), 1]


def test_acks_survive_a_power_cut_after_closing(disk: MemoryDisk) -> None:
    """A machine that is switched off without ado right after the stop costs no resends either."""
    for seed in range(20):
        disk = MemoryDisk()
        rig = Rig(Path("unused"), small(), disk=disk)
        reader = rig.spool.reader("hub")
        rig.append(1, 2, 3)
        reader.ack(1, [(1, 1)])
        reader.ack(1, [(3, 3)])
        rig.spool.close()
        disk.restart(Random(seed))
        rig.open()
        assert drain(rig) == [2]


def test_copies_are_handed_out_once(disk: MemoryDisk) -> None:
    """A write that failed, yet reached the medium, was done again in the next segment."""
    for number, numbers in ((0, (1, 2)), (1, (2,))):
        maker = MemoryDisk()
        Rig(Path("unused"), small(), disk=maker).append(*numbers)
        (name,) = segments(maker)
        disk.write(f"{number:016x}.seg", 0, maker.read(name, 0, BIG))
    rig = Rig(Path("unused"), small(), disk=disk)
    assert (drain(rig), rig.spool.stats().items) == ([1, 2], 2)


def test_lost_cursors_do_not_bring_back_what_was_settled(rig: Rig, disk: MemoryDisk) -> None:
    """The floor that receivers were told is kept with the envelopes, so it holds even then."""
    rig.append(1, 2, 3)
    rig.spool.reader("hub").ack(1, [(1, 2)])
    rig.append(4)
    rig.spool.close()
    disk.remove("hub.cursor")
    rig.open()
    assert drain(rig) == [3, 4]


def test_the_floor_that_an_envelope_told_is_kept_with_it(rig: Rig, disk: MemoryDisk) -> None:
    """Also when nothing was left to deliver and the envelope told its own position."""
    rig.append(1, 2, 3)
    rig.spool.reader("hub").ack(1, [(1, 3)])
    rig.append(4)
    rig.spool.close()
    disk.remove("hub.cursor")
    rig.open()
    assert drain(rig) == [4]
