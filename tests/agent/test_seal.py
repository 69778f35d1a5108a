"""Each batch is numbered, signed and proved once; and what no hub would take is not sealed at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import event, given, settings

from peerwatch.agent.farewell import farewell
from peerwatch.agent.open_run import OpenRun
from peerwatch.agent.seal import Sealed, Sealer
from peerwatch.errors import DecodeError, PeerError, QuotaError
from peerwatch.model import Batch, BatchBlock, Dropped, Labels, SampleMatrix, Series
from peerwatch.spool import Position
from peerwatch.wire import merkle
from peerwatch.wire.baseline import decode_baseline
from peerwatch.wire.compression import Compressor
from peerwatch.wire.envelope import Envelope, parse_envelope
from peerwatch.wire.identity import PrivateKey, Verifier
from peerwatch.wire.leaf import batch_leaf, head_of
from peerwatch.wire.limits import WireLimits
from peerwatch.wire.run_root import MAX_RUN_BATCHES, NEVER_SENT, Run, open_run
from peerwatch.wire.schema import Schema, decode_schema
from tests.collector.kit import EPOCH, batch, series
from tests.wire.strategies import batches, same_matrix

KEY = PrivateKey(bytes(range(32)))
FLEET = b"F" * 16
BOX = Compressor()


def _sealer(limits: WireLimits | None = None) -> Sealer:
    return Sealer(FLEET, KEY.public, KEY, EPOCH, limits or WireLimits())


def _read(sealed: Sealed) -> Envelope:
    envelope = parse_envelope(sealed.item.envelope)
    envelope.verify(Verifier(KEY.public))
    return envelope


@settings(max_examples=30)
@given(batches())
def test_what_is_sealed_can_be_read_with_the_schemas_beside_it(made: Batch) -> None:
    """Envelope and schema records together are the whole batch; what a sealer refuses it refuses with a reason."""
    try:
        sealed = _sealer().seal(made, 123, None)
    except PeerError as error:
        event(f"refused: {type(error).__name__}")
        return
    schemas = {schema_id: decode_schema(record) for schema_id, record in sealed.schemas.items()}
    assert sealed.item.schema_ids == tuple(schemas) and sealed.item.time_ms == 123
    blocks = _read(sealed).open(BOX)
    for told, block in zip(blocks, made.blocks, strict=True):
        assert schemas[told.schema_id].series == block.series
        assert (told.job, told.target) == (block.job, block.target)
        assert same_matrix(told.matrix, block.matrix)


def test_numbers_go_up_by_one() -> None:
    """From 0 in each epoch; the position in the spool is the signed one."""
    sealer = _sealer()
    sealed = [sealer.seal(batch([[1.0]]), 0, None) for _ in range(3)]
    assert [one.item.position for one in sealed] == [Position(EPOCH, seq) for seq in range(3)]
    assert [(one.header.epoch, one.header.seq) for one in map(_read, sealed)] == [(EPOCH, seq) for seq in range(3)]


@pytest.mark.parametrize(
    ("floor", "told"),
    [
        (None, (EPOCH, 0)),
        (Position(EPOCH - 9, 4), (EPOCH - 9, 4)),
        (Position(EPOCH + 1, 0), (EPOCH, 0)),
        (Position(0, 0), (1, 0)),
    ],
)
def test_the_floor_is_told(floor: Position | None, told: tuple[int, int]) -> None:
    """The lowest number still to come; never above this one, and no promise stays no promise."""
    header = _read(_sealer().seal(batch([[1.0]]), 0, floor)).header
    assert (header.floor_epoch, header.floor_seq) == told


def _seal(sealer: Sealer, number: int, *, sent: bool = True) -> Envelope:
    envelope = _read(sealer.seal(batch([[float(number)]], at_ms=EPOCH + number), 0, None))
    if sent:
        sealer.sent()
    return envelope


def _leaf(number: int) -> bytes:
    made = batch([[float(number)]], at_ms=EPOCH + number)
    return batch_leaf(made, [head_of(made.blocks[0].series, "", "")])


def _run(envelope: Envelope) -> Run:
    return open_run(envelope.run_root, Verifier(KEY.public))


def test_the_64th_batch_brings_a_signature_over_all_64() -> None:
    """Itself included; each can be proved by its path alone; the next run names the end of this one."""
    sealer = _sealer()
    envelopes = [_seal(sealer, number) for number in range(128)]
    assert [seq for seq, one in enumerate(envelopes) if one.run_root] == [63, 127]
    first, second = _run(envelopes[63]), _run(envelopes[127])
    told = first.root
    assert (told.fleet, told.sender, told.epoch, told.first_seq, told.last_seq) == (FLEET, KEY.public, EPOCH, 0, 63)
    assert (told.before, second.root.before) == ((0, 0), (EPOCH, 63))
    assert first.leaves == tuple(map(_leaf, range(64)))
    rows = merkle.levels([merkle.leaf_hash(leaf) for leaf in first.leaves])
    for seq in (0, 17, 63):
        assert merkle.climb(merkle.leaf_hash(_leaf(seq)), seq, merkle.path(rows, seq)) == told.root


@pytest.mark.parametrize(
    ("every_s", "batches", "ends"),
    [
        (10, 130, [63, 127]),  # full long before it is old
        (60, 130, [59, 119]),
        (600, 15, [5, 11]),
        (3600, 4, [1, 2, 3]),  # how long it is to the next one is known from the second on
        (86_400, 4, [1, 2, 3]),
    ],
)
def test_what_is_older_than_an_hour_is_signed(every_s: int, batches: int, ends: list[int]) -> None:
    """A slow agent ends its run before the next batch would find it more than an hour old, however few it has."""
    sealer, found = _sealer(), []
    for number in range(batches):
        envelope = _read(sealer.seal(batch([[float(number)]]), EPOCH + number * every_s * 1000, None))
        sealer.sent()
        if envelope.run_root:
            found.append(number)
    assert found == ends


def test_a_clock_that_is_set_back_delays_no_run_by_more_than_an_hour() -> None:
    """The age of a run is counted anew from there; one that is set ahead ends it early."""
    sealer = _sealer()
    times_s = [0, -86_400, -86_400 + 1200, -86_400 + 2400, -86_400 + 3600, 90_000, 90_060]
    signed = []
    for number, at_s in enumerate(times_s):
        signed.append(bool(_read(sealer.seal(batch([[float(number)]]), EPOCH + at_s * 1000, None)).run_root))
        sealer.sent()
    assert signed == [False, False, False, True, False, True, False]


def test_the_last_batch_before_a_stop_ends_the_run(tmp_path: Path) -> None:
    """Nothing stays unsigned, and the next start has nothing to catch up with."""
    file = tmp_path / "open_run"
    one = Sealer(FLEET, KEY.public, KEY, EPOCH, run_file=file)
    assert not any(_seal(one, number).run_root for number in range(3))
    envelope = _read(one.seal(farewell(EPOCH + 3), EPOCH + 3, None, last=True))
    one.sent()
    one.close()
    assert (_run(envelope).root.first_seq, _run(envelope).root.last_seq) == (0, 3)
    two = Sealer(FLEET, KEY.public, KEY, EPOCH + 9, run_file=file)
    envelopes = [_seal(two, number) for number in range(64)]
    assert [seq for seq, sealed in enumerate(envelopes) if sealed.run_root] == [63]
    assert _run(envelopes[63]).root.before == (EPOCH, 3)


def test_what_the_spool_dropped_is_signed_within_eight_batches() -> None:
    """Not in each of them: a full memory drops one at every batch. 64 stretches at a time; those told are named."""
    sealer = _sealer()
    dropped = [Dropped(EPOCH - 1, 2 * number, 2 * number, ("hub",)) for number in range(70)]
    told = []
    for number in range(24):
        sealed = sealer.seal(batch([[float(number)]]), 0, None, dropped)
        sealer.sent()
        envelope = _read(sealed)
        if envelope.run_root:
            assert _run(envelope).root.dropped == sealed.dropped
            told.append((number, len(sealed.dropped)))
        dropped = [one for one in dropped if one not in sealed.dropped]
    assert told == [(7, 64), (15, 6)]


def test_a_restart_signs_what_was_sent_before_it(tmp_path: Path) -> None:
    """The first envelope of the next start brings the run of the last one, and itself is in the one after."""
    file = tmp_path / "open_run"
    one = Sealer(FLEET, KEY.public, KEY, EPOCH, run_file=file)
    for number in range(5):
        _seal(one, number)
    one.close()  # as a kill would: nothing is written by it
    two = Sealer(FLEET, KEY.public, KEY, EPOCH + 9, run_file=file)
    lost = _seal(two, 5, sent=False)
    envelopes = [_seal(two, number) for number in range(6, 71)]
    assert _run(lost) == _run(envelopes[0])  # what the lost one carried comes again
    old, new = _run(envelopes[0]), _run(envelopes[63])
    assert (old.root.epoch, old.root.first_seq, old.leaves) == (EPOCH, 0, tuple(map(_leaf, range(5))))
    assert (new.root.epoch, new.root.first_seq, new.root.last_seq) == (EPOCH + 9, 1, 64)
    assert (old.root.before, new.root.before) == ((0, 0), (EPOCH, 4))
    assert new.leaves == tuple(map(_leaf, range(6, 70)))
    assert [seq for seq, sealed in enumerate(envelopes) if sealed.run_root] == [0, 63]


def test_what_never_reached_the_spool_is_signed_as_that() -> None:
    """So an auditor need not ask where it is."""
    sealer = _sealer()
    envelopes = [_seal(sealer, number, sent=number not in (3, 63)) for number in range(66)]
    run = _run(envelopes[64])
    assert [seq for seq, leaf in enumerate(run.leaves) if leaf == NEVER_SENT] == [3, 63]
    assert (run.root.first_seq, run.root.last_seq, run.leaves[64]) == (0, 64, _leaf(64))
    assert not envelopes[65].run_root


def test_a_run_stays_within_its_limit_while_nothing_reaches_the_spool() -> None:
    """A hub would refuse a longer one for ever, with the batch that brings it."""
    sealer = _sealer()
    _seal(sealer, 0)
    for number in range(1, 300):
        envelope = _seal(sealer, number, sent=False)
        assert not envelope.run_root or len(_run(envelope).leaves) <= MAX_RUN_BATCHES
    envelopes = [_seal(sealer, number) for number in range(300, 364)]
    assert sum(bool(one.run_root) for one in envelopes) == 1


@pytest.mark.parametrize("cut", range(0, 200, 7))
def test_a_torn_file_keeps_whole_leaves(tmp_path: Path, cut: int) -> None:
    """Whatever a power cut leaves of it: leaves are taken up to the first that is not whole, none is invented."""
    file = tmp_path / "open_run"
    one = OpenRun(file, (EPOCH, 0))
    one.begin((EPOCH, 4), (EPOCH, 3))
    for number in range(7):
        one.add(_leaf(number))
    one.close()
    data = file.read_bytes()
    file.write_bytes(data[:cut] + bytes(max(0, len(data) - cut)))
    again = OpenRun(file, (EPOCH + 1, 0))
    leaves = list(map(_leaf, range(7)))
    assert again.leaves == leaves[: len(again.leaves)]
    assert len(again.leaves) == (max(0, min(7, (cut - 44) // 20)) if cut >= 44 else 0)
    assert again.first == ((EPOCH, 4) if cut >= 44 else (EPOCH + 1, 0))


def test_a_change_of_series_is_told_as_a_change() -> None:
    """One new container costs its own series, not everybody's."""
    sealer = _sealer()
    base = series(*({"c": str(number)} for number in range(100)))
    more = (*base, *series({"c": "new"}))
    first = sealer.seal(batch([[1.0]] * 100, of=base), 0, None)
    second = sealer.seal(batch([[1.0]] * 101, of=more), 0, None)
    (base_id,), (schema_id,) = first.schemas, second.schemas
    assert sealer.delta(base_id) is None
    told = sealer.delta(schema_id)
    assert told is not None and told[0] == base_id
    assert len(told[1]) < len(second.schemas[schema_id]) // 20
    known = decode_schema(first.schemas[base_id])
    assert decode_schema(told[1], lambda name: known if name == base_id else None).series == more


