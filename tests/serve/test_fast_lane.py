"""The fast lane answers what it knows, in order and whole; all else goes to the application behind it."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import ByteStream

from peerwatch.serve.address import Address
from peerwatch.serve.fast_lane import CLOSING, Respond
from peerwatch.serve.listen import bind_tcp
from peerwatch.serve.server import Server
from peerwatch.serve.tls import TlsFiles
from tests.links.server import self_signed

HEAD = b"POST /echo HTTP/1.1\r\nhost: localhost\r\n"
Story = Callable[[int], Awaitable[None]]


class Echo:
    """A fast handler that gives back what it gets, at once or when told; behind it an application that says so."""

    def __init__(self) -> None:
        self.later: list[tuple[bytes, Respond]] | None = None
        self.seen: list[str] = []

    def fast(self, body: bytes, respond: Respond) -> None:
        self.seen.append("lane")
        if self.later is None:
            respond(200, b"x-lane: 1\r\n", body)
        else:
            self.later.append((body, respond))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.seen.append("app")
        while (await receive()).get("more_body", False):
            pass
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"6")]})
        await send({"type": "http.response.body", "body": b"behind"})


def tell(echo: Echo, story: Story, *, uvloop: bool = True, tls: TlsFiles | None = None, loopback: bool = True) -> None:
    """Serve the echo on a free port while the story runs."""

    async def main() -> None:
        listener = bind_tcp(Address("127.0.0.1", 0), "x", configured=True)
        port: int = listener.getsockname()[1]
        fast = {b"POST /echo HTTP/1.1": echo.fast, b"GET /echo HTTP/1.1": echo.fast}
        server = Server(echo, listener, tls, drain_s=1.0, fast=fast, loopback=loopback)
        with anyio.fail_after(20):
            async with anyio.create_task_group() as tasks:
                await tasks.start(server.run)
                await story(port)
                server.stop()

    anyio.run(main, backend_options={"use_uvloop": uvloop})


def post(body: bytes, *fields: bytes) -> bytes:
    return HEAD + b"".join(one + b"\r\n" for one in fields) + b"content-length: %d\r\n\r\n" % len(body) + body


async def answer(stream: ByteStream, held: bytearray) -> tuple[bytes, bytes]:
    """(head, body) of the next answer; what comes after it stays in `held`."""
    while b"\r\n\r\n" not in held:
        held += await stream.receive()
    head, _, rest = bytes(held).partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    assert length is not None
    size = int(length[1])
    while len(rest) < size:
        rest += await stream.receive()
    held[:] = rest[size:]
    return head, rest[:size]


async def ask(port: int, *pieces: bytes) -> tuple[bytes, bytes]:
    """One request in pieces, on a connection of its own."""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        for piece in pieces:
            await stream.send(piece)
            await anyio.sleep(0.002)
        return await answer(stream, bytearray())


async def arrived(echo: Echo) -> None:
    """Return once a request waits for its answer."""
    while not echo.later:  # noqa: ASYNC110 - the handler is no coroutine
        await anyio.sleep(0.01)


@pytest.mark.parametrize("uvloop", [True, False])
def test_requests_on_one_connection_are_answered_in_order(uvloop: bool) -> None:
    """One by one, several in one segment, and one that arrives in parts."""
    echo, told = Echo(), []

    async def story(port: int) -> None:
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            held = bytearray()
            await stream.send(post(b"one"))
            told.append(await answer(stream, held))
            await stream.send(post(b"two") + post(b"") + post(b"four")[:-2])
            await anyio.sleep(0.01)
            await stream.send(b"ur" + b"GET /echo HTTP/1.1\r\nhost: localhost\r\n\r\n")
            told.extend([await answer(stream, held) for _ in range(4)])

    tell(echo, story, uvloop=uvloop)
    assert [body for _, body in told] == [b"one", b"two", b"", b"four", b""]
    assert all(head.startswith(b"HTTP/1.1 200 OK\r\nx-lane: 1\r\n") for head, _ in told)


def test_a_request_may_be_cut_anywhere_behind_its_head() -> None:
    """A push is often more than one TCP segment. Cut within the head it is for the application, whole."""
    echo, told = Echo(), []
    request = post(b"0123456789")
    cuts = [10, len(request) - 12, len(request) - 10, len(request) - 9, len(request) - 1]

    async def story(port: int) -> None:
        told.extend([(await ask(port, request[:cut], request[cut:]))[1] for cut in cuts])

    tell(echo, story)
    assert told == [b"behind", b"behind", b"0123456789", b"0123456789", b"0123456789"]


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"POST /echo HTTP/1.0\r\nhost: localhost\r\ncontent-length: 1\r\n\r\nx",
        b"POST /echo?a=b HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\nx",
        b"POST /echo HTTP/1.1\r\ncontent-length: 1\r\n\r\nx",
        b"POST /echo HTTP/1.1\r\nhost: evil.example\r\ncontent-length: 1\r\n\r\nx",
        post(b"x", b"origin: http://evil.example"),
        post(b"x", b"authorization: Bearer t"),
        post(b"x", b"x-forwarded-for: 10.0.0.1"),
        post(b"x", b"host: evil.example"),
        post(b"x", b"content-type: a\nx-forwarded-for: b"),
        post(b"x", b"connection: close"),
        post(bytes(70_000)),
        HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        HEAD + b"content-length: 1\r\ncontent-length: 1\r\n\r\nx",
        HEAD + b"content-length: +1\r\n\r\nx",
        HEAD + b"content-length : 1\r\n\r\nx",
        HEAD + b"x: " + bytes(5000).replace(b"\0", b"y") + b"\r\ncontent-length: 1\r\n\r\nx",
    ],
    ids=lambda one: repr(bytes(one[:60])),
)
def test_everything_unusual_is_for_the_application(request_bytes: bytes) -> None:
    """There the gate looks at it; the lane has not answered."""
    echo, told = Echo(), []

    async def story(port: int) -> None:
        told.append(await ask(port, request_bytes))

    tell(echo, story)
    assert "lane" not in echo.seen
    assert told[0][1] == b"behind" or told[0][0].startswith(b"HTTP/1.1 400")


def test_others_need_not_name_this_machine() -> None:
    """Where a hub listens for others, it is asked by its own name."""
    echo, told = Echo(), []

    async def story(port: int) -> None:
        told.append(await ask(port, post(b"x").replace(b"localhost", b"hub.example:9480")))

    tell(echo, story, loopback=False)
    assert told[0][1] == b"x"


def test_a_connection_is_handed_over_for_good() -> None:
    """Fast, then a page, then what would have been fast: each is answered."""
    echo, told = Echo(), []

    async def story(port: int) -> None:
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            held = bytearray()
            for request in (post(b"x"), b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n", post(b"y")):
                await stream.send(request)
                told.append((await answer(stream, held))[1])

    tell(echo, story)
    assert told == [b"x", b"behind", b"behind"]


def test_it_works_under_tls(tmp_path: Path) -> None:
    """Lane and application, on one connection."""
    certificate = self_signed(tmp_path)
    files = TlsFiles(certificate.cert_file, certificate.key_file, pinned=False)
    echo, told = Echo(), []

    async def story(port: int) -> None:
        context = ssl.create_default_context(cadata=certificate.pem)
        context.check_hostname = False
        async with await anyio.connect_tcp("127.0.0.1", port, tls=True, ssl_context=context) as stream:
            held = bytearray()
            for request in (post(bytes(40_000)), b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"):
                await stream.send(request)
                told.append((await answer(stream, held))[1])

    tell(echo, story, tls=files)
    assert told == [bytes(40_000), b"behind"]


def test_nothing_is_read_ahead_of_an_answer() -> None:
    """What comes before the answer waits in the kernel: a client cannot fill our memory."""
    echo, told = Echo(), []
    echo.later = []

    async def story(port: int) -> None:
        assert echo.later is not None
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            stream.extra(anyio.abc.SocketAttribute.raw_socket).setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
            await stream.send(post(b"first"))
            with anyio.move_on_after(1.0) as flood:
                for number in range(100_000):
                    await stream.send(post(b"%06d" % number + bytes(10_000)))
            assert flood.cancelled_caught
            assert len(echo.later) == 1
            echo.later[0][1](200, b"", b"done")
            told.append((await answer(stream, bytearray()))[1])

    tell(echo, story)
    assert told == [b"done"]


def test_answers_that_nobody_reads_stop_the_reading() -> None:
    """Or a client that only sends would have us hold its answers for ever."""
    echo = Echo()

    async def story(port: int) -> None:
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            with anyio.move_on_after(2.0) as flood:
                for _ in range(100_000):
                    await stream.send(post(bytes(60_000)))
            assert flood.cancelled_caught
            taken = len(echo.seen)
            await anyio.sleep(0.2)
            assert len(echo.seen) == taken < 1000

    tell(echo, story)


def test_a_request_that_trickles_is_for_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which has a deadline for it."""
    monkeypatch.setattr("peerwatch.serve.fast_lane._PART_WAIT_S", 0.05)
    echo, told = Echo(), []
    request = post(b"0123456789")

    async def story(port: int) -> None:
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(request[:-5])
            await anyio.sleep(0.2)
            await stream.send(request[-5:])
            told.append((await answer(stream, bytearray()))[1])

    tell(echo, story)
    assert told == [b"behind"]


