"""Whatever happens in whatever order, the spool keeps its promises (see model.py)."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from peerwatch.spool import Position
from tests.spool.kit import SCHEMAS, small
from tests.spool.model import ModelledSpool

RECEIVERS = ("one", "two")
IDS = st.sampled_from([(), (b"schema-one",), (b"schema-two", b"schema-one")])


class SpoolMachine(RuleBasedStateMachine):
    """Appends, reads, acks and restarts, on a disk that fails at any moment."""

    @initialize(items=st.sampled_from([30, 1000]), fresh_items=st.sampled_from([3, 1024]))
    def start(self, items: int, fresh_items: int) -> None:
        config = small(max_bytes=8192, segment_bytes=1024, memory_bytes=1500, max_items=items, fresh_items=fresh_items)
        self.spool = ModelledSpool(config)

    @rule(sizes=st.lists(st.integers(1, 1000) | st.integers(1, 60), min_size=1, max_size=12), ids=IDS)
    def append(self, sizes: list[int], ids: tuple[bytes, ...]) -> None:
        for size in sizes:
            self.spool.append(size, ids)

    @rule(name=st.sampled_from(RECEIVERS))
    def attach(self, name: str) -> None:
        self.spool.attach(name)

    @precondition(lambda self: self.spool.seen)
    @rule(data=st.data(), fresh=st.booleans(), max_bytes=st.sampled_from([1, 300, 1 << 30]))
    def take(self, data: st.DataObject, fresh: bool, max_bytes: int) -> None:
        self.spool.take(self._name(data), fresh=fresh, max_bytes=max_bytes)

    @precondition(lambda self: self.spool.seen)
    @rule(data=st.data())
    def take_all(self, data: st.DataObject) -> None:
        self.spool.check_nothing_is_withheld(self._name(data))

    @precondition(lambda self: self.spool.seen)
    @rule(data=st.data(), keep=st.integers(0, 3))
    def ack(self, data: st.DataObject, keep: int) -> None:
        name = self._name(data)
        self.spool.ack(name, self._some_out(name, data, keep))

    @precondition(lambda self: self.spool.seen)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        name = self._name(data)
        self.spool.release(name, self._some_out(name, data, 1))

    @rule(seconds=st.sampled_from([1.0, 6.0, 61.0, 121.0, 500.0]))
    def advance(self, seconds: float) -> None:
        self.spool.advance(seconds)

    @rule(days=st.sampled_from([-1, 365]))
    def jump(self, days: int) -> None:
        self.spool.clock.jump(days * 86_400_000)

    @rule()
    def reopen(self) -> None:
        self.spool.reopen()

    @rule(random=st.none() | st.randoms(use_true_random=False))
    def crash(self, random: Random | None) -> None:
        self.spool.crash(random)

    @rule(after=st.integers(0, 12))
    def power_goes_soon(self, after: int) -> None:
        self.spool.disk.cut_in = after

    @rule(room=st.integers(0, 1500))
    def disk_fills(self, room: int) -> None:
        self.spool.disk.capacity_bytes = self.spool.disk.used_bytes + room

    @rule()
    def disk_refuses(self) -> None:
        self.spool.disk.read_only = True

    @rule(count=st.integers(1, 2))
    def syncs_fail(self, count: int) -> None:
        self.spool.disk.fail_syncs = count

    @rule()
    def heal(self) -> None:
        self.spool.heal()

    @invariant()
    def within_bounds(self) -> None:
        if hasattr(self, "spool"):
            self.spool.check_bounds()

    def teardown(self) -> None:
        if hasattr(self, "spool"):
            self.spool.check_delivery()

    def _name(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.spool.seen)))

    def _some_out(self, name: str, data: st.DataObject, keep: int) -> list[Position]:
        """Of what is on its way, all but every keep-th."""
        out = sorted(self.spool.seen[name].out)
        return [position for at, position in enumerate(out) if not keep or at % (keep + 1)]


SpoolMachine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestSpoolMachine = SpoolMachine.TestCase


def story(spool: ModelledSpool) -> None:
    """A short life in which every kind of disk operation happens."""
    spool.attach("one")
    for _ in range(8):
        spool.append(60, tuple(SCHEMAS))
    spool.ack("one", [item.position for item in spool.take("one", fresh=True)][::2])
    spool.reopen()
    spool.attach("two")
    for round_ in range(7):
        for _ in range(4):
            spool.append(150, (b"schema-one",))
        for name in ("one", "two"):
            taken = spool.take(name, fresh=bool(round_ % 2), max_bytes=400)
            spool.ack(name, [item.position for item in taken])


def changes_in_story() -> int:
    """How many writes, syncs, renames and removals the story makes."""
    spool = ModelledSpool(small(max_bytes=4096, segment_bytes=1024))
    story(spool)
    return spool.disk.changes


@pytest.mark.parametrize("seed", [1, 2])
def test_the_power_may_go_at_any_write(seed: int) -> None:
    """After each single write, sync, rename and removal, torn or lost: what was promised is there."""
    total = changes_in_story()
    assert total > 150
    for cut in range(total):
        spool = ModelledSpool(small(max_bytes=4096, segment_bytes=1024), seed)
        spool.disk.cut_in = cut
        story(spool)
        spool.check_delivery()


def test_any_operation_may_fail_for_want_of_space() -> None:
    """Wherever the disk fills up, envelopes stay deliverable, and it heals by itself."""
    for room in range(0, 3000, 37):
        spool = ModelledSpool(small(max_bytes=8192, segment_bytes=1024))
        spool.disk.capacity_bytes = room
        story(spool)
        spool.check_delivery()
