"""A window bounds what is unanswered, by number and by bytes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatch.errors import DecodeError
from peerwatch.node.window import Window


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(1, 60)), max_size=60))
def test_bounds_hold_in_any_order(steps: list[tuple[bool, int]]) -> None:
    """Never more than 4 requests or 100 bytes, except one large request alone."""
    window, held = Window(4, 100), {}
    for number, (opens, size) in enumerate(steps):
        size *= 2
        if opens and window.fits(size):
            window.open(number, size)
            held[number] = size
        elif opens:
            with pytest.raises(DecodeError, match="limits 4 requests and 100 bytes"):
                window.open(number, size)
        elif held:
            oldest = min(held)
            window.settle(oldest)
            del held[oldest]
        assert len(window) == len(held) <= 4
        assert sum(held.values()) <= 100 or len(held) == 1


def test_one_large_request_always_fits_alone() -> None:
    """Else it could never be sent."""
    window = Window(4, 100)
    assert window.fits(1000)
    window.open(1, 1000)
    assert not window.fits(1)


def test_ids_are_held_to() -> None:
    """No answer to what was not asked, no second request under one id."""
    window = Window(4, 100)
    window.open(1, 10)
    with pytest.raises(DecodeError, match="request id 1 is in use"):
        window.open(1, 10)
    window.settle(1)
    with pytest.raises(DecodeError, match="answer to request 1, which is not open"):
        window.settle(1)
