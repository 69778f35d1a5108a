"""Events: what the node logs (requirement B43): constant phrases with the same few fields, for Loki or ELK."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

from peerwatch.node.messages import Logged
from peerwatch.node.protocol_label import protocol_label
from peerwatch.telemetry import Logger

_MAX_ERROR_CHARS = 500  # errors may quote what a peer sent


class EventType(Enum):
    """The `event_type` field."""

    NODE_STARTED = "node_started"
    NODE_STOPPED = "node_stopped"
    CONNECTION_OPENED = "connection_opened"
    CONNECTION_CLOSED = "connection_closed"
    CONNECTION_DENIED = "connection_denied"
    DIAL_FAILED = "dial_failed"
    HANDSHAKE_FAILED = "handshake_failed"
    STREAM_FAILED = "stream_failed"
    STREAM_REFUSED = "stream_refused"
    IDLE_CLOSED = "idle_closed"
    PEER_BANNED = "peer_banned"
    BAN_LIFTED = "ban_lifted"
    MEMBER_REVOKED = "member_revoked"
    LIMIT_REACHED = "limit_reached"


@dataclass(frozen=True, slots=True)
class Phrase:
    """How an event is logged."""

    level: str
    words: str


PHRASES: Mapping[EventType, Phrase] = MappingProxyType(
    {
        EventType.NODE_STARTED: Phrase("info", "node started"),
        EventType.NODE_STOPPED: Phrase("info", "node stopped"),
        EventType.CONNECTION_OPENED: Phrase("info", "connection opened"),
        EventType.CONNECTION_CLOSED: Phrase("info", "connection closed"),
        EventType.CONNECTION_DENIED: Phrase("warning", "connection denied"),
        EventType.DIAL_FAILED: Phrase("warning", "dial failed"),
        EventType.HANDSHAKE_FAILED: Phrase("warning", "handshake failed"),
        EventType.STREAM_FAILED: Phrase("warning", "stream failed"),
        EventType.STREAM_REFUSED: Phrase("warning", "stream refused"),
        EventType.IDLE_CLOSED: Phrase("info", "idle connection closed"),
        EventType.PEER_BANNED: Phrase("warning", "peer banned"),
        EventType.BAN_LIFTED: Phrase("info", "ban lifted"),
        EventType.MEMBER_REVOKED: Phrase("warning", "member revoked"),
        EventType.LIMIT_REACHED: Phrase("warning", "limit reached"),
    }
)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. What is not known is empty or 0; `error` is left out when there is none."""

    type: EventType
    peer_id: str = ""
    duration_ms: float = 0.0
    protocol: str = ""
    error: str = ""

    def fields(self) -> dict[str, str | int | float]:
        """The fields of B43, always all of them but `error`."""
        found: dict[str, str | int | float] = {
            "event_type": self.type.value,
            "peer_id": self.peer_id,
            "duration_ms": round(self.duration_ms, 3),
            "protocol": protocol_label(self.protocol) if self.protocol else "",
        }
        if self.error:
            found["error"] = self.error[:_MAX_ERROR_CHARS]
        return found


def log_event(log: Logger, event: Event) -> None:
    """Write it to a log."""
    phrase = PHRASES[event.type]
    getattr(log, phrase.level)(phrase.words, **event.fields())


def event_note(event: Event, time_ms: int, lost: int = 0) -> Logged:
    """The note that carries it to the main process, for one log of both."""
    phrase = PHRASES[event.type]
    return Logged(level=phrase.level, event=phrase.words, fields=event.fields(), time_ms=time_ms, lost=lost)
