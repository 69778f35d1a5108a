"""RemoteWriteMetrics: what the receiver counts of itself."""

from __future__ import annotations

from collections.abc import Callable

from peerwatch.collector.remote_write.receiver import Outcome
from peerwatch.telemetry import CollectorRegistry, Counter, Gauge


class RemoteWriteMetrics:
    """Made once per hub. Owned by the endpoint."""

    def __init__(self, registry: CollectorRegistry, series: Callable[[], int], max_series: int) -> None:
        self._requests = Counter(
            "peerwatch_remote_write_requests_total",
            "Remote write requests, by the status of their answer.",
            ["status"],
            registry=registry,
        )
        self._samples = Counter(
            "peerwatch_remote_write_samples_total", "Remote-written samples made durable.", registry=registry
        )
        self._histograms = Counter(
            "peerwatch_remote_write_histograms_total",
            "Remote-written native histograms made durable.",
            registry=registry,
        )
        self._refused = Counter(
            "peerwatch_remote_write_refused_samples_total",
            "Remote-written samples not stored, by reason.",
            ["reason"],
            registry=registry,
        )
        self._exemplars = Counter(
            "peerwatch_remote_write_exemplars_dropped_total",
            "Exemplars that came with samples; none is stored.",
            registry=registry,
        )
        self.received_bytes = Counter(
            "peerwatch_remote_write_received_bytes_total", "Bytes of remote write requests.", registry=registry
        )
        known = Gauge(
            "peerwatch_remote_write_series", "Remote-written series of the last hour or two.", registry=registry
        )
        known.set_function(series)
        limit = Gauge("peerwatch_remote_write_series_limit", "Limit of these series.", registry=registry)
        limit.set(max_series)

    def request(self, status: int) -> None:
        """Count an answer."""
        self._requests.labels(str(status)).inc()

    def stored(self, outcome: Outcome, exemplars: int) -> None:
        """Count what became of a request's samples."""
        self._samples.inc(outcome.samples)
        self._histograms.inc(outcome.histograms)
        self._exemplars.inc(exemplars)
        for reason, count in outcome.refused.items():
            self._refused.labels(reason).inc(count)
