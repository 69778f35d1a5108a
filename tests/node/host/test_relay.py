"""Relays: a member that cannot be dialled is reached through one, by members, within limits, as if it were direct."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from types import SimpleNamespace
from typing import Any

import anyio
import pytest

pytest.importorskip("libp2p", reason="the extra p2p is not installed: make p2p")
from libp2p.relay.circuit_v2.pb import circuit_pb2 as pb

from peerwatch.errors import LinkError
from peerwatch.node.connection import ConnectionClosed, ConnectionOpened, ConnectionRefused, DeniedError
from peerwatch.node.gater import Direction
from peerwatch.node.reservations import Reservations
from peerwatch.wire.identity import PrivateKey, peer_id, peer_id_bytes
from tests.node.host.kit import Node, limits, node, run, until, vars_of

pytestmark = pytest.mark.p2p
HOP = "/libp2p/circuit/relay/0.2.0/hop"
STOP = "/libp2p/circuit/relay/0.2.0/stop"
ECHO = "/test/echo/1"


def everybody(_: bytes) -> bool:
    return True


def relay_node(**more: Any) -> Node:
    """A relay for everybody."""
    return node(may_reserve=everybody, **more)


@asynccontextmanager
async def started(*nodes: Node) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        for one in nodes:
            await stack.enter_async_context(one.host)
        yield


def through(relay: Node, target: Node) -> str:
    """The target's address behind the relay."""
    return f"{relay.host.addresses[0]}/p2p-circuit/p2p/{peer_id(target.member)}"


async def reserve(target: Node, relay: Node) -> None:
    """Have the target reached through the relay, as a member behind NAT does: it dials, nobody dials it."""
    await target.host.dial(relay.member, relay.host.addresses)
    await target.host.reserve(relay.member)


async def echo(stream: Any) -> None:
    while data := await stream.read(65536):
        await stream.write(data)


async def echoed(one: Node, other: Node, data: bytes) -> bytes:
    """What comes back."""
    stream = await one.host.open_stream(other.member, ECHO)
    await stream.write(data)
    back = b""
    while len(back) < len(data):
        piece = await stream.read(65536)
        assert piece
        back += piece
    await stream.close()
    return back


async def say(one: Node, relay: Node, message: Any) -> Any:
    """A message of the test's own to the relay, and its answer."""
    stream = await one.host.open_stream(relay.member, HOP)
    raw = message.SerializeToString()
    await stream.write(bytes([len(raw)]) + raw)
    size = (await stream.read(1))[0]
    answer = b""
    while len(answer) < size:
        answer += await stream.read(size - len(answer))
    return pb.HopMessage.FromString(answer)


def test_a_member_that_nobody_can_dial_is_reached_through_a_relay() -> None:
    """Ping and requests both ways; both ends know each other by name, and the relay counts one circuit."""

    async def story() -> None:
        relay, hidden, caller = relay_node(), node(listen=False), node(listen=False)
        hidden.host.handle(ECHO, echo)
        async with started(relay, hidden, caller):
            await reserve(hidden, relay)
            assert hidden.host.addresses == (through(relay, hidden),)
            conn = await caller.host.dial(hidden.member, hidden.host.addresses)
            assert conn.address == through(relay, hidden)
            assert 0 < await caller.host.ping(hidden.member) < 5
            assert 0 < await hidden.host.ping(caller.member) < 5
            data = bytes(range(256)) * 4096  # 1 MB: past every window on the way
            assert await echoed(caller, hidden, data) == data
            assert (relay.host.usage().relayed, relay.host.usage().reservations) == (1, 1)
            opened = [one for one in hidden.ear.of(ConnectionOpened) if one.member == caller.member]
            assert [(one.direction, "/p2p-circuit/" in one.address) for one in opened] == [(Direction.IN, True)]
            await caller.host.close_peer(hidden.member)
            await hidden.ear.wait(ConnectionClosed)
            await until(lambda: relay.host.usage().relayed == 0 and relay.host.usage().streams == 0)
            assert {one.member for one in hidden.host.connections} == {relay.member}

    run(story)


