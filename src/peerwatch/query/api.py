"""The HTTP side of Prometheus's read API: Starlette routes around a PrometheusApi."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from peerwatch.errors import DecodeError, LimitError, PeerwatchError
from peerwatch.query.endpoint import Endpoint, Handler, Work, read_body, read_form
from peerwatch.query.federate import content_type
from peerwatch.query.parameters import (
    Form,
    federate_request,
    first,
    instant_request,
    range_request,
    series_request,
)
from peerwatch.query.prometheus import PrometheusApi, error_of
from peerwatch.query.render import success
from peerwatch.query.status import (
    NO_ALERTMANAGERS,
    NO_ALERTS,
    NO_RULES,
    ServerStatus,
    render_configuration,
    render_mapping,
    render_targets,
)
from peerwatch.query.turns import Turns
from peerwatch.wire.remote_read import CONTENT_TYPE, MAX_READ_REQUEST_BYTES, decode_read_request

FEDERATE_PATH = "/federate"
_MAX_READS = 4  # remote reads at a time: each may hold some 400 MB
_EMPTY_LIST = success(b"[]")


def routes(
    api: PrometheusApi,
    status: ServerStatus | None = None,
    *,
    prefix: str = "/api/v1",
    turns: Turns | None = None,
) -> list[BaseRoute]:
    """The endpoints, to be mounted in an application; those about the server itself where it says what it is.

    Requests work in worker threads, in their `turns`, and wait for these for as long as a query may take. When its
    client goes away, a query stops at its next check.
    """
    endpoint = Endpoint(api.engine.options.limits.timeout_s, turns)
    both, get = ["GET", "POST"], ["GET"]
    table: list[tuple[str, list[str], Handler]] = [
        ("/query", both, lambda form, _: partial(api.query, instant_request(form, api.now_ms))),
        ("/query_range", both, lambda form, _: partial(api.query_range, range_request(form))),
        ("/query_exemplars", both, _always(_EMPTY_LIST)),
        ("/labels", both, lambda form, _: _ignoring(partial(api.labels, series_request(form)))),
        ("/label/{name}/values", get, lambda form, request: _label_values(api, form, request)),
        ("/series", both, lambda form, _: _ignoring(partial(api.series, series_request(form, needs_match=True)))),
        ("/metadata", get, lambda form, _: _ignoring(partial(api.metadata, form))),
        ("/format_query", both, lambda form, _: _ignoring(partial(api.format_query, form))),
        ("/parse_query", both, lambda form, _: _ignoring(partial(api.parse_query, form))),
        ("/rules", get, _always(NO_RULES)),
        ("/alerts", get, _always(NO_ALERTS)),
        ("/alertmanagers", get, _always(NO_ALERTMANAGERS)),
        ("/status/buildinfo", get, lambda form, _: _ignoring(api.build_info)),
    ]
    if status is not None:
        table += _status_table(api, status)
    found: list[BaseRoute] = [
        Route(prefix + path, endpoint.of(handler), methods=methods) for path, methods, handler in table
    ]
    bulk = Endpoint(api.engine.options.limits.timeout_s, Turns(_MAX_READS))
    found.append(Route(f"{prefix}/read", _remote_read(api, bulk), methods=["POST"]))
    return [*found, Route(FEDERATE_PATH, _federation(api, endpoint), methods=["GET"])]


def _status_table(api: PrometheusApi, status: ServerStatus) -> list[tuple[str, list[str], Handler]]:
    get = ["GET"]
    return [
        ("/targets", get, partial(_targets, status)),
        ("/status/runtimeinfo", get, lambda *_: lambda gone: render_mapping(status.runtime())),
        ("/status/flags", get, lambda *_: lambda gone: render_mapping(status.flags())),
        ("/status/config", get, lambda *_: lambda gone: render_configuration(status.configuration())),
        ("/status/tsdb", get, lambda form, _: lambda gone: api.tsdb(status.holdings(), form)),
    ]


def _targets(status: ServerStatus, form: Form, _: Request) -> Work:
    page = render_targets(status.targets(), first(form, "state"))  # here: members belong to the event loop
    return lambda cancelled: page


def _always(answer: bytes) -> Handler:
    return lambda form, request: lambda cancelled: answer


def _federation(api: PrometheusApi, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def respond(request: Request) -> Response:
        kind, escaping = content_type(request.headers.get("accept", ""))
        try:
            selectors = federate_request(await read_form(request))
            page = await endpoint.run(lambda gone: api.federate(selectors, escaping, gone), request)
        except PeerwatchError as error:
            return _text(error_of(error)[0], error)
        return Response(page, headers={"content-type": kind})

    return respond


def _remote_read(api: PrometheusApi, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
    async def respond(request: Request) -> Response:
        try:
            queries = decode_read_request(await read_body(request, MAX_READ_REQUEST_BYTES))
            answer = await endpoint.run(lambda gone: api.remote_read(queries, gone), request)
        except (DecodeError, LimitError) as error:
            return _text(400, error)
        except PeerwatchError as error:
            return _text(error_of(error)[0], error)
        return Response(answer, headers={"content-type": CONTENT_TYPE, "content-encoding": "snappy"})

    return respond


def _text(status: int, error: PeerwatchError) -> Response:
    return Response(f"{error}\n", status, media_type="text/plain")


def _ignoring(work: Callable[[], bytes]) -> Work:
    return lambda cancelled: work()


def _label_values(api: PrometheusApi, form: Form, request: Request) -> Work:
    return _ignoring(partial(api.label_values, request.path_params["name"], series_request(form)))
