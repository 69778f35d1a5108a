"""HttpGetter: the door to the HTTP client; fetches one URL within a time and a size."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from peerwatch.errors import ConfigError, LinkError
from peerwatch.model import Clock

if TYPE_CHECKING:
    import httpx

_MAX_REDIRECTS = 5


class HttpGetter:
    """GETs one URL again and again over a kept connection. Reads no environment (no proxies)."""

    def __init__(self, url: str, clock: Clock, *, timeout_s: float, limit_bytes: int, ca_file: str = "") -> None:
        self._url = url
        self._clock = clock
        self._timeout_s = timeout_s
        self._limit_bytes = limit_bytes
        self._client = _client(url, timeout_s, ca_file)

    def get(self, headers: dict[str, str]) -> tuple[bytes, str]:
        """The body and its content type. Raises LinkError: unreachable, refused, too slow, too large, not 200."""
        import httpx

        end_s = self._clock.monotonic_s() + self._timeout_s
        try:
            with self._client.stream("GET", self._url, headers={"Accept-Encoding": "gzip", **headers}) as response:
                if response.status_code != 200:
                    raise LinkError(f"{self._url}: status {response.status_code}")
                zipped = response.headers.get("content-encoding", "").strip().lower()
                if zipped not in ("", "identity", "gzip"):
                    raise LinkError(f"{self._url}: content-encoding {zipped[:40]!r}, only gzip is understood")
                # iter_raw: httpx's own decompression has no bound
                body = self._bounded(response.iter_raw(), end_s, zipped=zipped == "gzip")
                return body, response.headers.get("content-type", "")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise LinkError(f"{self._url}: {type(error).__name__}: {error}") from error

    def _bounded(self, pieces: Iterable[bytes], end_s: float, *, zipped: bool) -> bytes:
        unzip = zlib.decompressobj(16 + zlib.MAX_WBITS) if zipped else None
        body: list[bytes] = []
        room = self._limit_bytes
        for piece in pieces:
            if self._clock.monotonic_s() > end_s:
                raise LinkError(f"{self._url}: not done within {self._timeout_s:g} s")
            plain = piece if unzip is None else _unzipped(self._url, unzip, piece, room + 1)
            room -= len(plain)
            if room < 0:
                raise LinkError(f"{self._url}: body over the limit of {self._limit_bytes} bytes")
            body.append(plain)
        if unzip is not None and not unzip.eof:
            raise LinkError(f"{self._url}: the gzip body was cut off")
        return b"".join(body)

    def close(self) -> None:
        """Give the connection back."""
        with suppress(OSError):
            self._client.close()


def _unzipped(url: str, unzip: zlib._Decompress, piece: bytes, max_bytes: int) -> bytes:
    try:
        return unzip.decompress(piece, max_bytes)
    except zlib.error as error:
        raise LinkError(f"{url}: broken gzip body: {error}") from error


def _client(url: str, timeout_s: float, ca_file: str) -> httpx.Client:
    import ssl

    import httpx

    logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells each request at info: a line per scrape
    verify: ssl.SSLContext | bool = False  # plain HTTP: do not load certificates that nobody will look at
    if url.startswith("https:"):
        try:
            verify = ssl.create_default_context(cafile=ca_file or None)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"agent.scrape.ca_file: {ca_file!r}: {error}") from error
    return httpx.Client(
        verify=verify,
        timeout=timeout_s,
        trust_env=False,
        follow_redirects=True,
        max_redirects=_MAX_REDIRECTS,
        limits=httpx.Limits(max_connections=1, max_keepalive_connections=1),
    )
