"""Requests and answers between two nodes on loopback: what works, what is refused, and what a hostile peer sends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress

import anyio
import pytest

from peerwatch.errors import DecodeError, LinkError, QuotaError
from peerwatch.node import carrier as carrier_module
from peerwatch.node.carrier import Carrier
from peerwatch.node.config import NodeLimits, RateConfig
from peerwatch.node.connection import Stream, StreamClosed, StreamOpened
from peerwatch.node.frames import pack_frame
from peerwatch.node.messages import Delivered, Done, encode_message
from peerwatch.node.metrics import NodeMetrics
from peerwatch.node.reputation import Deed
from peerwatch.telemetry import CollectorRegistry
from peerwatch.wire.protocols import MEMBERSHIP, PARTNERS, PUSH
from tests.node.host.kit import Node, conduct, node, run, until

Serve = Callable[[bytes, str, bytes], Awaitable[bytes]]


async def _echo(member: bytes, protocol: str, body: bytes) -> bytes:
    return protocol.encode() + b" " + body


async def _nobody(member: bytes, protocol: str, body: bytes) -> bytes:
    raise AssertionError("the side that asks is not asked")


def _metrics() -> NodeMetrics:
    return NodeMetrics(CollectorRegistry(), NodeLimits(), 10)


async def _pair(
    stack: AsyncExitStack, serve: Serve | None, deeds: list[Deed] | None = None, **more: int
) -> tuple[Node, Node, Carrier]:
    """A node that asks, one that answers with `serve` (None: says nothing) and notes `deeds`, connected."""
    asks, answers = node(listen=False), node()
    await stack.enter_async_context(answers.host)
    await stack.enter_async_context(asks.host)
    if serve is not None:
        Carrier(answers.host, serve, _metrics(), conduct(answers.ear, deeds), **more)
    carrier = Carrier(asks.host, _nobody, _metrics(), conduct(asks.ear))
    await asks.host.dial(answers.member, answers.host.addresses)
    return asks, answers, carrier


def test_many_requests_share_one_stream_one_after_the_other() -> None:
    """Each answer is that of its request; a megabyte passes; two at once take two streams."""

    async def story() -> None:
        async with AsyncExitStack() as stack:
            _, answers, carrier = await _pair(stack, _echo)
            for number in range(20):
                body = b"%d" % number
                assert await carrier.ask(answers.member, PUSH, body, 5) == PUSH.encode() + b" " + body
            large = bytes(range(256)) * 4096
            assert (await carrier.ask(answers.member, PUSH, large, 10)).endswith(large)
            assert len(_opened(answers)) == 1
            async with anyio.create_task_group() as tasks:
                for _ in range(2):
                    tasks.start_soon(carrier.ask, answers.member, PUSH, b"x", 5)
            assert len(_opened(answers)) == 2
            assert await carrier.ask(answers.member, MEMBERSHIP, b"", 5) == MEMBERSHIP.encode() + b" \0"

    run(story)


def test_only_what_is_asked_often_keeps_its_stream() -> None:
    """A stream that is used once a minute would count towards a hub's limit all the time."""

    async def story() -> None:
        async with AsyncExitStack() as stack:
            _, answers, carrier = await _pair(stack, _echo)
            for protocol in (MEMBERSHIP, PARTNERS, PUSH):
                assert await carrier.ask(answers.member, protocol, b"x", 5) == protocol.encode() + b" x"
            closed = await answers.ear.wait(StreamClosed, 2)
            assert {one.protocol for one in closed} == {MEMBERSHIP, PARTNERS}
            assert [one.streams_in for one in answers.host.connections] == [1]

    run(story)


def _opened(of: Node) -> list[StreamOpened]:
    return [one for one in of.ear.of(StreamOpened) if one.protocol == PUSH]


