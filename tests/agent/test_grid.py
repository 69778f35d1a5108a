"""Ticks lie on a grid; late ones are left out, jumps of the clock are survived."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerwatch.agent.grid import Grid

GRID = Grid(5000, 1200)


@pytest.mark.parametrize(
    ("tick_ms", "now_ms", "expected"),
    [
        (1_001_200, 1_001_230, (1_006_200, 0)),  # the usual case
        (1_001_200, 1_006_199, (1_006_200, 0)),  # slow, but in time
        (1_001_200, 1_006_300, (1_011_200, 1)),  # too slow: one tick is left out
        (1_001_200, 1_021_300, (1_026_200, 4)),  # four
        (1_003_000, 1_003_010, (1_006_200, 0)),  # began off the grid
        (1_005_000, 1_005_010, (1_011_200, 0)),  # off the grid and near its next point: not twice in a row
        (1_001_200, 901_300, (906_200, 0)),  # the clock was set back
        (1_001_200, 1_000_900, (1_006_200, 0)),  # a little
    ],
)
def test_when_the_next_tick_is_due(tick_ms: int, now_ms: int, expected: tuple[int, int]) -> None:
    """The next point of the grid at least half an interval on, with the number of those that passed meanwhile."""
    assert GRID.plan(tick_ms, now_ms) == expected


@pytest.mark.parametrize(
    ("now_ms", "stamp_ms"),
    [
        (1_006_200, 1_006_200),
        (1_006_195, 1_006_200),
        (1_006_250, 1_006_200),
        (1_006_251, 1_006_251),
        (900_000, 900_000),
    ],
)
def test_a_tick_that_is_nearly_in_time_bears_the_planned_time(now_ms: int, stamp_ms: int) -> None:
    """Within a hundredth of the interval the planned time counts, else what the clock says."""
    assert GRID.stamp(now_ms, 1_006_200) == stamp_ms


@given(st.integers(1, 10**7), st.integers(0, 10**7), st.integers(0, 2 * 10**12))
def test_after_is_the_first_point_later(interval_ms: int, phase_ms: int, time_ms: int) -> None:
    """A point of the grid, later, and no further away than an interval."""
    grid = Grid(interval_ms, phase_ms)
    found = grid.after(time_ms)
    assert (found - phase_ms) % interval_ms == 0
    assert time_ms < found <= time_ms + interval_ms


def test_the_last_tick_of_a_window() -> None:
    """A window of 10 s holds two ticks of 5 s; the second is the last."""
    window = Grid(10_000, 1200)
    assert [window.is_last_in_window(t, 5000) for t in (11_200, 16_200, 21_200, 26_200)] == [False, True, False, True]
    assert Grid(5000, 1200).is_last_in_window(11_200, 5000)
