"""Endpoint: what all endpoints of the API share: reading the form, a worker thread, the limit, errors."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import parse_qs

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response

from peerwatch.errors import PeerwatchError
from peerwatch.query.encoding import Encoded, encoded
from peerwatch.query.limits import Cancellation, QueryTimeoutError
from peerwatch.query.parameters import BadParameterError, Form
from peerwatch.query.prometheus import error_of
from peerwatch.query.render import failure
from peerwatch.query.turns import LONG_S, Turn, Turns

MAX_FORM_BYTES = 2 << 20
"""A form is a query and a few times; more is refused."""

QUEUE_TIMEOUT = "query timed out in query queue"
Work = Callable[[Cancellation], bytes]
Handler = Callable[[Form, Request], Work]
_Outcome = TypeVar("_Outcome")


class Endpoint:
    """Runs work in threads, when its turn has come; after `wait_s` of waiting it gives up.

    When its client goes away, work is told.
    """

    def __init__(self, wait_s: float, turns: Turns | None = None) -> None:
        self._wait_s = wait_s
        self._turns = turns or Turns()

    def of(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        """A handler of requests that answers in JSON, with errors as Prometheus words them."""

        async def respond(request: Request) -> Response:
            try:
                form = await read_form(request)
                work, accepted = handler(form, request), request.headers.get("accept-encoding", "")
                return json_response(await self.run(lambda gone: encoded(work(gone), accepted), request))
            except PeerwatchError as error:
                status, kind = error_of(error)
                return json_response(Encoded(failure(kind, str(error))), status)

        return respond

    async def run(self, work: Callable[[Cancellation], _Outcome], request: Request) -> _Outcome:
        """The outcome of `work` in a thread of its own. Raises what it raises, and QueryTimeoutError in the queue."""
        come = anyio.Event()
        turn = self._turns.ask(come.set)
        try:
            with anyio.move_on_after(self._wait_s) as patience:
                await come.wait()
            if patience.cancelled_caught:
                raise QueryTimeoutError(QUEUE_TIMEOUT)
            return await _watched(work, request, turn)
        finally:
            turn.give_back()


async def _watched(work: Callable[[Cancellation], _Outcome], request: Request, turn: Turn) -> _Outcome:
    """Run in a thread; tell it when the client is gone or we are cancelled."""
    gone = threading.Event()
    outcome: _Outcome | PeerwatchError

    async def watch() -> None:
        try:
            while (await request.receive())["type"] != "http.disconnect":
                pass
        finally:
            gone.set()

    async def let_others_start() -> None:
        await anyio.sleep(LONG_S)
        turn.settle()

    async with anyio.create_task_group() as group:
        group.start_soon(watch)
        group.start_soon(let_others_start)
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
    body = await read_body(request, MAX_FORM_BYTES) if request.method == "POST" else b""
    return form_of(request.url.query.encode(), body)


def form_of(query: bytes, body: bytes) -> Form:
    """What an encoded body and the query of a URL say; the body's values come first. Raises BadParameterError."""
    if not body:
        return _decoded(query)
    form = _decoded(body)
    for name, values in _decoded(query).items():
        form.setdefault(name, []).extend(values)
    return form


def _decoded(text: bytes) -> dict[str, list[str]]:
    try:
        return parse_qs(text.decode("utf-8"), keep_blank_values=True, max_num_fields=1000)
    except ValueError as error:
        raise BadParameterError(f"error parsing form values: {error}") from error


def json_response(answer: Encoded, status: int = 200) -> Response:
    """An answer in JSON."""
    return Response(answer.body, status, dict(answer.headers), "application/json")
