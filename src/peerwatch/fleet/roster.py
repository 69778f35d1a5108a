"""Roster: who belongs to the fleet. A set of individually signed entries that merges in any order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from peerwatch.errors import DecodeError, SignatureError
from peerwatch.fleet.trust import Trust
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.identity import KEY_BYTES, PrivateKey
from peerwatch.wire.signed import Domain, open_message, parse_message, sign_message, split_message

MAX_MEMBERS = 100_000  # thirty times the largest fleet that is planned for; an entry costs about 1 KB
_REMEMBERED_MS = 30 * 86_400_000  # how long an invite is kept after its time, for those who ask again
MAX_INVITES = 16  # by which one machine came; it comes by one, and by another when it joins again
MAX_ADDRESSES = 16
MAX_ADDRESS_CHARS = 256
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")
NAME_RULE = "1 to 128 letters, digits, dots, dashes or underscores, with a letter or digit at both ends"

AGENT = "agent"
HUB = "hub"
INVITE = "invite"
RELAY = "relay"
_ROLES = frozenset({AGENT, HUB, INVITE, RELAY})


def valid_name(name: str) -> bool:
    """Whether `name` may name a member; it becomes the `instance` label."""
    return _NAME.fullmatch(name) is not None


@dataclass(frozen=True, slots=True)
class RosterEntry:
    """A member: `member` is its peer key, `signing_key` signs its batches. `expires_ms` 0 means never.

    An open invite is a member too, with the role `invite` beside those that it gives; it lets `uses` machines in, and
    these say in `invites` by which ones they came. `addresses` and `tls_pin` are where others reach a hub over HTTPS,
    `multiaddrs` where its libp2p node is, as the hub itself says: each is checked by whoever dials it.
    """

    member: bytes
    signing_key: bytes
    name: str
    roles: tuple[str, ...]
    expires_ms: int
    version: int
    revoked: bool
    uses: int = 1
    invites: tuple[bytes, ...] = ()
    addresses: tuple[str, ...] = ()
    tls_pin: bytes = b""
    multiaddrs: tuple[str, ...] = ()

    @property
    def is_invite(self) -> bool:
        """Whether it is an invite, open or not, and no machine."""
        return INVITE in self.roles

    @property
    def is_hub(self) -> bool:
        """Whether it is a hub: an invite for one is none."""
        return HUB in self.roles and not self.is_invite

    @property
    def is_agent(self) -> bool:
        """Whether it reports: an invite for an agent does not."""
        return AGENT in self.roles and not self.is_invite

    @property
    def is_relay(self) -> bool:
        """Whether it is a node that runs alone: it carries connections for members, and neither reports nor stores."""
        return RELAY in self.roles and not self.is_invite

    def active(self, now_ms: int) -> bool:
        """Whether it is neither revoked nor expired; whether the member may act is `Roster.may_act`."""
        return not self.revoked and (self.expires_ms == 0 or now_ms < self.expires_ms)


def sign_entry(key: PrivateKey, signer: bytes, fleet: bytes, entry: RosterEntry) -> bytes:
    """The signed bytes of an entry; `signer` is the member id of the hub whose signing key `key` is."""
    payload = pb.RosterEntry(
        fleet=fleet,
        member=entry.member,
        signing_key=entry.signing_key,
        name=entry.name,
        roles=entry.roles,
        expires_ms=entry.expires_ms,
        version=entry.version,
        revoked=entry.revoked,
        signer=signer,
        uses=entry.uses if entry.uses > 1 else 0,
        invites=entry.invites,
        addresses=entry.addresses,
        tls_pin=entry.tls_pin,
        multiaddrs=entry.multiaddrs,
    ).SerializeToString()
    return sign_message(key, Domain.ROSTER_ENTRY, payload)


def supersedes(new: RosterEntry, old: RosterEntry) -> bool:
    """Whether `new` takes the place of `old`: revocation always wins, else the higher version."""
    if new.revoked != old.revoked:
        return new.revoked
    return new.version > old.version


def _replaces(new: RosterEntry, raw: bytes, old: RosterEntry, old_raw: bytes) -> bool:
    """`supersedes`, with entries of one version (two hubs that did not know of each other) settled by their bytes.

    So every member settles them alike, whatever the order of arrival.
    """
    if (new.revoked, new.version) == (old.revoked, old.version):
        return raw > old_raw
    return supersedes(new, old)


def _is_forgotten(entry: RosterEntry, now_ms: int) -> bool:
    return entry.is_invite and 0 < entry.expires_ms < now_ms - _REMEMBERED_MS


def signer_of(raw: bytes) -> bytes:
    """The member id of the hub that signed an entry of the roster."""
    return parse_message(pb.RosterEntry, split_message(raw)[0]).signer


class Roster:
    """The members known here. Owned by its process's membership; bounded at `MAX_MEMBERS` (more: SignatureError)."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust
        self._entries: dict[bytes, tuple[RosterEntry, bytes]] = {}
        self._members_of: dict[str, set[bytes]] = {}
        self._revoked_keys: set[bytes] = set()
        self._came_by: dict[bytes, set[bytes]] = {}
        self.version = 0
        self.changes = 0
        """Entries taken in so far: tells a copy that it is old. The version does not, for hubs' entries may cross."""

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[RosterEntry]:
        return iter([entry for entry, _ in self._entries.values()])

    def get(self, member: bytes) -> RosterEntry | None:
        """The member's entry, revoked or expired ones included."""
        found = self._entries.get(member)
        return None if found is None else found[0]

    def may_act(self, entry: RosterEntry, now_ms: int) -> bool:
        """Whether this member may act now. A revoked key never comes back, not as part of another entry either."""
        if not entry.active(now_ms):
            return False
        barred = self._revoked_keys
        return not barred or not (entry.member in barred or entry.signing_key in barred)

    def came_by(self, invite: bytes) -> list[RosterEntry]:
        """Every machine that this invite let in, those that were revoked since included, in the order of versions."""
        found = [self._entries[member][0] for member in self._came_by.get(invite, ())]
        return sorted(found, key=lambda entry: (entry.version, entry.member))

    def is_revoked_key(self, key: bytes) -> bool:
        """Whether it was a key of somebody who was revoked, or of an invite that is spent."""
        return key in self._revoked_keys

    def named(self, name: str) -> list[RosterEntry]:
        """Every entry of that name, by member: one that may act at most, and those that were revoked before it."""
        return [self._entries[member][0] for member in sorted(self._members_of.get(name, ()))]

    def raw(self, member: bytes) -> bytes:
        """The signed bytes of a member's entry. Raises KeyError for a stranger."""
        return self._entries[member][1]

    def raw_entries(self, now_ms: int = 0) -> list[bytes]:
        """The signed bytes of every entry, for passing on and for disk; of forgotten invites only without a time."""
        return [raw for entry, raw in self._entries.values() if not _is_forgotten(entry, now_ms)]

    def forget_invites(self, now_ms: int) -> None:
        """Let go of invites that expired long ago: they would fill the roster in the end, and let nobody in."""
        for entry in [entry for entry in self if _is_forgotten(entry, now_ms)]:
            del self._entries[entry.member]
            self._members_of[entry.name].discard(entry.member)

    def merge(self, raw: bytes, now_ms: int) -> RosterEntry | None:
        """Take an entry in; the entry when it changed something, else None.

        Raises SignatureError unless a hub of this fleet, certified for now, signed it, and DecodeError for nonsense.
        """
        entry = self._open(raw, now_ms)
        known = self._entries.get(entry.member)
        if _is_forgotten(entry, now_ms):
            return None
        if known is None and len(self._entries) >= MAX_MEMBERS:
            raise SignatureError(f"roster is full: {MAX_MEMBERS} members")
        if known is not None and not _replaces(entry, raw, *known):
            return None
        self._keep(entry, raw)
        return entry

    def restore(self, raw: bytes) -> None:
        """Take an entry back from our own disk: it was verified when it came, its signer may have expired since."""
        payload, _, _ = split_message(raw)
        self._keep(_checked(parse_message(pb.RosterEntry, payload)), raw)

    def _keep(self, entry: RosterEntry, raw: bytes) -> None:
        known = self.get(entry.member)
        if known is not None and known.name != entry.name:
            self._members_of[known.name].discard(entry.member)
        for invite in entry.invites:
            self._came_by.setdefault(invite, set()).add(entry.member)
        if entry.revoked:
            self._revoked_keys |= {entry.member, entry.signing_key}
        self._members_of.setdefault(entry.name, set()).add(entry.member)
        self._entries[entry.member] = (entry, raw)
        self.version = max(self.version, entry.version)
        self.changes += 1

    def _open(self, raw: bytes, now_ms: int) -> RosterEntry:
        payload, _, _ = split_message(raw)
        message = parse_message(pb.RosterEntry, payload)
        if message.fleet != self._trust.fleet:
            raise SignatureError(f"roster entry is for fleet {message.fleet.hex()}, this is {self._trust.fleet.hex()}")
        if message.signer in self._revoked_keys:
            raise SignatureError(f"roster entry signed by {message.signer.hex()[:64]}, a hub that was revoked")
        open_message(raw, Domain.ROSTER_ENTRY, self._trust.hub_verifier(message.signer, now_ms))
        return _checked(message)


