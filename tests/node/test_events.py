"""The node's log events have the fields of B43 and constant phrases."""

from __future__ import annotations

import structlog

from peerwatch.node.events import PHRASES, Event, EventType, event_note, log_event
from peerwatch.node.messages import decode_from_node, encode_message
from peerwatch.telemetry import get_logger
from tests.node.kit import NOW, PEERS

EVENT = Event(EventType.DIAL_FAILED, PEERS[0], 12.34567, "/ipfs/kad/1.0.0", "x" * 1000)


def test_every_event_has_a_phrase() -> None:
    """Each its own, at a level that loggers have."""
    assert set(PHRASES) == set(EventType)
    assert len({phrase.words for phrase in PHRASES.values()}) == len(EventType)
    assert {phrase.level for phrase in PHRASES.values()} <= {"debug", "info", "warning", "error"}


def test_fields() -> None:
    """Always the same four, and an error where there is one, cut short."""
    assert EVENT.fields() == {
        "event_type": "dial_failed",
        "peer_id": PEERS[0],
        "duration_ms": 12.346,
        "protocol": "kad",
        "error": "x" * 500,
    }
    assert Event(EventType.NODE_STARTED).fields() == {
        "event_type": "node_started",
        "peer_id": "",
        "duration_ms": 0.0,
        "protocol": "",
    }


def test_logged() -> None:
    """The phrase is constant; what varies is a field."""
    with structlog.testing.capture_logs() as logs:
        log_event(get_logger("node"), EVENT)
    assert logs == [{"event": "dial failed", "log_level": "warning", "place": "node", **EVENT.fields()}]


def test_carried_to_the_main_process() -> None:
    """As a note of the socket's protocol."""
    note = event_note(EVENT, NOW, lost=3)
    assert decode_from_node(encode_message(note)) == note
    assert (note.level, note.event, note.fields, note.lost) == ("warning", "dial failed", EVENT.fields(), 3)
