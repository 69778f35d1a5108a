"""HubClient: how commands talk to a hub: over its Unix socket on this machine, or over HTTP(S) with a credential."""

from __future__ import annotations

import ssl
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec

from peerwatch.errors import ConfigError, LinkError

_TIMEOUT_S = 150.0  # longer than a hub lets a query run


class HubClient:
    """A synchronous client for people's commands. Use as a context manager."""

    def __init__(self, url: str, folder: Path, token: str = "", ca_file: str = "") -> None:
        self._where = url or str(socket_path(folder))
        if url:
            verify = ssl.create_default_context(cafile=ca_file or None)
            self._client = httpx.Client(base_url=url, verify=verify, timeout=_TIMEOUT_S, trust_env=False)
        else:
            transport = httpx.HTTPTransport(uds=self._where)
            self._client = httpx.Client(base_url="http://localhost", transport=transport, timeout=_TIMEOUT_S)
        if token:
            self._client.headers["authorization"] = f"Bearer {token}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def get(self, path: str, **parameters: str) -> Any:
        """The JSON answer's data. Raises ConfigError for what the hub refuses, LinkError when it is not there."""
        return self._answer("GET", path, params=parameters)

    def post(self, path: str, content: object) -> Any:
        """Send JSON and return the JSON answer."""
        return self._answer("POST", path, content=msgspec.json.encode(content))

    def status(self, path: str) -> tuple[int, str]:
        """(status, text) of any answer."""
        try:
            response = self._client.get(path)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        return response.status_code, response.text

    def _answer(self, method: str, path: str, **arguments: Any) -> Any:
        try:
            response = self._client.request(method, path, **arguments)
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        try:
            answer = msgspec.json.decode(response.content)
        except msgspec.DecodeError:
            raise ConfigError(f"{self._where}: {response.status_code}: {response.text[:500].strip()}") from None
        if response.status_code >= 400:
            raise ConfigError(f"{answer.get('errorType', 'error')}: {answer.get('error', response.text[:500])}")
        return answer

    def _unreachable(self, error: httpx.HTTPError) -> LinkError:
        return LinkError(
            f"no hub answers at {self._where} ({error}); start one with `peerwatch up`, or name one: --url http://HOST:9480"
        )


def socket_path(folder: Path) -> Path:
    """The hub's Unix socket in its data folder."""
    return folder / "hub.sock"
