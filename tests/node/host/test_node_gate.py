"""The node's own gate at the host's door."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from peerwatch.errors import LinkError
from peerwatch.node.bans import Bans
from peerwatch.node.config import NodeConfig
from peerwatch.node.connection import ConnectionRefused, DeniedError
from peerwatch.node.gate import NodeGate
from peerwatch.node.host import Host
from peerwatch.node.roster_view import MemberView, RosterView
from peerwatch.testing.clock import ManualClock
from peerwatch.wire.identity import PrivateKey, peer_id
from tests.node.host.kit import ANYWHERE, Attacker, Ear, Node, OpenGate, run, until

pytestmark = pytest.mark.p2p


def test_members_get_in_and_whoever_is_banned_or_revoked_stays_out() -> None:
    """In both directions, and at once."""
    hub_key, member_key, stranger_key = (PrivateKey.generate() for _ in range(3))
    clock, bans, ear = ManualClock(), Bans(), Ear()
    roster = RosterView(1, {peer_id(one.public): MemberView(("agent",)) for one in (hub_key, member_key)})

    def host(key: PrivateKey, its_bans: Bans, its_ear: Ear) -> tuple[Host, NodeGate]:
        gate = NodeGate(NodeConfig.test(), its_bans, clock)
        gate.roster = roster
        limits = NodeConfig.test().limits
        return Host(key, gate, its_ear, limits=limits, listen=[ANYWHERE]), gate

    async def story() -> None:
        (hub, gate), (member, _), (stranger, _) = (
            host(hub_key, bans, ear),
            host(member_key, Bans(), Ear()),
            host(stranger_key, Bans(), Ear()),
        )
        async with hub, member, stranger:
            with pytest.raises(LinkError):
                await stranger.dial(hub.member, hub.addresses)
            with pytest.raises(DeniedError):
                await hub.dial(stranger.member, stranger.addresses)
            await member.dial(hub.member, hub.addresses)
            assert await member.ping(hub.member) > 0
            await member.close_peer(hub.member)
            bans.ban_temporary("127.0.0.0/24", 60.0, "flood", "hub", clock.now_ms())
            with pytest.raises(LinkError):
                await member.dial(hub.member, hub.addresses)
            clock.advance(60.0)
            gate.roster = RosterView(2, {})
            with pytest.raises(LinkError):
                await member.dial(hub.member, hub.addresses)
            reasons = [one.reason for one in ear.of(ConnectionRefused)]
            assert reasons == ["not_a_member", "not_a_member", "banned", "not_a_member"]

    run(story)


def test_one_neighbourhood_does_not_have_all_handshakes() -> None:
    """Past its half of them it is refused at once; whoever calls from elsewhere is let through."""
    key, ear = PrivateKey.generate(), Ear()
    limits = replace(NodeConfig.test().limits, handshake_timeout_s=20.0)
    gate = NodeGate(replace(NodeConfig.test(), limits=limits), Bans(), ManualClock())
    host = Host(key, gate, ear, limits=limits, listen=[ANYWHERE])

    async def story() -> None:
        async with host, AsyncExitStack() as stack:
            target = Node(host, OpenGate(), ear, key)
            for _ in range(2):
                await stack.enter_async_context(await Attacker.connect(target, source="127.6.7.1"))
            await until(lambda: host.usage().pending_per_subnet == 2)
            third = await stack.enter_async_context(await Attacker.connect(target, source="127.6.7.99"))
            assert await third.socket.read() == b""
            (refused,) = await ear.wait(ConnectionRefused)
            assert refused.reason == "crowded" and "2 handshakes from its subnet, limit 2" in refused.words
            await stack.enter_async_context(await Attacker.connect(target, source="127.6.8.1"))
            await until(lambda: host.usage().pending == 3)
            assert len(ear.of(ConnectionRefused)) == 1

    run(story)
