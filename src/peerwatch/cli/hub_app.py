"""HubApp: everything that a hub serves, put together: pushes, the Prometheus API, the page, its own health."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import anyio.to_thread
import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

import peerwatch
from peerwatch.cli.admin_request import NO_NODE, json_answer, read_body, refusing
from peerwatch.cli.fleet_admin import FleetAdmin
from peerwatch.collector.collector import Collector, statuses_as_rows
from peerwatch.collector.push_http import ENROL_PATH, PUSH_PATH, PushEndpoint
from peerwatch.errors import LinkError
from peerwatch.fleet.authority import Authority
from peerwatch.fleet.exchange import ROSTER_PATH
from peerwatch.model import Clock
from peerwatch.serve.gate import App, AsgiScope, Receive, Send
from peerwatch.telemetry import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

_PUSH_PATHS = (PUSH_PATH, ENROL_PATH, ROSTER_PATH)


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the hub can take and answer; `reason` says why not. Without a libp2p node peers are agents."""

    ready: bool
    reason: str
    connected_peers: int
    routing_table_size: int


class SnapshotRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /api/v1/admin/snapshot`."""

    target: str


@dataclass(frozen=True, slots=True)
class HubParts:
    """What the composition root hands in. `addresses` and `tls_pin` go into invites."""

    collector: Collector
    authority: Authority
    clock: Clock
    registry: CollectorRegistry
    readiness: Callable[[], Readiness]
    snapshot: Callable[[str], None]
    addresses: tuple[str, ...]
    tls_pin: bytes
    max_request_bytes: int
    routes: Sequence[BaseRoute]
    node_metrics: Callable[[], Awaitable[bytes]] | None = None
    """The libp2p node's own metrics, where there is one."""


class HubApp:
    """ASGI application. Pushes go straight to the collector; all else through Starlette."""

    def __init__(self, parts: HubParts) -> None:
        self._parts = parts
        self._started_s = time.monotonic()
        self._tasks = Gauge("peerwatch_hub_tasks", "Tasks in the hub's event loop.", registry=parts.registry)
        self._push = PushEndpoint(parts.collector, parts.authority, parts.clock, parts.max_request_bytes)
        routes: list[BaseRoute] = [
            Route("/metrics", self._metrics),
            Route("/metrics/node", self._node_metrics),
            Route("/health/live", self._live),
            Route("/health/ready", self._ready),
            Route("/-/healthy", self._healthy),
            Route("/-/ready", self._prometheus_ready),
            Route("/api/v1/agents", self._agents),
            Route("/api/v1/membership", self._membership),
            Route("/api/v1/admin/snapshot", refusing(self._snapshot), methods=["POST"]),
            *FleetAdmin(parts.authority, parts.addresses, parts.tls_pin).routes(),
            *parts.routes,
        ]
        self._rest: App = Starlette(routes=routes)
        self.fast = self._push.fast()
        """What a server's fast lane may answer."""
        self.routes = [*((path, ["POST"]) for path in _PUSH_PATHS), *_paths(routes)]
        """(path, methods) of everything that is served."""

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] in _PUSH_PATHS:
            await self._push(scope, receive, send)
        else:
            await self._rest(scope, receive, send)

    async def _metrics(self, _: Request) -> Response:
        self._tasks.set(len(anyio.get_running_tasks()))
        body = await anyio.to_thread.run_sync(generate_latest, self._parts.registry)
        return Response(body, media_type=CONTENT_TYPE_LATEST)

    async def _node_metrics(self, _: Request) -> Response:
        if self._parts.node_metrics is None:
            return Response(f"{NO_NODE}\n", 404, media_type="text/plain")
        try:
            return Response(await self._parts.node_metrics(), media_type=CONTENT_TYPE_LATEST)
        except LinkError as error:
            return Response(f"{error}\n", 503, media_type="text/plain")

    async def _live(self, _: Request) -> Response:
        return json_answer({"status": "ok"})

    async def _ready(self, _: Request) -> Response:
        found = self._parts.readiness()
        content = {
            "status": "ok" if found.ready else found.reason,
            "connected_peers": found.connected_peers,
            "routing_table_size": found.routing_table_size,
            "uptime_seconds": round(time.monotonic() - self._started_s, 3),
        }
        return json_answer(content, 200 if found.ready else 503)

    async def _healthy(self, _: Request) -> Response:
        return Response("peerwatch is Healthy.\n", media_type="text/plain")

    async def _prometheus_ready(self, _: Request) -> Response:
        found = self._parts.readiness()
        text = "peerwatch is Ready.\n" if found.ready else f"{found.reason}\n"
        return Response(text, 200 if found.ready else 503, media_type="text/plain")

    async def _agents(self, request: Request) -> Response:
        revoked = request.query_params.get("revoked", "") in ("1", "true")
        return json_answer(
            {"status": "success", "data": statuses_as_rows(self._parts.collector.agents(revoked=revoked))}
        )

    async def _membership(self, _: Request) -> Response:
        """The hubs and their certificates, signed: what a member refreshes. Members' names are not in it."""
        return Response(self._parts.authority.membership.welcome(b""), media_type="application/x-protobuf")

    async def _snapshot(self, request: Request) -> Response:
        asked = await read_body(request, SnapshotRequest)
        await anyio.to_thread.run_sync(self._parts.snapshot, asked.target)
        return json_answer({"target": asked.target, "version": peerwatch.__version__})


def _paths(routes: Sequence[BaseRoute]) -> list[tuple[str, list[str]]]:
    return [(one.path, sorted((one.methods or {"GET"}) - {"HEAD"})) for one in routes if isinstance(one, Route)]
