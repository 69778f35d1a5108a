"""Authority: the hub's side of membership. It founds the fleet, invites, lets in and puts out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from peerwatch.errors import ConfigError, QuotaError, SignatureError
from peerwatch.fleet.invite import Enrolment, Invite, open_enrolment
from peerwatch.fleet.keys import MemberKeys, load_key, load_or_create_key, load_or_create_keys
from peerwatch.fleet.membership import Membership, new_membership
from peerwatch.fleet.roster import AGENT, HUB, INVITE, NAME_RULE, RosterEntry, sign_entry, signer_of, valid_name
from peerwatch.fleet.trust import HUB_CERTIFICATE_LIFE_MS, HubCertificate, certify_hub
from peerwatch.model import Clock
from peerwatch.wire.identity import PrivateKey, peer_id

_MAX_OPEN_INVITES = 1_000  # an invite lives a day; a thousand open ones are a script gone wrong


class Authority:
    """Signs roster entries with the hub's key. One owner: the hub's event loop; every change is on disk on return."""

    def __init__(self, membership: Membership, keys: MemberKeys, clock: Clock) -> None:
        self.membership = membership
        self.keys = keys
        self._clock = clock

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
            authority = cls(Membership.load(path, clock.now_ms()), keys, clock)
        except FileNotFoundError:
            root = load_or_create_key(folder / "root.key")
            authority = cls(new_membership(path, root.public), keys, clock)
        authority._certify(folder / "root.key")
        known = authority.membership.roster.get(authority.member)
        if known is None or known.roles != roles:
            authority.admit(authority.member, keys.signing.public, name, roles)
        return authority

    def _certify(self, root_path: Path) -> None:
        """Hold a certificate with more than half its life left, or say who must renew it."""
        now_ms = self._clock.now_ms()
        trust = self.membership.trust
        if trust.certificate_expiry_ms(self.member) - now_ms > HUB_CERTIFICATE_LIFE_MS // 2:
            return
        try:
            root = load_key(root_path)
        except FileNotFoundError:
            trust.hub_verifier(self.member, now_ms)  # past half its life but valid: goes on without the root
            return
        if root.public != trust.root:
            raise ConfigError(f"{root_path} is not the root key of this fleet")
        certificate = HubCertificate(
            hub=self.member,
            signing_key=self.keys.signing.public,
            not_before_ms=now_ms - 86_400_000,  # members whose clock is a day slow believe it too
            expires_ms=now_ms + HUB_CERTIFICATE_LIFE_MS,
            serial=now_ms,
        )
        trust.add_certificate(certify_hub(root, self.fleet, certificate), now_ms)
        self.membership.save()

    def admit(
        self, member: bytes, signing_key: bytes, name: str, roles: tuple[str, ...], expires_ms: int = 0
    ) -> RosterEntry:
        """Sign a member in, under `name` or, when another member bears it, `name-2` and so on."""
        if not valid_name(name):
            raise ConfigError(f"name {name!r} is not allowed: {NAME_RULE}")
        known = self.membership.roster.get(member)
        self._check_never_revoked(member, signing_key)
        entry = RosterEntry(
            member=member,
            signing_key=signing_key,
            name=known.name if known is not None else self._free_name(name),
            roles=roles,
            expires_ms=expires_ms,
            version=self.membership.roster.version + 1,
            revoked=False,
        )
        self._publish(entry)
        return entry

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
            self._publish(entry)
            self.take_over_from_revoked()
        return entry

    def _member_called(self, who: str) -> RosterEntry:
        """Peer ids first: a machine may call itself by the peer id of another."""
        members = [entry for entry in self.membership.roster if INVITE not in entry.roles]
        found = [entry for entry in members if peer_id(entry.member) == who]
        found = found or [entry for entry in members if entry.name == who]
        acting = [entry for entry in found if not entry.revoked]
        if len(acting) > 1:  # two hubs that did not know of each other gave the same name
            ids = ", ".join(peer_id(entry.member) for entry in acting)
            raise ConfigError(f"{who} is the name of {len(acting)} members; revoke one by its peer id: {ids}")
        if not found:
            raise ConfigError(f"no member has the name or peer id {who[:140]!r}: peerwatch agents --all")
        return acting[0] if acting else found[-1]

    def take_over_from_revoked(self) -> None:
        """Sign again what hubs have signed that are revoked by now, so that every hub can believe it."""
        roster = self.membership.roster
        for entry in list(roster):
            if not roster.is_revoked_key(entry.member) and roster.is_revoked_key(signer_of(roster.raw(entry.member))):
                self._sign(replace(entry, version=roster.version + 1))
        self.membership.save()

    def _free_name(self, name: str) -> str:
        taken = {entry.name for entry in self.membership.roster if not entry.revoked}
        number = 2
        free = name
        while free in taken:
            free = f"{name}-{number}"
            number += 1
        return free

    def _publish(self, entry: RosterEntry) -> None:
        self._sign(entry)
        self.membership.save()

    def _sign(self, entry: RosterEntry) -> None:
        raw = sign_entry(self.keys.signing, self.member, self.fleet, entry)
        self.membership.roster.merge(raw, self._clock.now_ms())

    def invite(self, addresses: tuple[str, ...], tls_pin: bytes, life_ms: int, link: str, name: str = "") -> Invite:
        """A one-use way in. `name`, where given, is what the machine will be called whatever it says itself."""
        now_ms = self._clock.now_ms()
        open_invites = sum(INVITE in entry.roles and entry.active(now_ms) for entry in self.membership.roster)
        if open_invites >= _MAX_OPEN_INVITES:
            raise QuotaError(f"{open_invites} invites are open, limit {_MAX_OPEN_INVITES}; they expire by themselves")
        if name and not valid_name(name):
            raise ConfigError(f"name {name!r} is not allowed: {NAME_RULE}")
        key = PrivateKey.generate()
        expires_ms = now_ms + life_ms
        label = name or f"invite-{key.public.hex()[:12]}"
        roles = (INVITE, AGENT) if name else (INVITE,)
        self.admit(key.public, key.public, label, roles, expires_ms)
        return Invite(self.fleet, self.membership.trust.root, key, addresses, tls_pin, expires_ms, link)

    def enrol(self, raw: bytes) -> RosterEntry:
        """Let the machine in that sent this request, and spend its invite. Raises SignatureError with the reason."""
        enrolment = open_enrolment(raw)
        if enrolment.fleet != self.fleet:
            raise SignatureError(f"enrolment is for fleet {enrolment.fleet.hex()}, this is {self.fleet.hex()}")
        invite = self.membership.roster.get(enrolment.invite)
        if invite is None or INVITE not in invite.roles:
            raise SignatureError("this invite is unknown here; ask for a new one: peerwatch invite")
        if invite.revoked:
            return self._enrolled_before(enrolment)
        if not invite.active(self._clock.now_ms()):
            raise SignatureError("this invite has expired; ask for a new one: peerwatch invite")
        self._check_never_revoked(enrolment.member, enrolment.signing_key)  # before a use is lost
        self._spend(invite)
        name = invite.name if AGENT in invite.roles else enrolment.name
        return self.admit(enrolment.member, enrolment.signing_key, name, (AGENT,))

    def _enrolled_before(self, enrolment: Enrolment) -> RosterEntry:
        """The answer got lost and the same machine asks again: it gets the same answer; anybody else is refused."""
        entry = self.membership.roster.get(enrolment.member)
        if entry is None or entry.signing_key != enrolment.signing_key or entry.revoked:
            raise SignatureError("this invite has been used; ask for a new one: peerwatch invite")
        return entry

    def _spend(self, invite: RosterEntry) -> None:
        version = self.membership.roster.version + 1
        self._publish(
            RosterEntry(
                invite.member, invite.signing_key, invite.name, invite.roles, invite.expires_ms, version, revoked=True
            )
        )
