"""BanRoutes: the endpoints by which people see who is connected and keep somebody out, and hubs share their bans."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from peerwatch.cli.admin_request import NO_NODE, json_answer, read_body, refusing
from peerwatch.cli.ban_book import BanBook
from peerwatch.cli.ban_sync import BANS_PATH, MAX_BANS_BYTES, BanSync
from peerwatch.cli.node_process import NodeProcess
from peerwatch.errors import ConfigError, PeerError, QuotaError
from peerwatch.fleet.roster import Roster
from peerwatch.model import Clock
from peerwatch.node.bans import Ban
from peerwatch.node.messages import PeerRecord
from peerwatch.wire.identity import peer_id, public_key_of

_MOST_S = 10 * 365 * 86_400
_BODY_S = 10.0
_BODIES = 4  # of other hubs at once; 32 MB
_BINARY = "application/octet-stream"


class BanRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /api/v1/admin/bans`. `life_s` 0: until somebody lifts it."""

    subject: str
    life_s: float = 0.0
    reason: str = ""


class LiftRequest(msgspec.Struct, forbid_unknown_fields=True):
    """Body of `POST /api/v1/admin/bans/lift`."""

    subject: str
    reason: str = ""


class BanRoutes:
    """`node` knows who is connected; None where there is none."""

    def __init__(
        self,
        book: BanBook,
        sync: BanSync,
        roster: Callable[[], Roster],
        node: NodeProcess | None,
        clock: Clock,
    ) -> None:
        self._book = book
        self._sync = sync
        self._roster = roster
        self._node = node
        self._clock = clock
        self._bodies = 0

    def routes(self) -> list[BaseRoute]:
        """All of them, for a hub's application."""
        return [
            Route("/api/v1/admin/bans", refusing(self._bans), methods=["GET", "POST"]),
            Route("/api/v1/admin/bans/lift", refusing(self._lift), methods=["POST"]),
            Route("/api/v1/admin/peers", refusing(self._show_peers), methods=["GET"]),
            Route(BANS_PATH, self._share, methods=["POST"]),
        ]

    async def _bans(self, request: Request) -> Response:
        if request.method == "GET":
            return json_answer({"status": "success", "data": [self._row(one) for one in self._book.active()]})
        asked = await read_body(request, BanRequest)
        if not 0 <= asked.life_s <= _MOST_S:
            raise ConfigError(f"life_s: {asked.life_s:g}, allowed are 0 (for ever) to {_MOST_S}")
        return json_answer(self._row(self._book.add(self._named(asked.subject), asked.life_s, asked.reason)))

    async def _lift(self, request: Request) -> Response:
        asked = await read_body(request, LiftRequest)
        return json_answer(self._row(self._book.lift(self._named(asked.subject), asked.reason)))

    def _named(self, who: str) -> str:
        """A member may be called by its name."""
        found = [entry for entry in self._roster().named(who) if not entry.revoked and not entry.is_invite]
        return peer_id(found[0].member) if len(found) == 1 else who

    def _row(self, ban: Ban) -> dict[str, object]:
        return {
            "subject": ban.subject,
            "name": self._name_of(ban.subject),
            "reason": ban.reason,
            "by": self._name_of(ban.by) or ban.by,
            "since_ms": ban.version,
            "expires_ms": ban.expires_ms,
        }

    def _name_of(self, peer: str) -> str:
        try:
            entry = self._roster().get(public_key_of(peer))
        except PeerError:  # a network, or a person
            return ""
        return "" if entry is None else entry.name

    async def _show_peers(self, _: Request) -> Response:
        if self._node is None:
            raise ConfigError(NO_NODE)
        status = await self._node.status(measure=True)
        return json_answer({"status": "success", "data": [self._peer_row(one) for one in status.peers]})

    def _peer_row(self, record: PeerRecord) -> dict[str, object]:
        return {
            "name": self._name_of(record.peer),
            "peer_id": record.peer,
            "address": record.address,
            "direction": record.direction,
            "since_ms": record.since_ms,
            "rtt_us": record.rtt_us,
            "score": record.score,
        }

    async def _share(self, request: Request) -> Response:
        """What another hub says; nothing is believed before its signature."""
        try:
            return Response(self._sync.answer(await self._body(request)), media_type=_BINARY)
        except QuotaError as error:
            return Response(f"{error}\n", 429, {"retry-after": "1"}, media_type="text/plain")
        except PeerError as error:
            return Response(f"{error}\n", 403, media_type="text/plain")

    async def _body(self, request: Request) -> bytes:
        if self._bodies >= _BODIES:
            raise QuotaError(f"{self._bodies} hubs say whom they ban at once, limit {_BODIES}")
        self._bodies += 1
        raw = bytearray()
        try:
            with anyio.fail_after(_BODY_S):
                async for part in request.stream():
                    raw += part
                    if len(raw) > MAX_BANS_BYTES:
                        raise QuotaError(f"bans of more than {MAX_BANS_BYTES} bytes, the limit")
        except TimeoutError as error:
            raise QuotaError(f"body not there within {_BODY_S:g} s") from error
        finally:
            self._bodies -= 1
        return bytes(raw)