@pytest.mark.parametrize(
    ("raised", "expected", "wait_s"),
    [
        (QuotaError("full", 2.5), LinkError, 2.5),
        (QuotaError("not you"), QuotaError, None),
        (DecodeError("no batch"), DecodeError, None),
        (LinkError("nobody there"), LinkError, None),
    ],
)
def test_errors_of_the_other_side_come_out_as_what_they_are(
    raised: Exception, expected: type[Exception], wait_s: float | None
) -> None:
    """With the wait that it asked for; the stream goes on, and a busy one is asked once, not twice."""
    asked = []

    async def serve(member: bytes, protocol: str, body: bytes) -> bytes:
        asked.append(body)
        raise raised

    async def story() -> None:
        async with AsyncExitStack() as stack:
            _, answers, carrier = await _pair(stack, serve)
            for _ in range(3):
                with pytest.raises(expected) as caught:
                    await carrier.ask(answers.member, PUSH, b"x", 5)
                assert getattr(caught.value, "wait_s", None) == wait_s
            assert len(asked) == 3 and len(_opened(answers)) == 1

    run(story)


def test_a_kept_stream_that_broke_is_replaced() -> None:
    """The other side's node was replaced: the request goes on a new stream, once it is connected again."""

    async def story() -> None:
        async with AsyncExitStack() as stack:
            _, answers, carrier = await _pair(stack, None)
            served: list[Stream] = []

            async def once(stream: Stream) -> None:
                served.append(stream)
                await stream.read(100)
                await stream.write(pack_frame(encode_message(Delivered(body=b"yes")), 1 << 20))
                await stream.reset()

            answers.host.handle(PUSH, once)
            for _ in range(3):
                assert await carrier.ask(answers.member, PUSH, b"x", 5) == b"yes"
                await anyio.sleep(0.05)
            assert len(served) == 3

    run(story)


def test_a_request_past_the_limit_is_not_sent_and_an_unknown_protocol_not_asked() -> None:
    """The error names the size and the limit."""

    async def story() -> None:
        async with AsyncExitStack() as stack:
            _, answers, carrier = await _pair(stack, _echo)
            with pytest.raises(DecodeError, match="limit 1 to 9437184"):
                await carrier.ask(answers.member, PUSH, b"x" * (9 << 20 | 1), 5)
            with pytest.raises(LinkError, match="is none of"):
                await carrier.ask(answers.member, "/other/1", b"x", 5)
            assert not _opened(answers)

    run(story)


def test_no_answer_ends_at_the_deadline() -> None:
    """And the stream is not kept: the answer may still come."""

    async def never(member: bytes, protocol: str, body: bytes) -> bytes:
        await anyio.sleep_forever()
        raise AssertionError

    async def story() -> None:
        async with AsyncExitStack() as stack:
            asks, answers, carrier = await _pair(stack, never)
            for _ in range(2):
                with pytest.raises(LinkError, match=r"no answer within 0\.3 s"):
                    await carrier.ask(answers.member, PUSH, b"x", 0.3)
            assert len(_opened(answers)) == 2
            assert asks.host.connections

    run(story)


HOSTILE_ANSWERS = {
    "nothing, then the end": b"",
    "a length of 4 GB": b"\xff\xff\xff\xff",
    "a length of 0": b"\0\0\0\0",
    "half a frame, then the end": b"\0\0\1\0abc",
    "not MessagePack": pack_frame(b"\xc1\xc1\xc1", 100),
    "a map nested too deep": pack_frame(b"\x81\xa1a" * 30_000 + b"\xc0", 1 << 20),
    "another kind of message": pack_frame(encode_message(Done()), 1000),
    "two answers": pack_frame(encode_message(Delivered(body=b"1")), 1000) * 2,
}


@pytest.mark.parametrize("answer", HOSTILE_ANSWERS.values(), ids=HOSTILE_ANSWERS)
def test_an_answer_that_is_none_is_an_error_of_the_link(answer: bytes) -> None:
    """Nothing of it is believed; the connection stays, the stream goes."""

    async def story() -> None:
        async with AsyncExitStack() as stack:
            asks, answers, carrier = await _pair(stack, None)

            async def lie(stream: Stream) -> None:
                await stream.read(100)
                if answer:
                    await stream.write(answer)

            answers.host.handle(PUSH, lie)
            with pytest.raises(LinkError):
                await carrier.ask(answers.member, PUSH, b"x", 5)
            assert asks.host.connections

    run(story)


