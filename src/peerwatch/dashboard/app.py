"""The dashboard's routes. Credentials, Host and Origin are checked before, by the hub that mounts them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

import peerwatch
from peerwatch.dashboard.assets import Asset, Assets
from peerwatch.dashboard.evaluation import TickEvaluation
from peerwatch.dashboard.fleet_list import FleetList, fleet_list
from peerwatch.dashboard.history import History
from peerwatch.dashboard.json_response import busy_response, json_response
from peerwatch.dashboard.live import Live
from peerwatch.dashboard.live_response import LiveResponse
from peerwatch.dashboard.panels import PANELS, TILES, Panel
from peerwatch.dashboard.sse import EventId
from peerwatch.dashboard.timespan import NOW, TIMESPANS, timespan
from peerwatch.dashboard.topic import TopicKey
from peerwatch.errors import ConfigError, QuotaError
from peerwatch.model import Clock

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The page loads its own files and nothing else: no inline script, no foreign host, no frame around it."""

_MAX_INSTANCE_CHARS = 512  # an instance is a host name or host:port; longer ones are not looked up
_SECURITY_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}
_NOT_BUILT = b"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>peerwatch: the page is not built</title>
<h1>The dashboard's page is not built yet</h1>
<p>This is a checkout, and its page is made from the sources in <code>web/</code>. In the checkout, run</p>
<pre>make web</pre>
<p>and reload this page; the hub need not be restarted. A wheel of peerwatch has the page in it.</p>
<p>Everything else works: the Prometheus API answers at
<a href="api/v1/query?query=up"><code>/api/v1/query</code></a>, and <code>peerwatch query</code> asks it.</p>
</html>
"""

_Answer = Response | LiveResponse
_Handler = Callable[[Request], Awaitable[_Answer]]


def routes(live: Live, clock: Clock) -> list[BaseRoute]:
    """Page, assets and data. `live.run()` must run beside them, in a task group of whoever serves them."""
    dashboard = _Dashboard(live, clock)
    return [
        Route("/", dashboard.page("index.html")),
        Route("/graph", dashboard.page("graph.html")),
        Route("/query", dashboard.page("graph.html")),  # what Prometheus 3 calls it; alerts link to the other
        Route("/assets/{name}", dashboard.asset),
        Route("/dashboard/panels", _refusing(dashboard.panels)),
        Route("/dashboard/history", _refusing(dashboard.history)),
        Route("/dashboard/live", _refusing(dashboard.stream)),
    ]


class _Dashboard:
    def __init__(self, live: Live, clock: Clock) -> None:
        self._config = live.config
        self._live = live
        self._clock = clock
        self._assets = Assets(live.config.static_dir)
        self._evaluator = live.evaluator.beside()
        self._history = History(live.config, self._evaluator)

    def page(self, name: str) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            gzip = _accepts_gzip(request)
            found = await anyio.to_thread.run_sync(lambda: self._assets.page(name, accepts_gzip=gzip))
            if found is None:
                return Response(_NOT_BUILT, 503, _SECURITY_HEADERS | {"Cache-Control": "no-store"}, "text/html")
            return _file(request, found)

        return answer

    async def asset(self, request: Request) -> Response:
        name = request.path_params["name"]
        found = await anyio.to_thread.run_sync(lambda: self._assets.find(name, accepts_gzip=_accepts_gzip(request)))
        return (
            Response(b"no such file", 404, _SECURITY_HEADERS, "text/plain") if found is None else _file(request, found)
        )

    async def panels(self, _: Request) -> Response:
        fleet = await fleet_list(TickEvaluation(self._evaluator, self._clock.now_ms()))
        return json_response(
            {
                "version": peerwatch.__version__,
                "t": self._clock.now_ms(),
                "instance": self._config.instance or _first(fleet),
                "ranges": [{"id": span.id, "title": span.title, "length_ms": span.length_ms} for span in TIMESPANS],
                "panels": [_shape(panel) for panel in (TILES, *PANELS)],
                "fleet": fleet,
            }
        )

    async def history(self, request: Request) -> Response:
        key = _topic_key(request)
        if not key.instance:
            raise ConfigError("instance is missing: /dashboard/history?instance=NAME&range=1h")
        return json_response(await self._history.read(key.instance, key.span, self._clock.now_ms()))

    async def stream(self, request: Request) -> _Answer:
        key = _topic_key(request)
        # The header is the browser's own; the parameter is for a page that had to open a new EventSource.
        last = request.headers.get("last-event-id") or request.query_params.get("last", "")
        if request.method == "HEAD":
            return Response(None, 200, media_type="text/event-stream")
        return LiveResponse(self._live, self._clock, key, EventId.parse(last))


def _refusing(handler: _Handler) -> _Handler:
    """`handler`, with what it refuses turned into a status and one line of JSON."""

    async def answer(request: Request) -> _Answer:
        try:
            return await handler(request)
        except ConfigError as error:
            return json_response({"error": str(error)}, 400)
        except QuotaError as error:
            return busy_response(error)

    return answer


def _topic_key(request: Request) -> TopicKey:
    instance = request.query_params.get("instance", "")
    if len(instance) > _MAX_INSTANCE_CHARS:
        raise ConfigError(f"instance of {len(instance)} characters, limit {_MAX_INSTANCE_CHARS}")
    return TopicKey(instance, timespan(request.query_params.get("range", NOW.id)))


def _shape(panel: Panel) -> dict[str, object]:
    return {
        "id": panel.id,
        "title": panel.title,
        "unit": panel.unit,
        "kind": panel.kind,
        "top": panel.top,
        "empty": panel.empty,
        "note": panel.note,
        "queries": [{"legend": query.legend, "expr": query.expr, "down": query.down} for query in panel.queries],
    }


def _first(fleet: FleetList) -> str:
    return fleet.rows[0].instance if fleet.rows else ""


def _accepts_gzip(request: Request) -> bool:
    codings = request.headers.get("accept-encoding", "").split(",")
    return any(coding.strip().split(";")[0] == "gzip" for coding in codings)


def _file(request: Request, asset: Asset) -> Response:
    headers = _SECURITY_HEADERS | {
        "Cache-Control": asset.cache_control,
        "ETag": asset.etag,
        "Vary": "Accept-Encoding",
    }
    if request.headers.get("if-none-match") == asset.etag:
        return Response(None, 304, headers)
    if asset.encoding:
        headers["Content-Encoding"] = asset.encoding
    return Response(asset.content, 200, headers, asset.media_type)
