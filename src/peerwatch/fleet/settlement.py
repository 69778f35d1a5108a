"""Settlement: what follows once hubs that did not hear of each other have merged what each of them decided.

Every hub decides alike, so that they agree in the end without asking who was first. Each of these yields entries that
are to be signed anew, one at a time: what was signed counts for the next, so sign each before asking for more.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from peerwatch.fleet.roster import Roster, RosterEntry, signer_of

_MAX_STEM = 119  # of a name, where a dash and 8 digits follow


def orphans(roster: Roster) -> Iterator[RosterEntry]:
    """What hubs have signed that are revoked by now, so that every hub can believe it.

    Their invites are revoked: nobody should come in by what a hub gave out that is not trusted any more.
    """
    for entry in list(roster):
        if not roster.is_revoked_key(entry.member) and roster.is_revoked_key(signer_of(roster.raw(entry.member))):
            yield replace(entry, revoked=entry.revoked or entry.is_invite)


def overuses(roster: Roster) -> Iterator[RosterEntry]:
    """Who came by an invite that was used too often, on two hubs at once: revoked.

    Every hub picks the same ones: the first by version and member stay.
    """
    for invite in [entry for entry in roster if entry.is_invite]:
        for entry in roster.came_by(invite.member)[invite.uses :]:
            if not entry.revoked:
                yield replace(entry, revoked=True)


def namesakes(roster: Roster, now_ms: int) -> Iterator[RosterEntry]:
    """Two hubs may have given one name to two machines: the later one gets some of its key added."""
    acting = sorted(
        (entry for entry in roster if not entry.is_invite and roster.may_act(entry, now_ms)),
        key=lambda entry: (entry.version, entry.member),
    )
    taken: set[str] = set()
    for entry in acting:
        if entry.name in taken:
            yield replace(entry, name=f"{entry.name[:_MAX_STEM]}-{entry.member.hex()[:8]}")
        taken.add(entry.name)
