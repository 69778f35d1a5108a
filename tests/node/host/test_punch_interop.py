"""Hole punching with go-libp2p, less the holes: a relayed connection gives way to a direct one, whoever begins."""

from __future__ import annotations

import pytest

pytest.importorskip("libp2p", reason="the extra p2p is not installed: make p2p")

from peerwatch.node.connection import ConnectionOpened
from peerwatch.wire.identity import peer_id
from tests.node.host.foreign import GO, PARAMETERS, ForeignPeer, Kind, built, foreign
from tests.node.host.kit import Node, node, run, until
from tests.node.host.test_relay import relay_node, reserve, started, through

_WITHIN_S = 40.0  # the second of three tries, ten seconds apart

pytestmark = [
    pytest.mark.p2p,
    pytest.mark.servers,
    pytest.mark.parametrize("kind", [one for one in PARAMETERS if one.values == (GO,)]),  # js's has no hole punching
]


@pytest.fixture(autouse=True)
def _built(kind: Kind) -> None:
    """Before a test's own time runs."""
    built(kind)


async def _meet(ours: Node, theirs: ForeignPeer) -> None:
    """Until both have one connection, a direct one, which works both ways."""
    await until(lambda: [one.punched for one in _opened(ours, theirs)] == [False, True])
    await until(lambda: len([one for one in ours.host.connections if one.member == theirs.member]) == 1)
    assert 0 < await ours.host.ping(theirs.member) < 5
    assert "rtt_ms" in await theirs.do("ping", f"/p2p/{peer_id(ours.member)}")
    assert await theirs.do("paths", peer_id(ours.member)) == {"direct": 1, "relayed": 0}


def _opened(ours: Node, theirs: ForeignPeer) -> list[ConnectionOpened]:
    return [one for one in ours.ear.of(ConnectionOpened) if one.member == theirs.member]


def test_our_node_understands_one_that_begins(kind: Kind) -> None:
    """It was called through a relay: it tells where it is, our node tells where it will come from, and comes."""

    async def story() -> None:
        relay, caller = relay_node(), node(listen=False, punches=True)
        async with started(relay, caller), foreign(kind, "--punch", "own") as hidden:
            await hidden.do("reserve", relay.host.addresses[0])
            where = f"{relay.host.addresses[0]}/p2p-circuit/p2p/{peer_id(hidden.member)}"
            await caller.host.dial(hidden.member, [where])
            await _meet(caller, hidden)

    run(story, _WITHIN_S)


def test_one_understands_our_node_that_begins(kind: Kind) -> None:
    """Our node was called. The caller listens at the address that it tells, which the second try allows for."""

    async def story() -> None:
        relay, hidden = relay_node(), node(listen=False, punches=True)
        async with started(relay, hidden), foreign(kind, "--punch", "own") as caller:
            await reserve(hidden, relay)
            assert "rtt_ms" in await caller.do("ping", through(relay, hidden))
            await _meet(hidden, caller)

    run(story, _WITHIN_S)
