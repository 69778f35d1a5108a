"""RosterView: who belongs to the fleet, as the main process told the node. A value; a new one takes its place whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from peerwatch.fleet.roster import RosterEntry
from peerwatch.wire.identity import peer_id

GUEST = "partner"
"""The role of a member that is let in only to be measured or to measure."""


@dataclass(frozen=True, slots=True)
class MemberView:
    """One active member. `expires_ms` 0: never."""

    roles: tuple[str, ...]
    expires_ms: int = 0


@dataclass(frozen=True, slots=True)
class RosterView:
    """Members by peer id (text). Whoever is revoked is not in it. An empty view lets nobody in: it fails closed."""

    version: int = 0
    members: Mapping[str, MemberView] = field(default_factory=dict)

    def is_member(self, peer: str, now_ms: int) -> bool:
        """Whether the peer may speak with us now."""
        member = self.members.get(peer)
        return member is not None and (member.expires_ms == 0 or now_ms < member.expires_ms)

    def has_role(self, peer: str, role: str, now_ms: int) -> bool:
        """Whether the peer is a member of this role now."""
        return self.is_member(peer, now_ms) and role in self.members[peer].roles

    def is_of_the_fleet(self, peer: str) -> bool:
        """Whether the peer is of the fleet, and no guest."""
        member = self.members.get(peer)
        return member is not None and GUEST not in member.roles

    def with_guests(self, guests: Mapping[str, MemberView]) -> RosterView:
        """The same with others beside; whoever is in the roster is as that says."""
        return replace(self, members={**guests, **self.members})

    def gone_since(self, older: RosterView) -> list[str]:
        """Who was a member and is not listed any more: their connections are to be closed."""
        return [peer for peer in older.members if peer not in self.members]


class Members(Protocol):
    """Whom the main process knows: `fleet.roster.Roster`, or a part of one. `changes` tells that it is another now."""

    @property
    def version(self) -> int: ...

    @property
    def changes(self) -> int: ...

    def __iter__(self) -> Iterator[RosterEntry]: ...

    def may_act(self, entry: RosterEntry, now_ms: int) -> bool: ...


def view_of(roster: Members, now_ms: int) -> RosterView:
    """What the main process tells its node: whoever may act now, open invites included. 15 us per member."""
    members = {
        peer_id(entry.member): MemberView(entry.roles, entry.expires_ms)
        for entry in roster
        if roster.may_act(entry, now_ms)
    }
    return RosterView(roster.version, members)
