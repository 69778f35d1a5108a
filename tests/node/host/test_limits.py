"""Every limit holds at exactly its number, and gives back what was used."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import anyio
import pytest

from peerwatch.errors import LinkError, QuotaError
from peerwatch.node.connection import ConnectionOpened, ConnectionRefused, Stream, StreamRefused
from peerwatch.node.gater import Direction
from tests.node.host.kit import MULTISTREAM, SYN, WINDOW, Attacker, Node, limits, node, run, until

pytestmark = pytest.mark.p2p

HOLD = "/hold/1"


async def _hold(stream: Stream) -> None:
    while await stream.read(1024):
        pass


@asynccontextmanager
async def _clients(count: int) -> AsyncIterator[list[Node]]:
    async with AsyncExitStack() as stack:
        clients = [node(listen=False) for _ in range(count)]
        for one in clients:
            await stack.enter_async_context(one.host)
        yield clients


def test_one_more_inbound_connection_than_the_limit_is_refused() -> None:
    """The dial fails; when one leaves, the next gets its place."""

    async def story() -> None:
        hub = node(limits(max_inbound=2))
        async with hub.host, _clients(3) as (a, b, c):
            await a.host.dial(hub.member, hub.host.addresses)
            await b.host.dial(hub.member, hub.host.addresses)
            with pytest.raises(LinkError):
                await c.host.dial(hub.member, hub.host.addresses)
            assert hub.host.usage().inbound == 2
            (refused,) = await hub.ear.wait(ConnectionRefused)
            assert (refused.reason, refused.words) == ("limit", "2 inbound connections, limit 2; 2 in all, limit 400")
            await a.host.close_peer(hub.member)
            await until(lambda: hub.host.usage().inbound < 2)
            await c.host.dial(hub.member, hub.host.addresses)
            assert hub.host.usage().inbound == 2

    run(story)


def test_a_member_that_comes_again_finds_its_place_at_the_limit() -> None:
    """It takes its own, not another's."""

    async def story() -> None:
        hub = node(limits(max_inbound=2))
        async with hub.host, _clients(2) as (a, b):
            again = node(listen=False, key=a.key)
            async with again.host:
                for one in (a, b, again):
                    await one.host.dial(hub.member, hub.host.addresses)
                assert await again.host.ping(hub.member) > 0
                assert await b.host.ping(hub.member) > 0
                assert (hub.host.usage().inbound, len(hub.host.connections)) == (2, 2)

    run(story)


def test_many_at_once_do_not_get_past_the_limit() -> None:
    """Handshakes count from the moment the peer is known."""

    async def story() -> None:
        hub = node(limits(max_inbound=3))
        done: list[str] = []

        async def dial(one: Node) -> None:
            try:
                await one.host.dial(hub.member, hub.host.addresses)
                done.append("in")
            except LinkError:
                done.append("out")

        async with hub.host, _clients(8) as clients:
            async with anyio.create_task_group() as tasks:
                for one in clients:
                    tasks.start_soon(dial, one)
            assert sorted(done) == ["in"] * 3 + ["out"] * 5
            assert hub.host.usage().inbound == 3

    run(story)


def test_one_more_outbound_connection_than_the_limit_is_refused() -> None:
    """Before a packet is sent."""

    async def story() -> None:
        one = node(limits(max_outbound=1))
        a, b = node(), node()
        async with one.host, a.host, b.host:
            await one.host.dial(a.member, a.host.addresses)
            with pytest.raises(QuotaError, match="outbound"):
                await one.host.dial(b.member, b.host.addresses)
            assert b.ear.events == []
            assert one.host.usage().outbound == 1

    run(story)


def test_both_directions_together_have_a_limit() -> None:
    """Whichever fills it."""

    async def story() -> None:
        one = node(limits(max_connections=2))
        async with one.host, _clients(2) as (a, b):
            other = node()
            async with other.host:
                await one.host.dial(other.member, other.host.addresses)
                await a.host.dial(one.member, one.host.addresses)
                with pytest.raises(LinkError):
                    await b.host.dial(one.member, one.host.addresses)
                assert (one.host.usage().inbound, one.host.usage().outbound) == (1, 1)

    run(story)


def test_handshakes_have_a_limit_a_queue_and_a_deadline() -> None:
    """Two work, eight wait, the eleventh is sent away; when the silent ones time out the rest has its turn."""

    async def story() -> None:
        one = node(limits(max_pending=2, handshake_timeout_s=1.0))
        async with one.host, AsyncExitStack() as stack:
            silent = [await stack.enter_async_context(await Attacker.connect(one)) for _ in range(10)]
            await until(lambda: one.host.usage().waiting == 8)
            assert one.host.usage().pending == 2
            async with await Attacker.connect(one) as eleventh:
                assert await eleventh.socket.read() == b""
            (refused,) = await one.ear.wait(ConnectionRefused)
            assert (refused.reason, refused.words) == ("queue", "8 handshakes wait, limit 8")
            for stranger in silent:
                await stranger.closed()
            await one.settled()
            async with _clients(1) as (client,):
                await client.host.dial(one.member, one.host.addresses)

    run(story)


