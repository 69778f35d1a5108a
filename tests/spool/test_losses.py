"""What is given up is known by number, for each receiver that lacks it, until all were told."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from peerwatch.errors import CorruptionError
from peerwatch.model import Dropped
from peerwatch.spool import Position
from peerwatch.spool.losses import NAME, Losses, decode_losses, encode_losses
from peerwatch.spool.metrics import SpoolMetrics
from peerwatch.telemetry import CollectorRegistry
from peerwatch.testing.disk import MemoryDisk
from tests.spool.kit import BIG, Rig, drain, small


@pytest.fixture
def disk() -> MemoryDisk:
    return MemoryDisk()


@pytest.fixture
def rig(disk: MemoryDisk) -> Rig:
    return Rig(Path("unused"), small(), disk=disk)


def test_what_a_full_spool_drops_is_named_by_number(rig: Rig) -> None:
    """One stretch however many segments went; nothing is named before that."""
    rig.spool.reader("hub")
    rig.append(*range(1, 20))
    assert rig.spool.dropped() == ()
    rig.append(*range(20, 301))
    first = drain(rig)[0]
    assert rig.spool.dropped() == (Dropped(1, 1, first - 1, ("hub",)),)
    assert rig.spool.stats().dropped_items == first - 1


def test_each_receiver_is_named_for_what_it_lacks(rig: Rig) -> None:
    """The one has all but a few, the other nothing; who has something is not named for it."""
    one = rig.spool.reader("one")
    rig.spool.reader("two")
    rig.append(*range(1, 11))
    one.ack(1, [(1, 3), (6, 10)])
    for seq in range(11, 301):
        rig.append(seq)
        one.ack(1, [(seq, seq)])
    told = rig.spool.dropped()
    last = told[-1].last
    assert told == (
        Dropped(1, 1, 3, ("two",)),
        Dropped(1, 4, 5, ("one", "two")),
        Dropped(1, 6, last, ("two",)),
    )


def test_without_receivers_nobody_had_it(rig: Rig) -> None:
    """An agent that never reached a hub."""
    rig.append(*range(1, 301))
    (told,) = rig.spool.dropped()
    assert (told.first, told.receivers) == (1, ())


def test_what_never_reaches_the_disk_is_named_too(rig: Rig, disk: MemoryDisk) -> None:
    """While the disk refuses, the memory drops its oldest; the numbers are kept once it is back."""
    rig.spool.reader("hub")
    disk.read_only = True
    rig.append(*range(1, 201))
    (told,) = rig.spool.dropped()
    assert told == Dropped(1, 1, rig.spool.stats().dropped_items, ("hub",))
    assert NAME not in disk.names()
    disk.read_only = False
    rig.clock.advance(10)
    rig.append(201)
    assert decode_losses(disk.read(NAME, 0, disk.size(NAME))) == [told]


def test_an_envelope_that_cannot_be_read_is_named(rig: Rig, disk: MemoryDisk) -> None:
    """A flipped bit costs one envelope; whoever lacks it can be told which."""
    reader = rig.spool.reader("hub")
    rig.append(1, 2, 3)
    (name,) = [one for one in disk.names() if one.endswith(".seg")]
    at = disk.read(name, 0, disk.size(name)).index(b"1:2 ")
    disk.write(name, at, b"X")
    assert [item.position.seq for item in reader.fresh(BIG)] == [1, 3]
    assert rig.spool.dropped() == (Dropped(1, 2, 2, ("hub",)),)


def test_what_was_told_is_forgotten_when_everybody_has_it(rig: Rig, disk: MemoryDisk) -> None:
    """Not before: until then a restart tells it again."""
    rig.spool.reader("hub")
    rig.append(*range(1, 301))
    told = rig.spool.dropped()
    rig.append(301)
    rig.spool.told(Position(1, 301), told)
    assert rig.spool.dropped() == ()
    rig.reopen()
    assert rig.spool.dropped() == told
    rig.append(1, epoch=2)
    rig.spool.told(Position(2, 1), told)
    reader = rig.spool.reader("hub")
    reader.ack(1, [(1, 301)])
    assert decode_losses(disk.read(NAME, 0, disk.size(NAME))) == list(told)
    reader.ack(2, [(1, 1)])
    assert decode_losses(disk.read(NAME, 0, disk.size(NAME))) == []
    rig.reopen()
    assert rig.spool.dropped() == ()


def test_what_told_of_a_drop_and_was_dropped_is_told_again(disk: MemoryDisk) -> None:
    """Whatever it told of, and only then; what follows the newest stretch becomes part of it."""
    losses = Losses(disk, SpoolMetrics(CollectorRegistry()), sync=True)
    old = Dropped(1, 1, 200, ("hub",))
    losses.note([old])
    losses.told(Position(2, 60), losses.untold())
    losses.note([Dropped(2, 1, 59, ("hub",))])
    assert losses.untold() == (Dropped(2, 1, 59, ("hub",)),)
    losses.note([Dropped(2, 60, 70, ("hub",))])
    assert losses.untold() == (old, Dropped(2, 1, 70, ("hub",)))
    losses.told(Position(2, 90), losses.untold())
    losses.settle(Position(2, 90))
    losses.note([Dropped(2, 71, 80, ("hub",))])
    assert losses.untold() == (Dropped(2, 1, 80, ("hub",)),)


@pytest.mark.parametrize("seed", range(20))
def test_a_power_cut_never_takes_envelopes_without_a_word(seed: int) -> None:
    """Whenever the power goes: a number that is neither held nor named was never promised."""
    random, disk = Random(seed), MemoryDisk()
    rig = Rig(Path("unused"), small(), disk=disk)
    rig.spool.reader("hub")
    rig.append(*range(1, random.randrange(60, 400)))
    last = rig.spool.last_position()
    assert last is not None
    disk.restart(random)
    rig.open()
    named = {seq for one in rig.spool.dropped() for seq in range(one.first, one.last + 1)}
    assert named | set(drain(rig)) >= set(range(1, last.seq + 1))


@pytest.mark.parametrize("cut", [0, 10, 16, 20, 40, -1])
def test_a_damaged_file_is_told_from_a_whole_one(cut: int) -> None:
    """And costs no more than what it told."""
    data = encode_losses([Dropped(7, 1, 5, ("a", "ü")), Dropped(8, 0, 0, ())])
    assert decode_losses(data) == [Dropped(7, 1, 5, ("a", "ü")), Dropped(8, 0, 0, ())]
    with pytest.raises(CorruptionError):
        decode_losses(data[:cut])
    disk = MemoryDisk()
    disk.prepare()
    disk.write(NAME, 0, data[:cut])
    rig = Rig(Path("unused"), small(), disk=disk)
    rig.append(1)
    assert rig.spool.dropped() == () and rig.metric("damaged_total") == 1


def test_its_bound_forgets_the_oldest(rig: Rig) -> None:
    """1024 stretches: a receiver that acknowledges every second envelope of an endless outage."""
    one = rig.spool.reader("one")
    rig.spool.reader("two")
    for seq in range(1, 3001):
        rig.append(seq)
        if seq % 2:
            one.ack(1, [(seq, seq)])
    told = rig.spool.dropped()
    assert len(told) == 1024 and told[-1].last == rig.spool.stats().dropped_items