HOSTILE_REQUESTS: dict[str, tuple[bytes, list[Deed]]] = {
    "a length past the limit": ((9 << 20 | 1).to_bytes(4, "big"), [Deed.OVERSIZE]),
    "a length of 0": (b"\0\0\0\0", [Deed.MALFORMED]),
    "two at once": (pack_frame(b"one", 100) + pack_frame(b"two", 100), [Deed.MALFORMED]),
    "one and the beginning of another": (pack_frame(b"one", 100) + b"\0", [Deed.MALFORMED]),
    "half a frame, then the end": (b"\0\0\1\0abc", []),
}


@pytest.mark.parametrize(("request_bytes", "held_against"), HOSTILE_REQUESTS.values(), ids=HOSTILE_REQUESTS)
def test_a_request_that_is_none_ends_its_stream_and_is_not_served(
    request_bytes: bytes, held_against: list[Deed]
) -> None:
    """It is held against the peer where it proves something; the peer's next request, on a stream of its own, is
    served."""
    asked, deeds = [], list[Deed]()

    async def serve(member: bytes, protocol: str, body: bytes) -> bytes:
        asked.append(body)
        return b"yes"

    async def story() -> None:
        async with AsyncExitStack() as stack:
            asks, answers, carrier = await _pair(stack, serve, deeds)
            stream = await asks.host.open_stream(answers.member, PUSH)
            await stream.write(request_bytes)
            await stream.close()
            with suppress(LinkError):  # it was reset, or ended
                assert await stream.read(100) == b""
            assert asked == []
            assert await carrier.ask(answers.member, PUSH, b"x", 5) == b"yes"
            assert deeds == held_against

    run(story)


async def _trickle(stream: Stream) -> None:
    for _ in range(100):
        await stream.write(b"x")
        await anyio.sleep(0.05)


def test_a_request_that_trickles_in_ends_at_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """However regularly its bytes come: they would hold memory for ever."""
    monkeypatch.setattr(carrier_module, "_REQUEST_S", 0.5)
    deeds: list[Deed] = []

    async def story() -> None:
        async with AsyncExitStack() as stack:
            asks, answers, _ = await _pair(stack, _echo, deeds)
            stream = await asks.host.open_stream(answers.member, PUSH)
            await stream.write(b"\0\0\1\0")
            with pytest.raises(LinkError):
                await _trickle(stream)
            assert asks.host.connections
            assert deeds == [Deed.TIMEOUT]

    run(story)


def test_one_member_is_served_on_four_streams_of_a_protocol_at_most() -> None:
    """The fifth is reset; once one of the four has ended there is room again."""
    release = anyio.Event()

    async def slow(member: bytes, protocol: str, body: bytes) -> bytes:
        await release.wait()
        return b"yes"

    async def story() -> None:
        async with AsyncExitStack() as stack:
            _, answers, carrier = await _pair(stack, slow)
            got: list[bytes] = []

            async def ask() -> None:
                got.append(await carrier.ask(answers.member, PUSH, b"x", 20))

            async with anyio.create_task_group() as tasks:
                for _ in range(4):
                    tasks.start_soon(ask)
                await answers.ear.wait(StreamOpened, 4)
                await anyio.sleep(0.2)  # the four are being served
                with pytest.raises(LinkError):
                    await carrier.ask(answers.member, PUSH, b"x", 5)
                release.set()
            assert got == [b"yes"] * 4
            assert await carrier.ask(answers.member, PUSH, b"x", 5) == b"yes"

    run(story)


