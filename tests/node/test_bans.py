"""Whoever is banned stays out for as long as was said, on every hub, in whatever order they hear of it."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from peerwatch.errors import DecodeError, QuotaError
from peerwatch.node.bans import LIFT_KEPT_MS, Ban, Bans, checked_ban
from tests.node.kit import NOW, PEERS

A, B, C = PEERS[:3]
IP = ip_address("192.0.2.9")


def test_a_temporary_ban_ends() -> None:
    """At its time, and is then forgotten."""
    bans = Bans()
    ban = bans.ban_temporary(A, 60.0, "flood", "hub", NOW)
    assert ban == Ban(A, "flood", "hub", NOW, NOW + 60_000)
    assert bans.is_blocked(A, None, NOW + 59_999)
    assert bans.blocking([B, A], None, NOW) == f"{A} is banned until {NOW + 60_000} ms by hub: flood"
    assert not bans.is_blocked(A, None, NOW + 60_000)
    assert bans.remove_ended(NOW + 60_000) == 1
    assert len(bans) == 0


def test_a_permanent_ban_stays() -> None:
    """With its reason."""
    bans = Bans()
    bans.ban_permanent(A, "forged", "operator", NOW)
    assert bans.blocking([A], None, NOW + 10**12) == f"{A} is banned for ever by operator: forged"
    assert bans.remove_ended(NOW + 10**12) == 0
    assert not bans.is_blocked(B, None, NOW)


def test_networks() -> None:
    """Every address in them, IPv4 in IPv6 clothes too; nobody else."""
    bans = Bans()
    bans.ban_permanent("192.0.2.77/24", "sybils", "hub", NOW)
    bans.ban_permanent("2001:db8::/32", "sybils", "hub", NOW)
    assert bans.is_blocked(None, IP, NOW)
    assert bans.is_blocked(B, ip_address("::ffff:192.0.2.1"), NOW)
    assert bans.is_blocked(B, ip_address("2001:db8:1::1"), NOW)
    assert not bans.is_blocked(B, ip_address("192.0.3.1"), NOW)
    assert not bans.is_blocked(B, ip_address("2001:db9::1"), NOW)
    assert [ban.subject for ban in bans.active(NOW)] == ["192.0.2.0/24", "2001:db8::/32"]


def test_a_lift_lets_in_and_a_newer_ban_keeps_out_again() -> None:
    """Both of a peer and of a network."""
    bans = Bans()
    for subject in (A, "192.0.2.0/24"):
        bans.ban_permanent(subject, "mistake", "hub", NOW)
        lift = bans.lift(subject, "sorry", "operator", NOW)
        assert lift is not None and lift.version > NOW and lift.expires_ms == NOW + LIFT_KEPT_MS
        assert not bans.is_blocked(A, IP, NOW)
        bans.ban_temporary(subject, 1.0, "again", "hub", NOW)
        assert bans.is_blocked(A, IP, NOW)
        bans.lift(subject, "", "operator", NOW)
    assert bans.lift(B, "", "operator", NOW) is None
    assert bans.lift(A, "", "operator", NOW) is None


def test_a_longer_ban_is_not_shortened() -> None:
    """Neither by a shorter one nor by a temporary one after a permanent one."""
    bans = Bans()
    long = bans.ban_temporary(A, 3600.0, "first", "hub", NOW)
    assert bans.ban_temporary(A, 60.0, "second", "hub", NOW + 1) == long
    forever = bans.ban_permanent(A, "third", "hub", NOW + 2)
    assert bans.ban_temporary(A, 10_000.0, "fourth", "hub", NOW + 3) == forever
    assert [ban.reason for ban in bans] == ["third"]


def test_hubs_that_did_not_hear_of_each_other() -> None:
    """A permanent ban survives a later temporary one from elsewhere, and one lift takes both away."""
    one, other = Bans(), Bans()
    one.ban_permanent(A, "by hand", "hub1", NOW)
    other.ban_temporary(A, 1.0, "by score", "hub2", NOW + 5000)
    one.merge(other, NOW + 5000)
    other.merge(one, NOW + 5000)
    assert sorted(one, key=repr) == sorted(other, key=repr)
    assert one.is_blocked(A, None, NOW + 10**10)
    lift = other.lift(A, "", "hub2", NOW + 5001)
    assert lift is not None
    assert one.merge([lift], NOW + 5001) == [lift]
    assert not one.is_blocked(A, None, NOW + 5001)
    assert one.merge([lift], NOW + 5001) == []


SUBJECTS = st.sampled_from([A, B, "192.0.2.0/24"])
VALUES = st.builds(
    lambda subject, by, version, expires, lifted: Ban(
        subject, f"reason {version}", by, version, expires or (100 if lifted else 0), lifted
    ),
    SUBJECTS,
    st.sampled_from(["hub1", "hub2"]),
    st.integers(1, 20),
    st.sampled_from([0, 10, 20, 30, 40, 50]),
    st.booleans(),
)


def _meaning(bans: Bans, now_ms: int) -> list[Ban]:
    return bans.active(now_ms)


@settings(deadline=None)
@given(st.lists(VALUES, max_size=12), st.randoms(use_true_random=False), st.integers(0, 60))
def test_the_union_is_the_same_in_any_order(values: list[Ban], random: object, now_ms: int) -> None:
    """However often parts come, in whatever order, and whenever expired ones are removed between."""
    one, other = Bans(), Bans()
    one.merge(values, now_ms)
    shuffled = [*values, *values]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    for value in shuffled:
        other.merge([value], now_ms)
        other.remove_ended(now_ms)
    one.remove_ended(now_ms)
    assert sorted(one, key=repr) == sorted(other, key=repr)
    for later_ms in range(now_ms, 60, 5):
        assert _meaning(one, later_ms) == _meaning(other, later_ms)


@settings(deadline=None)
@given(st.lists(VALUES, max_size=12), st.lists(VALUES, max_size=12), st.lists(VALUES, max_size=12))
def test_groups_of_hubs_agree(a: list[Ban], b: list[Ban], c: list[Ban]) -> None:
    """(a + b) + c is a + (b + c): it does not matter who met whom first."""
    left, right, tail = Bans(), Bans(), Bans()
    left.merge([*a, *b], 0)
    left.merge(c, 0)
    tail.merge([*b, *c], 0)
    right.merge(a, 0)
    right.merge(tail, 0)
    assert sorted(left, key=repr) == sorted(right, key=repr)


@settings(deadline=None)
@given(st.lists(VALUES, max_size=12), st.integers(0, 60))
def test_what_is_kept_means_what_was_said(values: list[Ban], now_ms: int) -> None:
    """Blocked is exactly: some ban has not expired, and is newer than every lift that still counts."""
    bans = Bans()
    bans.merge(values, now_ms)
    for peer in (A, B):
        told = [one for one in values if one.subject == peer and not one.ended(now_ms)]
        lifted = max((one.version for one in told if one.lifted), default=0)
        expected = any(not one.lifted and one.version > lifted for one in told)
        assert bans.is_blocked(peer, None, now_ms) == expected


def test_the_number_is_bounded() -> None:
    """The ban that ends first makes room for a longer one; a shorter one is refused, and lets nobody in."""
    bans = Bans(max_subjects=2)
    bans.ban_temporary(A, 60.0, "", "hub", NOW)
    bans.ban_permanent(B, "", "hub", NOW)
    with pytest.raises(QuotaError, match="2 bans that last longer, limit 2"):
        bans.ban_temporary(C, 30.0, "", "hub", NOW)
    bans.ban_permanent(C, "", "hub", NOW)
    assert [ban.subject for ban in bans.active(NOW)] == sorted([B, C])
    with pytest.raises(QuotaError):
        bans.ban_permanent(A, "", "hub", NOW)
    assert bans.merge([Ban(A, "", "hub", 1, 0)], NOW) == []


def test_expired_bans_make_room_first() -> None:
    """Whatever is asked for."""
    bans = Bans(max_subjects=1)
    bans.ban_temporary(A, 60.0, "", "hub", NOW)
    bans.ban_temporary(B, 1.0, "", "hub", NOW + 60_000)
    assert [ban.subject for ban in bans.active(NOW + 60_000)] == [B]


def test_one_subject_is_bounded_too() -> None:
    """Of hundreds of bans that do not cover each other the longest stay."""
    bans = Bans()
    bans.merge([Ban(A, "", "hub", 1000 - n, NOW + n + 1) for n in range(500)], NOW)
    assert len(list(bans)) == 16
    assert bans.is_blocked(A, None, NOW + 499)


@pytest.mark.parametrize(
    ("ban", "words"),
    [
        (Ban("nobody", "", "", 1, 0), "peer id"),
        (Ban(A, "x" * 257, "", 1, 0), "257 characters of reason"),
        (Ban(A, "", "x" * 129, 1, 0), "129 of author"),
        (Ban(A, "", "", 0, 0), "version 0"),
        (Ban(A, "", "", 1 << 63, 0), "version 9223372036854775808"),
        (Ban(A, "", "", 1, -1), "expiry -1 ms"),
        (Ban(A, "", "", 1, 0, lifted=True), "never forgotten"),
    ],
)
def test_nonsense_is_refused(ban: Ban, words: str) -> None:
    """From a peer, from a file, from ourselves."""
    with pytest.raises(DecodeError, match=words):
        checked_ban(ban)


@pytest.mark.parametrize("duration_s", [0.0, -1.0, float("inf"), float("nan")])
def test_a_temporary_ban_has_a_length(duration_s: float) -> None:
    """For ever is another call."""
    with pytest.raises(DecodeError, match="must be above 0 and finite"):
        Bans().ban_temporary(A, duration_s, "", "hub", NOW)


def test_changes_are_counted() -> None:
    """So that the file is written when, and only when, it must be."""
    bans = Bans()
    bans.ban_temporary(A, 60.0, "", "hub", NOW)
    after = bans.changes
    assert after > 0
    bans.merge(list(bans), NOW)
    bans.ban_temporary(A, 30.0, "", "hub", NOW)
    assert bans.changes == after
    bans.remove_ended(NOW + 60_000)
    assert bans.changes > after
