"""Root: what the holder of the fleet's root key does with it. Whoever has the key decides who the hubs are."""

from __future__ import annotations

from pathlib import Path

from peerwatch.errors import ConfigError
from peerwatch.fleet.keys import load_key, save_key
from peerwatch.fleet.membership import Membership
from peerwatch.fleet.roster import RosterEntry
from peerwatch.fleet.trust import HUB_CERTIFICATE_LIFE_MS, HubCertificate, certify_hub, rotate_root
from peerwatch.wire.identity import PrivateKey

ROOT_FILE = "root.key"
_DAY_MS = 86_400_000


class Root:
    """The place of the root key in a hub's folder. It may be empty: then the key is kept elsewhere."""

    def __init__(self, folder: Path, membership: Membership) -> None:
        self._path = folder / ROOT_FILE
        self._next = folder / f"{ROOT_FILE}.next"
        self._membership = membership

    def key(self) -> PrivateKey | None:
        """The key, where it is here. Raises ConfigError for one that is not this fleet's present root."""
        present = self._membership.trust.root
        for path in (self._path, self._next):
            try:
                root = load_key(path)
            except FileNotFoundError:
                continue
            if root.public == present:
                if path == self._next:  # a rotation was cut off between its two files
                    path.replace(self._path)
                return root
        if self._path.exists():
            raise ConfigError(
                f"{self._path} is not the fleet's present root key: it was rotated. Put the new one there "
                "(peerwatch root import FILE), or remove the file"
            )
        return None

    def needed(self) -> PrivateKey:
        """The key. Raises ConfigError with what to do where it is not here."""
        root = self.key()
        if root is None:
            raise ConfigError(f"the root key is not on this hub ({self._path}): peerwatch root import FILE")
        return root

    def put(self, key: PrivateKey) -> None:
        """Keep the key here. Raises ConfigError unless it is the fleet's present root."""
        if key.public != self._membership.trust.root:
            root = self._membership.trust.root.hex()
            raise ConfigError(f"that key is {key.public.hex()}, the present root of this fleet is {root}")
        save_key(self._path, key)

    def rotate(self, now_ms: int) -> bytes:
        """Make a new root, which the old one names as its successor, and certify all hubs anew; the new public key.

        Everything is on disk on return, and at every moment one of the two files holds the root that the membership
        has. The old key is gone then: whoever has a copy can mislead only members that have not heard of the new one.
        """
        old, membership = self.needed(), self._membership
        hubs = [entry for entry in membership.roster if self._is_certified(entry, now_ms)]
        new = PrivateKey.generate()
        save_key(self._next, new)
        membership.trust.add_rotation(rotate_root(old, membership.fleet, new.public, now_ms))
        for hub in hubs:
            self.certify(hub, new, now_ms)
        membership.save()
        self._next.replace(self._path)
        return new.public

    def certify(self, hub: RosterEntry, root: PrivateKey, now_ms: int) -> bytes:
        """Certify a hub's signing key for two years; the certificate, which the membership has from now on."""
        certificate = HubCertificate(
            hub=hub.member,
            signing_key=hub.signing_key,
            not_before_ms=now_ms - _DAY_MS,  # members whose clock is a day slow believe it too
            expires_ms=now_ms + HUB_CERTIFICATE_LIFE_MS,
            serial=now_ms,
        )
        raw = certify_hub(root, self._membership.fleet, certificate)
        self._membership.trust.add_certificate(raw, now_ms)
        return raw

    def renew(self, now_ms: int) -> bool:
        """Renew what is past half its life, of hubs that are certified now and not revoked; whether any was."""
        due = [entry for entry in self._membership.roster if self._is_due(entry, now_ms)]
        root = self.key() if due else None
        if root is None:
            return False
        for entry in due:
            self.certify(entry, root, now_ms)
        return True

    def _is_due(self, entry: RosterEntry, now_ms: int) -> bool:
        left_ms = self._membership.trust.certificate_expiry_ms(entry.member) - now_ms
        return self._is_certified(entry, now_ms) and left_ms <= HUB_CERTIFICATE_LIFE_MS // 2

    def _is_certified(self, entry: RosterEntry, now_ms: int) -> bool:
        expires_ms = self._membership.trust.certificate_expiry_ms(entry.member)
        return entry.is_hub and self._membership.roster.may_act(entry, now_ms) and now_ms < expires_ms
