"""HttpsLink: to a hub over HTTPS, by keep-alive and with a pinned certificate. The one door to httpx."""

from __future__ import annotations

import hmac
import ipaddress
import socket
import ssl
from dataclasses import dataclass
from hashlib import sha256
from types import TracebackType
from typing import Self

import anyio
import httpx

from peerwatch.errors import ConfigError, DecodeError, LinkError

_TYPE = {"content-type": "application/x-protobuf"}
_MAX_REPLY_BYTES = 16 << 20
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
    """

    def __init__(self, base_url: str, certificate_pem: str = "", config: HttpsConfig | None = None) -> None:
        config = config or HttpsConfig()
        self._base_url = checked_url(base_url)
        self._answer_s = config.answer_s
        self._client = httpx.AsyncClient(
            base_url=self._base_url,
            verify=pinned_context(certificate_pem) if certificate_pem else ssl.create_default_context(),
            timeout=httpx.Timeout(config.answer_s, connect=config.connect_s),
            limits=httpx.Limits(max_connections=4, keepalive_expiry=config.idle_s),
            headers={"user-agent": "peerwatch", "accept-encoding": "identity"},
            follow_redirects=False,
            trust_env=False,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def push(self, request: bytes) -> bytes:
        """Deliver a push request. LinkError carries the hub's wait when it is full.

        DecodeError when the other side, the hub or a proxy before it, cannot read the request or finds it too large.
        """
        return await self._call("POST", "/api/v1/push", request)

    async def enrol(self, request: bytes) -> bytes:
        """Deliver an enrolment request and return the membership that the hub answers with."""
        return await self._call("POST", "/api/v1/enrol", request)

    async def membership(self) -> bytes:
        """The hub's signed word on who the hubs are."""
        return await self._call("GET", "/api/v1/membership", b"")

    async def _call(self, method: str, path: str, body: bytes) -> bytes:
        try:
            with anyio.fail_after(self._answer_s):
                async with self._client.stream(method, path, content=body or None, headers=_TYPE) as response:
                    content = await self._read(response)
        except TimeoutError as error:
            raise LinkError(f"{self._base_url}{path}: no whole answer within {self._answer_s:g} s") from error
        except httpx.HTTPError as error:
            raise LinkError(f"{self._base_url}{path}: {type(error).__name__}: {error}") from error
        if response.status_code == 200:
            return content
        reason = content[:500].decode(errors="replace").strip()
        message = f"{self._base_url}{path} answered {response.status_code}: {reason}"
        if response.status_code in _UNREADABLE:
            raise DecodeError(message)
        raise LinkError(message, _seconds(response.headers.get("retry-after", "")))

    async def _read(self, response: httpx.Response) -> bytes:
        parts: list[bytes] = []
        size_bytes = 0
        async for part in response.aiter_raw():
            size_bytes += len(part)
            if size_bytes > _MAX_REPLY_BYTES:
                raise LinkError(f"{self._base_url}: answer of {size_bytes} bytes or more, limit {_MAX_REPLY_BYTES}")
            parts.append(part)
        return b"".join(parts)


def checked_url(base_url: str) -> str:
    """The address without its last slash. Raises ConfigError unless it is HTTPS, or plain HTTP to this machine."""
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise ConfigError(f"hub address {base_url!r}: {error}") from error
    port_fits = url.port is None or 0 < url.port < 65536
    plain_parts = not (url.query or url.fragment or url.userinfo)
    if not (url.host and url.scheme in ("https", "http") and port_fits and plain_parts):
        raise ConfigError(f"hub address {base_url!r} is not of the form https://host:port")
    if url.scheme == "http" and not _is_loopback(url.host):
        raise ConfigError(f"hub address {base_url!r}: plain HTTP is for this machine only, use https://")
    return base_url.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


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
    url = httpx.URL(base_url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # compared below, by its hash
    try:
        with (
            socket.create_connection((url.host, url.port or 443), timeout_s) as raw,
            context.wrap_socket(raw, server_hostname=url.host) as secure,
        ):
            certificate = secure.getpeercert(binary_form=True) or b""
    except OSError as error:
        raise LinkError(f"{base_url}: {error}") from error
    if not hmac.compare_digest(sha256(certificate).digest(), pin):
        raise LinkError(f"{base_url} shows another certificate than the token names: not the hub that made the token")
    return ssl.DER_cert_to_PEM_cert(certificate)
