"""What goes over the wire: little, and again over a new connection when the kept one was closed meanwhile."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import anyio.abc
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from peerwatch.errors import LinkError
from peerwatch.links.https import HttpsConfig, HttpsLink

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
Serve = Callable[[int, anyio.abc.SocketStream], Awaitable[None]]


def _story(serve: Serve, story: Callable[[HttpsLink, int], Awaitable[None]], config: HttpsConfig | None = None) -> int:
    """Run the story against a server that `serve` plays, connection by connection; how many there were."""
    connections = 0

    async def handle(stream: anyio.abc.SocketStream) -> None:
        nonlocal connections
        connections += 1
        async with stream:
            await serve(connections, stream)

    async def main() -> None:
        with anyio.fail_after(10):
            listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
            async with listener, anyio.create_task_group() as tasks:
                tasks.start_soon(listener.serve, handle)
                port = listener.extra(anyio.abc.SocketAttribute.local_port)
                async with HttpsLink(f"http://127.0.0.1:{port}", config=config) as link:
                    await story(link, port)
                tasks.cancel_scope.cancel()

    anyio.run(main)
    return connections


def test_a_request_has_no_header_that_nobody_needs() -> None:
    """A report is some 2 KB: every header counts."""
    seen: list[bytes] = []

    async def serve(_: int, stream: anyio.abc.SocketStream) -> None:
        while True:
            try:
                seen.append(await stream.receive())
            except anyio.EndOfStream:
                return
            await stream.send(OK)

    async def story(link: HttpsLink, port: int) -> None:
        await link.push(b"batch")
        await link.membership()
        host = f"host: 127.0.0.1:{port}\r\n".encode()
        post = b"content-type: application/x-protobuf\r\ncontent-length: 5\r\n\r\nbatch"
        assert seen == [
            b"POST /api/v1/push HTTP/1.1\r\n" + host + post,
            b"GET /api/v1/membership HTTP/1.1\r\n" + host + b"\r\n",
        ]

    assert _story(serve, story) == 1


async def _answer_once_and_close(_: int, stream: anyio.abc.SocketStream) -> None:
    await BufferedByteReceiveStream(stream).receive_until(b"\r\n\r\n", 1000)
    await stream.send(OK)


def test_a_kept_connection_that_the_hub_closed_is_replaced() -> None:
    """Nobody notices, however often."""

    async def story(link: HttpsLink, _: int) -> None:
        for _ in range(4):
            assert await link.push(b"") == b"ok"
            await anyio.sleep(0.02)  # its goodbye arrives

    assert _story(_answer_once_and_close, story) == 4


def test_a_new_connection_that_is_closed_is_a_failure() -> None:
    """One try: whoever calls decides on more."""

    async def serve(_: int, stream: anyio.abc.SocketStream) -> None:
        await stream.receive()

    async def story(link: HttpsLink, _: int) -> None:
        with pytest.raises(LinkError, match=r"/api/v1/push: connection (closed after 0 bytes|lost)"):
            await link.push(b"")

    assert _story(serve, story) == 1


def test_an_answer_that_breaks_off_is_not_asked_for_again() -> None:
    """The hub has seen the request; what to do about it is the caller's."""

    async def serve(_: int, stream: anyio.abc.SocketStream) -> None:
        await stream.receive()
        await stream.send(OK)
        await stream.receive()
        await stream.send(OK[:-1])

    async def story(link: HttpsLink, _: int) -> None:
        assert await link.push(b"") == b"ok"
        with pytest.raises(LinkError, match=r"connection closed after 39 bytes of an answer"):
            await link.push(b"")

    assert _story(serve, story) == 1


def test_a_connection_that_was_idle_for_long_is_not_used_again() -> None:
    """Something on the way may have forgotten it."""

    async def serve(_: int, stream: anyio.abc.SocketStream) -> None:
        while True:
            try:
                await stream.receive()
            except anyio.EndOfStream:
                return
            await stream.send(OK)

    async def story(link: HttpsLink, _: int) -> None:
        await link.push(b"")
        await anyio.sleep(0.1)
        await link.push(b"")

    assert _story(serve, story, HttpsConfig(idle_s=0.05)) == 2
    assert _story(serve, story, HttpsConfig(idle_s=5.0)) == 1


def test_a_refusal_that_comes_before_the_request_was_read_is_heard() -> None:
    """A hub that finds a request too large answers and closes at once."""

    async def serve(_: int, stream: anyio.abc.SocketStream) -> None:
        await stream.send(b"HTTP/1.1 429 Full\r\nretry-after: 3\r\ncontent-length: 4\r\n\r\nfull")
        await anyio.sleep(0.05)

    async def story(link: HttpsLink, _: int) -> None:
        with pytest.raises(LinkError, match="answered 429: full") as caught:
            await link.push(b"x" * 1000)
        assert caught.value.wait_s == 3.0

    assert _story(serve, story) == 1


def test_something_else_than_a_hub_is_a_failure_of_the_link() -> None:
    """Not of the request, which stays in the spool."""

    async def serve(_: int, stream: anyio.abc.SocketStream) -> None:
        await stream.send(b"SSH-2.0-OpenSSH_9.6\r\n")
        await stream.receive()

    async def story(link: HttpsLink, _: int) -> None:
        with pytest.raises(LinkError, match="not an HTTP answer"):
            await link.push(b"")

    assert _story(serve, story) == 1
