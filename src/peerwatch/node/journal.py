"""Journal: what the host tells, as log events (requirement B43), a bounded number of each kind."""

from __future__ import annotations

from peerwatch.model import Clock
from peerwatch.node.bucket import TokenBucket
from peerwatch.node.connection import (
    ConnectionClosed,
    ConnectionOpened,
    ConnectionRefused,
    StreamClosed,
    StreamRefused,
)
from peerwatch.node.connection import Event as HostEvent
from peerwatch.node.events import Event, EventType, log_event
from peerwatch.node.gater import Direction
from peerwatch.telemetry import get_logger
from peerwatch.wire.identity import peer_id

_AT_ONCE, _PER_S = 100.0, 5.0  # of one kind: a restart of a rack is told whole, ten thousand strangers are not
_FAULTS = frozenset({"health", "frozen", "abuse", "stuck", "banned", "roster"})
"""Ends of a connection that somebody should know the reason of."""
_LIMITS = frozenset({"limit", "queue"})
_BROKEN = frozenset({"handshake", "malformed", "timeout", "identity"})

_log = get_logger("node")


class Journal:
    """Mutable; owned by the node's event loop. Of each kind of event 100 are logged at once and 5 per second after.

    What is left out is counted, and the count is a field of the next one of that kind: a crowd of strangers does not
    fill the disk, and nobody takes silence for peace.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: dict[EventType, TokenBucket] = {}
        self._left_out: dict[EventType, int] = {}

    def hear(self, event: HostEvent) -> None:
        """One event of the host; streams that come and go as they should are none."""
        told = _event_of(event)
        if told is not None:
            self.tell(told)

    def tell(self, event: Event) -> None:
        """Log it, or count it."""
        now_s = self._clock.monotonic_s()
        bucket = self._buckets.setdefault(event.type, TokenBucket(_AT_ONCE, _PER_S, now_s))
        if bucket.take(1, now_s):
            self._left_out[event.type] = self._left_out.get(event.type, 0) + 1
            return
        left_out = self._left_out.pop(event.type, 0)
        log_event(_log.bind(left_out=left_out) if left_out else _log, event)


def _event_of(event: HostEvent) -> Event | None:
    match event:
        case ConnectionOpened():
            return Event(EventType.CONNECTION_OPENED, peer_id(event.member))
        case ConnectionClosed():
            fault = event.reason if event.reason in _FAULTS else ""
            kind = EventType.IDLE_CLOSED if event.reason == "health" else EventType.CONNECTION_CLOSED
            return Event(kind, peer_id(event.member), event.lasted_s * 1000, error=fault)
        case ConnectionRefused():
            return Event(_refusal(event), error=f"{event.reason}: {event.address}: {event.words}")
        case StreamClosed(reason="failed"):
            lasted_ms = event.lasted_s * 1000
            return Event(EventType.STREAM_FAILED, peer_id(event.member), lasted_ms, event.protocol, event.reason)
        case StreamRefused():
            return Event(EventType.STREAM_REFUSED, peer_id(event.member), error=f"{event.reason}: {event.words}")
        case _:
            return None


def _refusal(event: ConnectionRefused) -> EventType:
    if event.direction is Direction.OUT:
        return EventType.DIAL_FAILED
    if event.reason in _LIMITS:
        return EventType.LIMIT_REACHED
    return EventType.HANDSHAKE_FAILED if event.reason in _BROKEN else EventType.CONNECTION_DENIED