def _checked(message: pb.RosterEntry) -> RosterEntry:
    if len(message.member) != KEY_BYTES or len(message.signing_key) != KEY_BYTES:
        raise DecodeError("roster entry with a key that is not 32 bytes long")
    if not valid_name(message.name):
        raise DecodeError(f"roster name {message.name[:140]!r} is not allowed: {NAME_RULE}")
    if not message.roles or not _ROLES.issuperset(message.roles):
        raise DecodeError(f"roster roles {list(message.roles)[:8]} are not among {sorted(_ROLES)}")
    if len(message.invites) > MAX_INVITES or any(len(one) != KEY_BYTES for one in message.invites):
        raise DecodeError(f"roster entry that names {len(message.invites)} invites, limit {MAX_INVITES}, 32 bytes each")
    addresses, multiaddrs = tuple(message.addresses), tuple(message.multiaddrs)
    for listed in (addresses, multiaddrs):
        if len(listed) > MAX_ADDRESSES or any(len(one) > MAX_ADDRESS_CHARS for one in listed):
            raise DecodeError(
                f"roster entry of {len(listed)} addresses, limits {MAX_ADDRESSES} and {MAX_ADDRESS_CHARS} characters"
            )
    return RosterEntry(
        member=message.member,
        signing_key=message.signing_key,
        name=message.name,
        roles=tuple(message.roles),
        expires_ms=message.expires_ms,
        version=message.version,
        revoked=message.revoked,
        uses=max(1, message.uses),
        invites=tuple(message.invites),
        addresses=addresses,
        tls_pin=message.tls_pin,
        multiaddrs=multiaddrs,
    )
