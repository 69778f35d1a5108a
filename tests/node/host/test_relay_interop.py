"""Relays among implementations: js-libp2p and go-libp2p peers behind our relay, and our node behind theirs."""

from __future__ import annotations

import anyio
import pytest

pytest.importorskip("libp2p", reason="the extra p2p is not installed: make p2p")

from peerwatch.errors import LinkError
from peerwatch.node.connection import ConnectionClosed, ConnectionOpened, ConnectionRefused
from peerwatch.node.gater import Direction
from peerwatch.wire.identity import peer_id
from tests.node.host.foreign import PARAMETERS, ForeignPeer, Kind, built, foreign
from tests.node.host.kit import Node, limits, node, run, until
from tests.node.host.test_relay import ECHO as OUR_ECHO
from tests.node.host.test_relay import echo, echoed, relay_node, reserve, started, through

_ECHO = "/peerwatch/test/echo/1"
_SIZE = 1 << 20

pytestmark = [pytest.mark.p2p, pytest.mark.servers, pytest.mark.parametrize("kind", PARAMETERS)]


@pytest.fixture(autouse=True)
def _built(kind: Kind) -> None:
    """Before a test's own time runs."""
    built(kind)


def _behind(relay: str, member: bytes) -> str:
    """The member's address behind the relay that is at `relay`."""
    return f"{relay}/p2p-circuit/p2p/{peer_id(member)}"


async def _both_ways(ours: Node, theirs: ForeignPeer) -> None:
    """Pings and a megabyte over the connection that there is."""
    our_address = f"/p2p/{peer_id(ours.member)}"
    assert 0 < await ours.host.ping(theirs.member) < 5
    assert 0 <= (await theirs.do("ping", our_address))["rtt_ms"] < 5000
    assert (await theirs.do("echo", our_address, _SIZE)) == {"got": _SIZE}
    stream = await ours.host.open_stream(theirs.member, _ECHO)
    got = 0
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stream.write, bytes(_SIZE))
        while got < _SIZE:
            got += len(await stream.read(65536))
    await stream.close()
    assert await theirs.do("paths", peer_id(ours.member)) == {"direct": 0, "relayed": 1}


def test_one_is_reached_through_our_relay(kind: Kind) -> None:
    """It reserves there; our node and another of its kind reach it, and our relay counts two circuits."""

    async def story() -> None:
        relay, caller = relay_node(), node(listen=False)
        caller.host.handle(_ECHO, echo)
        async with started(relay, caller), foreign(kind) as hidden, foreign(kind) as other:
            granted = await hidden.do("reserve", relay.host.addresses[0])
            where = _behind(relay.host.addresses[0], hidden.member)
            assert any(one in where for one in granted["addresses"]), granted
            await caller.host.dial(hidden.member, [where])
            await _both_ways(caller, hidden)
            assert "rtt_ms" in await other.do("ping", where)
            assert (await other.do("echo", where, 1 << 16)) == {"got": 1 << 16}
            assert await other.do("paths", peer_id(hidden.member)) == {"direct": 0, "relayed": 1}
            assert (relay.host.usage().relayed, relay.host.usage().reservations) == (2, 1)

    run(story, 60)


def test_one_reaches_our_node_through_our_relay(kind: Kind) -> None:
    """And proves at our node who it is; whom that does not know gets no further."""

    async def story() -> None:
        relay, hidden = relay_node(), node(listen=False)
        hidden.host.handle(_ECHO, echo)
        async with started(relay, hidden), foreign(kind) as caller, foreign(kind) as stranger:
            await reserve(hidden, relay)
            hidden.gate.denied.add(stranger.member)
            assert "rtt_ms" in await caller.do("ping", through(relay, hidden))
            (opened,) = [one for one in hidden.ear.of(ConnectionOpened) if one.member == caller.member]
            assert (opened.direction, opened.address) == (Direction.IN, _behind(_seen(hidden, relay), caller.member))
            await _both_ways(hidden, caller)
            assert "error" in await stranger.do("ping", through(relay, hidden))
            (refused, *_) = await hidden.ear.wait(ConnectionRefused)
            assert refused.reason == "not_a_member"

    run(story, 60)


def _seen(one: Node, relay: Node) -> str:
    """Where it is connected to the relay."""
    (address,) = [conn.address for conn in one.host.connections if conn.member == relay.member]
    return address


