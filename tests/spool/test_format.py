"""The bytes on disk: old files stay readable, and no bytes make the readers fail otherwise than they say."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatch.errors import CorruptionError
from peerwatch.model import SeqIntervals
from peerwatch.spool import Position, SpooledEnvelope
from peerwatch.spool.cursor import Cursor, decode_cursor, encode_cursor
from peerwatch.spool.packed import pack, pack_schema, unpack, unpack_schema
from peerwatch.spool.record import HEADER_BYTES, Kind, Record, file_header, frame, parse, scan
from peerwatch.spool.segment import load_segment
from peerwatch.testing.disk import MemoryDisk
from tests.spool.kit import SCHEMAS, Rig, envelope, small

FORMAT_1 = Path(__file__).parent / "format1"

numbers = st.integers(0, 2**62 - 1)
positions = st.builds(Position, numbers, numbers)
ids = st.lists(st.binary(min_size=1, max_size=40), max_size=4).map(tuple)
items = st.builds(SpooledEnvelope, positions, st.integers(-(2**63), 2**63 - 1), st.binary(max_size=200), ids)
runs = st.lists(
    st.tuples(numbers, st.integers(0, 9)).map(lambda run: (run[0], run[0] + run[1])), min_size=1, max_size=5
)
cursors = st.builds(Cursor, positions, st.dictionaries(numbers, runs.map(SeqIntervals), max_size=3))


def record_of(framed: bytes) -> Record:
    record = parse(memoryview(framed))
    assert record is not None
    return record


def test_format_1_is_read(tmp_path: Path) -> None:
    """A folder written by the first version gives what was put in: a sealed and an open segment, and a cursor."""
    shutil.copytree(FORMAT_1, tmp_path / "spool")
    rig = Rig(tmp_path / "spool", small())
    left = rig.spool.reader("hub/one").backfill(1 << 20)
    assert left == [envelope(seq, ids=tuple(SCHEMAS)) for seq in range(1, 31) if seq not in (2, 3, 20)]
    assert {one: rig.spool.schema(one) for one in SCHEMAS} == SCHEMAS
    assert (rig.spool.last_position(), rig.metric("damaged_total")) == (Position(1, 30), 0)
    rig.spool.close()


def test_format_1_is_written(tmp_path: Path) -> None:
    """The same calls give the same bytes: whoever changes the format must notice, raise the version and say so."""
    rig = Rig(tmp_path, small())
    reader = rig.spool.reader("hub/one")
    for seq in range(1, 31):
        rig.spool.append(envelope(seq, ids=tuple(SCHEMAS)), SCHEMAS)
    reader.ack(1, [(2, 3), (20, 20)])
    rig.spool.close()
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert written == {path.name: path.read_bytes() for path in FORMAT_1.iterdir()}


@given(items, positions, numbers)
def test_an_envelope_survives_its_record(item: SpooledEnvelope, floor: Position, lived_ms: int) -> None:
    """Whatever is packed comes out the same, with the floor and age that it was given."""
    packed = pack(item, floor, lived_ms)
    again, unpacked = unpack(record_of(packed.frame))
    assert (unpacked, again.floor, again.lived_ms) == (item, floor, lived_ms)


@given(st.binary(min_size=1, max_size=255), st.binary(max_size=300))
def test_a_schema_survives_its_record(schema_id: bytes, schema: bytes) -> None:
    """Id and bytes come out the same."""
    assert unpack_schema(record_of(pack_schema(schema_id, schema))) == (schema_id, schema)


@given(cursors)
def test_a_cursor_survives_its_file(cursor: Cursor) -> None:
    """Low and runs come out the same."""
    assert decode_cursor(encode_cursor(cursor), "x") == cursor


@given(cursors, st.data())
def test_a_cursor_is_whole_or_refused(cursor: Cursor, data: st.DataObject) -> None:
    """Cut anywhere, or with any byte changed, it is not believed."""
    whole = encode_cursor(cursor)
    at = data.draw(st.integers(0, len(whole) - 1))
    for hurt in (whole[:at], whole[:at] + bytes((whole[at] ^ 0x40,)) + whole[at + 1 :]):
        with pytest.raises(CorruptionError):
            decode_cursor(hurt, "x")


@given(st.sampled_from(Kind), st.binary(max_size=120))
def test_a_body_that_is_none_is_refused(kind: Kind, body: bytes) -> None:
    """Readers of bodies raise CorruptionError or answer; nothing else, whatever the bytes."""
    record = record_of(frame(kind, body))
    for read in (unpack, unpack_schema):
        with suppress(CorruptionError):
            read(record)
    with suppress(CorruptionError):
        decode_cursor(file_header() + frame(Kind.CURSOR, body), "x")
    disk = MemoryDisk()
    seal = frame(Kind.SEAL, body)
    disk.write("0" * 16 + ".seg", 0, file_header() + seal + len(seal).to_bytes(4, "little") + b"SEAL")
    with suppress(CorruptionError):
        load_segment(disk, 0)


@given(st.lists(st.binary(max_size=30), max_size=6), st.binary(max_size=40), st.integers(0, 6))
def test_a_scan_goes_round_garbage(bodies: list[bytes], garbage: bytes, where: int) -> None:
    """Every whole record is found, before and behind bytes that are none."""
    frames = [frame(Kind.SCHEMA, body) for body in bodies]
    split = min(where, len(frames))
    data = file_header() + b"".join(frames[:split]) + garbage + b"".join(frames[split:])
    found = scan(data, HEADER_BYTES)
    assert [bytes(record.body) for record in found.records] == bodies
    assert found.gaps == (1 if garbage and split < len(frames) else 0)
    assert found.end == len(data) - (len(garbage) if split == len(frames) else 0)


@settings(max_examples=50)
@given(st.binary(max_size=400))
def test_any_bytes_can_be_scanned(data: bytes) -> None:
    """Also where they look like records."""
    for noise in (data, data.replace(b"\0", b"\xf1PWr"), b"\xf1PWr" * 50 + data):
        assert scan(noise, 0).records == []


def test_numbers_beyond_64_bits_are_refused() -> None:
    """The caller's mistake, told with the position."""
    with pytest.raises(ValueError, match="envelope 1:1 at 9223372036854775808 ms"):
        pack(SpooledEnvelope(Position(1, 1), 1 << 63, b"", ()), Position(0, 0), 0)
    with pytest.raises(ValueError, match="envelope 1:1: 1 schema ids"):
        pack(SpooledEnvelope(Position(1, 1), 0, b"", (b"",)), Position(0, 0), 0)
