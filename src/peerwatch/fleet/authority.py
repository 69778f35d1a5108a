"""Authority: the hub's side of membership. It founds the fleet, invites, lets in and puts out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from peerwatch.errors import ConfigError, QuotaError, SignatureError
from peerwatch.fleet.invite import MAX_INVITE_MULTIADDRS, TOKEN_PREFIX, Enrolment, Invite, decode_token, open_enrolment
from peerwatch.fleet.keys import MemberKeys, load_or_create_key, load_or_create_keys
from peerwatch.fleet.membership import Membership, new_membership
from peerwatch.fleet.root import ROOT_FILE, Root
from peerwatch.fleet.roster import (
    AGENT,
    HUB,
    INVITE,
    MAX_ADDRESSES,
    MAX_INVITES,
    NAME_RULE,
    RELAY,
    RosterEntry,
    sign_entry,
    signer_of,
    valid_name,
)
from peerwatch.fleet.settlement import namesakes, orphans, overuses
from peerwatch.fleet.trust import HUB_CERTIFICATE_LIFE_MS
from peerwatch.model import Clock
from peerwatch.wire.identity import PrivateKey, peer_id

MAX_USES = 1_000  # of one invite: a rack, an autoscaling group; a token that lets in more is a key under the mat
_GIVEN_ROLES = ((AGENT,), (HUB,), (HUB, AGENT), (RELAY,))
_OWN_IN_INVITE = 4  # of a hub's multiaddrs: two networks, IPv4 and IPv6; the roster has the others
_MAX_OPEN_INVITES = 1_000  # an invite lives a day; a thousand open ones are a script gone wrong


class Authority:
    """Signs roster entries with the hub's key. One owner: the hub's event loop; every change is on disk on return.

    A change that cannot be written raises StoreError and counts all the same; asked for again, it is written.
    """

    def __init__(self, membership: Membership, keys: MemberKeys, clock: Clock, folder: Path) -> None:
        self.membership = membership
        self.keys = keys
        self.root = Root(folder, membership)
        self.on_change: Callable[[], None] = lambda: None
        """Called whenever the membership has changed, in the thread of the change. Set by the hub."""
        self._clock = clock
        self._is_kept = True

    @property
    def fleet(self) -> bytes:
        """The fleet's name: 16 bytes."""
        return self.membership.fleet

    @property
    def member(self) -> bytes:
        """This hub's member id."""
        return self.keys.peer.public

    @classmethod
    def open(cls, folder: Path, name: str, clock: Clock, roles: tuple[str, ...] = (HUB, AGENT)) -> Authority:
        """The authority in `folder`; the first start founds the fleet. Raises ConfigError for a damaged one."""
        keys = load_or_create_keys(folder)
        path = folder / "membership.bin"
        try:
            authority = cls(Membership.load(path, clock.now_ms()), keys, clock, folder)
        except FileNotFoundError:
            root = load_or_create_key(folder / ROOT_FILE)
            authority = cls(new_membership(path, root.public), keys, clock, folder)
        authority._certify(name, roles)
        known = authority.membership.roster.get(authority.member)
        if known is None or known.roles != roles:
            authority.admit(authority.member, keys.signing.public, name, roles)
        return authority

    def _certify(self, name: str, roles: tuple[str, ...]) -> None:
        """Hold a certificate with more than half its life left, or say who must renew it."""
        now_ms, trust = self._clock.now_ms(), self.membership.trust
        if trust.certificate_expiry_ms(self.member) - now_ms > HUB_CERTIFICATE_LIFE_MS // 2:
            return
        root = self.root.key()
        if root is None:
            self._check_certified()  # past half its life but valid: goes on without the root
            return
        me = RosterEntry(self.member, self.keys.signing.public, name, roles, 0, 0, revoked=False)
        self.root.certify(me, root, now_ms)
        self.membership.save()

    def _check_certified(self) -> None:
        try:
            self.membership.trust.hub_verifier(self.member, self._clock.now_ms())
        except SignatureError as error:
            me = peer_id(self.member)
            raise SignatureError(f"{error}; on the hub that has the root key: peerwatch root certify {me}") from error

    def renew_certificates(self) -> None:
        """Renew every hub's certificate that is past half its life, where the root key is here."""
        if self.root.renew(self._clock.now_ms()):
            self._save()

    def certify(self, who: str) -> RosterEntry:
        """Certify a hub that has joined. Raises ConfigError where it is no hub, or the root key is not here."""
        entry = self._member_called(who)
        if not entry.is_hub or entry.revoked:
            raise ConfigError(f"{entry.name} is no hub of this fleet; it must join by: peerwatch invite --roles hub")
        self.root.certify(entry, self.root.needed(), self._clock.now_ms())
        self._save()
        return entry

    def rotate_root(self) -> bytes:
        """Replace the root key; the new one's public half. A new version of the roster makes all members look."""
        new = self.root.rotate(self._clock.now_ms())
        me = self.membership.roster.get(self.member)
        if me is not None:
            self._sign(replace(me, version=self.membership.roster.version + 1))
        self._save()
        return new

    def admit(
        self, member: bytes, signing_key: bytes, name: str, roles: tuple[str, ...], expires_ms: int = 0
    ) -> RosterEntry:
        """Sign a member in, under `name` or, when another member bears it, `name-2` and so on."""
        self._check_never_revoked(member, signing_key)
        entry = self._entry(member, signing_key, name, roles, expires_ms)
        self._publish(entry)
        return entry

    def _entry(
        self, member: bytes, signing_key: bytes, name: str, roles: tuple[str, ...], expires_ms: int = 0
    ) -> RosterEntry:
        known = self.membership.roster.get(member)
        if known is None:
            version = self.membership.roster.version + 1
            return RosterEntry(member, signing_key, self._free_name(name), roles, expires_ms, version, revoked=False)
        return replace(
            known,
            signing_key=signing_key,
            roles=roles,
            expires_ms=expires_ms,
            version=self.membership.roster.version + 1,
        )

    def _check_never_revoked(self, member: bytes, signing_key: bytes) -> None:
        if self.membership.roster.is_revoked_key(member) or self.membership.roster.is_revoked_key(signing_key):
            raise SignatureError(
                f"{peer_id(member)} was revoked; a revoked key never comes back. To let the machine in again, remove "
                "its keys (the folder `agent` in its data folder) and join with a new invite"
            )

    def revoke(self, who: str) -> RosterEntry:
        """Put a member out for good, by its peer id or its name. Revoking it again changes nothing.

        What a revoked hub has signed is signed again by this one: members that it let in stay, others believe none of
        its signatures any more. Raises ConfigError for somebody who is not known, and for this hub itself.
        """
        entry = self._member_called(who)
        if entry.member == self.member:
            raise ConfigError(f"{entry.name} is this hub, which cannot revoke itself; ask another hub of the fleet")
        if not entry.revoked:
            entry = replace(entry, version=self.membership.roster.version + 1, revoked=True)
            self._sign(entry)
            self._sign_again(orphans(self.membership.roster))
            self._save()
        self.keep()
        return entry

    def _member_called(self, who: str) -> RosterEntry:
        """Peer ids first: a machine may call itself by the peer id of another."""
        members = [entry for entry in self.membership.roster if not entry.is_invite]
        found = [entry for entry in members if peer_id(entry.member) == who]
        found = found or [entry for entry in members if entry.name == who]
        acting = [entry for entry in found if not entry.revoked]
        if len(acting) > 1:  # two hubs that did not know of each other gave the same name
            ids = ", ".join(peer_id(entry.member) for entry in acting)
            raise ConfigError(f"{who} is the name of {len(acting)} members; revoke one by its peer id: {ids}")
        if not found:
            raise ConfigError(f"no member has the name or peer id {who[:140]!r}: peerwatch agents --all")
        return acting[0] if acting else found[-1]

    def settle(self) -> None:
        """Put in order what hubs that did not know of each other have decided, after theirs was merged; on disk then.

        See `settlement`.
        """
        roster, now_ms = self.membership.roster, self._clock.now_ms()
        roster.forget_invites(now_ms)
        if self.is_revoked:  # nobody would believe it
            self._save()
            return
        self._sign_again(orphans(roster))
        self._sign_again(overuses(roster))
        self._sign_again(namesakes(roster, now_ms))
        self._save()

    def absorb(self, raw: bytes) -> None:
        """Take in a membership that another hub hands out. Raises PeerError, what was believed before it kept."""
        before = self.membership.export()
        self.membership.absorb(raw, self._clock.now_ms())
        if self.membership.export() != before:
            self.settle()

    @property
    def is_revoked(self) -> bool:
        """Whether this hub was put out of its fleet, by another hub."""
        return self.membership.roster.is_revoked_key(self.member)

    def announce(self, addresses: tuple[str, ...], tls_pin: bytes, multiaddrs: tuple[str, ...]) -> None:
        """Say in this hub's own entry where it is reached: over HTTPS, and over libp2p. Silent where it is said so."""
        known = self.membership.roster.get(self.member)
        if known is None or self.is_revoked:
            return
        said = replace(
            known, addresses=addresses[:MAX_ADDRESSES], tls_pin=tls_pin, multiaddrs=multiaddrs[:MAX_ADDRESSES]
        )
        if said != known:
            self._publish(replace(said, version=self.membership.roster.version + 1))
        self.keep()

    @property
    def multiaddrs(self) -> tuple[str, ...]:
        """Where this hub said last that its libp2p node is reached."""
        known = self.membership.roster.get(self.member)
        return known.multiaddrs if known is not None else ()

    def others(self) -> list[RosterEntry]:
        """The other hubs of the fleet that say where they are."""
        roster, now_ms = self.membership.roster, self._clock.now_ms()
        hubs = [entry for entry in roster if entry.is_hub and entry.member != self.member and entry.addresses]
        return [entry for entry in hubs if roster.may_act(entry, now_ms)]

    def _sign_again(self, entries: Iterable[RosterEntry]) -> None:
        for entry in entries:
            self._sign(replace(entry, version=self.membership.roster.version + 1))

    def _free_name(self, name: str) -> str:
        """An open invite holds its name for the one machine that it lets in."""
        if not valid_name(name):
            raise ConfigError(f"name {name!r} is not allowed: {NAME_RULE}")
        taken = {entry.name for entry in self.membership.roster if not entry.revoked and entry.uses == 1}
        number = 2
        free = name
        while free in taken:
            free = f"{name}-{number}"
            number += 1
        return free

    def _publish(self, entry: RosterEntry) -> None:
        self._sign(entry)
        self._save()

    def _save(self) -> None:
        """What cannot be written counts all the same, as a revocation must; `keep` writes it once that is possible."""
        self._is_kept = False
        try:
            self.keep()
        finally:
            self.on_change()

    def keep(self) -> None:
        """Write what could not be written when it was decided, on a disk that was full. Raises StoreError."""
        if not self._is_kept:
            self.membership.save()
            self._is_kept = True

    def _sign(self, entry: RosterEntry) -> None:
        raw = sign_entry(self.keys.signing, self.member, self.fleet, entry)
        self.membership.roster.merge(raw, self._clock.now_ms())

    def invite(
        self,
        addresses: tuple[str, ...],
        tls_pin: bytes,
        life_ms: int,
        link: str,
        name: str = "",
        *,
        roles: tuple[str, ...] = (AGENT,),
        uses: int = 1,
    ) -> Invite:
        """A way in for `uses` machines. `name`, where given, is what they are called whatever they say themselves."""
        now_ms = self._clock.now_ms()
        open_invites = len(self.open_invites())
        if open_invites >= _MAX_OPEN_INVITES:
            raise QuotaError(f"{open_invites} invites are open, limit {_MAX_OPEN_INVITES}; they expire by themselves")
        if name and not valid_name(name):
            raise ConfigError(f"name {name!r} is not allowed: {NAME_RULE}")
        if not 1 <= uses <= MAX_USES:
            raise ConfigError(f"uses: {uses}, allowed are 1 to {MAX_USES}")
        if roles not in _GIVEN_ROLES:
            allowed = ", ".join("+".join(one) for one in _GIVEN_ROLES)
            raise ConfigError(f"roles: {'+'.join(roles)}, allowed are {allowed}")
        key = PrivateKey.generate()
        label = name or _label(key.public)
        invite = self._entry(key.public, key.public, self._free_name(label), (INVITE, *roles), now_ms + life_ms)
        self._publish(replace(invite, uses=uses))
        return Invite(
            self.fleet,
            self.membership.trust.root,
            key,
            addresses,
            tls_pin,
            now_ms + life_ms,
            link,
            roles,
            self._multiaddrs_of_hubs(),
        )

    def _multiaddrs_of_hubs(self) -> tuple[str, ...]:
        """This hub's, and the first of each other hub: where a machine asks when this one is gone."""
        spare = [entry.multiaddrs[0] for entry in self.others() if entry.multiaddrs]
        return (*self.multiaddrs[:_OWN_IN_INVITE], *spare)[:MAX_INVITE_MULTIADDRS]

    def open_invites(self) -> list[RosterEntry]:
        """Those that still let somebody in, soonest to expire first."""
        roster, now_ms = self.membership.roster, self._clock.now_ms()
        found = [entry for entry in roster if entry.is_invite and entry.active(now_ms) and self.uses_left(entry)]
        return sorted(found, key=lambda entry: entry.expires_ms)

    def uses_left(self, invite: RosterEntry) -> int:
        """How many machines it still lets in, were it neither expired nor withdrawn."""
        return max(0, invite.uses - len(self.membership.roster.came_by(invite.member)))

    def withdraw(self, which: str) -> RosterEntry:
        """Make an open invite useless; `which` is its name in the list, or the token itself. Who came by it stays."""
        key = decode_token(which).key.public if which.startswith(TOKEN_PREFIX) else b""
        found = [entry for entry in self.open_invites() if entry.name == which or entry.member == key]
        if not found:
            raise ConfigError(f"no open invite is called {which[:140]!r}: peerwatch invites")
        gone = replace(found[0], version=self.membership.roster.version + 1, revoked=True)
        self._publish(gone)
        return gone

    def enrol(self, raw: bytes) -> RosterEntry:
        """Let the machine in that sent this request: one use of its invite. Raises SignatureError with the reason."""
        enrolment = open_enrolment(raw)
        if enrolment.fleet != self.fleet:
            raise SignatureError(f"enrolment is for fleet {enrolment.fleet.hex()}, this is {self.fleet.hex()}")
        invite = self.membership.roster.get(enrolment.invite)
        if invite is None or not invite.is_invite:
            raise SignatureError("this invite is unknown here; ask for a new one: peerwatch invite")
        known = self._enrolled_before(enrolment, invite)
        if known is not None:
            self.keep()
            return known
        if invite.revoked or not self.uses_left(invite):
            gone = "was withdrawn" if self.uses_left(invite) else "has been used"
            raise SignatureError(f"this invite {gone}; ask for a new one: peerwatch invite")
        if not invite.active(self._clock.now_ms()):
            raise SignatureError("this invite has expired; ask for a new one: peerwatch invite")
        return self._let_in(enrolment, invite)

    def _enrolled_before(self, enrolment: Enrolment, invite: RosterEntry) -> RosterEntry | None:
        """The answer got lost and the same machine asks again: it gets the same answer, and no use is counted."""
        entry = self.membership.roster.get(enrolment.member)
        if entry is None or entry.revoked or entry.signing_key != enrolment.signing_key:
            return None
        before_they_were_noted = not entry.invites and invite.revoked
        return entry if invite.member in entry.invites or before_they_were_noted else None

    def _let_in(self, enrolment: Enrolment, invite: RosterEntry) -> RosterEntry:
        """Sign the member in and, after the last use, the invite out: on disk together."""
        self._check_never_revoked(enrolment.member, enrolment.signing_key)  # before a use is lost
        known = self.membership.roster.get(enrolment.member)
        invites = (*(known.invites if known is not None else ()), invite.member)
        if len(invites) > MAX_INVITES:
            raise QuotaError(f"this machine has joined by {MAX_INVITES} invites, the limit: revoke it and use new keys")
        is_ours = signer_of(self.membership.roster.raw(invite.member)) == self.member
        is_last = self.uses_left(invite) == 1
        if is_last:  # first, so that the name that it held is free
            self._sign(replace(invite, version=self.membership.roster.version + 1, revoked=True))
        name = invite.name if invite.name != _label(invite.member) else enrolment.name
        roles = tuple(role for role in invite.roles if role != INVITE) or (AGENT,)
        entry = replace(self._entry(enrolment.member, enrolment.signing_key, name, roles), invites=invites)
        self._sign(entry)
        if entry.is_hub and is_ours:
            self._certify_invited(entry)
        self._save()
        return entry

    def _certify_invited(self, hub: RosterEntry) -> None:
        """Only for an invite of this hub's own: else any hub could have others certified by the root that lies here."""
        root = self.root.key()
        if root is not None:
            self.root.certify(hub, root, self._clock.now_ms())


def _label(invite: bytes) -> str:
    """What an invite without a name is called: as its key is random, nobody can ask for this name beforehand."""
    return f"invite-{invite.hex()[:12]}"