def test_the_gate_judges_who_is_behind_the_relay() -> None:
    """Whom the target does not know is refused by the target, though the relay lets him in."""

    async def story() -> None:
        relay, hidden, stranger = relay_node(), node(listen=False), node(listen=False)
        hidden.gate.denied.add(stranger.member)
        async with started(relay, hidden, stranger):
            await reserve(hidden, relay)
            with pytest.raises(LinkError):
                await stranger.host.dial(hidden.member, [through(relay, hidden)])
            refused = await hidden.ear.wait(ConnectionRefused)
            assert refused[0].reason == "not_a_member" and through(relay, stranger) == refused[0].address
            assert all(one.member != stranger.member for one in hidden.host.connections)
            await until(lambda: relay.host.usage().relayed == 0)

    run(story)


def test_relays_of_which_each_is_dialled_through_the_others_are_not_waited_for_for_ever() -> None:
    """A fleet that starts at once: no hub answers yet, and each may be behind any other."""

    async def story() -> None:
        caller, *hubs = node(listen=False), node(), node(), node()
        async with started(*hubs):
            where = {one.member: one.host.addresses[0] for one in hubs}  # where nobody listens once they have ended
        failures: list[bytes] = []

        async def dial(hub: Node) -> None:
            behind = [f"{where[one.member]}/p2p-circuit/p2p/{peer_id(hub.member)}" for one in hubs if one is not hub]
            with pytest.raises(LinkError):
                await caller.host.dial(hub.member, [where[hub.member], *behind])
            failures.append(hub.member)

        async with started(caller):
            async with anyio.create_task_group() as tasks:
                for one in [*hubs, *reversed(hubs)]:
                    tasks.start_soon(dial, one)
            assert len(failures) == 6
            assert not any(vars_of(caller.host.usage()))

    run(story)


def test_a_reservation_that_the_relay_has_forgotten_is_made_anew() -> None:
    """The way broke and was there again before anybody looked."""

    async def story() -> None:
        relay, hidden = relay_node(), node(listen=False)
        async with started(relay, hidden), anyio.create_task_group() as tasks:
            await hidden.host.dial(relay.member, relay.host.addresses)
            tasks.start_soon(Reservations(hidden.host, lambda: [relay.member]).run)
            await until(lambda: relay.host.usage().reservations == 1)
            await relay.host.close_peer(hidden.member)
            await until(lambda: relay.host.usage().reservations == 0)
            await hidden.host.dial(relay.member, relay.host.addresses)
            await until(lambda: relay.host.usage().reservations == 1)
            tasks.cancel_scope.cancel()

    run(story)


@pytest.mark.parametrize("ahead_s", [7_200.0, -500_000.0])
def test_a_reservation_holds_whatever_the_clocks_say(monkeypatch: pytest.MonkeyPatch, ahead_s: float) -> None:
    """Else a machine whose clock is wrong would reserve at every look, or long after the relay has forgotten it."""
    monkeypatch.setattr("peerwatch.node.circuit.time", SimpleNamespace(time=lambda: time.time() + ahead_s))

    async def story() -> None:
        relay, hidden = relay_node(), node(listen=False)
        async with started(relay, hidden):
            await hidden.host.dial(relay.member, relay.host.addresses)
            held = await hidden.host.reserve(relay.member)
            assert 100.0 < held.until_s - anyio.current_time() <= 86_400.0
            assert hidden.host.reservations == (held,)

    run(story)


def test_an_address_behind_a_relay_is_screened() -> None:
    """By the relay's address and by both names, before a byte is sent to the peer behind."""

    async def story() -> None:
        relay, hidden, caller = relay_node(), node(listen=False), node(listen=False)
        async with started(relay, hidden, caller):
            await reserve(hidden, relay)
            caller.gate.closed.add(f"/p2p-circuit/p2p/{peer_id(hidden.member)}")
            with pytest.raises(DeniedError):
                await caller.host.dial(hidden.member, [through(relay, hidden)])
            assert (through(relay, hidden), Direction.OUT) in caller.gate.screened
            assert relay.host.usage().relayed == 0

    run(story)


def test_who_has_not_reserved_is_not_reached() -> None:
    """Nor is the relay itself, nor one that has gone; each is refused by the relay, in words."""

    async def story() -> None:
        relay, hidden, caller = relay_node(), node(listen=False), node(listen=False)
        async with started(relay, hidden, caller):
            await hidden.host.dial(relay.member, relay.host.addresses)
            with pytest.raises(LinkError, match="NO_RESERVATION"):
                await caller.host.dial(hidden.member, [through(relay, hidden)])
            await hidden.host.reserve(relay.member)
            await hidden.host.close_peer(relay.member)
            await relay.ear.wait(ConnectionClosed)
            assert hidden.host.addresses == ()
            with pytest.raises(LinkError, match="NO_RESERVATION"):
                await caller.host.dial(hidden.member, [through(relay, hidden)])

    run(story)


