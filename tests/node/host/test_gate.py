"""Nobody gets past the handshake who is not let in, and nobody gets in as somebody else."""

from __future__ import annotations

import pytest
from libp2p.io.exceptions import IOException
from libp2p.protocol_muxer.exceptions import MultiselectClientError

from peerwatch.errors import LinkError
from peerwatch.node.connection import (
    ConnectionClosed,
    ConnectionOpened,
    ConnectionRefused,
    DeniedError,
)
from peerwatch.node.gater import Deny, Direction
from peerwatch.wire.identity import PrivateKey, peer_id
from tests.node.host.kit import Attacker, node, run

pytestmark = pytest.mark.p2p


def test_a_stranger_gets_no_byte_of_the_muxer() -> None:
    """Refused in the Noise handshake: the connection ends before multistream speaks again."""

    async def story() -> None:
        one, key = node(), PrivateKey.generate()
        one.gate.denied.add(key.public)
        async with one.host, await Attacker.connect(one, key) as stranger:
            await stranger.shake(one.member)  # the caller's part ends before it can be refused
            with pytest.raises(IOException):
                await stranger.secured.read(1)
            (refused,) = await one.ear.wait(ConnectionRefused)
            assert (refused.reason, refused.words) == ("not_a_member", f"{peer_id(key.public)} is no member")
            assert one.ear.of(ConnectionOpened) == []

    run(story)


def test_who_is_refused_knows_it_from_the_dial() -> None:
    """(libp2p: connect succeeds, and breaks later.)"""

    async def story() -> None:
        hub, stranger = node(), node(listen=False)
        hub.gate.denied.add(stranger.member)
        async with hub.host, stranger.host:
            with pytest.raises(LinkError):
                await stranger.host.dial(hub.member, hub.host.addresses)
            assert stranger.ear.of(ConnectionOpened) == []
            await hub.settled()

    run(story)


def test_we_do_not_stay_with_whom_we_would_not_let_in() -> None:
    """The gate judges both directions."""

    async def story() -> None:
        hub, one = node(), node(listen=False)
        one.gate.denied.add(hub.member)
        async with hub.host, one.host:
            with pytest.raises(DeniedError) as caught:
                await one.host.dial(hub.member, hub.host.addresses)
            assert caught.value.reason == "not_a_member"

    run(story)


def test_an_address_is_judged_before_a_byte_is_sent() -> None:
    """Inbound: the caller reads the end at once, whoever it is."""

    async def story() -> None:
        one = node()
        one.gate.closed.add("/ip4/127.0.0.1/")
        async with one.host, await Attacker.connect(one) as caller:
            assert await caller.socket.read() == b""
            (refused,) = await one.ear.wait(ConnectionRefused)
            assert (refused.reason, refused.direction) == ("denied", Direction.IN)

    run(story)


def test_a_name_is_judged_by_what_it_resolves_to() -> None:
    """A list of networks is not passed by giving the address a name."""

    async def story() -> None:
        hub, one = node(), node(listen=False)
        one.gate.closed.update({"/ip4/127.0.0.1/", "/ip6/::1/"})
        async with hub.host, one.host:
            with pytest.raises(DeniedError):
                await one.host.dial(hub.member, [f"/dns/localhost/tcp/{hub.port}"])
            assert all(direction is Direction.OUT and "/dns" not in address for address, direction in one.gate.screened)
            assert hub.ear.events == []

    run(story)


def test_a_gate_that_fails_is_shut() -> None:
    """Whatever it raises."""

    async def story() -> None:
        one, key = node(), PrivateKey.generate()

        def broken(*_: object) -> Deny | None:
            raise RuntimeError("no roster")

        one.gate.admit = broken  # type: ignore[method-assign]
        async with one.host, await Attacker.connect(one, key) as caller:
            await caller.shake(one.member)
            await caller.closed()
            (refused,) = await one.ear.wait(ConnectionRefused)
            assert refused.reason == "gate_failed"

    run(story)


@pytest.mark.parametrize("protocol", ["/plaintext/2.0.0", "/tls/1.0.0", "/secio/1.0.0"])
def test_noise_is_the_only_security(protocol: str) -> None:
    """Above all not plaintext, with which a public key is an identity. (libp2p: accepted.)"""

    async def story() -> None:
        one = node()
        async with one.host, await Attacker.connect(one) as caller:
            with pytest.raises(MultiselectClientError, match="not supported"):
                await caller.select(caller.raw, protocol)

    run(story)


def test_a_public_key_is_not_an_identity() -> None:
    """Who shows another's key must sign with it."""

    async def story() -> None:
        one, victim, thief = node(), PrivateKey.generate(), PrivateKey.generate()
        async with one.host, await Attacker.connect(one, victim) as caller:
            await caller.shake(one.member, sign_with=thief)
            await caller.closed()
            (refused,) = await one.ear.wait(ConnectionRefused)
            assert refused.reason == "handshake"
            assert one.ear.of(ConnectionOpened) == []

    run(story)


def test_who_answers_must_be_who_was_dialled() -> None:
    """Another peer at that address is not taken for it."""

    async def story() -> None:
        hub, one = node(), node(listen=False)
        async with hub.host, one.host:
            bare = hub.host.addresses[0].partition("/p2p/")[0]
            with pytest.raises(LinkError):
                await one.host.dial(PrivateKey.generate().public, [bare])
            await hub.settled()
            assert one.host.connections == ()

    run(story)


def test_who_is_let_in_before_can_be_put_out() -> None:
    """close_peer ends the connection; the gate keeps it from coming back."""

    async def story() -> None:
        hub, one = node(), node(listen=False)
        async with hub.host, one.host:
            await one.host.dial(hub.member, hub.host.addresses)
            await hub.ear.wait(ConnectionOpened)
            hub.gate.denied.add(one.member)
            await hub.host.close_peer(one.member, "revoked")
            (gone,) = await hub.ear.wait(ConnectionClosed)
            assert gone.reason == "revoked"
            await one.ear.wait(ConnectionClosed)
            with pytest.raises(LinkError):
                await one.host.dial(hub.member, hub.host.addresses)

    run(story)


def test_a_member_by_another_way_is_let_in_as_itself() -> None:
    """The hostile peer of these tests, behaving: proof that what is refused above is not refused for being odd."""

    async def story() -> None:
        one = node()
        async with one.host, await Attacker.muxed(one) as caller:
            (opened,) = await one.ear.wait(ConnectionOpened)
            assert opened.member == caller.key.public

    run(story)


def test_mplex_is_not_spoken() -> None:
    """Yamux is the only muxer."""

    async def story() -> None:
        one = node()
        async with one.host, await Attacker.connect(one) as caller:
            await caller.shake(one.member)
            with pytest.raises(MultiselectClientError, match="not supported"):
                await caller.select(caller.secured, "/mplex/6.7.0")

    run(story)
