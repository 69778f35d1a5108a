"""What the tests of a fleet with several hubs share."""

from __future__ import annotations

from pathlib import Path

from peerwatch.fleet.authority import Authority
from peerwatch.fleet.keys import load_key, load_or_create_keys
from peerwatch.fleet.membership import membership_from_hub
from peerwatch.fleet.roster import HUB
from peerwatch.fleet.trust import HubCertificate, certify_hub
from peerwatch.model import Clock


def second_hub(first: Authority, root_folder: Path, folder: Path, clock: Clock, name: str = "hub-2") -> Authority:
    """A hub that the first one let in and the root certified; it knows what the first one knew then."""
    keys = load_or_create_keys(folder)
    now_ms = clock.now_ms()
    root = load_key(root_folder / "root.key")
    certificate = HubCertificate(keys.peer.public, keys.signing.public, now_ms - 1, now_ms * 2, now_ms)
    first.membership.trust.add_certificate(certify_hub(root, first.fleet, certificate), now_ms)
    first.admit(keys.peer.public, keys.signing.public, name, (HUB,))
    first.membership.save()
    known = first.membership.export()
    membership_from_hub(folder / "membership.bin", known, first.fleet, root.public, now_ms).save()
    return Authority.open(folder, name, clock, (HUB,))


def exchange(one: Authority, other: Authority, now_ms: int) -> None:
    """Each tells the other all that it knows."""
    told, heard = one.membership.export(), other.membership.export()
    other.membership.absorb(told, now_ms)
    one.membership.absorb(heard, now_ms)