def test_a_change_that_is_no_smaller_is_not_told_as_one() -> None:
    """Wholly other series: the whole schema is shorter than the change."""
    sealer = _sealer()
    sealer.seal(batch([[1.0]], of=series({"a": "1"})), 0, None)
    second = sealer.seal(batch([[1.0]], of=series({"b": "1"})), 0, None)
    assert [sealer.delta(schema_id) for schema_id in second.schemas] == [None]


def test_targets_do_not_share_their_last_schema() -> None:
    """A change is told against the schema of the same job and target."""
    sealer = _sealer()
    one, two = series(*({"a": str(row)} for row in range(9))), series(*({"b": str(row)} for row in range(9)))
    sealer.seal(batch([[1.0]] * 9, of=one, target="1"), 0, None)
    sealer.seal(batch([[1.0]] * 9, of=two, target="2"), 0, None)
    grown = sealer.seal(batch([[1.0]] * 8, of=one[:8], target="1"), 0, None)
    told = sealer.delta(*grown.schemas)
    assert told is not None and told[0] == Schema.of(one).id


def _with_label(value: str) -> Batch:
    return batch([[1.0]], of=(Series(Labels.of(__name__="m", path=value)),))


def _falling() -> Batch:
    made = batch([[1.0, 2.0]])
    (block,) = made.blocks
    matrix = SampleMatrix(np.array([2, 1], np.int64), block.matrix.values)
    return Batch((replace(block, matrix=matrix),))


