"""The fast lane's questions, over sockets: the answers of the routes, under the gate, in turns, given up in time."""

from __future__ import annotations

import gzip
import re
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import anyio
import pytest
from anyio.abc import ByteStream
from starlette.applications import Starlette

from peerwatch.errors import PeerwatchError
from peerwatch.model import Matcher, SeriesSet
from peerwatch.query.api import routes
from peerwatch.query.engine import Engine
from peerwatch.query.lane import QueryLane
from peerwatch.query.limits import Limits
from peerwatch.query.options import EngineOptions
from peerwatch.query.prometheus import PrometheusApi
from peerwatch.query.turns import Turns
from peerwatch.serve.address import Address
from peerwatch.serve.credentials import Credentials, Scope
from peerwatch.serve.gate import AsgiScope, Gate, Receive, Send
from peerwatch.serve.listen import bind_tcp
from peerwatch.serve.server import Server
from tests.query.test_api import FixedClock, source

HERE = b"host: 127.0.0.1\r\n"
Story = Callable[[int], Awaitable[None]]


class Slow:
    """A source of which every read lasts until it is told to end."""

    def __init__(self) -> None:
        memory = source()
        self.started, self.end = threading.Semaphore(0), threading.Event()
        self.label_values, self.label_names = memory.label_values, memory.label_names
        self._select = memory.select

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, *, max_samples: int | None = None
    ) -> SeriesSet:
        self.started.release()
        assert self.end.wait(10)
        return self._select(matchers, start_ms, end_ms, max_samples=max_samples)


class Hub:
    """Gate, lane and routes over one source; counts what came to the application behind the lane."""

    def __init__(self, folder: Path, *, loopback: bool = True, api: PrometheusApi | None = None, turns: int = 20):
        memory = source()
        self.api = api or PrometheusApi(memory, Engine(memory, None, FixedClock()), FixedClock())
        self.credentials = Credentials(folder / "credentials.json")
        self.behind = 0
        shared = Turns(turns)
        self._app = Starlette(routes=routes(self.api, turns=shared))
        self.lane = QueryLane(self.api, shared)
        self._gate = Gate(self._counted, self.credentials, loopback=loopback)

    async def _counted(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        self.behind += 1
        await self._app(scope, receive, send)

    def tell(self, story: Story) -> None:
        """Serve while the story runs."""

        async def main() -> None:
            listener = bind_tcp(Address("127.0.0.1", 0), "x", configured=True)
            server = Server(self._gate, listener, None, drain_s=1.0, answerers=self.lane.answerers())
            with anyio.fail_after(20):
                async with anyio.create_task_group() as tasks:
                    await tasks.start(server.run)
                    await story(listener.getsockname()[1])
                    server.stop()
            self.lane.close()

        anyio.run(main, backend_options={"use_uvloop": True})


async def read_answer(stream: ByteStream) -> tuple[int, bytes, bytes]:
    """(status, head, body)."""
    held = bytearray()
    while b"\r\n\r\n" not in held:
        held += await stream.receive()
    head, _, body = bytes(held).partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    assert length is not None
    while len(body) < int(length[1]):
        body += await stream.receive()
    return int(head.split()[1]), head, body


async def ask(port: int, line: bytes, fields: bytes = HERE, body: bytes = b"") -> tuple[int, bytes, bytes]:
    """(status, head, body) on a connection of its own."""
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        length = b"content-length: %d\r\n" % len(body) if body else b""
        await stream.send(line + b" HTTP/1.1\r\n" + fields + length + b"\r\n" + body)
        return await read_answer(stream)


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("query", b"query=up_total&time=60"),
        ("query", b"query=up_total&time=60&stats=all"),
        ("query", b"query=1%2B1&time=4&limit=1"),
        ("query", b"query=up_total%7B&time=60"),
        ("query", b"query=%22%C3%A4%22"),
        ("query", b"query=up_total&time=x"),
        ("query", b""),
        ("query", b"&".join(b"a=b" for _ in range(1001))),
        ("query_range", b"query=rate(up_total%5B1m%5D)&start=30&end=90&step=15"),
        ("query_range", b"query=up_total&start=30&end=0&step=15"),
        ("query_range", b"query=up_total%5B1m%5D&start=30&end=60&step=15"),
        ("labels", b""),
        ("labels", b"match%5B%5D=odd"),
        ("series", b"match%5B%5D=%7Bjob%3D~%22.%2B%22%7D"),
        ("series", b""),
    ],
)
def test_the_lane_answers_as_the_routes_do(tmp_path: Path, path: str, form: bytes) -> None:
    """Status, type and body, by GET and by POST; an unknown header sends the same request behind the lane."""
    hub, told = Hub(tmp_path), []
    target = b"/api/v1/" + path.encode()

    async def story(port: int) -> None:
        for fields in (HERE, HERE + b"x-unknown: 1\r\n"):
            told.append(await ask(port, b"GET " + target + b"?" + form, fields))
            told.append(await ask(port, b"POST " + target, fields, form))

    hub.tell(story)
    assert len({(status, body) for status, _, body in told}) == 1
    assert all(b"content-type: application/json\r\n" in head + b"\r\n" and b"date: " in head for _, head, _ in told)
    assert hub.behind == 2


