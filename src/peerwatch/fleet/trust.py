"""Trust: the root key says which hubs may sign, and until when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice

from peerwatch.errors import SignatureError
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.envelope import FLEET_BYTES
from peerwatch.wire.identity import KEY_BYTES, PrivateKey, Verifier, peer_id
from peerwatch.wire.signed import Domain, open_message, parse_message, sign_message, split_message

_MAX_HUBS = 256  # a fleet has one to a few; more is somebody filling memory
MAX_ROTATIONS = 256  # every member keeps the whole line; once a month is twenty years
HUB_CERTIFICATE_LIFE_MS = 2 * 365 * 86_400_000  # renewed at half life; a root kept offline is needed once a year


def fleet_id(first_root: bytes) -> bytes:
    """A fleet is named after its first root key, so the name survives every rotation."""
    return sha256(b"peerwatch/fleet/1\n" + first_root).digest()[:FLEET_BYTES]


@dataclass(frozen=True, slots=True)
class HubCertificate:
    """The root's word that `signing_key` is the hub's, from `not_before_ms` to `expires_ms`."""

    hub: bytes
    signing_key: bytes
    not_before_ms: int
    expires_ms: int
    serial: int


def certify_hub(root: PrivateKey, fleet: bytes, certificate: HubCertificate) -> bytes:
    """The signed bytes of a hub certificate."""
    payload = pb.HubCertificate(
        fleet=fleet,
        hub=certificate.hub,
        signing_key=certificate.signing_key,
        not_before_ms=certificate.not_before_ms,
        expires_ms=certificate.expires_ms,
        serial=certificate.serial,
    ).SerializeToString()
    return sign_message(root, Domain.HUB_CERTIFICATE, payload)


def certified_hub(raw: bytes) -> bytes:
    """The hub that a certificate names; nothing is verified. Raises PeerError for what is none."""
    return parse_message(pb.HubCertificate, split_message(raw)[0]).hub


def rotate_root(old: PrivateKey, fleet: bytes, new_root: bytes, serial: int) -> bytes:
    """The old root's signed word that `new_root` follows it."""
    payload = pb.RootRotation(fleet=fleet, old_root=old.public, new_root=new_root, serial=serial).SerializeToString()
    return sign_message(old, Domain.ROOT_ROTATION, payload)


class Trust:
    """What a member knows of its fleet's authorities. Owned by its process's membership; bounded at 256 hubs."""

    def __init__(self, fleet: bytes, root: bytes) -> None:
        self.fleet = fleet
        self.root = root
        self.rotations: list[bytes] = []
        self._certificates: dict[bytes, tuple[HubCertificate, bytes, Verifier]] = {}

    @property
    def certificates(self) -> list[bytes]:
        """The signed bytes of every certificate, for passing on."""
        return [raw for _, raw, _ in self._certificates.values()]

    def add_rotation(self, raw: bytes) -> None:
        """Follow the root to its successor. Raises SignatureError unless the present root signed it."""
        if len(self.rotations) >= MAX_ROTATIONS:
            raise SignatureError(f"root was rotated {MAX_ROTATIONS} times, the limit; found a new fleet")
        payload = open_message(raw, Domain.ROOT_ROTATION, Verifier(self.root))
        rotation = parse_message(pb.RootRotation, payload)
        if rotation.fleet != self.fleet or rotation.old_root != self.root or len(rotation.new_root) != KEY_BYTES:
            raise SignatureError("root rotation is for another fleet or another root")
        self.root = rotation.new_root
        self.rotations.append(raw)
        self._certificates.clear()  # the new root certifies the hubs anew; the old one may be in wrong hands

    def learn(self, rotations: Sequence[bytes], certificates: Iterable[bytes], now_ms: int) -> bool:
        """Take in what a hub handed out; whether anything was new. Raises SignatureError for a broken line of roots.

        A certificate that is not of the present root, or not of now, is left out: hubs hear of a rotation one by one.
        """
        if len(rotations) > MAX_ROTATIONS:
            raise SignatureError(f"{len(rotations)} root rotations, limit {MAX_ROTATIONS}")
        before = (len(self.rotations), self.certificates)
        for rotation in rotations[len(self.rotations) :]:
            self.add_rotation(rotation)
        for raw in islice(certificates, _MAX_HUBS):
            with suppress(SignatureError):
                self.add_certificate(raw, now_ms)
        return before != (len(self.rotations), self.certificates)

    def add_certificate(self, raw: bytes, now_ms: int) -> HubCertificate:
        """Believe a hub certificate. Raises SignatureError unless the root signed it, for this fleet, for now."""
        certificate = self._open(raw)
        if not certificate.not_before_ms <= now_ms < certificate.expires_ms:
            raise SignatureError(f"certificate of hub {_name(certificate.hub)} is not valid at {now_ms} ms")
        self._keep(certificate, raw)
        return certificate

    def restore_certificate(self, raw: bytes, now_ms: int) -> None:
        """Take one back from our own disk; an expired one is left behind."""
        certificate = self._open(raw)
        if now_ms < certificate.expires_ms:
            self._keep(certificate, raw)

    def _open(self, raw: bytes) -> HubCertificate:
        payload = open_message(raw, Domain.HUB_CERTIFICATE, Verifier(self.root))
        message = parse_message(pb.HubCertificate, payload)
        if message.fleet != self.fleet:
            raise SignatureError(f"hub certificate is for fleet {message.fleet.hex()}, this is {self.fleet.hex()}")
        return HubCertificate(
            message.hub, message.signing_key, message.not_before_ms, message.expires_ms, message.serial
        )

    def _keep(self, certificate: HubCertificate, raw: bytes) -> None:
        known = self._certificates.get(certificate.hub)
        if known is None and len(self._certificates) >= _MAX_HUBS:
            raise SignatureError(f"more than {_MAX_HUBS} hub certificates")
        if known is None or known[0].serial < certificate.serial:
            self._certificates[certificate.hub] = (certificate, raw, Verifier(certificate.signing_key))

    def certificate_expiry_ms(self, hub: bytes) -> int:
        """When this hub's certificate ends; 0 when it has none."""
        known = self._certificates.get(hub)
        return 0 if known is None else known[0].expires_ms

    def hub_verifier(self, hub: bytes, now_ms: int) -> Verifier:
        """The key by which this hub signs. Raises SignatureError for an unknown or expired hub."""
        known = self._certificates.get(hub)
        if known is None:
            raise SignatureError(f"hub {_name(hub)} holds no certificate of this fleet")
        if now_ms >= known[0].expires_ms:
            raise SignatureError(f"certificate of hub {_name(hub)} expired at {known[0].expires_ms} ms")
        return known[2]


def _name(member: bytes) -> str:
    return peer_id(member) if len(member) == KEY_BYTES else member.hex()[:64]