@pytest.mark.parametrize(
    ("bad", "kind", "words"),
    [
        (Batch(()), DecodeError, "batch of 0 blocks, allowed are 1 to 1000"),
        (_with_label("x" * 5000), DecodeError, "value of label 'path' of 5000 bytes, limit 4096"),
        (_with_label("x" * 70_000), DecodeError, "schema of 1 series cannot be written"),
        (_with_label("/mnt/\udcff"), DecodeError, "schema of 1 series cannot be written.*surrogates"),
        (batch([[1.0]], of=series({}, {"a": "b"})), DecodeError, "block of 1 rows for 2 series"),
        (batch([[1.0]], job="j" * 300), DecodeError, "job of 300 bytes, limit 256"),
        (_falling(), DecodeError, "times of a block do not rise"),
        (batch([[float(one) for one in range(20_001)]]), DecodeError, "1 series x 20001 ticks"),
    ],
)
def test_what_no_hub_would_take_is_not_sealed(bad: Batch, kind: type[PeerError], words: str) -> None:
    """It says why, uses no number, and the next batch is as if it had not been."""
    sealer = _sealer()
    with pytest.raises(kind, match=words):
        sealer.seal(bad, 0, None)
    assert sealer.seal(batch([[1.0]]), 0, None).item.position == Position(EPOCH, 0)


