"""HttpsLink: to a hub over HTTPS, by keep-alive and with a pinned certificate. The one door to httpx."""

from __future__ import annotations

import hmac
import socket
import ssl
from dataclasses import dataclass
from hashlib import sha256
from types import TracebackType
from typing import Self

import httpx

from peerwatch.errors import LinkError

_TYPE = {"content-type": "application/x-protobuf"}
_MAX_REPLY_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class HttpsConfig:
    """Deadlines of one request. A hub answers within milliseconds; a frozen one is left after these."""

    connect_s: float = 5.0
    answer_s: float = 20.0
    idle_s: float = 120.0  # how long an unused connection is kept; longer than the slowest report


class HttpsLink:
    """One hub at `base_url`. Use as an async context manager; every failure is a LinkError.

    `certificate_pem` pins the hub's own certificate: then nothing else is trusted, and the name in it does not
    matter. Without it the system's authorities and the host name decide.
    """

    def __init__(self, base_url: str, certificate_pem: str = "", config: HttpsConfig | None = None) -> None:
        config = config or HttpsConfig()
        self._base_url = base_url.rstrip("/")
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
        """Deliver a push request. LinkError carries the hub's wait when it is full."""
        return await self._call("POST", "/api/v1/push", request)

    async def enrol(self, request: bytes) -> bytes:
        """Deliver an enrolment request and return the membership that the hub answers with."""
        return await self._call("POST", "/api/v1/enrol", request)

    async def membership(self) -> bytes:
        """The hub's signed word on who the hubs are."""
        return await self._call("GET", "/api/v1/membership", b"")

    async def _call(self, method: str, path: str, body: bytes) -> bytes:
        try:
            async with self._client.stream(method, path, content=body or None, headers=_TYPE) as response:
                content = await self._read(response)
        except httpx.HTTPError as error:
            raise LinkError(f"{self._base_url}: {type(error).__name__}: {error}") from error
        if response.status_code == 200:
            return content
        reason = content[:500].decode(errors="replace").strip()
        wait_s = _seconds(response.headers.get("retry-after", ""))
        raise LinkError(f"{self._base_url}{path} answered {response.status_code}: {reason}", wait_s)

    async def _read(self, response: httpx.Response) -> bytes:
        parts: list[bytes] = []
        size_bytes = 0
        async for part in response.aiter_raw():
            size_bytes += len(part)
            if size_bytes > _MAX_REPLY_BYTES:
                raise LinkError(f"{self._base_url}: answer of more than {_MAX_REPLY_BYTES} bytes, the limit")
            parts.append(part)
        return b"".join(parts)


def pinned_context(certificate_pem: str) -> ssl.SSLContext:
    """A TLS context that trusts this one certificate and nothing else (TLS 1.3, no host name)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False  # the certificate itself is the identity
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=certificate_pem)
    return context


def _seconds(text: str) -> float | None:
    return float(text) if text.isascii() and text.isdigit() else None


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
