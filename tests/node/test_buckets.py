"""A peer gets its burst and its rate, by its reputation, and no trick gets it more."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatch.node.bucket import TokenBucket
from peerwatch.node.buckets import Buckets

AMOUNTS = st.floats(0.01, 50.0)
STEPS = st.lists(st.tuples(st.floats(0.0, 20.0), AMOUNTS), max_size=60)


@settings(deadline=None)
@given(STEPS, st.floats(1.0, 40.0), st.floats(0.1, 10.0))
def test_never_more_than_burst_and_rate(steps: list[tuple[float, float]], capacity: float, rate: float) -> None:
    """Over any stretch of time, however the demands come."""
    bucket, now_s, granted, largest = TokenBucket(capacity, rate, 0.0), 0.0, 0.0, 0.0
    for wait_s, tokens in steps:
        now_s += wait_s
        if not bucket.take(tokens, now_s):
            granted += tokens
            largest = max(largest, tokens - capacity)
    assert granted <= capacity + rate * now_s + max(0.0, largest) + 1e-3


@settings(deadline=None)
@given(STEPS)
def test_whoever_waits_as_told_is_served(steps: list[tuple[float, float]]) -> None:
    """A demand above the capacity too: it is slowed down, not refused for ever."""
    bucket, now_s = TokenBucket(10.0, 2.0, 0.0), 0.0
    for wait_s, tokens in steps:
        now_s += wait_s
        told_s = bucket.take(tokens, now_s)
        if told_s:
            now_s += told_s
            assert bucket.take(tokens, now_s) == 0.0


def test_tokens_come_continuously() -> None:
    """Not in whole seconds (B30), and a bucket at 0 refuses."""
    bucket = TokenBucket(2.0, 4.0, 0.0)
    assert [bucket.take(1.0, 0.0) for _ in range(3)] == [0.0, 0.0, 0.25]
    assert bucket.take(1.0, 0.125) == 0.125
    assert bucket.take(1.0, 0.25) == 0.0


def test_time_that_goes_back_earns_nothing() -> None:
    """Nor does it earn twice afterwards."""
    bucket = TokenBucket(10.0, 1.0, 100.0)
    assert bucket.take(10.0, 100.0) == 0.0
    assert bucket.take(1.0, 50.0) == 1.0
    assert bucket.take(1.0, 100.5) == 0.5


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 2.0), st.floats(0.0, 1.0)), max_size=40))
def test_changing_the_size_adds_no_token(changes: list[tuple[float, float]]) -> None:
    """Reputation that goes up and down is no pump."""
    bucket, now_s, granted = TokenBucket(10.0, 1.0, 0.0), 0.0, 0
    for factor, wait_s in changes:
        now_s += wait_s
        bucket.tune(10.0 * factor, 1.0 * factor, now_s)
        granted += bucket.take(1.0, now_s) == 0.0
    assert granted <= 10.0 + 2.0 * now_s + 1e-3


def test_a_worse_reputation_is_slower() -> None:
    """Capacity and rate shrink at once; they come back with the reputation, the tokens only with time."""
    buckets = Buckets(10.0, 1.0, 100, 0.0)
    assert buckets.take("a", 1.0, 1.0, 0.0) == 0.0
    assert buckets.take("a", 1.0, 0.1, 0.0) == 0.0
    assert buckets.take("a", 1.0, 0.1, 0.0) == pytest.approx(10.0)
    assert buckets.take("a", 1.0, 1.0, 0.0) == pytest.approx(1.0)


def test_each_peer_has_its_own() -> None:
    """One that floods costs the others nothing."""
    buckets = Buckets(1.0, 1.0, 100, 0.0)
    assert buckets.take("a", 1.0, 1.0, 0.0) == 0.0
    assert buckets.take("a", 1.0, 1.0, 0.0) > 0.0
    assert buckets.take("b", 1.0, 1.0, 0.0) == 0.0


def test_the_number_is_bounded() -> None:
    """And a full bucket makes room for a newcomer."""
    buckets = Buckets(1.0, 1.0, 3, 0.0)
    for second in range(50):
        assert buckets.take(f"peer{second}", 1.0, 1.0, float(second)) == 0.0
    assert len(buckets) == 3


def test_nobody_is_rid_of_an_empty_bucket() -> None:
    """Not by a crowd of other names: an empty bucket stays, and the crowd shares one."""
    buckets = Buckets(10.0, 0.1, 4, 0.0)
    for peer in ("a", "b", "c", "d"):
        assert buckets.take(peer, 10.0, 1.0, 0.0) == 0.0
    granted = sum(buckets.take(f"new{n}", 1.0, 1.0, 1.0) == 0.0 for n in range(1000))
    assert granted == 10
    assert len(buckets) == 4
    assert buckets.take("a", 1.0, 1.0, 1.0) == pytest.approx(9.0)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0.0, 1.0)), max_size=200))
def test_no_order_of_coming_and_going_gives_more(steps: list[tuple[int, float]]) -> None:
    """Of ten names in three buckets and the crowd's, none gets more than its burst, its rate, and the crowd's."""
    buckets, now_s = Buckets(5.0, 0.5, 3, 0.0), 0.0
    granted = dict.fromkeys(range(10), 0)
    for who, wait_s in steps:
        now_s += wait_s
        granted[who] += buckets.take(str(who), 1.0, 1.0, now_s) == 0.0
    assert max(granted.values()) <= 2 * (5.0 + 0.5 * now_s) + 1e-3
