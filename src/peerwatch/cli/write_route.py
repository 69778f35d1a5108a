"""The route by which remote writers come in, put together."""

from __future__ import annotations

from starlette.routing import Route

from peerwatch.cli.watched_store import WatchedStore
from peerwatch.collector.collector import Collector
from peerwatch.collector.remote_write.door import WRITE_PATH, RemoteWriteEndpoint
from peerwatch.collector.remote_write.metrics import RemoteWriteMetrics
from peerwatch.collector.remote_write.receiver import RemoteWriteReceiver
from peerwatch.model import Clock
from peerwatch.settings import Settings
from peerwatch.telemetry import CollectorRegistry


def write_route(
    settings: Settings, collector: Collector, store: WatchedStore, clock: Clock, registry: CollectorRegistry
) -> Route:
    """`/api/v1/write` over the collector's committer."""
    config, limits = settings.remote_write, settings.collector.limits
    tolerance_ms = settings.collector.future_tolerance_ms
    receiver = RemoteWriteReceiver(collector.committer, config, limits, tolerance_ms, lambda: store.horizon_ms, clock)
    metrics = RemoteWriteMetrics(registry, lambda: receiver.series, config.max_series)
    endpoint = RemoteWriteEndpoint(receiver, limits, config.max_bodies, metrics)
    return Route(WRITE_PATH, endpoint, methods=["POST"])
