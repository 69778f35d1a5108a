"""The agent's HTTP port: what it answers, and what it does to clients that take too much."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable
from functools import partial

import anyio
import pytest

from peerwatch.agent.metrics_http import MetricsHttpConfig, MetricsServer, Readiness
from peerwatch.errors import ConfigError
from peerwatch.telemetry import CollectorRegistry

READY = Readiness(True, {"uptime_seconds": 5})
HOST = b"Host: localhost\r\n"


def run(
    story: Callable[[int], Awaitable[None]],
    *,
    config: MetricsHttpConfig | None = None,
    exposition: Callable[[], bytes] = lambda: b"a 1\n",
    readiness: Readiness = READY,
) -> CollectorRegistry:
    registry = CollectorRegistry()

    async def main() -> None:
        server = MetricsServer(config or MetricsHttpConfig(port=0), exposition, lambda: readiness, registry)
        with anyio.fail_after(10):
            async with anyio.create_task_group() as tasks:
                port = await tasks.start(server.serve)
                await story(port)
                tasks.cancel_scope.cancel()

    anyio.run(main)
    return registry


async def exchange(port: int, request: bytes) -> tuple[int, dict[str, str], bytes]:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(request)
        answer = b""
        try:
            while True:
                answer += await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            pass
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *fields = head.decode().split("\r\n")
    return int(status.split()[1]), dict(field.lower().split(": ", 1) for field in fields), body


def answers(requests: list[bytes], **settings: object) -> list[tuple[int, bytes]]:
    found: list[tuple[int, bytes]] = []

    async def story(port: int) -> None:
        for request in requests:
            status, headers, body = await exchange(port, request)
            assert headers["content-length"] == str(len(body))
            found.append((status, body))

    run(story, **settings)  # type: ignore[arg-type]
    return found


def test_the_three_pages() -> None:
    """Metrics, life and readiness; anything else names them."""
    pages = [b"/metrics", b"/metrics?collect[]=cpu", b"/health/live", b"/health/ready", b"/"]
    assert answers([b"GET " + page + b" HTTP/1.1\r\n" + HOST + b"\r\n" for page in pages]) == [
        (200, b"a 1\n"),
        (200, b"a 1\n"),
        (200, b'{"status": "ok"}'),
        (200, b'{"status": "ok", "uptime_seconds": 5}'),
        (404, b"here are /metrics, /health/live and /health/ready\n"),
    ]


def test_not_ready_is_503() -> None:
    """Readiness tells the truth in its status too."""
    request = b"GET /health/ready HTTP/1.1\r\n" + HOST + b"\r\n"
    assert answers([request], readiness=Readiness(False, {"behind_batches": 3})) == [
        (503, b'{"status": "not ready", "behind_batches": 3}')
    ]


def test_the_content_type_is_prometheus() -> None:
    """A Prometheus 3 refuses to guess."""

    async def story(port: int) -> None:
        _, headers, _ = await exchange(port, b"GET /metrics HTTP/1.1\r\n" + HOST + b"\r\n")
        assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"

    run(story)


def test_who_and_how() -> None:
    """Only GET, only from this machine, only HTTP."""
    found = answers(
        [
            b"POST /metrics HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\n\r\n",
            b"GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n",
            b"GET /metrics HTTP/1.1\r\n" + HOST + b"Origin: http://evil.example\r\n\r\n",
            b"nonsense\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + HOST + b"A: " + b"x" * 9000 + b"\r\n\r\n",
        ]
    )
    assert [status for status, _ in found] == [405, 403, 403, 400, 400]


def test_a_page_that_fails_does_not_end_the_server() -> None:
    """One request gets 500, the next is answered."""
    calls = iter([ValueError("broken"), b"b 2\n"])

    def exposition() -> bytes:
        found = next(calls)
        if isinstance(found, Exception):
            raise found
        return found

    request = b"GET /metrics HTTP/1.1\r\n" + HOST + b"\r\n"
    assert [status for status, _ in answers([request, request], exposition=exposition)] == [500, 200]


def test_a_slow_head_is_cut_off() -> None:
    """A client that sends byte after byte gets 408 when the time for the whole head is over."""

    async def story(port: int) -> None:
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(b"GET /met")
            assert (await stream.receive()).startswith(b"HTTP/1.1 408 ")

    registry = run(story, config=MetricsHttpConfig(port=0, head_timeout_s=0.05))
    assert registry.get_sample_value("peerwatch_agent_http_requests_total", {"code": "408"}) == 1


def test_too_many_connections_get_503() -> None:
    """Over the limit a connection is answered at once and closed; those within the limit are not harmed."""

    async def story(port: int) -> None:
        first = await anyio.connect_tcp("127.0.0.1", port)
        async with first:
            await first.send(b"GET /metrics HTTP/1.1\r\n")
            await anyio.wait_all_tasks_blocked()
            status, _, _ = await exchange(port, b"GET /metrics HTTP/1.1\r\n" + HOST + b"\r\n")
            assert status == 503
            await first.send(HOST + b"\r\n")
            assert (await first.receive()).startswith(b"HTTP/1.1 200 ")

    run(story, config=MetricsHttpConfig(port=0, connections=1))


def test_a_reader_that_does_not_read_is_cut_off() -> None:
    """A client that asks for a large page and reads nothing holds its connection only as long as the limit."""
    settings = MetricsHttpConfig(port=0, connections=1, write_timeout_s=0.05, head_timeout_s=0.05)

    async def story(port: int) -> None:
        lazy = socket.create_connection(("127.0.0.1", port))
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with lazy:
            lazy.sendall(b"GET /metrics HTTP/1.1\r\n" + HOST + b"\r\n")
            seen = [503]
            while seen[-1] == 503:
                status, _, _ = await exchange(port, b"GET /health/live HTTP/1.1\r\n" + HOST + b"\r\n")
                seen.append(status)
            assert len(seen) > 2 and seen[-1] == 200  # was held for a while, then let go

    run(story, config=settings, exposition=lambda: b"x" * (16 << 20))


def test_a_taken_port_is_named() -> None:
    """The message has the port, the address and what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        server = MetricsServer(MetricsHttpConfig(port=port), bytes, lambda: READY, CollectorRegistry())
        with pytest.raises(ConfigError, match=rf"agent_http\.port: {port} on 127.0.0.1 is taken; choose"):
            anyio.run(partial(server.serve))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_an_address_that_others_reach_needs_a_credential_and_tls(host: str) -> None:
    """Refused before anything listens."""
    with pytest.raises(ConfigError, match="needs a credential"):
        MetricsHttpConfig(host=host)
    with pytest.raises(ConfigError, match="needs HTTPS"):
        MetricsServer(MetricsHttpConfig(host=host, credential="x"), bytes, lambda: READY, CollectorRegistry())
    MetricsServer(
        MetricsHttpConfig(host=host, credential="x"),
        bytes,
        lambda: READY,
        CollectorRegistry(),
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
    )


def test_the_credential_is_not_printed() -> None:
    """A configuration that is logged does not give the secret away."""
    assert "s3cret" not in repr(MetricsHttpConfig(credential="s3cret"))
