"""The log keeps what was acknowledged, whatever happens to the rest of its bytes."""

from __future__ import annotations

import contextlib
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerwatch.errors import DiskFullError, StoreError
from peerwatch.store.config import StoreConfig
from peerwatch.store.entry import RecordType, decode_context
from peerwatch.store.record import FILE_HEADER_BYTES, decode_file_header, encode_file_header, encode_record, scan
from peerwatch.store.wal import Wal, read_segment, segment_numbers
from tests.store.memory_disk import Fault, MemoryDisk

FOLDER = Path("/wal")
MAGIC = b"PWTESTXX"
payloads = st.lists(st.binary(max_size=40), min_size=1, max_size=8)


def written(records: list[bytes], salt: int) -> tuple[bytes, list[int]]:
    """A file, and where its records end."""
    data = encode_file_header(MAGIC, salt)
    ends = []
    for payload in records:
        data += b"".join(encode_record(1, [payload[:3], payload[3:]], salt))
        ends.append(len(data))
    return data, ends


@given(payloads, st.integers(0, 2**32 - 1), st.data())
def test_any_cut_keeps_every_whole_record(records: list[bytes], salt: int, data: st.DataObject) -> None:
    """A torn file gives back the records before the cut, and says where they end."""
    whole, ends = written(records, salt)
    cut = data.draw(st.integers(FILE_HEADER_BYTES, len(whole)))
    found = scan(whole[:cut], salt)
    kept = sum(end <= cut for end in ends)
    assert [bytes(record.payload) for record in found.records] == records[:kept]
    assert found.good_end == ([FILE_HEADER_BYTES, *ends][kept])
    assert found.gaps == [] and found.torn == (found.good_end < cut)


@given(payloads, st.integers(0, 2**32 - 1), st.data())
def test_damage_costs_one_record(records: list[bytes], salt: int, data: st.DataObject) -> None:
    """Whatever is flipped inside one record, all others are found."""
    whole, ends = written(records, salt)
    at = data.draw(st.integers(0, len(records) - 1))
    start = [FILE_HEADER_BYTES, *ends][at]
    damaged = bytearray(whole)
    damaged[data.draw(st.integers(start, ends[at] - 1))] ^= data.draw(st.integers(1, 255))
    found = scan(bytes(damaged), salt)
    assert [bytes(record.payload) for record in found.records] == records[:at] + records[at + 1 :]
    assert found.gaps == ([] if at == len(records) - 1 else [(start, ends[at])])


def test_a_record_inside_a_payload_is_not_believed() -> None:
    """A sender who puts bytes that look like a record into a batch gains nothing when damage exposes them."""
    forged = b"".join(encode_record(1, [b"forged"], 12345))
    whole, _ = written([forged, b"honest"], salt=999)
    damaged = bytearray(whole)
    damaged[FILE_HEADER_BYTES] ^= 1
    assert [bytes(record.payload) for record in scan(bytes(damaged), 999).records] == [b"honest"]


@given(st.integers(0, FILE_HEADER_BYTES - 1), st.integers(1, 255))
def test_one_flip_in_the_header_is_survived(at: int, mask: int) -> None:
    """The header is there twice."""
    header = bytearray(encode_file_header(MAGIC, 77))
    header[at] ^= mask
    assert decode_file_header(bytes(header), MAGIC) == (1, 77)


def wal_of(disk: MemoryDisk, segment_bytes: int = 1 << 20) -> Wal:
    return Wal(disk, FOLDER, StoreConfig(segment_bytes=segment_bytes), 1)


def read_back(disk: MemoryDisk) -> list[bytes]:
    found = []
    for number in segment_numbers(disk.names(FOLDER)):
        segment = read_segment(disk, FOLDER, number)
        assert segment.scan is not None and not segment.scan.gaps
        found += [bytes(record.payload) for record in segment.scan.records]
    return found


@pytest.mark.parametrize("kind", ["full", "error"])
@pytest.mark.parametrize("at", range(1, 9))
def test_a_failed_append_leaves_no_trace(kind: str, at: int) -> None:
    """Whichever operation fails: what was acknowledged survives a power cut, what was refused stays away, and the
    next append works."""
    disk = MemoryDisk(at)
    wal = wal_of(disk)
    acknowledged = []
    disk.fault = Fault(at, kind)
    for number in range(4):
        payload = b"record %d" % number
        try:
            wal.append([(1, [payload])])
            acknowledged.append(payload)
        except StoreError:
            pass
    assert len(acknowledged) >= 3
    assert read_back(disk) == acknowledged
    disk.cut_power()
    assert read_back(disk) == acknowledged


def test_a_full_disk_is_told_apart() -> None:
    """No room is DiskFullError: the caller tries again later."""
    disk = MemoryDisk()
    wal = wal_of(disk)
    wal.append([(1, [b"x"])])
    disk.fault = Fault(1, "full")
    with pytest.raises(DiskFullError, match="No space left"):
        wal.append([(1, [b"y"])])


def test_segments_are_rolled_by_size_and_numbers_never_come_back() -> None:
    """A segment that is large enough is closed; rotation hands out all since the last one."""
    disk = MemoryDisk()
    wal = wal_of(disk, segment_bytes=100)
    for _ in range(3):
        wal.append([(1, [bytes(80)])])
    assert wal.rotate() == [1, 2, 3]
    assert wal.rotate() == []
    wal.append([(1, [b"x"])])
    assert wal.rotate() == [4]


def test_a_segment_of_a_later_format_is_refused() -> None:
    """A program does not guess at a format that it does not know."""
    disk = MemoryDisk()
    file = disk.create(FOLDER / "0000000001.wal")
    header = bytearray(encode_file_header(b"PWWALSEG", 1)[:16])
    header[8] = 2
    disk.write(file, bytes(header) + crc32(header).to_bytes(4, "little") + bytes(20))
    with pytest.raises(StoreError, match="has format 2, this peerwatch reads up to 1"):
        read_segment(disk, FOLDER, 1)


@pytest.mark.parametrize("kind", ["full", "error"])
@pytest.mark.parametrize("at", range(1, 9))
def test_every_segment_has_the_context_of_its_records(kind: str, at: int) -> None:
    """Twice, before the first record that needs it, whichever operation failed before."""
    disk = MemoryDisk(at)
    wal = wal_of(disk, segment_bytes=200)
    disk.fault = Fault(at, kind)
    acknowledged = []
    for number in range(8):
        needs = [(b"even" if number % 2 else b"odd", b"content")]
        with contextlib.suppress(StoreError):
            wal.append([(1, [b"record %d" % number])], needs)
            acknowledged.append(b"record %d" % number)
    disk.cut_power()
    assert len(acknowledged) >= 7
    found = []
    for number in segment_numbers(disk.names(FOLDER)):
        segment = read_segment(disk, FOLDER, number)
        assert segment.scan is not None
        seen: list[bytes] = []
        for record in segment.scan.records:
            payload = bytes(record.payload)
            if record.type == RecordType.CONTEXT:
                name, content = decode_context(record.payload)
                assert content == b"content"
                seen.append(name)
                continue
            found.append(payload)
            assert seen.count(b"even" if int(payload[-1:]) % 2 else b"odd") == 2
        assert len(seen) == 2 * len(set(seen))
    assert found == acknowledged
