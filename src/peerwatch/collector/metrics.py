"""CollectorMetrics: what the collector counts of itself."""

from __future__ import annotations

from collections.abc import Callable

from peerwatch.telemetry import CollectorRegistry, Counter, Gauge


class CollectorMetrics:
    """Made once per collector. Owned by it."""

    def __init__(self, registry: CollectorRegistry, reporting: Callable[[], int]) -> None:
        self._batches = Counter(
            "peerwatch_collector_batches_total",
            "Batches received, by what became of them.",
            ["result"],
            registry=registry,
        )
        self._by_result: dict[str, Counter] = {}
        self.samples = Counter("peerwatch_collector_samples_total", "Samples made durable.", registry=registry)
        self.received_bytes = Counter(
            "peerwatch_collector_received_bytes_total", "Bytes of push requests.", registry=registry
        )
        self.junk = Counter(
            "peerwatch_collector_junk_requests_total", "Push requests that could not be read.", registry=registry
        )
        gauge = Gauge("peerwatch_collector_members_reporting", "Members that report now.", registry=registry)
        gauge.set_function(reporting)

    def batches(self, result: str) -> Counter:
        """The counter of batches with this result; looked up once per result, since that costs more than counting."""
        found = self._by_result.get(result)
        if found is None:
            found = self._by_result[result] = self._batches.labels(result)
        return found