def test_our_relay_serves_whom_its_gate_lets_in(kind: Kind) -> None:
    """Who may not be reached gets no reservation, and who is not let in any more is not carried."""

    async def story() -> None:
        async with foreign(kind) as guest, foreign(kind) as hidden, foreign(kind) as revoked:
            relay = node(may_reserve=lambda member: member != guest.member)
            async with started(relay):
                assert "error" in await guest.do("reserve", relay.host.addresses[0])
                assert relay.host.usage().reservations == 0
                await hidden.do("reserve", relay.host.addresses[0])
                assert "rtt_ms" in await revoked.do("ping", relay.host.addresses[0])
                relay.gate.denied.add(revoked.member)
                assert "error" in await revoked.do("ping", _behind(relay.host.addresses[0], hidden.member))
                assert (relay.host.usage().relayed, relay.host.usage().reservations) == (0, 1)

    run(story, 60)


def test_our_limits_hold_for_it(kind: Kind) -> None:
    """Of reservations, of circuits of one member, and of what one circuit carries."""

    async def story() -> None:
        few = limits(max_reservations=2, max_relayed_each=1, circuit_bytes=200_000)
        relay, ours = relay_node(limits=few), node(listen=False)
        async with started(relay, ours), foreign(kind) as one, foreign(kind) as late, foreign(kind) as caller:
            where = relay.host.addresses[0]
            await reserve(ours, relay)
            await one.do("reserve", where)
            assert "error" in await late.do("reserve", where)
            assert relay.host.usage().reservations == 2
            assert "rtt_ms" in await caller.do("ping", _behind(where, one.member))
            assert "error" in await caller.do("ping", _behind(where, ours.member))
            assert relay.host.usage().relayed == 1
            assert "error" in await caller.do("echo", _behind(where, one.member), 150_000)
            await until(lambda: relay.host.usage().relayed == 0)
            assert "rtt_ms" in await caller.do("ping", _behind(where, one.member))

    run(story, 90)


def test_our_node_is_reached_through_its_relay(kind: Kind) -> None:
    """It reserves there like with our own, is reached by our node and by another of theirs, and is gone with it."""

    async def story() -> None:
        hidden, caller = node(listen=False), node(listen=False)
        hidden.host.handle(OUR_ECHO, echo)
        hidden.host.handle(_ECHO, echo)
        async with started(hidden, caller), foreign(kind, "--relay") as relay, foreign(kind) as other:
            await hidden.host.dial(relay.member, [relay.address])
            held = await hidden.host.reserve(relay.member)
            assert 0 < held.until_s - anyio.current_time() < 3 * 3600
            where = _behind(relay.address, hidden.member)
            assert where in hidden.host.addresses
            conn = await caller.host.dial(hidden.member, [where])
            assert conn.address == where
            assert 0 < await caller.host.ping(hidden.member) < 5
            assert 0 < await hidden.host.ping(caller.member) < 5
            assert await echoed(caller, hidden, bytes(range(256)) * 128) == bytes(range(256)) * 128
            assert "rtt_ms" in await other.do("ping", where)
            assert (await other.do("echo", where, 1 << 15)) == {"got": 1 << 15}
            assert 0 < await hidden.host.ping(other.member) < 5
            await hidden.host.close_peer(caller.member)
            await caller.ear.wait(ConnectionClosed)
            with pytest.raises(LinkError, match="NO_RESERVATION"):
                await hidden.host.dial(caller.member, [_behind(relay.address, caller.member)])
            await hidden.host.close_peer(relay.member)
            assert hidden.host.addresses == ()

    run(story, 60)


def test_what_its_relay_cuts_off_is_dialled_anew(kind: Kind) -> None:
    """Theirs carries 128 KB by default: our circuit breaks there, and there is a new one."""

    async def story() -> None:
        hidden, caller = node(listen=False), node(listen=False)
        hidden.host.handle(OUR_ECHO, echo)
        async with started(hidden, caller), foreign(kind, "--relay") as relay:
            await hidden.host.dial(relay.member, [relay.address])
            await hidden.host.reserve(relay.member)
            where = _behind(relay.address, hidden.member)
            await caller.host.dial(hidden.member, [where])
            with pytest.raises((LinkError, AssertionError)):  # it breaks or ends, before all is back
                await echoed(caller, hidden, bytes(400_000))
            with anyio.fail_after(10):
                await caller.ear.wait(ConnectionClosed)
            await caller.host.dial(hidden.member, [where])
            assert await echoed(caller, hidden, b"again") == b"again"

    run(story, 60)
