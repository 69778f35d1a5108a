"""HttpConnection: one connection to a hub, one request at a time."""

from __future__ import annotations

import ssl

import anyio
import anyio.abc

from peerwatch.errors import LinkError
from peerwatch.links.http_answer import AnswerReader

_MOST_REPLY_BYTES = 16 << 20


class ConnectionGoneError(LinkError):
    """A kept connection turned out to be closed before a byte of the answer came: nobody may have seen the request."""


class HttpConnection:
    """Open until `close`. After a failure, or an answer that does not keep it alive, it can only be closed."""

    def __init__(self, stream: anyio.abc.ByteStream) -> None:
        self._stream = stream
        self._used = False

    @classmethod
    async def open(cls, host: str, port: int, tls: ssl.SSLContext | None, within_s: float) -> HttpConnection:
        """Connect, and shake hands where there is `tls`. Raises LinkError."""
        try:
            with anyio.fail_after(within_s):
                if tls is None:
                    return cls(await anyio.connect_tcp(host, port))
                # Without the goodbye of TLS: what an answer's length does not protect is signed.
                return cls(
                    await anyio.connect_tcp(
                        host, port, ssl_context=tls, tls_hostname=host, tls=True, tls_standard_compatible=False
                    )
                )
        except TimeoutError as error:
            raise LinkError(f"no connection within {within_s:g} s") from error
        except (OSError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
            raise LinkError(f"cannot connect: {_words(error)}") from error

    async def exchange(self, request: bytes) -> AnswerReader:
        """The whole answer to `request`. Raises LinkError, DecodeError when the answer is no HTTP or too large."""
        reader = AnswerReader(_MOST_REPLY_BYTES)
        try:
            await self._send(request)
            while not reader.whole:
                try:
                    data = await self._stream.receive()
                except anyio.EndOfStream:
                    if self._used and not reader.size_bytes:
                        raise ConnectionGoneError("connection closed by the hub") from None
                    reader.end()
                else:
                    reader.feed(data)
        except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError) as error:
            kind = ConnectionGoneError if self._used and not reader.size_bytes else LinkError
            raise kind(f"connection lost: {_words(error)}") from error
        self._used = True
        return reader

    async def _send(self, request: bytes) -> None:
        try:
            await self._stream.send(request)
        except anyio.BrokenResourceError:
            return  # a hub that refuses a large request answers and closes before it has read all: look for the answer

    async def close(self) -> None:
        """Give it back at once, also when cancelled."""
        with anyio.CancelScope(shield=True):  # else what a frozen hub did not take would wait in memory for it
            await self._stream.aclose()


def _words(error: BaseException) -> str:
    """What happened; anyio keeps the system's reason as the cause."""
    reason: BaseException = error
    while reason.__cause__ is not None:
        reason = reason.__cause__
    if isinstance(reason, BaseExceptionGroup):
        reason = reason.exceptions[0]
    return str(reason) or type(reason).__name__
