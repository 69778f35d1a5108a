"""The spool on a real disk: what goes in comes out, to every receiver, until it is acknowledged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from peerwatch.errors import ConfigError, StoreError
from peerwatch.spool import Pending, Position, SpoolConfig
from tests.spool.kit import BIG, SCHEMAS, Rig, envelope, seqs, small


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path / "spool", small())
    yield made
    made.spool.close()


def test_an_envelope_comes_out_as_it_went_in(rig: Rig) -> None:
    """Position, time, bytes and schema ids are kept exactly, and the schemas can be asked for."""
    item = envelope(7, ids=(b"schema-one", b"schema-two"))
    reader = rig.spool.reader("hub")
    rig.spool.append(item, SCHEMAS)
    assert reader.fresh(BIG) == [item]
    assert {one: rig.spool.schema(one) for one in SCHEMAS} == SCHEMAS
    assert rig.spool.schema(b"unknown") is None


def test_nothing_is_handed_out_twice(rig: Rig) -> None:
    """What is on its way does not come again by itself."""
    rig.append(1, 2)
    reader = rig.spool.reader("hub")
    assert (seqs(reader.fresh(BIG)), reader.fresh(BIG), reader.backfill(BIG)) == ([1, 2], [], [])


def test_what_is_released_comes_again_in_order(rig: Rig) -> None:
    """A refused envelope goes before those that were never sent."""
    rig.append(1, 2, 3)
    reader = rig.spool.reader("hub")
    assert seqs(reader.fresh(150)) == [1]
    reader.release([Position(1, 1), Position(9, 9)])
    assert seqs(reader.fresh(BIG)) == [1, 2, 3]


def test_what_the_caller_lost_track_of_comes_again(rig: Rig) -> None:
    """An envelope that is neither acknowledged nor released is handed out anew after redeliver_s."""
    rig.append(1)
    reader = rig.spool.reader("hub")
    reader.fresh(BIG)
    rig.clock.advance(119)
    assert reader.backfill(BIG) == []
    rig.clock.advance(2)
    assert seqs(reader.backfill(BIG)) == [1]


def test_the_last_minute_is_fresh_and_the_rest_is_back_fill(rig: Rig) -> None:
    """After an outage the newest go at once; the older ones follow beside them, oldest first."""
    reader = rig.spool.reader("hub")
    rig.append(1, 2, 3)
    rig.clock.advance(61)
    rig.append(4, 5)
    assert (seqs(reader.fresh(BIG)), seqs(reader.backfill(150)), seqs(reader.backfill(BIG))) == ([4, 5], [1], [2, 3])


def test_the_fresh_lane_is_short(tmp_path: Path) -> None:
    """A burst within one minute does not become a queue in front of the newest."""
    rig = Rig(tmp_path, small(fresh_items=2))
    rig.append(1, 2, 3, 4, 5)
    reader = rig.spool.reader("hub")
    assert (seqs(reader.fresh(BIG)), seqs(reader.backfill(BIG))) == ([4, 5], [1, 2, 3])
    rig.spool.close()


def test_after_a_restart_all_that_is_left_is_back_fill(rig: Rig) -> None:
    """An older epoch is sent unchanged, beside the fresh ones of the new epoch."""
    rig.append(1, 2)
    rig.reopen()
    rig.append(1, epoch=2)
    reader = rig.spool.reader("hub")
    assert [item.position for item in reader.fresh(BIG)] == [Position(2, 1)]
    assert reader.backfill(BIG) == [envelope(1), envelope(2)]


def test_one_large_envelope_passes_a_small_limit(rig: Rig) -> None:
    """max_bytes bounds an answer, but never to nothing."""
    rig.append(1, 2, size=500)
    assert seqs(rig.spool.reader("hub").fresh(10)) == [1]


def test_acks_survive_a_restart(rig: Rig) -> None:
    """What a receiver has never comes again after a clean restart, gaps included."""
    reader = rig.spool.reader("hub")
    rig.append(*range(1, 11))
    reader.fresh(BIG)
    reader.ack(1, [(1, 3), (5, 5), (9, 400)])
    rig.reopen()
    assert seqs(rig.spool.reader("hub").backfill(BIG)) == [4, 6, 7, 8]


def test_an_ack_that_says_nothing_new_changes_nothing(rig: Rig) -> None:
    """Acks of other epochs, of unknown numbers and repeated ones are harmless; a run that is none is refused."""
    reader = rig.spool.reader("hub")
    rig.append(1, 2)
    before = reader.pending()
    reader.ack(7, [(0, 1 << 63)])
    reader.ack(1, [(5, 9)])
    assert reader.pending() == before
    with pytest.raises(ValueError, match=r"run 2\.\.1"):
        reader.ack(1, [(1, 1), (2, 1)])
    assert reader.pending() == before
    reader.ack(1, [(1, 1)])
    reader.ack(1, [(1, 1)])
    assert reader.pending().count == 1


def test_each_receiver_has_its_own_cursor(rig: Rig) -> None:
    """One hub's ack takes nothing from another."""
    one, two = rig.spool.reader("one"), rig.spool.reader("two")
    rig.append(1, 2)
    one.fresh(BIG)
    one.ack(1, [(1, 2)])
    assert (one.pending().count, seqs(two.fresh(BIG))) == (0, [1, 2])


