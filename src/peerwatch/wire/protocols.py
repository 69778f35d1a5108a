"""Protocols: the names under which members speak to each other over libp2p (docs/formats/node.md)."""

from __future__ import annotations

PUSH = "/peerwatch/push/1"
"""A PushRequest, answered by a PushReply (docs/formats/envelope.md)."""

MEMBERSHIP = "/peerwatch/membership/1"
"""Anything, answered by the hub's signed word on who the hubs are."""

ENROL = "/peerwatch/enrol/1"
"""An EnrolRequest, answered by the hub's membership with the new member in it (docs/formats/membership.md)."""

ROSTER = "/peerwatch/roster/1"
"""A RosterQuestion of a hub or relay, answered by a RosterAnswer (docs/formats/membership.md)."""

PARTNERS = "/peerwatch/partners/1"
"""A member's PeerInfo (where it listens), answered by the hub's PartnerList: whom it probes and who may probe it."""
