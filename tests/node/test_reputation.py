"""What a peer does follows it for a while: slower first, then out; a neighbourhood is judged as one."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatch.node.config import ReputationConfig
from peerwatch.node.reputation import WEIGHTS, BanOrder, Deed, Reputation, bucket_factor
from tests.node.kit import PEERS

A, B = PEERS[:2]
IP = ip_address("192.0.2.9")
CONFIG = ReputationConfig()
DEEDS = st.sampled_from(list(Deed))


def test_every_deed_has_a_weight() -> None:
    """The table is whole."""
    assert set(WEIGHTS) == set(Deed)


def test_two_forged_signatures_ban() -> None:
    """The order names who, how long and why."""
    reputation = Reputation(CONFIG)
    assert reputation.record(Deed.BAD_SIGNATURE, A, IP, 5.0) == []
    assert reputation.record(Deed.BAD_SIGNATURE, A, IP, 5.0) == [BanOrder(A, 600.0, "bad_signature: score -100", 5.0)]
    assert reputation.score(B, 0.0) == 0.0


def test_it_fades() -> None:
    """By half in each half-life, to nothing in the end."""
    reputation = Reputation(CONFIG)
    reputation.record(Deed.MALFORMED, A, None, 0.0)
    assert reputation.score(A, 600.0) == pytest.approx(-10.0)
    assert reputation.score(A, 1800.0) == pytest.approx(-2.5)
    assert reputation.score(A, 86_400.0) == pytest.approx(0.0, abs=1e-3)


def test_seldom_trouble_never_bans() -> None:
    """A malformed message an hour is a bug somewhere, not an attack."""
    reputation = Reputation(CONFIG)
    assert not any(reputation.record(Deed.MALFORMED, A, IP, hour * 3600.0) for hour in range(1000))


def test_time_outs_slow_and_never_ban() -> None:
    """They prove nothing: a bad link has them too."""
    reputation = Reputation(CONFIG)
    assert not any(reputation.record(Deed.TIMEOUT, A, IP, 0.0) for _ in range(1000))
    assert reputation.score(A, 0.0) == -40.0
    assert 0.1 < reputation.factor(A, None, 0.0) < 1.0


def test_time_outs_do_not_lift_a_worse_score() -> None:
    """The floor of a mild deed is not a ladder."""
    reputation = Reputation(CONFIG)
    reputation.record(Deed.BAD_SIGNATURE, A, None, 0.0)
    reputation.record(Deed.TIMEOUT, A, None, 0.0)
    assert reputation.score(A, 0.0) == -50.0


def test_deliveries_earn_credit_within_bounds() -> None:
    """Up to twice the bucket; never enough to pay for a forged signature."""
    reputation = Reputation(CONFIG)
    for _ in range(10_000):
        assert reputation.record(Deed.DELIVERED, A, IP, 0.0) == []
    assert reputation.score(A, 0.0) == 20.0
    assert reputation.factor(A, IP, 0.0) == 2.0
    assert reputation.score("192.0.2.0/24", 0.0) == 0.0


def test_many_names_from_one_place_are_limited_as_one() -> None:
    """Each of them stays below a peer's threshold; their /24 does not stay below its own."""
    reputation = Reputation(CONFIG)
    orders = [
        order
        for n in range(25)
        for order in reputation.record(Deed.MALFORMED, f"sybil{n}", ip_address(f"192.0.2.{n}"), 0.0)
    ]
    assert {order.subject for order in orders} == {"192.0.2.0/24"}
    assert orders[0] == BanOrder("192.0.2.0/24", 60.0, "malformed: score -400")
    assert reputation.factor("honest", IP, 0.0) < 1.0
    assert reputation.factor("honest", ip_address("198.51.100.1"), 0.0) == 1.0


def test_who_has_delivered_answers_for_itself() -> None:
    """What its neighbours do is not held against it, as long as it has credit of its own."""
    reputation = Reputation(CONFIG)
    for _ in range(35):
        reputation.record(Deed.STRANGER, None, IP, 0.0)
    assert reputation.factor(A, IP, 0.0) < 0.3
    reputation.record(Deed.DELIVERED, A, IP, 0.0)
    assert reputation.factor(A, IP, 0.0) >= 1.0
    reputation.record(Deed.TIMEOUT, A, IP, 0.0)
    assert reputation.factor(A, IP, 0.0) < 0.3