def test_pending_counts_what_is_not_acknowledged(rig: Rig) -> None:
    """Handed out is not delivered."""
    reader = rig.spool.reader("hub")
    rig.append(1, 2, 3)
    reader.fresh(150)
    reader.ack(1, [(1, 1)])
    pending = reader.pending()
    assert (pending.count, pending.oldest_ms) == (2, envelope(2).time_ms)
    reader.ack(1, [(2, 3)])
    assert reader.pending() == Pending(0, 0, None)


def test_the_floor_is_the_lowest_that_anyone_still_gets(rig: Rig) -> None:
    """It rises with the slowest receiver, and is None when everything is delivered."""
    assert rig.spool.floor() is None
    one, two = rig.spool.reader("one"), rig.spool.reader("two")
    rig.append(1, 2, 3)
    one.ack(1, [(1, 3)])
    two.ack(1, [(2, 2)])
    assert rig.spool.floor() == Position(1, 1)
    two.ack(1, [(1, 1)])
    assert rig.spool.floor() == Position(1, 3)
    two.ack(1, [(3, 3)])
    assert (rig.spool.floor(), rig.spool.last_position()) == (None, Position(1, 3))


def test_a_new_receiver_starts_at_the_floor(rig: Rig) -> None:
    """What receivers were told will never come does not come to a later one either."""
    one = rig.spool.reader("one")
    rig.append(1, 2, 3)
    one.ack(1, [(1, 1), (3, 3)])
    assert seqs(rig.spool.reader("two").fresh(BIG)) == [2, 3]


def test_envelopes_wait_for_the_first_receiver(rig: Rig) -> None:
    """What is spooled before enrolment is kept."""
    rig.append(1, 2)
    rig.reopen()
    assert seqs(rig.spool.reader("hub").backfill(BIG)) == [1, 2]


def test_a_forgotten_receiver_holds_nothing_back(rig: Rig) -> None:
    """Its cursor is gone for good, its reader says so, and the floor follows the others."""
    one, two = rig.spool.reader("one"), rig.spool.reader("two")
    rig.append(1, 2)
    one.ack(1, [(1, 2)])
    rig.spool.forget("two")
    rig.spool.forget("two")
    assert rig.spool.floor() is None
    with pytest.raises(StoreError, match="'two' is not known"):
        two.fresh(BIG)
    with pytest.raises(StoreError, match="'two' is not known"):
        two.pending()
    rig.reopen()
    assert rig.spool.reader("one").pending() == Pending(0, 0, None)


def test_the_floor_stays_when_the_last_receiver_is_forgotten(rig: Rig) -> None:
    """A promise outlives the one it was made to."""
    reader = rig.spool.reader("hub")
    rig.append(1, 2)
    reader.ack(1, [(1, 1)])
    rig.spool.forget("hub")
    assert rig.spool.floor() == Position(1, 2)
    assert seqs(rig.spool.reader("new").fresh(BIG)) == [2]


def test_positions_only_rise(rig: Rig) -> None:
    """A number that was used is refused, also after a restart, and the spool goes on."""
    rig.append(5)
    with pytest.raises(ValueError, match="1:5 does not follow 1:5"):
        rig.append(5)
    rig.reopen()
    with pytest.raises(ValueError, match="0:9 does not follow 1:5"):
        rig.append(9, epoch=0)
    rig.append(0, epoch=2)
    assert rig.spool.last_position() == Position(2, 0)


def test_the_last_position_is_known_when_all_is_delivered(rig: Rig) -> None:
    """The newest segment stays, so numbering cannot start over by accident."""
    reader = rig.spool.reader("hub")
    rig.append(*range(1, 60))
    reader.ack(1, [(1, 59)])
    assert len(list(rig.folder.glob("*.seg"))) == 1
    assert rig.reopen().last_position() == Position(1, 59)


