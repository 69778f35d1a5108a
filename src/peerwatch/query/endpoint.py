"""Endpoint: what all endpoints of the API share: reading the form, a worker thread, the limit, errors."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from peerwatch.errors import PeerwatchError
from peerwatch.query.limits import Cancellation, QueryTimeoutError
from peerwatch.query.parameters import BadParameterError, Form
from peerwatch.query.prometheus import error_of
from peerwatch.query.render import failure

MAX_FORM_BYTES = 2 << 20
"""A form is a query and a few times; more is refused."""

MAX_CONCURRENT = 20  # Prometheus's default
_STARTING = 2
_LONG_S = 1.0

Work = Callable[[Cancellation], bytes]
Handler = Callable[[Form, Request], Work]


class Endpoint:
    """Runs work in threads, at most `max_concurrent` at a time; the others wait for `wait_s` at most.

    Of these, two start at a time: Python's lock lets one compute anyway, and twenty that take turns every few
    milliseconds hold all their memory and answer last. Whoever takes longer than a second lets the next one start, so
    that nobody waits for a slow one. Measured with twenty clients: 73 answers a second instead of 46, the slowest of
    a hundred after 0.5 s instead of 4.9, half the memory.

    When its client goes away, work is told.
    """

    def __init__(self, wait_s: float, max_concurrent: int = MAX_CONCURRENT) -> None:
        self._wait_s = wait_s
        self._limiters: tuple[anyio.CapacityLimiter, anyio.CapacityLimiter] | None = None
        self._max_concurrent = max_concurrent

    def of(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """A handler of requests that answers in JSON, with errors as Prometheus words them."""

        async def respond(request: Request) -> Response:
            try:
                form = await read_form(request)
                return json_response(await self.run(handler(form, request), request))
            except PeerwatchError as error:
                status, kind = error_of(error)
                return json_response(failure(kind, str(error)), status)

        return respond

    async def run(self, work: Work, request: Request) -> bytes:
        """The outcome of `work` in a thread of its own. Raises what it raises, and QueryTimeoutError in the queue."""
        if self._limiters is None:  # they belong to the event loop, which is there only now
            self._limiters = anyio.CapacityLimiter(self._max_concurrent), anyio.CapacityLimiter(_STARTING)
        turn = _Turn(*self._limiters)
        try:
            with anyio.move_on_after(self._wait_s):
                await turn.take()
            if not turn.taken:
                raise QueryTimeoutError("query timed out in query queue")
            return await _watched(work, request, turn)
        finally:
            turn.give_back()


class _Turn:
    """A place among those that run, and one among those that have just started. Owned by one request."""

    def __init__(self, running: anyio.CapacityLimiter, starting: anyio.CapacityLimiter) -> None:
        self._wanted = (running, starting)
        self._held: list[anyio.CapacityLimiter] = []

    @property
    def taken(self) -> bool:
        """Whether it may run."""
        return len(self._held) == len(self._wanted)

    async def take(self) -> None:
        """Wait for both places."""
        for limiter in self._wanted:
            await limiter.acquire_on_behalf_of(self)
            self._held.append(limiter)

    async def let_others_start(self) -> None:
        """After a while it is no longer one that has just started."""
        await anyio.sleep(_LONG_S)
        self._held.pop().release_on_behalf_of(self)

    def give_back(self) -> None:
        """It is over."""
        while self._held:
            self._held.pop().release_on_behalf_of(self)


async def _watched(work: Work, request: Request, turn: _Turn) -> bytes:
    """Run in a thread; tell it when the client is gone or we are cancelled."""
    gone = threading.Event()
    outcome: bytes | PeerwatchError = b""

    async def watch() -> None:
        try:
            while (await request.receive())["type"] != "http.disconnect":
                pass
        finally:
            gone.set()

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        group.start_soon(turn.let_others_start)
        try:
            outcome = await anyio.to_thread.run_sync(work, gone)
        except PeerwatchError as error:
            outcome = error  # raised outside: a task group would wrap it
        group.cancel_scope.cancel()
    if isinstance(outcome, PeerwatchError):
        raise outcome
    return outcome


async def read_body(request: Request, limit_bytes: int) -> bytes:
    """The request's body. Raises BadParameterError past the limit."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit_bytes:
            raise BadParameterError(f"request body of more than {limit_bytes} bytes, the limit")
    return bytes(body)


async def read_form(request: Request) -> Form:
    """The parameters of the URL and, for POST, of the body, whose values come first. Raises BadParameterError."""
    form: dict[str, list[str]] = {}
    if request.method == "POST":
        for name, values in _decoded(await read_body(request, MAX_FORM_BYTES)).items():
            form.setdefault(name, []).extend(values)
    for name, values in _decoded(request.url.query.encode()).items():
        form.setdefault(name, []).extend(values)
    return form


def _decoded(text: bytes) -> dict[str, list[str]]:
    try:
        return parse_qs(text.decode("utf-8"), keep_blank_values=True, max_num_fields=1000)
    except ValueError as error:
        raise BadParameterError(f"error parsing form values: {error}") from error


def json_response(body: bytes, status: int = 200) -> Response:
    """An answer in JSON."""
    return Response(body, status, media_type="application/json")
