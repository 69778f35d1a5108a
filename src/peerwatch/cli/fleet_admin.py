"""FleetAdmin: the endpoints by which people govern who belongs."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from peerwatch.cli.admin_request import json_answer, read_body, refusing
from peerwatch.errors import ConfigError
from peerwatch.fleet.authority import Authority
from peerwatch.fleet.invite import DEFAULT_LIFE_MS, encode_token
from peerwatch.fleet.roster import RosterEntry
from peerwatch.wire.identity import peer_id


class InviteRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /api/v1/admin/invites`."""

    name: str = ""
    life_s: float = DEFAULT_LIFE_MS / 1000
    addresses: tuple[str, ...] = ()


class RevokeRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /api/v1/admin/revoke`: a name or a peer id."""

    who: str


class FleetAdmin:
    """`roster_changed` is called after every change; `addresses` and `tls_pin` go into invites."""

    def __init__(
        self, authority: Authority, roster_changed: Callable[[], None], addresses: tuple[str, ...], tls_pin: bytes
    ) -> None:
        self._authority = authority
        self._roster_changed = roster_changed
        self._addresses = addresses
        self._tls_pin = tls_pin

    def routes(self) -> list[BaseRoute]:
        """All of them, for a hub's application."""
        return [
            Route("/api/v1/admin/invites", refusing(self._invite), methods=["POST"]),
            Route("/api/v1/admin/revoke", refusing(self._revoke), methods=["POST"]),
        ]

    async def _invite(self, request: Request) -> Response:
        asked = await read_body(request, InviteRequest)
        if not 60 <= asked.life_s <= 30 * 86_400:
            raise ConfigError(f"life_s: {asked.life_s:g}, allowed are 60 to {30 * 86_400}")
        addresses = asked.addresses or self._addresses
        invite = self._authority.invite(addresses, self._tls_pin, round(asked.life_s * 1000), "https", asked.name)
        return json_answer({"token": encode_token(invite), "expires_ms": invite.expires_ms, "addresses": addresses})

    async def _revoke(self, request: Request) -> Response:
        asked = await read_body(request, RevokeRequest)
        entry = self._authority.revoke(asked.who)
        self._roster_changed()
        return json_answer(_described(entry))


def _described(entry: RosterEntry) -> dict[str, object]:
    return {
        "name": entry.name,
        "peer_id": peer_id(entry.member),
        "roles": entry.roles,
        "revoked": entry.revoked,
        "version": entry.version,
    }