def test_a_schema_that_nobody_knows_is_refused(rig: Rig) -> None:
    """An envelope that no receiver could read is not taken; one whose schema is in the spool needs it not again."""
    with pytest.raises(ValueError, match="neither given nor in the spool"):
        rig.spool.append(envelope(1), {})
    rig.append(1)
    rig.spool.append(envelope(2), {})
    assert rig.spool.stats().items == 2


def test_an_envelope_beyond_the_limit_is_refused_by_name(rig: Rig) -> None:
    """The message holds position, size and limit; nothing is taken."""
    with pytest.raises(StoreError, match=r"envelope 1:1 with its schemas: \d+ bytes, limit 4096"):
        rig.append(1, size=5000)
    assert (rig.spool.stats().items, rig.spool.last_position()) == (0, None)


def test_an_envelope_larger_than_a_segment_has_its_own(rig: Rig) -> None:
    """segment_bytes is no limit for what can be kept."""
    rig.append(1)
    rig.append(2, size=3000)
    rig.append(3)
    rig.reopen()
    assert rig.spool.reader("hub").backfill(BIG) == [envelope(1), envelope(2, size=3000), envelope(3)]


def test_receivers_are_limited(tmp_path: Path) -> None:
    """One too many is refused with the names of the others, at once and when opening."""
    rig = Rig(tmp_path, small(max_receivers=2))
    rig.spool.reader("one")
    rig.spool.reader("two")
    with pytest.raises(ConfigError, match=r"'three' would be number 3, limit 2 .*known are one, two"):
        rig.spool.reader("three")
    rig.spool.close()
    with pytest.raises(ConfigError, match="limit 1"):
        Rig(tmp_path, small(max_receivers=1))
    rig.open().close()


def test_a_receiver_may_have_any_name(rig: Rig) -> None:
    """URLs are fine as names; what cannot be a file name is refused."""
    rig.append(1, 2)
    name = "https://hub.example:9480/api?x=1 ü"
    rig.spool.reader(name).ack(1, [(1, 1)])
    rig.reopen()
    assert seqs(rig.spool.reader(name).backfill(BIG)) == [2]
    for bad in ("", "x" * 201):
        with pytest.raises(ConfigError, match="as a file name"):
            rig.spool.reader(bad)


def test_one_process_has_the_folder(rig: Rig) -> None:
    """A second spool on the same folder is the operator's mistake and is told so."""
    with pytest.raises(ConfigError, match="in use by another process"):
        Rig(rig.folder, small())


def test_a_closed_spool_says_so(rig: Rig) -> None:
    """Late calls are errors, closing twice is not, and what it last knew can still be asked."""
    reader = rig.spool.reader("hub")
    rig.append(1)
    rig.spool.close()
    rig.spool.close()
    for call in (lambda: rig.append(2), lambda: reader.fresh(1), lambda: reader.ack(1, []), lambda: reader.release([])):
        with pytest.raises(StoreError, match="is closed"):
            call()
    assert rig.spool.floor() == Position(1, 1)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"max_bytes": 0}, "spool.max_bytes is 0, must be above 0"),
        ({"segment_bytes": 4097, "max_bytes": 16384}, "spool.segment_bytes is 4097, must be at most 4096"),
        ({"segment_bytes": 2 << 30, "max_bytes": 1 << 40}, "must be at most 1073741824"),
        ({"retry_s": -1}, "spool.retry_s is -1, must not be negative"),
    ],
)
def test_numbers_that_cannot_work_are_refused(numbers: dict[str, int], message: str) -> None:
    """The error names the setting, its value and what is allowed."""
    with pytest.raises(ConfigError, match=message):
        SpoolConfig(**numbers)  # type: ignore[arg-type]  # ints only


def test_a_receiver_may_let_go_of_what_it_does_not_need(tmp_path: Path) -> None:
    """Below a position, in all epochs, over a restart; what is handed out is not offered again either."""
    rig = Rig(tmp_path, small())
    rig.append(*range(10))
    rig.append(*range(5), epoch=2)
    late = rig.spool.reader("late")
    late.fresh(1)
    late.settle(Position(2, 3))
    assert late.pending().count == 2 and rig.spool.floor() == Position(2, 3)
    rig.reopen()
    late = rig.spool.reader("late")
    assert [item.position for item in late.fresh(BIG) + late.backfill(BIG)] == [Position(2, 3), Position(2, 4)]
    assert rig.spool.receivers() == ["late"]
