"""HttpRequest: the head of a request, and who may ask. Bytes to values; no I/O."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from peerwatch.errors import DecodeError

_MAX_HEADERS = 100
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via")


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """Method, path without query, and headers by lower-case name (a repeated header is joined by commas)."""

    method: str
    path: str
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class HttpRefusal:
    """Why a request is not answered."""

    status: int
    reason: str


def parse_head(head: bytes) -> HttpRequest:
    """The request in `head` (up to and with the empty line). Raises DecodeError for what is not HTTP/1.x."""
    lines = head.decode("latin-1").split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) != 3 or parts[2] not in ("HTTP/1.0", "HTTP/1.1") or not parts[1].startswith("/"):
        raise DecodeError(f"request line {lines[0][:100]!r}, must be METHOD /path HTTP/1.1")
    headers: dict[str, str] = {}
    fields = [line for line in lines[1:] if line]
    if len(fields) > _MAX_HEADERS:
        raise DecodeError(f"{len(fields)} headers, limit {_MAX_HEADERS}")
    for field in fields:
        name, colon, value = field.partition(":")
        if not colon or not name or name != name.strip():
            raise DecodeError(f"header {field[:100]!r}, must be name: value")
        key = name.lower()
        headers[key] = f"{headers[key]},{value.strip()}" if key in headers else value.strip()
    return HttpRequest(parts[0], parts[1].partition("?")[0], headers)


def is_loopback(host: str) -> bool:
    """Whether an address or name, without port, can only mean this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def refusal(request: HttpRequest, *, loopback: bool, credential: str) -> HttpRefusal | None:
    """Why `request` is refused, or None.

    On a loopback address everything local may ask, but not a web page of elsewhere (a foreign Host is DNS rebinding, a
    foreign Origin a script) nor a proxy that opens the port to others, unless the request carries the credential.
    Anywhere else only the credential counts.
    """
    if _has_credential(request, credential):
        return None
    if not loopback:
        return HttpRefusal(401, "this address needs a credential: Authorization: Bearer …")
    forwarded = next((name for name in _FORWARDED if name in request.headers), None)
    if forwarded is not None:
        return HttpRefusal(403, f"forwarded by a proxy ({forwarded}): needs a credential")
    host = request.headers.get("host", "")
    if not is_loopback(_without_port(host)):
        return HttpRefusal(403, f"Host {host[:100]!r} is not this machine: needs a credential")
    origin = request.headers.get("origin")
    if origin is not None and not _is_local_origin(origin):
        return HttpRefusal(403, f"Origin {origin[:100]!r} is not this machine: needs a credential")
    return None


def _has_credential(request: HttpRequest, credential: str) -> bool:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    given, wanted = token.strip().encode(), credential.encode()
    return bool(credential) and scheme.lower() == "bearer" and hmac.compare_digest(given, wanted)


def _without_port(host: str) -> str:
    if host.startswith("["):
        address, bracket, port = host.partition("]")
        return address + bracket if not port or port.startswith(":") else ""
    return host.partition(":")[0]


def _is_local_origin(origin: str) -> bool:
    try:
        return is_loopback(urlsplit(origin).hostname or "")
    except ValueError:
        return False
