"""Root: what the holder of the fleet's root key does with it. Whoever has the key decides who the hubs are."""

from __future__ import annotations

from pathlib import Path

from peerwatch.errors import ConfigError
from peerwatch.fleet.keys import load_key
from peerwatch.fleet.membership import Membership
from peerwatch.fleet.roster import RosterEntry
from peerwatch.fleet.trust import HUB_CERTIFICATE_LIFE_MS, HubCertificate, certify_hub
from peerwatch.wire.identity import PrivateKey

ROOT_FILE = "root.key"
_DAY_MS = 86_400_000


class Root:
    """The place of the root key in a hub's folder. It may be empty: then the key is kept elsewhere."""

    def __init__(self, folder: Path, membership: Membership) -> None:
        self._path = folder / ROOT_FILE
        self._membership = membership

    def key(self) -> PrivateKey | None:
        """The key, where it is here. Raises ConfigError for one that is not this fleet's present root."""
        try:
            root = load_key(self._path)
        except FileNotFoundError:
            return None
        if root.public != self._membership.trust.root:
            raise ConfigError(f"{self._path} is not the root key of this fleet")
        return root

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
        if not entry.is_hub or not self._membership.roster.may_act(entry, now_ms):
            return False
        left_ms = self._membership.trust.certificate_expiry_ms(entry.member) - now_ms
        return 0 < left_ms <= HUB_CERTIFICATE_LIFE_MS // 2
