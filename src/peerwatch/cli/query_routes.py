"""QueryParts: engine, Prometheus API and page over one store."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import anyio
from starlette.routing import BaseRoute

import peerwatch
from peerwatch.cli.engine_client import EngineClient
from peerwatch.dashboard import Live
from peerwatch.dashboard import routes as dashboard_routes
from peerwatch.dashboard.config import Config as DashboardConfig
from peerwatch.model import Clock
from peerwatch.query.api import routes as api_routes
from peerwatch.query.engine import Engine
from peerwatch.query.lane import QueryLane
from peerwatch.query.prometheus import PrometheusApi
from peerwatch.query.status import ServerStatus
from peerwatch.query.turns import Turns
from peerwatch.store.store import Store
from peerwatch.telemetry import CollectorRegistry


@dataclass(frozen=True, slots=True)
class QueryParts:
    """What a hub serves to those who ask."""

    routes: list[BaseRoute]
    api: PrometheusApi
    turns: Turns
    lane: QueryLane
    client: EngineClient
    live: Live
    scope: anyio.CancelScope

    async def run(self) -> None:
        """Feed the live page until `close`."""
        with self.scope:
            await self.live.run()

    def close(self) -> None:
        """End every live stream, so that the server can stop."""
        self.scope.cancel()


def query_parts(store: Store, clock: Clock, registry: CollectorRegistry, status: ServerStatus) -> QueryParts:
    """Put together what answers queries over `store`."""
    engine = Engine(store, clock=clock)
    client = EngineClient(engine)
    live = Live(DashboardConfig(), client, clock, registry, boot=secrets.token_hex(4))
    api = PrometheusApi(store, engine, clock, version=peerwatch.__version__)
    turns = Turns()
    routes = [*api_routes(api, status, turns=turns), *dashboard_routes(live, clock)]
    return QueryParts(routes, api, turns, QueryLane(api, turns), client, live, anyio.CancelScope())
