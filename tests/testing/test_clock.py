"""ManualClock."""

from __future__ import annotations

import pytest

from peerwatch.model import Clock
from peerwatch.testing.clock import ManualClock


def test_time_stands_still() -> None:
    """Two reads without an advance give the same time."""
    clock: Clock = ManualClock(now_ms=5, monotonic_s=2.0)
    assert (clock.now_ms(), clock.monotonic_s(), clock.now_ms(), clock.monotonic_s()) == (5, 2.0, 5, 2.0)


def test_advance_moves_both_clocks() -> None:
    """Passing time shows on the wall and on the monotonic clock."""
    clock = ManualClock(now_ms=1000, monotonic_s=1.0)
    clock.advance(1.5)
    assert (clock.now_ms(), clock.monotonic_s()) == (2500, 2.5)


@pytest.mark.parametrize("delta_ms", [365 * 86_400_000, -86_400_000])
def test_a_jump_moves_the_wall_only(delta_ms: int) -> None:
    """Setting the clock does not make time pass."""
    clock = ManualClock(now_ms=10**12, monotonic_s=1.0)
    clock.jump(delta_ms)
    assert (clock.now_ms(), clock.monotonic_s()) == (10**12 + delta_ms, 1.0)


def test_time_does_not_pass_backwards() -> None:
    """A negative advance is a mistake of the test."""
    with pytest.raises(ValueError, match="forwards"):
        ManualClock().advance(-1)
