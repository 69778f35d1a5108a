"""ShipMetrics: what the shippers of one agent count."""

from __future__ import annotations

from collections.abc import Callable

from peerwatch.telemetry import CollectorRegistry, Counter, Gauge


class ShipMetrics:
    """Made once per registry and shared by the shippers of all hubs, which bear the label `hub`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._batches = Counter(
            "peerwatch_ship_batches_total",
            "Batches, by what the hub made of them.",
            ["hub", "result"],
            registry=registry,
        )
        self._failures = Counter(
            "peerwatch_ship_link_failures_total",
            "Deliveries that failed and are tried again.",
            ["hub"],
            registry=registry,
        )
        self._bytes = Counter("peerwatch_ship_sent_bytes_total", "Bytes of push requests.", ["hub"], registry=registry)
        self._pending = Gauge(
            "peerwatch_ship_pending_batches", "Batches not yet acknowledged.", ["hub"], registry=registry
        )
        self._held = Gauge(
            "peerwatch_ship_held_batches", "Batches kept aside after a refusal.", ["hub"], registry=registry
        )

    def of(self, hub: str, pending: Callable[[], int], held: Callable[[], int]) -> HubMetrics:
        """The metrics of one hub; `pending` and `held` are asked at every scrape."""
        self._pending.labels(hub).set_function(pending)
        self._held.labels(hub).set_function(held)
        return HubMetrics(hub, self._batches, (self._failures, self._bytes, self._pending, self._held))


class HubMetrics:
    """The metrics of one shipper. `rest` are failures, sent bytes, pending and held."""

    def __init__(self, hub: str, batches: Counter, rest: tuple[Counter, Counter, Gauge, Gauge]) -> None:
        self._hub = hub
        self._batches = batches
        self._rest = rest
        self._failures = rest[0].labels(hub)
        self._bytes = rest[1].labels(hub)
        self._results: set[str] = set()

    def batches(self, result: str, count: int = 1) -> None:
        """`count` batches ended so."""
        self._results.add(result)
        self._batches.labels(self._hub, result).inc(count)

    def failed(self) -> None:
        """A delivery failed and is tried again."""
        self._failures.inc()

    def sent(self, size_bytes: int) -> None:
        """A request went out."""
        self._bytes.inc(size_bytes)

    def end(self) -> None:
        """Nothing is delivered to this hub any more: its series end."""
        for one in self._rest:
            one.remove(self._hub)
        for result in self._results:
            self._batches.remove(self._hub, result)
