"""Requests and answers between two nodes on loopback: what works, what is refused, and what a hostile peer sends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress

import anyio
import pytest

from peerwatch.errors import DecodeError, LinkError, QuotaError
from peerwatch.node import carrier as carrier_module
from peerwatch.node.carrier import Carrier
from peerwatch.node.config import NodeLimits
from peerwatch.node.connection import Stream, StreamOpened
from peerwatch.node.frames import pack_frame
from peerwatch.node.messages import Delivered, Done, encode_message
from peerwatch.node.metrics import NodeMetrics
from peerwatch.telemetry import CollectorRegistry
from peerwatch.wire.protocols import MEMBERSHIP, PUSH
from tests.node.host.kit import Node, node, run

Serve = Callable[[bytes, str, bytes], Awaitable[bytes]]


async def _echo(member: bytes, protocol: str, body: bytes) -> bytes:
    return protocol.encode() + b" " + body


async def _nobody(member: bytes, protocol: str, body: bytes) -> bytes:
    raise AssertionError("the side that asks is not asked")


def _metrics() -> NodeMetrics:
    return NodeMetrics(CollectorRegistry(), NodeLimits(), 10)


async def _pair(stack: AsyncExitStack, serve: Serve | None, **more: int) -> tuple[Node, Node, Carrier]:
    """A node that asks, one that answers with `serve` (None: says nothing), connected."""
    asks, answers = node(listen=False), node()
    await stack.enter_async_context(answers.host)
    await stack.enter_async_context(asks.host)
    if serve is not None:
        Carrier(answers.host, serve, _metrics(), **more)
    carrier = Carrier(asks.host, _nobody, _metrics())
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


HOSTILE_REQUESTS = {
    "a length past the limit": (9 << 20 | 1).to_bytes(4, "big"),
    "a length of 0": b"\0\0\0\0",
    "two at once": pack_frame(b"one", 100) + pack_frame(b"two", 100),
    "one and the beginning of another": pack_frame(b"one", 100) + b"\0",
    "half a frame, then the end": b"\0\0\1\0abc",
}


@pytest.mark.parametrize("request_bytes", HOSTILE_REQUESTS.values(), ids=HOSTILE_REQUESTS)
def test_a_request_that_is_none_ends_its_stream_and_is_not_served(request_bytes: bytes) -> None:
    """The same peer's next request, on a stream of its own, is."""
    asked = []

    async def serve(member: bytes, protocol: str, body: bytes) -> bytes:
        asked.append(body)
        return b"yes"

    async def story() -> None:
        async with AsyncExitStack() as stack:
            asks, answers, carrier = await _pair(stack, serve)
            stream = await asks.host.open_stream(answers.member, PUSH)
            await stream.write(request_bytes)
            await stream.close()
            with suppress(LinkError):  # it was reset, or ended
                assert await stream.read(100) == b""
            assert asked == []
            assert await carrier.ask(answers.member, PUSH, b"x", 5) == b"yes"

    run(story)


async def _trickle(stream: Stream) -> None:
    for _ in range(100):
        await stream.write(b"x")
        await anyio.sleep(0.05)


def test_a_request_that_trickles_in_ends_at_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """However regularly its bytes come: they would hold memory for ever."""
    monkeypatch.setattr(carrier_module, "_REQUEST_S", 0.5)

    async def story() -> None:
        async with AsyncExitStack() as stack:
            asks, answers, _ = await _pair(stack, _echo)
            stream = await asks.host.open_stream(answers.member, PUSH)
            await stream.write(b"\0\0\1\0")
            with pytest.raises(LinkError):
                await _trickle(stream)
            assert asks.host.connections

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


def test_requests_of_all_together_hold_bounded_memory() -> None:
    """One past the limit is reset, the next that fits is served: what was held is given back."""

    async def story() -> None:
        async with AsyncExitStack() as stack:
            _, answers, carrier = await _pair(stack, _echo, held_bytes=100_000)
            for _ in range(3):
                with pytest.raises(LinkError):
                    await carrier.ask(answers.member, PUSH, b"x" * 150_000, 5)
                assert await carrier.ask(answers.member, PUSH, b"x" * 60_000, 5)

    run(story)
