"""What the host tells becomes the log events of B43: each with its kind, and never without bound."""

from __future__ import annotations

from typing import Any

import pytest
import structlog

from peerwatch.node.connection import (
    ConnectionClosed,
    ConnectionOpened,
    ConnectionRefused,
    Event,
    StreamClosed,
    StreamOpened,
    StreamRefused,
)
from peerwatch.node.gater import Direction
from peerwatch.node.journal import Journal
from peerwatch.testing.clock import ManualClock
from peerwatch.wire.identity import peer_id

MEMBER = b"m" * 32
HERE = "/ip4/192.0.2.1/tcp/1"
IN, OUT = Direction
OPENED = ConnectionOpened(MEMBER, HERE, IN)
STRANGER = ConnectionRefused(HERE, IN, "not_a_member", "it is no member")


def logged(journal: Journal, *events: Event) -> list[dict[str, Any]]:
    with structlog.testing.capture_logs() as logs:
        for event in events:
            journal.hear(event)
    return [dict(one) for one in logs]


@pytest.mark.parametrize(
    ("event", "kind", "fields"),
    [
        (OPENED, "connection_opened", {}),
        (ConnectionClosed(MEMBER, HERE, IN, 1.5, "remote"), "connection_closed", {"duration_ms": 1500.0}),
        (ConnectionClosed(MEMBER, HERE, IN, 1.5, "abuse"), "connection_closed", {"error": "abuse"}),
        (ConnectionClosed(MEMBER, HERE, IN, 1.5, "health"), "idle_closed", {"error": "health"}),
        (STRANGER, "connection_denied", {"error": f"not_a_member: {HERE}: it is no member"}),
        (ConnectionRefused(HERE, IN, "queue", "full"), "limit_reached", {}),
        (ConnectionRefused(HERE, IN, "malformed", "junk"), "handshake_failed", {}),
        (ConnectionRefused(HERE, OUT, "unreachable", "nobody"), "dial_failed", {}),
        (StreamClosed(MEMBER, "/ipfs/kad/1.0.0", IN, 0.5, "failed"), "stream_failed", {"protocol": "kad"}),
        (StreamRefused(MEMBER, "limit", "128 streams"), "stream_refused", {"error": "limit: 128 streams"}),
    ],
)
def test_each_event_has_its_kind(event: Event, kind: str, fields: dict[str, Any]) -> None:
    """With the peer, where it is known, and what went wrong."""
    (found,) = logged(Journal(ManualClock()), event)
    assert found["event_type"] == kind
    assert found["peer_id"] == ("" if isinstance(event, ConnectionRefused) else peer_id(MEMBER))
    assert fields.items() <= found.items()


def test_what_goes_as_it_should_is_no_event() -> None:
    """Streams come and go all the time."""
    streams = (StreamOpened(MEMBER, "/x", IN), StreamClosed(MEMBER, "/x", IN, 0.1, "closed"))
    assert logged(Journal(ManualClock()), *streams) == []


def test_a_crowd_does_not_fill_the_log() -> None:
    """A hundred at once, then five a second, and how many were left out; another kind is told all the same."""
    clock = ManualClock()
    journal = Journal(clock)
    found = logged(journal, *[STRANGER] * 10_000, OPENED)
    assert [one["event_type"] for one in found] == ["connection_denied"] * 100 + ["connection_opened"]
    clock.advance(1)
    found = logged(journal, *[STRANGER] * 10)
    assert len(found) == 5
    assert found[0]["left_out"] == 9_900 and all("left_out" not in one for one in found[1:])
