"""MeshMetrics: what mesh probes found, as metrics: one set of series per partner, and none of those who are left."""

from __future__ import annotations

from collections.abc import Iterable

from peerwatch.fleet.partners import MAX_PARTNERS
from peerwatch.node.messages import Probe
from peerwatch.telemetry import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)  # a rack to a bad satellite link
_RESULTS = ("answered", "lost", "unreachable")
_DIALS = ("opened", "failed")
MAX_HUBS = 8
MAX_SHOWN = MAX_PARTNERS + MAX_HUBS
"""Partners with series at a time, 20 each; a further one is not shown."""


class MeshMetrics:
    """Mutable; owned by the event loop of the agent. Partners are called by their name in the roster."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._rtt = Histogram(
            "peerwatch_mesh_rtt_seconds",
            "Round trips to a partner, over libp2p's ping.",
            ["partner"],
            buckets=_BUCKETS,
            registry=self._registry,
        )
        self._probes = self._counter(
            "peerwatch_mesh_probes_total", "Probes of a partner; lost is what was sent and not answered.", "result"
        )
        self._dials = self._counter(
            "peerwatch_mesh_connections_total", "Connections to a partner that were tried for a probe.", "result"
        )
        self._partners = self._gauge("peerwatch_mesh_partners", "Partners that are measured now.")
        self._candidates = self._gauge("peerwatch_mesh_candidates", "Members of the fleet that listen for probes.")
        self._guests = self._gauge("peerwatch_mesh_visitors", "Members that may connect to measure this one.")
        self._lists = Counter(
            "peerwatch_mesh_lists_total", "Partner lists asked of the hub.", ["result"], registry=self._registry
        )
        for result in ("taken", "failed"):
            self._lists.labels(result)
        self._shown: set[str] = set()

    def _counter(self, name: str, words: str, label: str) -> Counter:
        return Counter(name, words, ["partner", label], registry=self._registry)

    def _gauge(self, name: str, words: str) -> Gauge:
        return Gauge(name, words, registry=self._registry)

    def asked(self, *, taken: bool) -> None:
        """The hub was asked for a list."""
        self._lists.labels("taken" if taken else "failed").inc()

    def show_fleet(self, candidates: int, visitors: int) -> None:
        """So many can be measured at all, so many may measure this one."""
        self._candidates.set(candidates)
        self._guests.set(visitors)

    def show(self, partners: Iterable[str]) -> None:
        """From now on these: the series of others end, new ones begin at 0."""
        wanted = set(list(partners)[:MAX_SHOWN])
        for partner in self._shown - wanted:
            self._rtt.remove(partner)
            for result in _RESULTS:
                self._probes.remove(partner, result)
            for result in _DIALS:
                self._dials.remove(partner, result)
        for partner in wanted - self._shown:
            self._rtt.labels(partner)
            for result in _RESULTS:
                self._probes.labels(partner, result)
            for result in _DIALS:
                self._dials.labels(partner, result)
        self._shown = wanted
        self._partners.set(len(wanted))

    def found(self, partner: str, probe: Probe) -> None:
        """One look at a partner; of one that is not shown any more it is left out."""
        if partner not in self._shown:
            return
        for rtt_us in probe.rtts_us:
            self._rtt.labels(partner).observe(rtt_us / 1e6)
        answered = len(probe.rtts_us)
        self._probes.labels(partner, "answered").inc(answered)
        self._probes.labels(partner, "lost").inc(max(0, probe.sent - answered))
        self._probes.labels(partner, "unreachable").inc(0 if probe.sent else 1)
        self._dials.labels(partner, "opened").inc(probe.opened)
        self._dials.labels(partner, "failed").inc(probe.failed)

    def render(self) -> bytes:
        """All of it, as Prometheus text."""
        return generate_latest(self._registry)
