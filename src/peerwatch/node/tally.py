"""Tally: what the host tells, as the node's metrics."""

from __future__ import annotations

from collections.abc import Callable

from peerwatch.node.address import parse_address
from peerwatch.node.bans import Bans
from peerwatch.node.config import NodeConfig
from peerwatch.node.connection import (
    ConnectionClosed,
    ConnectionOpened,
    ConnectionRefused,
    Event,
    StreamClosed,
    StreamOpened,
    StreamRefused,
)
from peerwatch.node.gater import Direction, Reason
from peerwatch.node.held import Held
from peerwatch.node.keeper import Usage
from peerwatch.node.metrics import DialFailure, NatMethod, NodeMetrics
from peerwatch.node.turns import Turns
from peerwatch.telemetry import generate_latest, process_registry

_REASONS = {one.value: one for one in Reason}
_DIAL_FAILURES = {
    "unreachable": DialFailure.REFUSED,
    "timeout": DialFailure.TIMEOUT,
    "handshake": DialFailure.HANDSHAKE,
    "identity": DialFailure.HANDSHAKE,
    **{one.value: DialFailure.DENIED for one in Reason if one is not Reason.IDENTITY},
}


class Tally:
    """Mutable; owned by the node's event loop."""

    def __init__(self, config: NodeConfig, bans: Bans, usage: Callable[[], Usage], now_ms: Callable[[], int]) -> None:
        self._registry = process_registry()
        self.metrics = NodeMetrics(self._registry, config.limits, config.max_bans, mesh=config.mesh)
        self._bans = bans
        self._usage = usage
        self._now_ms = now_ms
        self._held: Held | None = None
        self._turns: Turns | None = None

    def watch(self, held: Held, turns: Turns) -> None:
        """What is shown of requests from now on, limits first."""
        self._held, self._turns = held, turns
        self.metrics.limit_requests(held.limit_bytes, turns.limits.max_waiting, turns.limits.max_running)

    def hear(self, event: Event) -> None:
        """One event of the host."""
        match event:
            case ConnectionOpened():
                self.metrics.connection_opened(event.direction)
                if event.punched:
                    self.metrics.reached(NatMethod.HOLE_PUNCH)
                elif event.direction is Direction.IN:
                    self.metrics.reached(NatMethod.RELAY if parse_address(event.address).relayed else NatMethod.DIRECT)
            case ConnectionClosed():
                self.metrics.connection_closed(event.direction)
            case ConnectionRefused():
                self._refused(event)
            case StreamOpened():
                self.metrics.stream_opened(event.direction)
            case StreamClosed():
                self.metrics.stream_closed(event.direction)
            case StreamRefused():
                self.metrics.stream_denied(event.reason)

    def _refused(self, event: ConnectionRefused) -> None:
        if event.reason in _REASONS:
            self.metrics.denied(_REASONS[event.reason])
        if event.direction is Direction.OUT:
            self.metrics.dial_failed(_DIAL_FAILURES.get(event.reason, DialFailure.OTHER))

    def render(self) -> bytes:
        """All of it, as Prometheus text."""
        usage = self._usage()
        self.metrics.show_pending(usage.pending, usage.waiting, usage.pending_per_subnet)
        self.metrics.show_negotiating(usage.negotiating)
        if self._held is not None and self._turns is not None:
            self.metrics.show_requests(self._held.bytes, self._turns.waiting, self._turns.running)
        self.metrics.show_relay(usage.relayed, usage.reservations)
        self.metrics.show_bans(len(self._bans.active(self._now_ms())))
        return generate_latest(self._registry)
