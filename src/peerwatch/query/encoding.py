"""Encoding: answers compressed for clients that ask for it, as Grafana and Prometheus's own clients do."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

MIN_BYTES = 4 << 10
"""Less is a few packets either way."""

_FASTEST = 1  # a third of the time of zlib's default, for a tenth more bytes
_GZIP_WINDOW = 31


@dataclass(frozen=True, slots=True)
class Encoded:
    """A body, and the headers that go with it."""

    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


def encoded(body: bytes, accept_encoding: str) -> Encoded:
    """The body as a client that sent this `Accept-Encoding` should get it. Call it in a thread: 3 ms a megabyte."""
    if len(body) < MIN_BYTES or not accepts_gzip(accept_encoding):
        return Encoded(body)
    packer = zlib.compressobj(_FASTEST, zlib.DEFLATED, _GZIP_WINDOW)
    packed = packer.compress(body) + packer.flush()
    return Encoded(packed, (("content-encoding", "gzip"), ("vary", "accept-encoding")))


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether gzip is named there (RFC 9110, 12.5.3), and not only to say that it is not wanted."""
    for choice in accept_encoding.lower().split(","):
        name, _, parameters = choice.partition(";")
        if name.strip() == "gzip":
            return parameters.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False