def test_a_connection_serves_many_questions_until_it_is_to_close(tmp_path: Path) -> None:
    """Kept alive as Grafana does, closed as others ask."""
    hub, told = Hub(tmp_path), []

    async def story(port: int) -> None:
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            for end in (b"", b"connection: close\r\n"):
                await stream.send(b"GET /api/v1/query?query=1&time=4 HTTP/1.1\r\n" + HERE + end + b"\r\n")
                told.append(await read_answer(stream))
            with pytest.raises(anyio.EndOfStream):
                await stream.receive()

    hub.tell(story)
    assert [b"connection: close" in head for _, head, _ in told] == [False, True]
    assert hub.behind == 0


@pytest.mark.parametrize(
    ("fields", "status", "word"),
    [
        (b"host: evil.example\r\n", 403, b"evil.example"),
        (HERE + b"origin: http://evil.example\r\n", 403, b"evil.example"),
        (HERE + b"x-forwarded-for: 10.0.0.1\r\n", 403, b"forwarded"),
        (HERE + b"authorization: Bearer nonsense\r\n", 401, b"unknown credential"),
        (HERE + b"host: 127.0.0.1\r\n", 400, b"came twice"),
        (HERE + b"origin: http://localhost:3000\r\n", 200, b"success"),
    ],
)
def test_the_gate_decides(tmp_path: Path, fields: bytes, status: int, word: bytes) -> None:
    """What it refuses is refused by itself, behind the lane."""
    hub, told = Hub(tmp_path), []

    async def story(port: int) -> None:
        told.append(await ask(port, b"GET /api/v1/query?query=1", fields))

    hub.tell(story)
    assert told[0][0] == status and word in told[0][2]
    assert hub.behind == (0 if status != 200 else hub.behind)


def test_off_loopback_a_credential_is_needed(tmp_path: Path) -> None:
    """Any scope reads; with it the lane answers, without it the gate refuses."""
    hub, told = Hub(tmp_path, loopback=False), []
    token = hub.credentials.create("reader", Scope.READ).encode()

    async def story(port: int) -> None:
        host = b"host: hub.example:9480\r\n"
        shown = [b"", b"authorization: Bearer x\r\n", b"authorization: Bearer " + token + b"\r\n"]
        told.extend([await ask(port, b"GET /api/v1/query?query=1", host + one) for one in shown])

    hub.tell(story)
    assert [status for status, _, _ in told] == [401, 401, 200]
    assert hub.behind == 0


