"""The routes by which a Prometheus scrapes the fleet: who is there, and what each last said."""

from __future__ import annotations

import re
from functools import partial

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from peerwatch.cli.query_routes import QueryParts
from peerwatch.collector.collector import Collector
from peerwatch.collector.targets import TARGETS_PATH, Said, Targets, metrics_path
from peerwatch.errors import PeerwatchError
from peerwatch.model import METRIC_NAME, Clock, Matcher, MatchOp
from peerwatch.query.endpoint import Endpoint
from peerwatch.query.prometheus import error_of
from peerwatch.settings import Settings
from peerwatch.wire.exposition import CONTENT_TYPE
from peerwatch.wire.identity_labels import INSTANCE
from peerwatch.wire.self_report import AGENT_INFO, STOP_TIME

_HOST = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


class SdRoutes:
    """`/api/v1/sd/targets` and `/api/v1/agents/{name}/metrics`. Their work takes turns with the queries'."""

    def __init__(self, settings: Settings, collector: Collector, query: QueryParts, clock: Clock) -> None:
        self._settings = settings
        self._collector = collector
        self._api = query.api
        self._endpoint = Endpoint(query.api.engine.options.limits.timeout_s, query.turns)
        self._clock = clock
        self._targets = Targets(settings.http_sd, settings.collector.default_job, clock.now_ms())

    def routes(self) -> list[BaseRoute]:
        """Both, for a hub's application."""
        return [Route(TARGETS_PATH, self._list), Route(metrics_path("{name}"), self._show)]

    async def _list(self, request: Request) -> Response:
        try:
            said = await self._said(request)
        except PeerwatchError as error:
            return _refused(error)
        hub = self._hub_url(request)
        if not hub:
            return _text(400, f"Host {request.headers.get('host', '')[:100]!r} is no HOST:PORT; or set hub.addresses")
        groups = self._targets.groups(self._collector.agents(), said, hub, self._clock.now_ms())
        return Response(msgspec.json.encode(groups), media_type="application/json")

    async def _show(self, request: Request) -> Response:
        name = request.path_params["name"]
        agent = self._collector.agent(name)
        if agent is None:
            return _text(404, f"no agent is called {name[:140]!r}: peerwatch agents")
        try:
            said = (await self._said(request, name)).get(name)
            if said is not None and said.has_left:
                return _text(503, f"{name} was stopped, and has said so")
            if not self._targets.is_live(agent, said, self._clock.now_ms()):
                gone_s = self._settings.http_sd.gone_after_s
                return _text(503, f"nothing came from {name} for more than {gone_s:g} s (http_sd.gone_after_s)")
            wants_times = request.query_params.get("timestamps", "") in ("1", "true")
            own_job = self._settings.collector.default_job
            page = await self._endpoint.run(partial(self._api.target_page, name, own_job, wants_times), request)
        except PeerwatchError as error:
            return _refused(error)
        return Response(page, headers={"content-type": CONTENT_TYPE})

    async def _said(self, request: Request, name: str = "") -> dict[str, Said]:
        """What agents, or this one, said of themselves; the newest of each."""
        matchers = [Matcher(METRIC_NAME, MatchOp.REGEX, f"{AGENT_INFO}|{STOP_TIME}")]
        if name:
            matchers.append(Matcher(INSTANCE, MatchOp.EQUAL, name))
        return self._targets.said_by(await self._endpoint.run(partial(self._api.newest, matchers), request))

    def _hub_url(self, request: Request) -> str:
        """Where whoever asks reaches this hub: at what is configured, else at what it asked for. Empty for nonsense."""
        if self._settings.hub.addresses:
            return self._settings.hub.addresses[0]
        host = request.headers.get("host", "")
        return f"{request.url.scheme}://{host}" if _HOST.fullmatch(host) else ""


def _refused(error: PeerwatchError) -> Response:
    return _text(error_of(error)[0], str(error))


def _text(status: int, message: str) -> Response:
    return Response(f"{message}\n", status, media_type="text/plain")