def test_nobody_reserves_for_another() -> None:
    """Whatever name is in the question, the one who asks is meant. The library's relay believed it."""

    async def story() -> None:
        relay, hidden, caller = relay_node(), node(listen=False), node(listen=False)
        async with started(relay, hidden, caller):
            await hidden.host.dial(relay.member, relay.host.addresses)
            await caller.host.dial(relay.member, relay.host.addresses)
            lie = pb.HopMessage(type=pb.HopMessage.RESERVE, peer=pb.PeerId(id=peer_id_bytes(hidden.member)))
            assert (await say(caller, relay, lie)).status == pb.OK
            with pytest.raises(LinkError, match="NO_RESERVATION"):
                await caller.host.dial(hidden.member, [through(relay, hidden)])

    run(story)


def test_a_relay_brings_nobody_to_whom_has_not_asked_for_it() -> None:
    """A member that is no relay of ours opens the stream by which relays bring somebody: refused."""

    async def story() -> None:
        hidden, other = node(), node(listen=False)
        async with started(hidden, other):
            await other.host.dial(hidden.member, hidden.host.addresses)
            stream = await other.host.open_stream(hidden.member, STOP)
            raw = pb.StopMessage(
                type=pb.StopMessage.CONNECT, peer=pb.PeerId(id=peer_id_bytes(PrivateKey.generate().public))
            ).SerializeToString()
            await stream.write(bytes([len(raw)]) + raw)
            size = (await stream.read(1))[0]
            assert pb.StopMessage.FromString(await stream.read(size)).status == pb.PERMISSION_DENIED

    run(story)


@pytest.mark.parametrize("who", ["hidden", "caller"])
def test_the_relay_judges_both_ends_each_time(who: str) -> None:
    """Whom its gate would not let in any more is not carried, though the connection is there yet: its time is over."""

    async def story() -> None:
        relay, hidden, caller = relay_node(), node(listen=False), node(listen=False)
        async with started(relay, hidden, caller):
            await reserve(hidden, relay)
            await caller.host.dial(relay.member, relay.host.addresses)
            relay.gate.denied.add({"hidden": hidden, "caller": caller}[who].member)
            with pytest.raises(LinkError, match="PERMISSION_DENIED"):
                await caller.host.dial(hidden.member, [through(relay, hidden)])

    run(story)


def test_there_is_no_relay_behind_a_relay() -> None:
    """Neither reserving nor connecting is done over a relayed connection."""

    async def story() -> None:
        first, second, caller = relay_node(), relay_node(listen=False), node(listen=False)
        async with started(first, second, caller):
            await reserve(second, first)
            await caller.host.dial(second.member, [through(first, second)])
            with pytest.raises(LinkError, match="only through another relay"):
                await caller.host.reserve(second.member)
            answer = await say(caller, second, pb.HopMessage(type=pb.HopMessage.RESERVE))
            assert answer.status == pb.PERMISSION_DENIED

    run(story)


def test_limits_of_circuits_and_reservations_hold() -> None:
    """At each one more is refused by name; what ends makes room."""

    async def story() -> None:
        few = limits(max_relayed=2, max_relayed_each=1, max_reservations=2)
        relay = relay_node(limits=few)
        hidden = [node(listen=False) for _ in range(3)]
        callers = [node(listen=False) for _ in range(3)]
        async with started(relay, *hidden, *callers):
            for one in hidden[:2]:
                await reserve(one, relay)
            with pytest.raises(LinkError, match="RESOURCE_LIMIT_EXCEEDED"):
                await reserve(hidden[2], relay)
            await callers[0].host.dial(hidden[0].member, [through(relay, hidden[0])])
            with pytest.raises(LinkError, match="RESOURCE_LIMIT_EXCEEDED"):  # one each
                await callers[0].host.dial(hidden[1].member, [through(relay, hidden[1])])
            await callers[1].host.dial(hidden[0].member, [through(relay, hidden[0])])
            with pytest.raises(LinkError, match="RESOURCE_LIMIT_EXCEEDED"):  # two in all
                await callers[2].host.dial(hidden[1].member, [through(relay, hidden[1])])
            assert relay.host.usage().relayed == 2
            await callers[0].host.close_peer(hidden[0].member)
            await until(lambda: relay.host.usage().relayed == 1)
            await callers[2].host.dial(hidden[1].member, [through(relay, hidden[1])])
            await hidden[0].host.close_peer(relay.member)
            await until(lambda: relay.host.usage().reservations == 1)
            await reserve(hidden[2], relay)

    run(story)


