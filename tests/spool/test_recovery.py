"""The spool against a disk that fails: nothing is lost silently, and nothing crashes."""

from __future__ import annotations

from pathlib import Path
from random import Random
from zlib import crc32

import pytest

from peerwatch.errors import StoreError
from peerwatch.spool import Position
from peerwatch.testing.disk import MemoryDisk
from tests.spool.kit import SCHEMAS, Rig, envelope, seqs, small

BIG = 1 << 20
DAY_MS = 86_400_000


@pytest.fixture
def disk() -> MemoryDisk:
    return MemoryDisk()


@pytest.fixture
def rig(disk: MemoryDisk) -> Rig:
    return Rig(Path("unused"), small(), disk=disk)


def segments(disk: MemoryDisk) -> list[str]:
    return [name for name in disk.names() if name.endswith(".seg")]


def drain(rig: Rig, receiver: str = "hub") -> list[int]:
    """Everything that waits, in the order of numbers."""
    reader = rig.spool.reader(receiver)
    return seqs([*reader.backfill(BIG), *reader.fresh(BIG)])


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


def test_copies_are_handed_out_once(disk: MemoryDisk) -> None:
    """A write that failed, yet reached the medium, was done again in the next segment."""
    for number, numbers in ((0, (1, 2)), (1, (2,))):
        maker = MemoryDisk()
        Rig(Path("unused"), small(), disk=maker).append(*numbers)
        (name,) = segments(maker)
        disk.write(f"{number:016x}.seg", 0, maker.read(name, 0, BIG))
    rig = Rig(Path("unused"), small(), disk=disk)
    assert (drain(rig), rig.spool.stats().items) == ([1, 2], 2)


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


def test_lost_cursors_do_not_bring_back_what_was_settled(rig: Rig, disk: MemoryDisk) -> None:
    """The floor that receivers were told is kept with the envelopes, so it holds even then."""
    rig.append(1, 2, 3)
    rig.spool.reader("hub").ack(1, [(1, 2)])
    rig.append(4)
    rig.spool.close()
    disk.remove("hub.cursor")
    rig.open()
    assert drain(rig) == [3, 4]


def test_a_segment_carries_the_schemas_it_uses(rig: Rig) -> None:
    """However many older segments are gone, every envelope that is left can be read."""
    for seq in range(1, 201):
        rig.spool.append(envelope(seq, ids=(b"schema-one", b"schema-two")), SCHEMAS if seq == 1 else {})
    assert rig.spool.stats().dropped_items > 0
    rig.reopen()
    assert {one: rig.spool.schema(one) for one in SCHEMAS} == SCHEMAS


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
