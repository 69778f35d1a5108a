"""HttpGetter: the door to the HTTP client; fetches one URL within a time and a size."""

from __future__ import annotations

import ssl
import zlib
from base64 import b64encode
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from peerwatch.errors import ConfigError, LinkError
from peerwatch.model import Clock

_MOST_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PIECE_BYTES = 64 << 10
_AS_IT_IS = "%/:=&?~#+!$,;'@()*[]"  # what else a URL holds is escaped
_FOR_ANYBODY = frozenset({"accept", "accept-encoding", "user-agent"})


class HttpGetter:
    """GETs one URL again and again over a kept connection. Reads no environment (no proxies).

    Up to 5 redirects are followed; headers that may be secrets go no further than the address they were meant for.
    """

    def __init__(self, url: str, clock: Clock, *, timeout_s: float, limit_bytes: int, ca_file: str = "") -> None:
        self._url = url
        self._clock = clock
        self._timeout_s = timeout_s
        self._limit_bytes = limit_bytes
        self._ca_file = ca_file
        self._tls = _tls_context(ca_file) if url.startswith("https:") else None
        self._connection: HTTPConnection | None = None
        self._origin = ("", "")

    def get(self, headers: Mapping[str, str]) -> tuple[bytes, str]:
        """The body and its content type. Raises LinkError: unreachable, refused, too slow, too large, not 200."""
        end_s = self._clock.monotonic_s() + self._timeout_s
        try:
            found = self._follow({"Accept-Encoding": "gzip", **_credentials(self._url), **headers}, end_s)
        except (OSError, HTTPException, ValueError) as error:  # ValueError: a URL or header that is none
            self.close()
            raise LinkError(f"{self._url}: {type(error).__name__}: {error}") from error
        except LinkError:
            self.close()  # the rest of the answer is still on its way
            raise
        return found

    def _follow(self, headers: Mapping[str, str], end_s: float) -> tuple[bytes, str]:
        url = self._url
        for _ in range(_MOST_REDIRECTS + 1):
            self._check_time(end_s)
            response = self._ask(url, headers)
            location = response.getheader("location") if response.status in _REDIRECTS else None
            if location is None:
                return self._content(response, end_s), response.getheader("content-type", "")
            self.close()
            following = urljoin(url, location)
            if _origin(following) != _origin(url):
                headers = {name: value for name, value in headers.items() if name.lower() in _FOR_ANYBODY}
            url = following
        raise LinkError(f"{self._url}: more than {_MOST_REDIRECTS} redirects")

    def _ask(self, url: str, headers: Mapping[str, str]) -> HTTPResponse:
        """The head of the answer. A kept connection that was closed meanwhile is replaced, once."""
        if self._connection is None or self._origin != _origin(url):
            self.close()
            self._connection, self._origin = self._connect(urlsplit(url)), _origin(url)
        connection = self._connection
        was_kept = connection.sock is not None
        try:
            return _asked(connection, url, headers)
        except (ConnectionError, ssl.SSLEOFError):
            if not was_kept:
                raise
        connection.close()  # it opens itself anew
        return _asked(connection, url, headers)

    def _connect(self, url: SplitResult) -> HTTPConnection:
        if url.scheme not in ("http", "https") or not url.hostname:
            raise LinkError(f"{self._url}: leads to {url.geturl()[:200]!r}, must be http://… or https://…")
        if url.scheme == "http":
            return HTTPConnection(url.hostname, url.port or 80, timeout=self._timeout_s)
        self._tls = self._tls or _tls_context(self._ca_file)
        return HTTPSConnection(url.hostname, url.port or 443, timeout=self._timeout_s, context=self._tls)

    def _content(self, response: HTTPResponse, end_s: float) -> bytes:
        if response.status != 200:
            raise LinkError(f"{self._url}: status {response.status}")
        zipped = response.getheader("content-encoding", "").strip().lower()
        if zipped not in ("", "identity", "gzip"):
            raise LinkError(f"{self._url}: content-encoding {zipped[:40]!r}, only gzip is understood")
        body = self._bounded(self._pieces(response, end_s), zipped=zipped == "gzip")
        response.close()  # of the connection's answers; the connection itself stays
        return body

    def _pieces(self, response: HTTPResponse, end_s: float) -> Iterator[bytes]:
        while piece := response.read1(_PIECE_BYTES):
            self._check_time(end_s)
            yield piece
        if response.length:
            raise LinkError(f"{self._url}: connection closed {response.length} bytes before the end")

    def _bounded(self, pieces: Iterator[bytes], *, zipped: bool) -> bytes:
        unzip = zlib.decompressobj(16 + zlib.MAX_WBITS) if zipped else None
        body: list[bytes] = []
        room = self._limit_bytes
        for piece in pieces:
            plain = piece if unzip is None else _unzipped(self._url, unzip, piece, room + 1)
            room -= len(plain)
            if room < 0:
                raise LinkError(f"{self._url}: body over the limit of {self._limit_bytes} bytes")
            body.append(plain)
        if unzip is not None and not unzip.eof:
            raise LinkError(f"{self._url}: the gzip body was cut off")
        return b"".join(body)

    def _check_time(self, end_s: float) -> None:
        if self._clock.monotonic_s() > end_s:
            raise LinkError(f"{self._url}: not done within {self._timeout_s:g} s")

    def close(self) -> None:
        """Give the connection back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _asked(connection: HTTPConnection, url: str, headers: Mapping[str, str]) -> HTTPResponse:
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    connection.request("GET", quote(target, safe=_AS_IT_IS), headers=headers)
    return connection.getresponse()


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _credentials(url: str) -> dict[str, str]:
    """Name and password that are part of the URL, as a header."""
    parts = urlsplit(url)
    if parts.username is None:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}


def _unzipped(url: str, unzip: zlib._Decompress, piece: bytes, max_bytes: int) -> bytes:
    try:
        return unzip.decompress(piece, max_bytes)
    except zlib.error as error:
        raise LinkError(f"{url}: broken gzip body: {error}") from error


def _tls_context(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"agent.scrape.ca_file: {ca_file!r}: {error}") from error
