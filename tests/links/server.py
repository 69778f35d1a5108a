"""A real HTTP server on loopback, with TLS where it is wanted, that tests can stop and start again."""

from __future__ import annotations

import datetime
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Certificate:
    """A self-signed one: its text for pinning, its files for the server."""

    pem: str
    cert_file: Path
    key_file: Path


def self_signed(folder: Path, name: str = "hub") -> Certificate:
    """A certificate as a hub makes it, for a name that nobody will ask for."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    certificate = Certificate(pem.decode(), folder / f"{name}.pem", folder / f"{name}.key")
    certificate.cert_file.write_bytes(pem)
    certificate.key_file.write_bytes(secret)
    return certificate


def free_port() -> int:
    """A port of loopback that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class _Server(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        """Signals are the test runner's."""


@asynccontextmanager
async def serving(app: App, port: int, certificate: Certificate | None = None) -> AsyncIterator[str]:
    """The app under uvicorn; yields its address."""
    files: dict[str, Any] = {}
    if certificate is not None:
        files = {"ssl_certfile": str(certificate.cert_file), "ssl_keyfile": str(certificate.key_file)}
    quiet: dict[str, Any] = {"lifespan": "off", "log_config": None, "access_log": False}
    server = _Server(uvicorn.Config(app, "127.0.0.1", port, timeout_graceful_shutdown=1, **quiet, **files))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server._serve)  # the public serve() takes over the process's signals
        with anyio.fail_after(5):
            while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
                await anyio.sleep(0.005)
        try:
            yield f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            server.force_exit = True


class Stub:
    """An app that records what came, by connection, and answers as it is told."""

    def __init__(self) -> None:
        self.status = 200
        self.body = b"ok"
        self.headers: list[tuple[bytes, bytes]] = []
        self.clients: list[tuple[str, int]] = []
        self.requests: list[tuple[str, str, bytes]] = []
        self.trickle_s = 0.0
        self.chunks = 1

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body", False):
                break
        self.clients.append(tuple(scope["client"]))
        self.requests.append((scope["method"], scope["path"], body))
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        for left in range(self.chunks - 1, -1, -1):
            await anyio.sleep(self.trickle_s)
            await send({"type": "http.response.body", "body": self.body, "more_body": left > 0})