def test_parts_are_bounded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit goes to the application, which has a limit of its own."""
    monkeypatch.setattr("peerwatch.serve.fast_lane._MAX_HELD_BYTES", 2000)
    echo, told = Echo(), []
    request = post(bytes(1000))

    async def story(port: int) -> None:
        streams = [await anyio.connect_tcp("127.0.0.1", port) for _ in range(3)]
        for stream in streams:
            await stream.send(request[:-1])
            await anyio.sleep(0.02)
        for stream in streams:
            await stream.send(request[-1:])
            told.append((await answer(stream, bytearray()))[1])
            await stream.aclose()

    tell(echo, story)
    assert told == [bytes(1000), b"behind", b"behind"]


def test_an_idle_connection_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """From its last request on, and not while an answer is due."""
    monkeypatch.setattr("peerwatch.serve.server._KEEP_ALIVE_S", 0.2)
    echo = Echo()
    echo.later = []

    async def story(port: int) -> None:
        assert echo.later is not None
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(post(b"x"))
            await anyio.sleep(0.5)
            echo.later[0][1](200, b"", b"late")
            assert (await answer(stream, bytearray()))[1] == b"late"
            with pytest.raises(anyio.EndOfStream):
                await stream.receive()

    tell(echo, story)


def test_stopping_waits_for_the_answer_that_is_due() -> None:
    """And closes the connection behind it."""
    echo, told = Echo(), []
    echo.later = []

    async def story(port: int) -> None:
        assert echo.later is not None
        stream = await anyio.connect_tcp("127.0.0.1", port)
        idle = await anyio.connect_tcp("127.0.0.1", port)
        await stream.send(post(b"x"))
        await arrived(echo)

        async def finish() -> None:
            with pytest.raises(anyio.EndOfStream):
                await idle.receive()  # closed at once
            assert echo.later is not None
            echo.later[0][1](200, b"", b"last")
            told.append(await answer(stream, bytearray()))
            with pytest.raises(anyio.EndOfStream):
                await stream.receive()
            await stream.aclose()
            await idle.aclose()

        tasks.append(finish)

    tasks: list[Callable[[], Awaitable[None]]] = []

    async def main() -> None:
        listener = bind_tcp(Address("127.0.0.1", 0), "x", configured=True)
        server = Server(echo, listener, None, drain_s=5.0, fast={b"POST /echo HTTP/1.1": echo.fast})
        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                await group.start(server.run)
                await story(listener.getsockname()[1])
                server.stop()
                group.start_soon(tasks[0])

    anyio.run(main, backend_options={"use_uvloop": True})
    assert told[0][1] == b"last"
    assert b"connection: close" in told[0][0]


def test_an_answer_to_a_client_that_left_is_dropped() -> None:
    """What it pushed may be stored meanwhile; the lane does not mind."""
    echo = Echo()
    echo.later = []

    async def story(port: int) -> None:
        assert echo.later is not None
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(post(b"x"))
            await arrived(echo)
        await anyio.sleep(0.05)
        echo.later[0][1](200, b"", b"too late")
        assert (await ask(port, b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"))[1] == b"behind"

    tell(echo, story)


def test_an_answer_may_end_its_connection() -> None:
    """What was sent behind that request is not answered."""

    async def story(port: int) -> None:
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(post(b"1") + post(b"2"))
            got = bytearray()
            with anyio.fail_after(5):
                async for part in stream:
                    got += part
            assert (got.count(b"HTTP/1.1 200"), got.count(CLOSING)) == (1, 1)

    class Last(Echo):
        def fast(self, body: bytes, respond: Respond) -> None:
            respond(200, CLOSING, body)

    tell(Last(), story)
