"""HubClient: how commands talk to a hub: over its Unix socket on this machine, or over HTTP(S) with a credential."""

from __future__ import annotations

import socket
import ssl
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

import msgspec

from peerwatch.errors import ConfigError, LinkError

_TIMEOUT_S = 150.0  # longer than a hub lets a query run


class HubClient:
    """A synchronous client for people's commands. Use as a context manager.

    Raises ConfigError for a `url` that is none and a `ca_file` that holds no certificate.
    """

    def __init__(self, url: str, folder: Path, token: str = "", ca_file: str = "") -> None:
        self._where = url or str(socket_path(folder))
        self._connection = _connection(url, ca_file) if url else _UnixConnection(self._where)
        self._prefix = urlsplit(url).path.rstrip("/")
        self._headers = {"authorization": f"Bearer {token}"} if token else {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def get(self, path: str, **parameters: str) -> Any:
        """The JSON answer's data. Raises ConfigError for what the hub refuses, LinkError when it is not there."""
        return self._answer("GET", f"{path}?{urlencode(parameters)}" if parameters else path)

    def post(self, path: str, content: object) -> Any:
        """Send JSON and return the JSON answer."""
        return self._answer("POST", path, msgspec.json.encode(content))

    def status(self, path: str) -> tuple[int, str]:
        """(status, text) of any answer."""
        status, content = self._ask("GET", path)
        return status, content.decode(errors="replace")

    def _answer(self, method: str, path: str, content: bytes | None = None) -> Any:
        status, raw = self._ask(method, path, content)
        text = raw[:500].decode(errors="replace").strip()
        try:
            answer = msgspec.json.decode(raw)
        except msgspec.DecodeError:
            raise ConfigError(f"{self._where}: {status}: {text}") from None
        if status >= 400:
            raise ConfigError(str(answer.get("error", text)))  # its errorType is for programs
        return answer

    def _ask(self, method: str, path: str, content: bytes | None = None) -> tuple[int, bytes]:
        try:
            self._connection.request(method, self._prefix + path, content, self._headers)
            response = self._connection.getresponse()
            return response.status, response.read()
        except (OSError, HTTPException) as error:
            raise LinkError(
                f"no hub answers at {self._where} ({str(error) or type(error).__name__}); "
                "start one with `peerwatch up`, or name one: --url http://HOST:9480"
            ) from error


class _UnixConnection(HTTPConnection):
    """HTTP over a socket in the file system."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_TIMEOUT_S)
        self.sock.connect(self._path)


def _connection(url: str, ca_file: str) -> HTTPConnection:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"--url {url!r}: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"--url {url!r}, must be http://HOST:PORT or https://HOST:PORT")
    if parts.scheme == "http":
        return HTTPConnection(parts.hostname, port or 80, timeout=_TIMEOUT_S)
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"--ca {ca_file}: {error}") from error
    return HTTPSConnection(parts.hostname, port or 443, timeout=_TIMEOUT_S, context=context)


def socket_path(folder: Path) -> Path:
    """The hub's Unix socket in its data folder."""
    return folder / "hub.sock"