def test_what_is_forgotten_begins_anew() -> None:
    """Somebody has lifted the ban."""
    reputation = Reputation(CONFIG)
    reputation.record(Deed.BAD_SIGNATURE, A, None, 0.0)
    reputation.forget(A)
    assert reputation.record(Deed.BAD_SIGNATURE, A, None, 0.0) == []


def test_trouble_is_dated_from_its_beginning() -> None:
    """From the last time that nothing was held against it."""
    reputation = Reputation(ReputationConfig(half_life_s=10.0))
    reputation.record(Deed.STRANGER, None, IP, 0.0)
    for n in range(60):
        orders = reputation.record(Deed.STRANGER, None, IP, 1000.0 + n / 10)
    assert [order.since_s for order in orders] == [1000.0]


def test_strangers_are_judged_by_their_place() -> None:
    """A new key costs nothing, so their ids are not kept."""
    reputation = Reputation(CONFIG)
    orders = [order for n in range(40) for order in reputation.record(Deed.STRANGER, f"s{n}", IP, 0.0)]
    assert [order.subject for order in orders] == ["192.0.2.0/24"]
    assert len(reputation) == 1


def test_addresses_that_are_not_known_cost_nobody() -> None:
    """Relayed, or before the handshake: only what is known is judged."""
    reputation = Reputation(CONFIG)
    assert reputation.record(Deed.BAD_SIGNATURE, None, None, 0.0) == []
    assert len(reputation) == 0


def test_bucket_factor() -> None:
    """Straight lines between the corners of the config."""
    found = [bucket_factor(score, CONFIG) for score in (-1000.0, -100.0, -60.0, -20.0, 0.0, 10.0, 20.0, 99.0)]
    assert found == pytest.approx([0.1, 0.1, 0.55, 1.0, 1.0, 1.5, 2.0, 2.0])


@settings(deadline=None)
@given(st.lists(st.tuples(DEEDS, st.floats(0.0, 300.0)), max_size=60))
def test_scores_stay_in_bounds(steps: list[tuple[Deed, float]]) -> None:
    """Never above the best; a factor is always usable; a ban comes with a misdeed only, and at the threshold only."""
    reputation, now_s = Reputation(CONFIG), 0.0
    for deed, wait_s in steps:
        now_s += wait_s
        orders = reputation.record(deed, A, IP, now_s)
        banned = {order.subject for order in orders}
        assert reputation.score(A, now_s) <= CONFIG.best
        assert CONFIG.slowest_factor - 1e-9 <= reputation.factor(A, IP, now_s) <= CONFIG.fastest_factor
        assert (A in banned) <= (reputation.score(A, now_s) <= CONFIG.ban_below)
        assert not orders or min(WEIGHTS[deed].points, WEIGHTS[deed].subnet_points) < 0


def test_memory_is_bounded_and_the_worst_stay() -> None:
    """A crowd of mild offenders does not make a bad score forgotten."""
    reputation = Reputation(ReputationConfig(max_subjects=100))
    reputation.record(Deed.BAD_SIGNATURE, A, None, 0.0)
    for n in range(5000):
        reputation.record(Deed.TIMEOUT, f"peer{n}", None, 1.0)
    assert len(reputation) == 100
    assert reputation.score(A, 1.0) < -49.0


def test_what_has_faded_goes_first() -> None:
    """Before anything that still counts."""
    reputation = Reputation(ReputationConfig(max_subjects=10))
    for n in range(9):
        reputation.record(Deed.TIMEOUT, f"old{n}", None, 0.0)
    reputation.record(Deed.MALFORMED, "recent", None, 1799.0)
    for n in range(9):
        reputation.record(Deed.TIMEOUT, f"new{n}", None, 1800.0)
    assert reputation.score("recent", 1800.0) < -19.0
    assert all(reputation.score(f"new{n}", 1800.0) < 0 for n in range(9))