def test_a_slow_handshake_is_cut_off() -> None:
    """A byte now and then does not prolong it."""

    async def story() -> None:
        one = node(limits(handshake_timeout_s=0.5))
        async with one.host, await Attacker.connect(one) as slow:
            began_s = anyio.current_time()
            async with anyio.create_task_group() as tasks:

                async def trickle() -> None:
                    for byte in MULTISTREAM:
                        await slow.socket.write(bytes([byte]))
                        await anyio.sleep(0.1)

                tasks.start_soon(trickle)
                await slow.closed()
                tasks.cancel_scope.cancel()
            assert 0.4 < anyio.current_time() - began_s < 1.5
            (refused,) = await one.ear.wait(ConnectionRefused)
            assert refused.reason == "timeout"

    run(story)


def test_a_dial_to_who_does_not_answer_is_cut_off() -> None:
    """A listener that takes the connection and says nothing."""

    async def story() -> None:
        one = node(limits(dial_timeout_s=0.5), listen=False)
        async with one.host, await anyio.create_tcp_listener(local_host="127.0.0.1") as listener:
            port = listener.extra(anyio.abc.SocketAttribute.local_port)
            with pytest.raises(LinkError, match=r"0\.5 s"):
                await one.host.dial(node().member, [f"/ip4/127.0.0.1/tcp/{port}"])
            await one.settled()

    run(story)


def test_one_more_stream_than_a_connection_may_open_is_reset() -> None:
    """The others go on; when one ends, the next is served."""

    async def story() -> None:
        hub = node(limits(max_streams_in=2))
        hub.host.handle(HOLD, _hold)
        async with hub.host, _clients(1) as (client,):
            await client.host.dial(hub.member, hub.host.addresses)
            first, _ = [await client.host.open_stream(hub.member, HOLD) for _ in range(2)]
            with pytest.raises(LinkError):
                await client.host.open_stream(hub.member, HOLD)
            (refused,) = await hub.ear.wait(StreamRefused)
            assert (refused.reason, refused.words) == ("limit", "2 inbound streams of one connection, limit 2")
            assert hub.host.connections[0].streams_in == 2
            await first.close()
            await until(lambda: hub.host.connections[0].streams_in < 2)
            await client.host.open_stream(hub.member, HOLD)

    run(story)


def test_one_more_stream_than_we_may_open_is_not_opened() -> None:
    """QuotaError, at once. (libp2p: waits for ever.)"""

    async def story() -> None:
        hub, client = node(), node(limits(max_streams_out=2), listen=False)
        hub.host.handle(HOLD, _hold)
        async with hub.host, client.host:
            await client.host.dial(hub.member, hub.host.addresses)
            first, _ = [await client.host.open_stream(hub.member, HOLD) for _ in range(2)]
            with pytest.raises(QuotaError, match="limit 2"):
                await client.host.open_stream(hub.member, HOLD)
            await first.reset()
            await client.host.open_stream(hub.member, HOLD)

    run(story)


def test_all_streams_of_the_process_have_a_limit() -> None:
    """Over all connections and both directions."""

    async def story() -> None:
        hub = node(limits(max_streams=3))
        hub.host.handle(HOLD, _hold)
        async with hub.host, _clients(2) as (a, b):
            for one in (a, b):
                await one.host.dial(hub.member, hub.host.addresses)
                await one.host.open_stream(hub.member, HOLD)
            a.host.handle(HOLD, _hold)
            await hub.host.open_stream(a.member, HOLD)
            with pytest.raises(LinkError):
                await b.host.open_stream(hub.member, HOLD)
            with pytest.raises(QuotaError, match="3 streams in all, limit 3"):
                await hub.host.open_stream(a.member, HOLD)
            assert hub.host.usage().streams == 3

    run(story)


def test_streams_of_the_process_have_a_limit_in_each_direction() -> None:
    """What others open leaves room for what we open."""

    async def story() -> None:
        hub = node(limits(process_streams_in=2))
        hub.host.handle(HOLD, _hold)
        async with hub.host, _clients(2) as (a, b):
            for one in (a, b):
                await one.host.dial(hub.member, hub.host.addresses)
                await one.host.open_stream(hub.member, HOLD)
            with pytest.raises(LinkError):
                await b.host.open_stream(hub.member, HOLD)
            (refused,) = await hub.ear.wait(StreamRefused)
            assert refused.words == "2 inbound streams in all, limit 2"
            assert await hub.host.ping(a.member) > 0

    run(story)


