"""Places are counted exactly, whatever comes and goes in which order."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from peerwatch.errors import QuotaError
from peerwatch.node.config import NodeLimits
from peerwatch.node.gater import Direction
from peerwatch.node.seats import Seat, Seats, newer_wins
from peerwatch.wire.identity import peer_id

ME, LOW, HIGH = b"\x05" * 32, b"\x01" * 32, b"\x09" * 32
IN, OUT = Direction.IN, Direction.OUT


def _seat(member: bytes, direction: Direction, since_s: float) -> Seat:
    return Seat(member, "/ip4/192.0.2.1/tcp/1", direction, since_s, since_s)


@pytest.mark.parametrize(
    ("peer", "old", "new", "apart_s", "newer"),
    [
        (LOW, IN, IN, 0.1, True),
        (LOW, IN, IN, 100, True),
        (LOW, OUT, IN, 0.1, True),  # both dialled at once: the one of the smaller key stays, which is the other side's
        (LOW, IN, OUT, 0.1, False),
        (HIGH, OUT, IN, 0.1, False),
        (HIGH, IN, OUT, 0.1, True),
        (HIGH, OUT, IN, 100, True),  # it dials although we have one: it has lost that
    ],
)
def test_of_two_connections_both_sides_keep_the_same(
    peer: bytes, old: Direction, new: Direction, apart_s: float, newer: bool
) -> None:
    """Decided by values that both sides know."""
    assert newer_wins(_seat(peer, old, 0.0), _seat(peer, new, apart_s), ME) is newer


RELAYED = f"/ip4/192.0.2.7/tcp/1/p2p/{peer_id(ME)}/p2p-circuit"


@pytest.mark.parametrize("direction", [IN, OUT])
@pytest.mark.parametrize("apart_s", [0.1, 100.0])
def test_a_direct_connection_goes_before_a_relayed_one(direction: Direction, apart_s: float) -> None:
    """In whichever order they came up. Later whatever comes is a new dial, of a side that has lost the old one."""
    relayed = Seat(LOW, RELAYED, IN, 0.0, 0.0)
    direct = Seat(LOW, "/ip4/192.0.2.1/tcp/1", direction, apart_s, apart_s)
    assert newer_wins(relayed, direct, ME) and newer_wins(relayed, direct, HIGH)
    late = Seat(LOW, RELAYED, IN, apart_s, apart_s)
    assert newer_wins(_seat(LOW, direction, 0.0), late, ME) is (apart_s == 100)


def test_both_ends_of_two_crossing_dials_agree() -> None:
    """Seen from here and from there, in either order."""
    for first, second in ((IN, OUT), (OUT, IN)):
        here = second if newer_wins(_seat(HIGH, first, 0), _seat(HIGH, second, 1), LOW) else first
        for there_first, there_second in ((IN, OUT), (OUT, IN)):
            wins = newer_wins(_seat(LOW, there_first, 0), _seat(LOW, there_second, 1), HIGH)
            assert (there_second if wins else there_first) is not here  # what is outbound here is inbound there


_steps = st.lists(
    st.tuples(st.sampled_from(["reserve", "establish", "release"]), st.integers(0, 5), st.sampled_from([IN, OUT])),
    max_size=60,
)


@given(_steps)
def test_no_order_of_events_goes_past_a_limit_or_loses_a_place(steps: list[tuple[str, int, Direction]]) -> None:
    """And when all have gone, every place is free."""
    limits = NodeLimits(max_inbound=3, max_outbound=2, max_connections=4)
    seats = Seats(limits, ME)
    coming: list[Seat] = []
    seated: list[Seat] = []
    for now_s, (step, number, direction) in enumerate(steps):
        if step == "reserve":
            with suppress(QuotaError):
                coming.append(seats.reserve(bytes([number]) * 32, "", direction, now_s))
        elif step == "establish" and coming:
            seat = coming.pop(number % len(coming))
            loser = seats.establish(seat, now_s)
            seated.append(seat)
            if loser is not None:
                seated.remove(loser)
                seats.release(loser)
        elif step == "release" and coming + seated:
            seat = (coming + seated)[number % len(coming + seated)]
            (coming if seat in coming else seated).remove(seat)
            seats.release(seat)
            seats.release(seat)
        assert seats.taken(IN) <= 3
        assert seats.taken(OUT) <= 2
        assert seats.taken(IN) + seats.taken(OUT) <= 4
        assert {seat.member for seat in seats} == {seat.member for seat in seated}
        assert len(seated) <= seats.taken(IN) + seats.taken(OUT)
    for seat in coming + seated:
        seats.release(seat)
    assert (seats.taken(IN), seats.taken(OUT)) == (0, 0)
    assert list(seats) == []


def test_a_member_has_one_handshake_in_each_direction() -> None:
    """Else one member could hold every place for as long as handshakes may last."""
    seats = Seats(NodeLimits(), ME)
    seat = seats.reserve(LOW, "", IN, 0.0)
    seats.reserve(LOW, "", OUT, 0.0)
    with pytest.raises(QuotaError, match="handshake"):
        seats.reserve(LOW, "", IN, 0.0)
    seats.release(seat)
    seats.reserve(LOW, "", IN, 0.0)
