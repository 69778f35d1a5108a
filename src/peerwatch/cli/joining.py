"""Joining: from a token to a member, over HTTPS or over Noise, as the token says."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import anyio

from peerwatch.cli.joining_p2p import enrol_over_p2p
from peerwatch.cli.known_hub import KnownHub, save_known_hub
from peerwatch.errors import ConfigError, LinkError, PeerError
from peerwatch.fleet.invite import Enrolment, Invite, decode_token, sign_enrolment
from peerwatch.fleet.keys import MemberKeys, load_or_create_keys
from peerwatch.fleet.membership import Membership, membership_from_hub
from peerwatch.fleet.roster import RosterEntry, signer_of
from peerwatch.links.https import HttpsLink, fetch_pinned
from peerwatch.model import Clock
from peerwatch.settings import Settings
from peerwatch.wire.identity import peer_id


@dataclass(frozen=True, slots=True)
class Joined:
    """The result: under which name, at which hub."""

    entry: RosterEntry
    address: str


async def join(token: str, settings: Settings, folder: Path, clock: Clock) -> Joined:
    """Enrol this machine, under the name in `settings`, and keep what it needs in `folder`.

    Tries the token's addresses in order: over HTTPS, or over libp2p where the token says so.

    Raises DecodeError for a bad token, SignatureError when the hub is not the fleet's, ConfigError when it says no,
    LinkError when no address answers. Joining the same fleet again with the same keys keeps the name.
    """
    invite = decode_token(token)
    if invite.expires_ms <= clock.now_ms():
        again = "peerwatch invite --link p2p" if invite.link == "p2p" else "peerwatch invite"
        raise ConfigError(f"this token has expired, by this machine's clock; ask for a new one: {again}")
    if invite.link == "p2p" and find_spec("libp2p") is None:  # before the invite is spent
        raise ConfigError(
            "this token is for libp2p, which is not installed here: pip install 'peerwatch[p2p]' and join again, or "
            "ask for a token by `peerwatch invite --link https`"
        )
    _refuse_other_fleet(folder, invite, clock)
    keys = load_or_create_keys(folder)
    enrolment = Enrolment(
        invite.fleet, invite.key.public, keys.peer.public, keys.signing.public, settings.name, clock.now_ms()
    )
    request = sign_enrolment(invite.key, keys.peer, keys.signing, enrolment)
    certificate, addresses = "", invite.addresses
    if invite.link == "p2p":
        address, answer = await enrol_over_p2p(invite, keys.peer, request, settings, clock)
    else:
        address, certificate, answer = await _ask(invite, request)
        addresses = (address, *(one for one in addresses if one != address))
    membership = _accept(answer, invite, keys, folder, clock)
    entry = _own_entry(membership, keys)
    hub = peer_id(signer_of(membership.roster.raw(entry.member)))
    save_known_hub(folder, KnownHub(addresses, certificate, invite.link or "https", invite.multiaddrs, hub))
    return Joined(entry, address)


def _refuse_other_fleet(folder: Path, invite: Invite, clock: Clock) -> None:
    try:
        known = Membership.load(folder / "membership.bin", clock.now_ms())
    except FileNotFoundError:
        return
    if known.fleet != invite.fleet:
        raise ConfigError(f"{folder} belongs to another fleet; leave it by removing that folder, then join again")


async def _ask(invite: Invite, request: bytes) -> tuple[str, str, bytes]:
    """(address, pinned certificate, the hub's answer) from the first address that answers."""
    failures = []
    for address in invite.addresses:
        try:
            certificate = (
                await anyio.to_thread.run_sync(fetch_pinned, address, invite.tls_pin) if invite.tls_pin else ""
            )
            async with HttpsLink(address, certificate) as link:
                return address, certificate, await link.enrol(request)
        except LinkError as error:
            if " answered 4" in str(error):
                raise ConfigError(str(error)) from error
            failures.append(str(error))
    raise LinkError("no hub could be reached:\n  " + "\n  ".join(failures or ["the token names no address"]))


def _accept(answer: bytes, invite: Invite, keys: MemberKeys, folder: Path, clock: Clock) -> Membership:
    """Believe the answer as far as it is signed, starting from the root in the token."""
    path = folder / "membership.bin"
    membership = membership_from_hub(path, answer, invite.fleet, invite.root, clock.now_ms())
    _own_entry(membership, keys)
    membership.save()
    return membership


def _own_entry(membership: Membership, keys: MemberKeys) -> RosterEntry:
    entry = membership.roster.get(keys.peer.public)
    if entry is None or entry.signing_key != keys.signing.public:
        raise PeerError("the hub's answer does not contain this machine's own entry")
    return entry
