"""HttpsLink: to a hub over HTTPS, by keep-alive and with a pinned certificate."""

from __future__ import annotations

import hmac
import ipaddress
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import anyio

from peerwatch.errors import ConfigError, DecodeError, LinkError
from peerwatch.links.http_answer import AnswerReader
from peerwatch.links.http_connection import ConnectionGoneError, HttpConnection

_TYPE = "application/x-protobuf"
_MOST_IDLE = 4
_MOST_LABEL = 63  # of a host name (RFC 1035); the resolver raises no OSError for a longer one
_UNREADABLE = frozenset({400, 413})  # the request itself is the trouble: another try of the same bytes cannot help


@dataclass(frozen=True, slots=True)
class HttpsConfig:
    """Deadlines of one request. A hub answers within milliseconds; a frozen one is left after these."""

    connect_s: float = 5.0
    answer_s: float = 20.0
    """For the whole exchange, so that a hub that trickles its answer counts as frozen too."""
    idle_s: float = 120.0
    """How long an unused connection is kept; longer than the slowest report."""


class HttpsLink:
    """One hub at `base_url`. Use as an async context manager; every failure is a LinkError.

    `certificate_pem` pins the hub's own certificate: then nothing else is trusted, and the name in it does not
    matter. Without it the system's authorities and the host name decide. Plain HTTP is for loopback only; anywhere else
    the constructor raises ConfigError, as it does for an address or a certificate that is none.

    Each call has a connection to itself while it lasts; at most 4 are kept for later calls. A kept connection that the
    hub closed meanwhile is replaced and the request sent again, once: all that is sent here may arrive twice.
    Redirects are not followed, and no proxy is taken from the environment.
    """

    def __init__(self, base_url: str, certificate_pem: str = "", config: HttpsConfig | None = None) -> None:
        self._config = config or HttpsConfig()
        self._base_url = checked_url(base_url)
        parts = urlsplit(self._base_url)
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port or (443 if self._secure else 80)
        self._authority, self._prefix = parts.netloc, parts.path
        self._tls = _context(certificate_pem) if self._secure else None
        self._idle: list[tuple[float, HttpConnection]] = []
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close what is kept, and keep nothing of what is still in use; that it does not end."""
        self._closed = True
        while self._idle:
            await self._idle.pop()[1].close()

    async def push(self, request: bytes) -> bytes:
        """Deliver a push request. LinkError carries the hub's wait when it is full.

        DecodeError when the other side, the hub or a proxy before it, cannot read the request or finds it too large.
        """
        return await self._call("POST", "/api/v1/push", request)

    async def enrol(self, request: bytes) -> bytes:
        """Deliver an enrolment request and return the membership that the hub answers with."""
        return await self._call("POST", "/api/v1/enrol", request)

    async def exchange(self, question: bytes) -> bytes:
        """Another hub's answer to a question about the roster."""
        return await self._call("POST", "/api/v1/roster", question)

    async def share_bans(self, said: bytes) -> bytes:
        """Another hub's answer to what we say of whom we ban."""
        return await self._call("POST", "/api/v1/bans", said)

    async def membership(self) -> bytes:
        """The hub's signed word on who the hubs are."""
        return await self._call("GET", "/api/v1/membership", b"")

    async def _call(self, method: str, path: str, body: bytes) -> bytes:
        where = f"{self._base_url}{path}"
        try:
            with anyio.fail_after(self._config.answer_s):
                answer = await self._exchange(self._request(method, path, body))
        except TimeoutError as error:
            raise LinkError(f"{where}: no whole answer within {self._config.answer_s:g} s") from error
        except (LinkError, DecodeError) as error:  # an answer that is none is the link's trouble, not the request's
            raise LinkError(f"{where}: {error}") from error
        if answer.status == 200:
            return answer.body
        reason = answer.body[:500].decode(errors="replace").strip()
        message = f"{where} answered {answer.status}: {reason}"
        if answer.status in _UNREADABLE:
            raise DecodeError(message)
        raise LinkError(message, _seconds(answer.header(b"retry-after")))

    def _request(self, method: str, path: str, body: bytes) -> bytes:
        """What goes over the wire. Headers are few on purpose: a report is some 2 KB."""
        lines = [f"{method} {self._prefix}{path} HTTP/1.1", f"host: {self._authority}"]
        if method == "POST":
            lines += [f"content-type: {_TYPE}", f"content-length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode("ascii") + body

    async def _exchange(self, request: bytes) -> AnswerReader:
        kept = await self._take_idle()
        if kept is not None:
            with suppress(ConnectionGoneError):
                return await self._ask(kept, request)
        config = self._config
        return await self._ask(await HttpConnection.open(self._host, self._port, self._tls, config.connect_s), request)

    async def _ask(self, connection: HttpConnection, request: bytes) -> AnswerReader:
        keep = False
        try:
            answer = await connection.exchange(request)
            keep = answer.keeps_alive and len(self._idle) < _MOST_IDLE and not self._closed
            return answer
        finally:
            if keep:
                self._idle.append((anyio.current_time(), connection))
            else:
                await connection.close()

    async def _take_idle(self) -> HttpConnection | None:
        """The connection that was used last, unless it has been idle for too long; then so have all others."""
        while self._idle:
            since_s, connection = self._idle.pop()
            if anyio.current_time() - since_s < self._config.idle_s:
                return connection
            await connection.close()
        return None


def checked_url(base_url: str) -> str:
    """The address without its last slash. Raises ConfigError unless it is HTTPS, or plain HTTP to this machine."""
    if not _is_url(base_url):
        raise ConfigError(f"hub address {base_url!r} is not of the form https://host:port")
    parts = urlsplit(base_url)
    if parts.scheme == "http" and not _is_loopback(parts.hostname or ""):
        raise ConfigError(f"hub address {base_url!r}: plain HTTP is for this machine only, use https://")
    return base_url.rstrip("/")


def _is_url(text: str) -> bool:
    """Whether it names a scheme and a host, maybe a port and a path, and nothing else."""
    if not text.isascii() or not text.isprintable() or " " in text:
        return False
    try:
        parts = urlsplit(text)
        port_fits = parts.port is None or parts.port > 0  # urlsplit itself refuses one over 65535
    except ValueError:
        return False
    plain_parts = "@" not in parts.netloc and "?" not in text and "#" not in text
    labels = (parts.hostname or "").removesuffix(".").split(".")
    names_a_host = all(0 < len(label) <= _MOST_LABEL for label in labels)
    return names_a_host and parts.scheme in ("https", "http") and port_fits and plain_parts


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _context(certificate_pem: str) -> ssl.SSLContext:
    return pinned_context(certificate_pem) if certificate_pem else ssl.create_default_context()


def pinned_context(certificate_pem: str) -> ssl.SSLContext:
    """A TLS context that trusts this one certificate and nothing else (TLS 1.3, no host name)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # the certificate itself is the identity
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(cadata=certificate_pem)
    except (ssl.SSLError, ValueError, TypeError) as error:
        raise ConfigError(f"pinned certificate of {len(certificate_pem)} characters is not PEM: {error}") from error
    return context


def _seconds(text: str) -> float | None:
    """Retry-After in seconds, where it is a number of seconds that anybody would wait."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 7 else None


def fetch_pinned(base_url: str, pin: bytes, timeout_s: float = 5.0) -> str:
    """The certificate (PEM) that the server at `base_url` shows, once its SHA-256 is `pin`. Blocks.

    Nothing is sent before the certificate has been compared. Raises LinkError when nobody answers there or when it is
    another one: somebody stands between, or the hub made itself a new certificate.
    """
    url = urlsplit(checked_url(base_url))
    host = url.hostname or ""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # compared below, by its hash
    try:
        with (
            socket.create_connection((host, url.port or 443), timeout_s) as raw,
            context.wrap_socket(raw, server_hostname=host) as secure,
        ):
            certificate = secure.getpeercert(binary_form=True) or b""
    except (OSError, ValueError) as error:  # ValueError: a name that cannot be one
        raise LinkError(f"{base_url}: {error}") from error
    if not hmac.compare_digest(sha256(certificate).digest(), pin):
        raise LinkError(f"{base_url} shows another certificate than the token names: not the hub that made the token")
    return ssl.DER_cert_to_PEM_cert(certificate)