def test_one_member_with_many_streams_does_not_keep_others_out() -> None:
    """Where all of the process are taken, it gives up its newest for one of theirs, down to as many as they have."""

    async def story() -> None:
        hub = node(limits(process_streams_in=6))
        hub.host.handle(HOLD, _hold)
        async with hub.host, _clients(2) as (greedy, quiet):
            for one in (greedy, quiet):
                await one.host.dial(hub.member, hub.host.addresses)
            held = [await greedy.host.open_stream(hub.member, HOLD) for _ in range(6)]
            for _ in range(3):
                await quiet.host.open_stream(hub.member, HOLD)
            with pytest.raises(LinkError):
                await quiet.host.open_stream(hub.member, HOLD)
            assert hub.host.usage().streams == 6
            for given_up in held[3:]:
                with suppress(LinkError):  # it was reset, or ended
                    assert await given_up.read(1) == b""
            gave = [one for one in hub.ear.of(StreamRefused) if one.words.startswith("gave up")]
            assert [one.member for one in gave] == [greedy.member] * 3
            assert {one.member: one.streams_in for one in hub.host.connections} == {greedy.member: 3, quiet.member: 3}

    run(story)


def test_the_gate_is_told_how_many_handshakes_run_from_a_neighbourhood() -> None:
    """Those that wait included, and none once they are over."""

    async def story() -> None:
        one = node(limits(max_pending=1, handshake_timeout_s=1.0))
        async with one.host, AsyncExitStack() as stack:
            for number in range(3):
                await stack.enter_async_context(await Attacker.connect(one))
                await until(lambda wanted=number: one.host.usage().pending + one.host.usage().waiting > wanted)
            assert one.gate.crowds == [0, 1, 2]
            await one.settled()
            async with await Attacker.connect(one):
                await until(lambda: len(one.gate.crowds) == 4)
            assert one.gate.crowds[3] == 0

    run(story)


def test_streams_that_agree_on_nothing_have_a_limit_and_a_deadline() -> None:
    """One more than may negotiate is reset; those that stay silent are, when their time is over."""

    async def story() -> None:
        hub = node(limits(max_negotiating=2, handshake_timeout_s=1.0))
        async with hub.host, await Attacker.muxed(hub) as silent:
            await hub.ear.wait(ConnectionOpened)
            for stream_id in (1, 3, 5):
                await silent.frame(WINDOW, SYN, stream_id)
            (refused,) = await hub.ear.wait(StreamRefused)
            assert (refused.reason, refused.words) == ("limit", "2 streams negotiate, limit 2")
            assert hub.host.usage().negotiating == 2
            refusals = await hub.ear.wait(StreamRefused, 3)
            assert [one.reason for one in refusals[1:]] == ["timeout", "timeout"]
            assert hub.host.usage().negotiating == hub.host.usage().streams == 0
            assert [one.direction for one in hub.host.connections] == [Direction.IN]

    run(story)


def test_whoever_reads_a_stream_that_is_given_up_is_told() -> None:
    """Else its handler would wait until the connection ends, and count as one that is served."""
    running = 0

    async def hold(stream: Stream) -> None:
        nonlocal running
        running += 1
        try:
            await _hold(stream)
        finally:
            running -= 1

    async def story() -> None:
        hub = node(limits(process_streams_in=3, max_streams_in=3))
        hub.host.handle(HOLD, hold)
        async with hub.host, _clients(2) as (greedy, other):
            for one in (greedy, other):
                await one.host.dial(hub.member, hub.host.addresses)
            for _ in range(3):
                await greedy.host.open_stream(hub.member, HOLD)
            await until(lambda: running == 3)
            await other.host.open_stream(hub.member, HOLD)
            await until(lambda: hub.host.usage().streams == 3 and running == 3)

    run(story)


def test_a_stream_whose_opener_gives_up_just_then_is_not_counted_for_ever() -> None:
    """The deadline comes while its first frame waits for a slow uplink."""

    async def story() -> None:
        hub, one = node(), node(listen=False)
        async with hub.host, one.host:
            await one.host.dial(hub.member, hub.host.addresses)
            (conn,) = one.host._swarm.open_connections()
            mux = conn.muxed_conn
            write = mux._write_frame

            async def slowly(frame: bytes) -> None:
                with anyio.CancelScope(shield=True):
                    await anyio.sleep(0.05)
                await write(frame)

            mux._write_frame = slowly
            for _ in range(5):
                with anyio.move_on_after(0.01) as scope:
                    await one.host.open_stream(hub.member, HOLD)
                assert scope.cancelled_caught
            mux._write_frame = write
            await until(lambda: one.host.usage().streams == 0 and not conn.streams)

    run(story)
