"""HubApp: everything that a hub serves, put together: pushes, the Prometheus API, the page, its own health."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import anyio.to_thread
import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

import peerwatch
from peerwatch.collector.collector import Collector, statuses_as_rows
from peerwatch.collector.push_http import ENROL_PATH, PUSH_PATH, PushEndpoint
from peerwatch.errors import ConfigError, LinkError, PeerwatchError, QuotaError
from peerwatch.fleet.authority import Authority
from peerwatch.fleet.invite import DEFAULT_LIFE_MS, encode_token
from peerwatch.serve.gate import App, AsgiScope, Receive, Send
from peerwatch.telemetry import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

_MAX_ADMIN_BYTES = 64 << 10
_JSON = "application/json"
B = TypeVar("B", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the hub can take and answer; `reason` says why not."""

    ready: bool
    reason: str
    reporting: int


class InviteRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /api/v1/admin/invites`."""

    name: str = ""
    life_s: float = DEFAULT_LIFE_MS / 1000
    addresses: tuple[str, ...] = ()


class SnapshotRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /api/v1/admin/snapshot`."""

    target: str


@dataclass(frozen=True, slots=True)
class HubParts:
    """What the composition root hands in. `addresses` and `tls_pin` go into invites."""

    collector: Collector
    authority: Authority
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
        self._push = PushEndpoint(parts.collector, parts.authority, parts.max_request_bytes)
        routes: list[BaseRoute] = [
            Route("/metrics", self._metrics),
            Route("/metrics/node", self._node_metrics),
            Route("/health/live", self._live),
            Route("/health/ready", self._ready),
            Route("/-/healthy", self._healthy),
            Route("/-/ready", self._prometheus_ready),
            Route("/api/v1/agents", self._agents),
            Route("/api/v1/membership", self._membership),
            Route("/api/v1/admin/invites", _refusing(self._invite), methods=["POST"]),
            Route("/api/v1/admin/snapshot", _refusing(self._snapshot), methods=["POST"]),
            *parts.routes,
        ]
        self._rest: App = Starlette(routes=routes)
        self.fast = self._push.fast()
        """What a server's fast lane may answer."""
        self.routes = [(PUSH_PATH, ["POST"]), (ENROL_PATH, ["POST"]), *_paths(routes)]
        """(path, methods) of everything that is served."""

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] in (PUSH_PATH, ENROL_PATH):
            await self._push(scope, receive, send)
        else:
            await self._rest(scope, receive, send)

    async def _metrics(self, _: Request) -> Response:
        body = await anyio.to_thread.run_sync(generate_latest, self._parts.registry)
        return Response(body, media_type=CONTENT_TYPE_LATEST)

    async def _node_metrics(self, _: Request) -> Response:
        if self._parts.node_metrics is None:
            return Response("this hub has no libp2p node: set p2p.listen\n", 404, media_type="text/plain")
        try:
            return Response(await self._parts.node_metrics(), media_type=CONTENT_TYPE_LATEST)
        except LinkError as error:
            return Response(f"{error}\n", 503, media_type="text/plain")

    async def _live(self, _: Request) -> Response:
        return _json({"status": "ok"})

    async def _ready(self, _: Request) -> Response:
        found = self._parts.readiness()
        content = {
            "status": "ok" if found.ready else found.reason,
            "connected_peers": found.reporting,
            "routing_table_size": 0,  # without a libp2p node there is no routing table
            "uptime_seconds": round(time.monotonic() - self._started_s, 3),
        }
        return _json(content, 200 if found.ready else 503)

    async def _healthy(self, _: Request) -> Response:
        return Response("peerwatch is Healthy.\n", media_type="text/plain")

    async def _prometheus_ready(self, _: Request) -> Response:
        found = self._parts.readiness()
        text = "peerwatch is Ready.\n" if found.ready else f"{found.reason}\n"
        return Response(text, 200 if found.ready else 503, media_type="text/plain")

    async def _agents(self, _: Request) -> Response:
        return _json({"status": "success", "data": statuses_as_rows(self._parts.collector.agents())})

    async def _membership(self, _: Request) -> Response:
        """The hubs and their certificates, signed: what a member refreshes. Members' names are not in it."""
        return Response(self._parts.authority.membership.welcome(b""), media_type="application/x-protobuf")

    async def _invite(self, request: Request) -> Response:
        asked = await _body(request, InviteRequest)
        if not 60 <= asked.life_s <= 30 * 86_400:
            raise ConfigError(f"life_s: {asked.life_s:g}, allowed are 60 to {30 * 86_400}")
        addresses = asked.addresses or self._parts.addresses
        invite = self._parts.authority.invite(
            addresses, self._parts.tls_pin, round(asked.life_s * 1000), "https", asked.name
        )
        return _json({"token": encode_token(invite), "expires_ms": invite.expires_ms, "addresses": addresses})

    async def _snapshot(self, request: Request) -> Response:
        asked = await _body(request, SnapshotRequest)
        await anyio.to_thread.run_sync(self._parts.snapshot, asked.target)
        return _json({"target": asked.target, "version": peerwatch.__version__})


def _paths(routes: Sequence[BaseRoute]) -> list[tuple[str, list[str]]]:
    return [(one.path, sorted((one.methods or {"GET"}) - {"HEAD"})) for one in routes if isinstance(one, Route)]


async def _body(request: Request, kind: type[B]) -> B:
    raw = b""
    async for part in request.stream():
        raw += part
        if len(raw) > _MAX_ADMIN_BYTES:
            raise QuotaError(f"request of more than {_MAX_ADMIN_BYTES} bytes, the limit")
    try:
        return msgspec.json.decode(raw or b"{}", type=kind)
    except msgspec.DecodeError as error:
        raise ConfigError(f"request body: {error}") from error


def _refusing(handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
    """`handler`, with our own errors turned into Prometheus's error JSON."""

    async def answer(request: Request) -> Response:
        try:
            return await handler(request)
        except (ConfigError, QuotaError) as error:
            return _json({"status": "error", "errorType": "bad_data", "error": str(error)}, 400)
        except PeerwatchError as error:
            return _json({"status": "error", "errorType": "internal", "error": str(error)}, 500)

    return answer


def _json(content: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, media_type=_JSON)