def test_requests_of_one_member_hold_bounded_memory() -> None:
    """One past its share is reset, the next that fits is served: what was held is given back."""

    async def story() -> None:
        async with AsyncExitStack() as stack:
            _, answers, carrier = await _pair(stack, _echo, held_bytes=300_000)
            for _ in range(3):
                with pytest.raises(LinkError):
                    await carrier.ask(answers.member, PUSH, b"x" * 150_000, 5)
                assert await carrier.ask(answers.member, PUSH, b"x" * 60_000, 5)

    run(story)


def test_slow_senders_give_way_to_a_member_with_a_small_request() -> None:
    """Three of them fill what all may hold, and wait; who comes then is served, and one of them has lost its place."""
    deeds: list[Deed] = []

    async def story() -> None:
        async with AsyncExitStack() as stack:
            _, answers, carrier = await _pair(stack, _echo, deeds, held_bytes=300_000)
            streams = []
            for _ in range(3):
                slow = node(listen=False)
                await stack.enter_async_context(slow.host)
                await slow.host.dial(answers.member, answers.host.addresses)
                streams.append(await slow.host.open_stream(answers.member, PUSH))
                await streams[-1].write((1 << 20).to_bytes(4, "big") + b"x" * 99_000)
            await anyio.sleep(0.3)
            assert await carrier.ask(answers.member, PUSH, b"x" * 50_000, 5)
            assert deeds.count(Deed.TIMEOUT) == 1
            assert len(answers.host.connections) == 4

    run(story)


def test_a_member_that_sends_too_much_is_slowed_down_and_then_sent_away() -> None:
    """Its requests wait until its bucket has filled again; where that takes too long it is told for how long to stay
    away. Others are served meanwhile."""

    async def story() -> None:
        async with AsyncExitStack() as stack:
            _, answers, carrier = await _pair(stack, None)
            rates = RateConfig(messages_per_s=10.0, burst_messages=5.0, bytes_per_s=1000.0, burst_bytes=20_000.0)
            Carrier(answers.host, _echo, _metrics(), conduct(answers.ear, rates=rates))
            began_s = anyio.current_time()
            for _ in range(10):
                assert await carrier.ask(answers.member, PUSH, b"x", 5)
            assert 0.4 < anyio.current_time() - began_s < 3.0
            assert await carrier.ask(answers.member, PUSH, b"x" * 19_000, 5)
            with pytest.raises(LinkError, match="more than its rate allows") as told:
                await carrier.ask(answers.member, PUSH, b"x" * 19_000, 5)
            assert told.value.wait_s is not None and 10.0 < told.value.wait_s < 20.0
            other = node(listen=False)
            await stack.enter_async_context(other.host)
            await other.host.dial(answers.member, answers.host.addresses)
            with anyio.fail_after(2):
                assert await Carrier(other.host, _nobody, _metrics(), conduct(other.ear)).ask(
                    answers.member, PUSH, b"x" * 19_000, 5
                )

    run(story)


def test_who_does_not_read_its_answers_keeps_no_room_of_others() -> None:
    """Two members with large requests leave theirs unread: once served these hold nothing, and a third is served."""
    served = []

    async def serve(member: bytes, protocol: str, body: bytes) -> bytes:
        served.append(member)
        return b"x" * (2 << 20)  # past the window, so that writing it waits for the reader

    async def story() -> None:
        async with AsyncExitStack() as stack:
            asks, answers, _ = await _pair(stack, None)
            answering = Carrier(answers.host, serve, _metrics(), conduct(answers.ear), held_bytes=300_000)
            slow = node(listen=False)
            await stack.enter_async_context(slow.host)
            await slow.host.dial(answers.member, answers.host.addresses)
            for one in (asks, slow):
                stream = await one.host.open_stream(answers.member, PUSH)
                await stream.write(pack_frame(b"x" * 90_000, 1 << 20))
            await until(lambda: len(served) == 2)
            await until(lambda: not answering.held.bytes)
            assert answers.host.usage().streams == 2, "their answers are still being written"
            asker = Carrier(asks.host, _nobody, _metrics(), conduct(asks.ear))
            assert len(await asker.ask(answers.member, PUSH, b"x" * 90_000, 10)) == 2 << 20

    run(story, 15)
