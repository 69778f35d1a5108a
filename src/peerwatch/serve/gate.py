"""Gate: decides who may ask what, before any handler runs. Security fails closed: an unknown path needs admin."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from peerwatch.errors import ConfigError
from peerwatch.serve.address import is_loopback_host, split_host
from peerwatch.serve.credentials import Credentials, Scope
from peerwatch.telemetry import get_logger

_log = get_logger("gate")

AsgiScope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[AsgiScope, Receive, Send], Awaitable[None]]

_FORWARDED = (b"forwarded", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip")
_DECIDING = frozenset({b"host", b"origin", b"authorization"})
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_ADMIN_PREFIX = "/api/v1/admin/"

# Paths whose requests carry their own proof (a member's or an invite's signature), or that tell nothing.
_OPEN_PATHS = frozenset(
    {
        "/api/v1/push",
        "/api/v1/enrol",
        "/api/v1/membership",
        "/api/v1/roster",
        "/api/v1/bans",
        "/health/live",
        "/health/ready",
    }
)
_READ_BY_POST = frozenset(
    {
        "/api/v1/query",
        "/api/v1/query_range",
        "/api/v1/query_exemplars",
        "/api/v1/series",
        "/api/v1/labels",
        "/api/v1/format_query",
        "/api/v1/parse_query",
        "/api/v1/read",
    }
)


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a request does not pass."""

    status: int
    message: str


def needed_scope(method: str, path: str) -> Scope:
    """What a request needs. Changing anything needs at least write, administration admin."""
    if path in _OPEN_PATHS:
        return Scope.NONE
    if path.startswith(_ADMIN_PREFIX):
        return Scope.ADMIN
    if method in _SAFE_METHODS or path in _READ_BY_POST:
        return Scope.READ
    return Scope.WRITE if path == "/api/v1/write" else Scope.ADMIN


def judge(
    method: str, path: str, headers: Mapping[bytes, bytes], held: Scope | None, *, loopback: bool
) -> Refused | None:
    """None when the request may pass. `held` is what its credential allows, None when it carries none.

    On loopback a request without a credential may read and write, unless it came through a proxy or from a foreign
    page: then anybody could be behind it (DNS rebinding, a browser's other tabs).
    """
    needed = needed_scope(method, path)
    if held is not None:
        return None if held >= max(needed, Scope.READ) else _lacks(held, needed)
    if loopback:
        foreign = _foreign(headers)
        if foreign:
            return Refused(403, f"{foreign}; a request from elsewhere needs a credential: peerwatch token create")
        if needed is Scope.ADMIN:
            return Refused(401, "administration needs a credential with scope admin, or the hub's Unix socket")
        return None
    if needed is Scope.NONE:
        return None
    return Refused(401, f"needs a credential with scope {needed.name.lower()}: peerwatch token create")


def _lacks(held: Scope, needed: Scope) -> Refused:
    if held is Scope.NONE:
        return Refused(401, "unknown credential")
    return Refused(403, f"the credential's scope is {held.name.lower()}, this needs {needed.name.lower()}")


def _foreign(headers: Mapping[bytes, bytes]) -> str:
    """Why a loopback request is not this machine's own, or the empty string."""
    for name in _FORWARDED:
        if name in headers:
            return f"the request was forwarded ({name.decode()})"
    host = split_host(headers.get(b"host", b"localhost").decode("latin-1"))
    if not is_loopback_host(host):
        return f"Host {host[:100]!r} is not this machine"
    origin = headers.get(b"origin")
    if origin is not None and not is_loopback_host(_origin_host(origin.decode("latin-1"))):
        return f"Origin {origin[:100].decode('latin-1')!r} is not this machine"
    return ""


def _origin_host(origin: str) -> str:
    """The host of an origin; the empty string where it has none (`null`, or nonsense)."""
    try:
        return urlsplit(origin).hostname or ""
    except ValueError:
        return ""


def repeated_header(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """A header that decides and came twice: whoever reads the other one is deceived."""
    names = [name for name, _ in headers if name in _DECIDING]
    return next((name for name in names if names.count(name) > 1), None)


def bearer_token(headers: Mapping[bytes, bytes]) -> str | None:
    """The token in an Authorization header (Bearer, or the password of Basic, which Grafana and promtool send)."""
    kind, _, value = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if kind.lower() == "bearer":
        return value.strip()
    if kind.lower() != "basic":
        return None if not kind else ""
    try:
        return base64.b64decode(value.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""


class Gate:
    """ASGI middleware around everything that a TCP listener serves."""

    def __init__(self, app: App, credentials: Credentials, *, loopback: bool) -> None:
        self._app = app
        self._credentials = credentials
        self._loopback = loopback

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        refused = self.refusal(scope["method"], scope["path"], scope["headers"])
        if refused is None:
            await self._app(scope, receive, send)
            return
        await _refuse(refused, send)

    def refusal(self, method: str, path: str, fields: Iterable[tuple[bytes, bytes]]) -> Refused | None:
        """Why a request with these headers (lower-case names) does not pass, or None."""
        fields = list(fields)
        repeated = repeated_header(fields)
        if repeated is not None:
            return Refused(400, f"header {repeated.decode()} came twice")
        headers = dict(fields)
        token = bearer_token(headers)
        try:
            held = None if token is None else self._credentials.scope_of(token)
        except ConfigError as error:  # a damaged file opens nothing
            _log.error("credentials cannot be read", reason=str(error))
            held = Scope.NONE
        return judge(method, path, headers, held, loopback=self._loopback)


async def _refuse(refused: Refused, send: Send) -> None:
    body = f"{refused.message}\n".encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    if refused.status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="peerwatch", Basic realm="peerwatch"'))
    await send({"type": "http.response.start", "status": refused.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