def test_a_batch_of_too_many_bytes_is_not_sealed() -> None:
    """Before and after compression, with the limit."""
    noise = np.random.default_rng(1).random((100, 10))
    made = batch(noise.tolist())
    with pytest.raises(QuotaError, match=r"batch body of \d+ bytes, limit 1000"):
        _sealer(WireLimits(max_body_bytes=1000)).seal(made, 0, None)
    with pytest.raises(QuotaError, match=r"batch envelope of \d+ bytes, limit 4000"):
        _sealer(WireLimits(max_envelope_bytes=4000)).seal(made, 0, None)


def test_holes_are_sealed() -> None:
    """A series that is absent from some ticks stays absent."""
    presence = np.array([[True, False], [True, True]])
    matrix = SampleMatrix(np.array([1, 2], np.int64), np.array([[1.0, 0.0], [2.0, 3.0]]), presence)
    made = Batch((BatchBlock(series({"a": "1"}, {"a": "2"}), matrix),))
    (block,) = _read(_sealer().seal(made, 0, None)).open(BOX)
    assert same_matrix(block.matrix, matrix)


def _wide(number: int, rows: int = 40) -> Batch:
    """A host's batch: constants, and counters that grow."""
    start = np.arange(rows) * 1e9 + 0.5
    grown = np.where(np.arange(rows) % 2, 0.0, 60.0)
    return batch(
        np.stack([start + grown * 2 * number, start + grown * (2 * number + 1)], axis=1).tolist(),
        of=WIDE[:rows],
        at_ms=EPOCH + 10_000 * number,
    )


WIDE = series(*({"row": str(row)} for row in range(40)))


def test_from_the_second_batch_on_a_schema_has_a_baseline() -> None:
    """Its record is beside the envelope, and the envelope is smaller by what does not change."""
    sealer = _sealer()
    sealed = [sealer.seal(_wide(number), 0, None) for number in range(4)]
    assert [len(one.schemas) for one in sealed] == [1, 2, 2, 2]
    assert sealed[1].item.schema_ids == sealed[3].item.schema_ids == tuple(sealed[1].schemas)
    assert _read(sealed[0]).body_bytes - _read(sealed[3]).body_bytes > 3 * len(WIDE)  # of 4 to 5 bytes a first value
    for number, one in enumerate(sealed):
        known = {name: decode_baseline(record) for name, record in one.schemas.items() if name != WIDE_ID}
        (block,) = _read(one).open(BOX, baseline_of=known.get)
        assert same_matrix(block.matrix, _wide(number).blocks[0].matrix)


WIDE_ID = Schema.of(WIDE).id


def test_a_baseline_is_renewed() -> None:
    """After 360 batches: by then counters have moved away from it."""
    sealer = _sealer()
    names = [sealer.seal(_wide(number), 0, None).item.schema_ids[1:] for number in range(363)]
    assert names[0] == ()
    assert len(set(names[1:361])) == 1 and len(set(names[361:])) == 1 and names[360] != names[361]


def test_small_and_new_schemas_have_none() -> None:
    """The name would cost more than it saves; a schema that comes once needs no help."""
    sealer = _sealer()
    assert all(len(sealer.seal(_wide(number, rows=31), 0, None).schemas) == 1 for number in range(3))
    for number in range(3):
        changing = batch([[1.0]] * 40, of=series(*({"row": str(row), "n": str(number)} for row in range(40))))
        assert len(sealer.seal(changing, 0, None).schemas) == 1
