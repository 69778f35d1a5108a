"""AnswerReader: one HTTP answer from the bytes of a connection. No I/O. The one door to httptools on this side."""

from __future__ import annotations

from typing import Final

import httptools

from peerwatch.errors import DecodeError

_MOST_HEAD_BYTES: Final = 64 << 10
_KEPT: Final = frozenset({b"content-length", b"retry-after", b"transfer-encoding"})


class AnswerReader:
    """Fed with what comes until `whole`. What is held is bounded by `most_bytes`, head included.

    Of the headers it keeps those that anybody here asks for. Interim answers (1xx) are passed over.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._has_head = False
        self._has_surplus = False
        self.status = 0
        """The status code, once the answer is whole."""
        self.size_bytes = 0
        """How much has come."""
        self.whole = False
        """Whether the answer is complete."""
        self.keeps_alive = False
        """Whether the connection may serve another request; means something once the answer is whole."""

    @property
    def body(self) -> bytes:
        """The content, without the framing of the connection."""
        return b"".join(self._body)

    def header(self, name: bytes) -> str:
        """A header's value; empty where it did not come."""
        return self._headers.get(name, b"").decode("latin-1")

    def feed(self, data: bytes) -> None:
        """Take in what came. Raises DecodeError for what is not HTTP and for an answer over the limit."""
        self.size_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            raise DecodeError(f"not an HTTP answer: {error}") from error
        limit = self._most_bytes if self._has_head else _MOST_HEAD_BYTES
        if self.size_bytes > limit:
            part = "answer" if self._has_head else "head of an answer"
            raise DecodeError(f"{part} of {self.size_bytes} bytes or more, limit {limit}")

    def end(self) -> None:
        """The other side closed. That ends an answer that told no length; any other is cut off: DecodeError."""
        if not self._has_head or self._headers.keys() & {b"content-length", b"transfer-encoding"}:
            raise DecodeError(f"connection closed after {self.size_bytes} bytes of an answer")
        self.whole = True

    # ---- called by the parser

    def on_message_begin(self) -> None:
        """Another answer begins: after a whole one nobody has asked for it."""
        self._has_surplus = self.whole

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header is complete."""
        if not self.whole and name.lower() in _KEPT:
            self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """The head is complete."""
        status = self._parser.get_status_code()
        if status < 200:
            self._headers.clear()
        elif not self._has_head:
            self._has_head, self.status = True, status

    def on_body(self, piece: bytes) -> None:
        """A piece of the content."""
        if not self.whole:
            self._body.append(piece)

    def on_message_complete(self) -> None:
        """The content is complete."""
        if self._has_head:
            self.whole = True
            self.keeps_alive = not self._has_surplus and bool(self._parser.should_keep_alive())
