"""Membership: what one process knows of its fleet, kept on disk."""

from __future__ import annotations

from pathlib import Path

from peerwatch.errors import ConfigError, DecodeError, SignatureError
from peerwatch.fleet.files import read_private, write_private
from peerwatch.fleet.roster import Roster
from peerwatch.fleet.trust import Trust, fleet_id
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.identity import Verifier
from peerwatch.wire.signed import parse_message

FORMAT = 2  # docs/formats/membership.md; 1 had neither uses of invites nor addresses of hubs


class Membership:
    """Trust and roster, and the file that they live in. Owned by the hub's authority or by the agent."""

    def __init__(self, path: Path, fleet: bytes, first_root: bytes) -> None:
        self._path = path
        self._first_root = first_root
        self.trust = Trust(fleet, first_root)
        self.roster = Roster(self.trust)

    @property
    def fleet(self) -> bytes:
        """The fleet's name: 16 bytes."""
        return self.trust.fleet

    @classmethod
    def load(cls, path: Path, now_ms: int) -> Membership:
        """The membership in `path`. Raises FileNotFoundError when there is none, ConfigError when it is damaged."""
        try:
            message = parse_message(pb.Membership, read_private(path))
            if message.format > FORMAT:
                raise DecodeError(f"it has format {message.format}, this version reads up to {FORMAT}")
            membership = cls(path, message.fleet, message.root)
            membership._restore(message, now_ms)
        except (DecodeError, SignatureError) as error:
            raise ConfigError(f"{path} cannot be used: {error}; restore it from a backup, or join again") from error
        return membership

    def _restore(self, message: pb.Membership, now_ms: int) -> None:
        for raw in message.rotations:
            self.trust.add_rotation(raw)
        for raw in message.certificates:
            self.trust.restore_certificate(raw, now_ms)
        for raw in message.roster:
            self.roster.restore(raw)

    def hub_verifier(self, hub: bytes, now_ms: int) -> Verifier:
        """The key by which this hub signs. Raises SignatureError for an unknown, expired or revoked hub."""
        if self.roster.is_revoked_key(hub):
            raise SignatureError(f"hub {hub.hex()[:64]} was revoked")
        return self.trust.hub_verifier(hub, now_ms)

    def save(self) -> None:
        """Write everything to disk, atomically. Raises StoreError."""
        write_private(self._path, self.export())

    def export(self) -> bytes:
        """All that is known, for disk and for a member that joins."""
        return pb.Membership(
            roster=self.roster.raw_entries(),
            certificates=self.trust.certificates,
            rotations=self.trust.rotations,
            roster_version=self.roster.version,
            fleet=self.fleet,
            root=self._first_root,
            format=FORMAT,
        ).SerializeToString()

    def welcome(self, member: bytes) -> bytes:
        """What a member needs: the authorities, the hubs and relays, its own entry; not who else there is."""
        wanted = [one.member for one in self.roster if one.is_hub or one.is_relay or one.member == member]
        return pb.Membership(
            roster=[self.roster.raw(one) for one in wanted],
            certificates=self.trust.certificates,
            rotations=self.trust.rotations,
            roster_version=self.roster.version,
            fleet=self.fleet,
            root=self._first_root,
            format=FORMAT,
        ).SerializeToString()

    def absorb(self, raw: bytes, now_ms: int) -> None:
        """Take in what a hub sent: every piece is verified by its own signature. Raises PeerError, changes kept."""
        message = parse_message(pb.Membership, raw)
        self.trust.learn(message.rotations, message.certificates, now_ms)
        for entry in message.roster:
            self.roster.merge(entry, now_ms)


def membership_from_hub(path: Path, raw: bytes, fleet: bytes, root: bytes, now_ms: int) -> Membership:
    """What a hub answered to a machine that joins, believed from the fleet's name on.

    The name commits to the first root; each rotation is signed by the root before it, and `root`, the one in the
    token, must be in that line. Raises SignatureError when it is another fleet's answer.
    """
    message = parse_message(pb.Membership, raw)
    if fleet_id(message.root) != fleet:
        raise SignatureError(f"the hub answered for another fleet than {fleet.hex()}")
    membership = Membership(path, fleet, message.root)
    line = {message.root}
    for rotation in message.rotations:
        membership.trust.add_rotation(rotation)
        line.add(membership.trust.root)
    if root not in line:
        raise SignatureError("the token's root key is not of this fleet's line of roots")
    membership.absorb(raw, now_ms)
    return membership


def new_membership(path: Path, first_root: bytes) -> Membership:
    """An empty membership of the fleet that this root key founds."""
    return Membership(path, fleet_id(first_root), first_root)
