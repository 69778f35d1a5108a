"""Who measures whom: random but the same everywhere, about log2 of all at once, few in all, and even."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from random import Random

import pytest

from peerwatch.fleet.pairing import ROTATE_MS, Pairing, partners_at_once

NOW_MS = 1_700_000_000_000
HOURS = range(NOW_MS, NOW_MS + 100 * ROTATE_MS, ROTATE_MS)


def members(count: int, seed: int = 7) -> list[bytes]:
    random = Random(seed)
    return [random.randbytes(32) for _ in range(count)]


@pytest.mark.parametrize(
    ("candidates", "expected"), [(0, 0), (1, 1), (3, 3), (10, 4), (100, 7), (1_000, 10), (5_000, 13)]
)
def test_about_log2_at_once(candidates: int, expected: int) -> None:
    """At least three, where there are as many."""
    assert partners_at_once(candidates) == expected


@pytest.mark.parametrize("count", [1, 2, 3, 4, 10, 100])
def test_nobody_measures_itself_or_one_twice(count: int) -> None:
    """And in a small fleet everybody measures everybody, all the time."""
    fleet = members(count)
    pairing = Pairing(fleet, fleet)
    for member in fleet:
        found = pairing.partners(member, NOW_MS)
        assert member not in found and len(set(found)) == len(found) <= pairing.at_once
        if count <= 4:
            assert all(set(pairing.partners(member, now_ms)) == set(fleet) - {member} for now_ms in HOURS)


def test_who_measures_is_awaited_before_and_after() -> None:
    """A clock or a list that is up to one turn late or early changes nothing: whoever comes is let in."""
    fleet = members(200)
    pairing = Pairing(fleet, fleet)
    pairs = [(one, other) for one in fleet for other in pairing.partners(one, NOW_MS)]
    for late_ms in (-ROTATE_MS, -1, 0, 1, ROTATE_MS):
        awaited = {other: set(pairing.visitors(other, NOW_MS + late_ms)) for other in fleet}
        assert all(one in awaited[other] for one, other in pairs)


def test_the_pairs_of_a_member_are_few_for_ever() -> None:
    """Four times as many as at once, however long it goes on; one changes at a time."""
    fleet = members(1_000)
    pairing = Pairing(fleet, fleet)
    turns = [set(pairing.partners(fleet[0], now_ms)) for now_ms in HOURS]
    assert len(set.union(*turns)) == 4 * pairing.at_once == 40
    assert all(len(after - before) == 1 for before, after in pairwise(turns))


def test_how_many_measure_one_member_is_even_but_for_chance() -> None:
    """In a thousand nobody is measured by more than thrice the average, and nobody by none."""
    fleet = members(1_000)
    pairing = Pairing(fleet, fleet)
    counts = Counter(one for member in fleet for one in pairing.partners(member, NOW_MS))
    assert len(counts) == 1_000 and max(counts.values()) <= 30
    assert max(len(pairing.visitors(member, NOW_MS)) for member in fleet) <= 48


def test_who_comes_or_goes_changes_few_pairs() -> None:
    """So a fleet in motion does not make series without end."""
    fleet = members(500)
    before, after = Pairing(fleet, fleet), Pairing(fleet[1:], fleet[1:])
    changed = sum(before.partners(one, NOW_MS) != after.partners(one, NOW_MS) for one in fleet[1:])
    assert changed < 60  # nine of 499 measured it, and it stood before others in four times as many pools


def test_all_hubs_pair_alike() -> None:
    """Whatever the order in which they heard of the members."""
    fleet = members(50)
    one, other = Pairing(sorted(fleet), sorted(fleet)), Pairing(sorted(fleet, reverse=True), sorted(fleet))
    assert all(one.partners(member, NOW_MS) == other.partners(member, NOW_MS) for member in fleet)


def test_who_does_not_listen_measures_and_is_not_measured() -> None:
    """It has partners and no visitors; a stranger has neither."""
    fleet = members(20)
    pairing = Pairing(fleet, fleet[:10])
    assert len(pairing.partners(fleet[15], NOW_MS)) == pairing.at_once
    assert pairing.visitors(fleet[15], NOW_MS) == []
    assert any(fleet[15] in pairing.visitors(one, NOW_MS) for one in fleet[:10])
    assert pairing.partners(b"s" * 32, NOW_MS) == pairing.visitors(b"s" * 32, NOW_MS) == []