@pytest.mark.parametrize("over", [{"circuit_s": 1.0}, {"circuit_bytes": 200_000}])
def test_a_circuit_ends_in_time_and_is_dialled_anew(over: dict[str, Any]) -> None:
    """After its seconds, idle or not, and after its bytes. Nothing of it stays."""

    async def story() -> None:
        relay, hidden, caller = relay_node(limits=limits(**over)), node(listen=False), node(listen=False)
        hidden.host.handle(ECHO, echo)
        async with started(relay, hidden, caller):
            await reserve(hidden, relay)
            await caller.host.dial(hidden.member, [through(relay, hidden)])
            if "circuit_bytes" in over:
                with pytest.raises((LinkError, AssertionError)):  # it breaks or ends, before all is back
                    await echoed(caller, hidden, bytes(150_000))
            with anyio.fail_after(5):
                await caller.ear.wait(ConnectionClosed)
                await hidden.ear.wait(ConnectionClosed)
            await until(lambda: relay.host.usage().relayed == 0)
            await caller.host.dial(hidden.member, [through(relay, hidden)])
            assert await echoed(caller, hidden, b"again") == b"again"

    run(story)


def test_a_circuit_ends_with_either_connection() -> None:
    """The relay lets go of whoever is cut off, and the other end hears of it."""

    async def story() -> None:
        relay, hidden, caller = relay_node(), node(listen=False), node(listen=False)
        async with started(relay, hidden, caller):
            for cut, left in ((hidden, caller), (caller, hidden)):
                await reserve(hidden, relay)
                await caller.host.dial(hidden.member, [through(relay, hidden)])
                await relay.host.close_peer(cut.member)
                await until(lambda left=left, cut=cut: all(c.member != cut.member for c in left.host.connections))  # type: ignore[misc]
                await until(lambda: relay.host.usage().relayed == 0)

    run(story)


def test_a_direct_connection_takes_the_place_of_a_relayed_one() -> None:
    """One connection per member: whoever dials directly afterwards has that one."""

    async def story() -> None:
        relay, hidden, caller = relay_node(), node(), node(listen=False)
        async with started(relay, hidden, caller):
            await reserve(hidden, relay)
            await caller.host.dial(hidden.member, [through(relay, hidden)])
            direct = next(one for one in hidden.host.addresses if "/p2p-circuit" not in one)
            await caller.host.close_peer(hidden.member)
            await caller.host.dial(hidden.member, [direct])
            assert [one.address for one in caller.host.connections if one.member == hidden.member] == [direct]

    run(story)


@pytest.mark.parametrize(
    "junk", [b"\x05hello", b"\xff\xff\xff\xff\x0f", b"\x02\x08\x02", b"\x00", b"\x81\x40" + bytes(9000)]
)
def test_junk_to_a_relay_costs_its_stream_only(junk: bytes) -> None:
    """Nonsense, endless lengths, messages that are not asked: the relay goes on for others."""

    async def story() -> None:
        relay, hidden, caller = relay_node(), node(listen=False), node(listen=False)
        async with started(relay, hidden, caller):
            await reserve(hidden, relay)
            await caller.host.dial(relay.member, relay.host.addresses)
            stream = await caller.host.open_stream(relay.member, HOP)
            await stream.write(junk)
            await caller.host.dial(hidden.member, [through(relay, hidden)])
            assert await caller.host.ping(hidden.member) > 0

    run(story)


def test_who_may_not_be_reached_gets_no_reservation() -> None:
    """The key of an invite connects through a relay, and nobody connects to it."""

    async def story() -> None:
        guest = node(listen=False)
        relay, hidden = node(may_reserve=lambda member: member != guest.member), node(listen=False)
        async with started(relay, hidden, guest):
            await reserve(hidden, relay)
            with pytest.raises(LinkError, match="PERMISSION_DENIED"):
                await reserve(guest, relay)
            await guest.host.dial(hidden.member, [through(relay, hidden)])
            assert await guest.host.ping(hidden.member) > 0

    run(story)


def test_a_node_that_is_no_relay_carries_nothing() -> None:
    """It does not speak the protocol."""

    async def story() -> None:
        plain, hidden = node(), node(listen=False)
        async with started(plain, hidden):
            with pytest.raises(LinkError):
                await reserve(hidden, plain)

    run(story)
