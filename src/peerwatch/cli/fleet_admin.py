"""FleetAdmin: the endpoints by which people govern who belongs."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from peerwatch.cli.admin_request import json_answer, read_body, refusing
from peerwatch.errors import ConfigError
from peerwatch.fleet.authority import Authority
from peerwatch.fleet.invite import DEFAULT_LIFE_MS, encode_token
from peerwatch.fleet.roster import AGENT, INVITE, RosterEntry
from peerwatch.wire.identity import peer_id

_LEAST_LIFE_S, _MOST_LIFE_S = 60, 30 * 86_400


class InviteRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /api/v1/admin/invites`."""

    name: str = ""
    life_s: float = DEFAULT_LIFE_MS / 1000
    addresses: tuple[str, ...] = ()
    roles: tuple[str, ...] = (AGENT,)
    uses: int = 1
    link: str = "https"


class RevokeRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /api/v1/admin/revoke`: the name or peer id of a member, or the name or token of an open invite."""

    who: str
    invite: bool = False


class RootRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /api/v1/admin/root`: a hub to certify, or the wish for a new root key."""

    certify: str = ""
    rotate: bool = False


class FleetAdmin:
    """`addresses` and `tls_pin` are this hub's and go into invites."""

    def __init__(self, authority: Authority, addresses: tuple[str, ...], tls_pin: bytes) -> None:
        self._authority = authority
        self._addresses = addresses
        self._tls_pin = tls_pin

    def routes(self) -> list[BaseRoute]:
        """All of them, for a hub's application."""
        return [
            Route("/api/v1/admin/invites", refusing(self._invites), methods=["GET", "POST"]),
            Route("/api/v1/admin/revoke", refusing(self._revoke), methods=["POST"]),
            Route("/api/v1/admin/root", refusing(self._root), methods=["POST"]),
        ]

    async def _invites(self, request: Request) -> Response:
        if request.method == "POST":
            return self._invite(await read_body(request, InviteRequest))
        rows = [self._open_invite(entry) for entry in self._authority.open_invites()]
        return json_answer({"status": "success", "data": rows})

    def _invite(self, asked: InviteRequest) -> Response:
        if not _LEAST_LIFE_S <= asked.life_s <= _MOST_LIFE_S:
            raise ConfigError(f"life_s: {asked.life_s:g}, allowed are {_LEAST_LIFE_S} to {_MOST_LIFE_S}")
        if asked.link not in ("https", "p2p"):
            raise ConfigError(f"link: {asked.link!r}, allowed are https and p2p")
        if asked.link == "p2p" and not self._authority.multiaddrs:
            raise ConfigError(
                "link: this hub announces no address over libp2p; set p2p.listen here, and p2p.external where others "
                "reach it by another address than its own"
            )
        addresses = asked.addresses or self._addresses
        life_ms, roles = round(asked.life_s * 1000), tuple(sorted(set(asked.roles), reverse=True))
        invite = self._authority.invite(
            addresses, self._tls_pin, life_ms, asked.link, asked.name, roles=roles, uses=asked.uses
        )
        answer = {
            "expires_ms": invite.expires_ms,
            "addresses": addresses,
            "roles": roles,
            "uses": asked.uses,
            "link": invite.link,
            "multiaddrs": invite.multiaddrs,
        }
        return json_answer({"token": encode_token(invite), **answer})

    def _open_invite(self, entry: RosterEntry) -> dict[str, object]:
        return {
            "name": entry.name,
            "roles": [role for role in entry.roles if role != INVITE] or [AGENT],
            "expires_ms": entry.expires_ms,
            "uses": entry.uses,
            "uses_left": self._authority.uses_left(entry),
        }

    async def _revoke(self, request: Request) -> Response:
        asked = await read_body(request, RevokeRequest)
        entry = self._authority.withdraw(asked.who) if asked.invite else self._authority.revoke(asked.who)
        return json_answer(_described(entry))

    async def _root(self, request: Request) -> Response:
        asked = await read_body(request, RootRequest)
        if asked.rotate == bool(asked.certify):
            raise ConfigError("root: either `certify` names a hub, or `rotate` is true")
        if asked.certify:
            return json_answer(_described(self._authority.certify(asked.certify)))
        return json_answer({"root": self._authority.rotate_root().hex()})


def _described(entry: RosterEntry) -> dict[str, object]:
    return {
        "name": entry.name,
        "peer_id": peer_id(entry.member),
        "roles": entry.roles,
        "revoked": entry.revoked,
        "version": entry.version,
    }
