"""The HTTP side of Prometheus's read API: Starlette routes around a PrometheusApi."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from functools import partial
from urllib.parse import parse_qs

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from peerwatch.errors import PeerwatchError
from peerwatch.query.limits import Cancellation, QueryTimeoutError
from peerwatch.query.parameters import BadParameterError, Form, instant_request, range_request, series_request
from peerwatch.query.prometheus import PrometheusApi, error_of
from peerwatch.query.render import failure, success

MAX_FORM_BYTES = 2 << 20
"""A form is a query and a few times; more is refused."""

MAX_CONCURRENT = 20  # Prometheus's default
_EMPTY_LIST = success(b"[]")

Work = Callable[[Cancellation], bytes]
Handler = Callable[[Form, Request], Work]


def routes(api: PrometheusApi, *, prefix: str = "/api/v1", max_concurrent: int = MAX_CONCURRENT) -> list[BaseRoute]:
    """The endpoints, to be mounted in an application.

    At most `max_concurrent` requests work at the same time, each in a worker thread; the others wait for as long as
    a query may take. When its client goes away, a query stops at its next check.
    """
    endpoint = _Endpoint(api, max_concurrent)
    both, get = ["GET", "POST"], ["GET"]
    table: list[tuple[str, list[str], Handler]] = [
        ("/query", both, lambda form, _: partial(api.query, instant_request(form, api.now_ms))),
        ("/query_range", both, lambda form, _: partial(api.query_range, range_request(form))),
        ("/query_exemplars", both, lambda form, _: lambda cancelled: _EMPTY_LIST),
        ("/labels", both, lambda form, _: _ignoring(partial(api.labels, series_request(form)))),
        ("/label/{name}/values", get, lambda form, request: _label_values(api, form, request)),
        ("/series", both, lambda form, _: _ignoring(partial(api.series, series_request(form, needs_match=True)))),
        ("/metadata", get, lambda form, _: _ignoring(partial(api.metadata, form))),
        ("/format_query", both, lambda form, _: _ignoring(partial(api.format_query, form))),
        ("/status/buildinfo", get, lambda form, _: _ignoring(api.build_info)),
    ]
    return [Route(prefix + path, endpoint.of(handler), methods=methods) for path, methods, handler in table]


def _ignoring(work: Callable[[], bytes]) -> Work:
    return lambda cancelled: work()


def _label_values(api: PrometheusApi, form: Form, request: Request) -> Work:
    return _ignoring(partial(api.label_values, request.path_params["name"], series_request(form)))


class _Endpoint:
    """What all endpoints share: reading the form, a thread, the limit, errors."""

    def __init__(self, api: PrometheusApi, max_concurrent: int) -> None:
        self._wait_s = api.engine.options.limits.timeout_s
        self._limiter: anyio.CapacityLimiter | None = None
        self._max_concurrent = max_concurrent

    def of(self, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def respond(request: Request) -> Response:
            try:
                form = await read_form(request)
                return _json(await self._run(handler(form, request), request))
            except PeerwatchError as error:
                status, kind = error_of(error)
                return _json(failure(kind, str(error)), status)

        return respond

    async def _run(self, work: Work, request: Request) -> bytes:
        if self._limiter is None:  # it belongs to the event loop, which is there only now
            self._limiter = anyio.CapacityLimiter(self._max_concurrent)
        with anyio.move_on_after(self._wait_s) as waiting:
            await self._limiter.acquire()
        if waiting.cancelled_caught:
            raise QueryTimeoutError("query timed out in query queue")
        try:
            return await _watched(work, request)
        finally:
            self._limiter.release()


async def _watched(work: Work, request: Request) -> bytes:
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
        try:
            outcome = await anyio.to_thread.run_sync(work, gone)
        except PeerwatchError as error:
            outcome = error  # raised outside: a task group would wrap it
        group.cancel_scope.cancel()
    if isinstance(outcome, PeerwatchError):
        raise outcome
    return outcome


async def read_form(request: Request) -> Form:
    """The parameters of the URL and, for POST, of the body, whose values come first. Raises BadParameterError."""
    form: dict[str, list[str]] = {}
    if request.method == "POST":
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_FORM_BYTES:
                raise BadParameterError(f"form of more than {MAX_FORM_BYTES} bytes")
        for name, values in _decoded(bytes(body)).items():
            form.setdefault(name, []).extend(values)
    for name, values in _decoded(request.url.query.encode()).items():
        form.setdefault(name, []).extend(values)
    return form


def _decoded(text: bytes) -> dict[str, list[str]]:
    try:
        return parse_qs(text.decode("utf-8"), keep_blank_values=True, max_num_fields=1000)
    except ValueError as error:
        raise BadParameterError(f"error parsing form values: {error}") from error


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, media_type="application/json")