def test_a_large_answer_is_compressed_for_who_asks(tmp_path: Path) -> None:
    """In the lane and behind it, and for nobody else."""
    hub, told = Hub(tmp_path), []
    line = b"GET /api/v1/query_range?query=time()&start=0&end=5000&step=5"

    async def story(port: int) -> None:
        accepted = [b"", b"accept-encoding: identity\r\n", b"accept-encoding: gzip\r\n"]
        for fields in (HERE, HERE + b"x-unknown: 1\r\n"):
            told.extend([await ask(port, line, fields + one) for one in accepted])

    hub.tell(story)
    plain = told[0][2]
    for _, head, body in told[2::3]:
        assert b"content-encoding: gzip" in head and b"vary: accept-encoding" in head
        assert gzip.decompress(body) == plain
    assert all(body == plain and b"encoding" not in head for at, (_, head, body) in enumerate(told) if at % 3 != 2)


def slow_hub(folder: Path, timeout_s: float = 5.0, turns: int = 20) -> tuple[Hub, Slow]:
    slow = Slow()
    options = EngineOptions(limits=Limits(timeout_s=timeout_s))
    return Hub(folder, api=PrometheusApi(slow, Engine(slow, options)), turns=turns), slow


async def started(slow: Slow, within_s: float = 2.0) -> bool:
    """Whether another read has begun."""
    with anyio.move_on_after(within_s):
        while True:
            if slow.started.acquire(blocking=False):
                return True
            await anyio.sleep(0.005)
    return False


def test_a_query_is_given_up_when_its_client_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that runs stops at its next check, the one that waits never starts; then there is room for others."""
    hub, slow = slow_hub(tmp_path, turns=1)
    ended: list[str] = []
    query_range = PrometheusApi.query

    def noted(*args: object, **kwargs: object) -> bytes:
        try:
            return query_range(*args, **kwargs)  # type: ignore[arg-type]
        except PeerwatchError as error:
            ended.append(str(error))
            raise

    monkeypatch.setattr(PrometheusApi, "query", noted)

    async def story(port: int) -> None:
        line = b"GET /api/v1/query?query=abs(up_total) HTTP/1.1\r\n" + HERE + b"\r\n"
        running, waiting = [await anyio.connect_tcp("127.0.0.1", port) for _ in range(2)]
        await running.send(line)
        assert await started(slow)
        await waiting.send(line)
        await anyio.sleep(0.02)
        await waiting.aclose()
        await running.aclose()
        await anyio.sleep(0.02)
        slow.end.set()
        status, _, _ = await ask(port, b"GET /api/v1/query?query=up_total")
        assert status == 200

    hub.tell(story)
    assert ended == ["query was canceled in expression evaluation"]


def test_who_waits_for_too_long_is_told(tmp_path: Path) -> None:
    """503, as Prometheus does; the one that runs is answered all the same."""
    hub, slow = slow_hub(tmp_path, timeout_s=0.3, turns=1)

    async def story(port: int) -> None:
        async with await anyio.connect_tcp("127.0.0.1", port) as first:
            await first.send(b"GET /api/v1/query?query=up_total HTTP/1.1\r\n" + HERE + b"\r\n")
            assert await started(slow)
            status, _, body = await ask(port, b"GET /api/v1/query?query=up_total")
            assert (status, b"query timed out in query queue" in body) == (503, True)
            slow.end.set()
            assert (await read_answer(first))[0] in (200, 503)

    hub.tell(story)


def test_a_bug_is_answered_and_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With 500, and the connection goes on."""
    hub, told = Hub(tmp_path), []

    def fail(*_: object) -> bytes:
        raise ZeroDivisionError

    monkeypatch.setattr(PrometheusApi, "query", fail)

    async def story(port: int) -> None:
        told.append(await ask(port, b"GET /api/v1/query?query=1"))
        told.append(await ask(port, b"GET /api/v1/labels"))

    hub.tell(story)
    assert [status for status, _, _ in told] == [500, 200]
    assert b"ZeroDivisionError" in told[0][2]
