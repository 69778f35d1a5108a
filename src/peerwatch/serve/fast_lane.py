"""FastLane: answers what is asked all day without a task, a scope or a queue; all else is uvicorn's.

A push costs 100 us less here than as an ASGI request (docs/decisions/0008), a query 1 ms (0013). The lane knows a
handful of request lines and headers. A connection whose request has anything else goes to uvicorn for good, from that
request's first byte. So the lane refuses nothing by itself: a push has no credential, no origin, no proxy before it,
and a query is answered only where the gate has nothing against it; whom it refuses is refused behind the lane.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol, cast

from peerwatch.serve.address import is_loopback_host, split_host
from peerwatch.serve.question import Question, read_question

Respond = Callable[[int, bytes, bytes], None]
"""Answers a request once: status, further header lines (each with its CRLF), body."""

CLOSING = b"connection: close\r\n"
"""A header line that ends the connection with its answer."""

Handler = Callable[[bytes, Respond], None]
"""Takes a request's body, and a way to answer now or later, in the event loop. Raises nothing."""

Leave = Callable[[], None]
"""To be called when the client leaves before its answer."""

Answerer = Callable[[Question, bytes, Respond], Leave]
"""Takes a question and its body, and a way to answer later, in the event loop. Raises nothing."""

Admit = Callable[[Question], bool]
"""Whether the gate would let a question pass."""

_MAX_HEAD_BYTES = 4 << 10
_MAX_BODY_BYTES = 64 << 10  # the usual push has 2 KiB; larger ones are worth a task
_MAX_HELD_BYTES = 16 << 20  # of requests that have come in part, over all connections
_PART_WAIT_S = 2.0
_HARMLESS = frozenset({b"content-type", b"user-agent", b"accept", b"accept-encoding"})
_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}


class Served(Protocol):
    """What uvicorn keeps of a connection."""

    def shutdown(self) -> None:
        """Finish the request that runs, then close."""
        ...


@dataclass(slots=True)
class LaneState:
    """What the connections of one server share."""

    handlers: Mapping[bytes, Handler]
    """By request line, without its CRLF."""
    loopback: bool
    """Whether only requests that name this machine as their host may pass."""
    idle_s: float
    max_connections: int
    answerers: Mapping[str, Answerer] = field(default_factory=dict)
    """By path, for GET and POST; for those whom `admits` lets in."""
    admits: Admit = lambda question: False
    held_bytes: int = 0


@dataclass(frozen=True, slots=True)
class _Request:
    handler: Handler | None
    body_start: int
    end: int
    question: Question | None = None


class FastLane(asyncio.Protocol):
    """One connection, from its first byte until it is closed or handed over."""

    def __init__(self, state: LaneState, connections: set[Served], successor: Callable[[], asyncio.Protocol]) -> None:
        self._state = state
        self._connections = connections
        self._successor = successor
        self._loop = asyncio.get_running_loop()
        self._waiting = b""
        self._answering = False
        self._unread = False
        self._closing = False
        self._leave: Leave | None = None
        self._used_s = 0.0
        self._idle: asyncio.TimerHandle | None = None
        self._patience: asyncio.TimerHandle | None = None

    # ---- called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        self._transport = cast(asyncio.Transport, transport)  # uvloop's do not inherit from it
        self._connections.add(self)
        self._used_s = self._loop.time()
        self._idle = self._loop.call_later(self._state.idle_s, self._close_if_idle)

    def data_received(self, data: bytes) -> None:
        """Bytes of requests. What comes before the last request is answered waits, and then reading does."""
        if self._waiting or self._answering or self._unread:
            self._hold(self._waiting + data)
            self._proceed()
        else:
            self._take(data)

    def eof_received(self) -> None:
        """The client sends nothing more: close."""

    def pause_writing(self) -> None:
        """The client does not read its answers: it gets no more of them until it does."""
        self._unread = True
        self._proceed()

    def resume_writing(self) -> None:
        """It reads again."""
        self._unread = False
        self._proceed()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone; what it pushed is stored all the same, what it asked is given up."""
        self._connections.discard(self)
        self._let_go()
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()

    # ---- called by the server

    def shutdown(self) -> None:
        """Finish the request that runs, then close."""
        self._closing = True
        if not self._answering:
            self._transport.close()

    def abort(self) -> None:
        """Close now: the answer that is due has not come within the time to drain."""
        self._transport.abort()

    # ---- requests

    def _proceed(self) -> None:
        """Take what waits, or read no more until that can be."""
        if self._transport.is_closing():
            return
        if self._answering or self._unread:
            self._transport.pause_reading()
            return
        self._transport.resume_reading()
        if self._waiting:
            self._take(self._waiting)

    def _take(self, data: bytes) -> None:
        """`data` starts with a request: answer it, wait for the rest of it, or hand it over."""
        request = self._read(data)
        if request is None:
            self._hand_over(data)
        elif len(data) < request.end:
            self._wait_for_more(data)
        else:
            self._answering = True
            self._hold(data[request.end :])
            self._used_s = self._loop.time()
            self._start(request, data[request.body_start : request.end])

    def _start(self, request: _Request, body: bytes) -> None:
        question = request.question
        if question is not None:
            self._closing |= question.closes
            self._leave = self._state.answerers[question.path](question, body, self._respond)
        elif request.handler is not None:
            request.handler(body, self._respond)

    def _read(self, data: bytes) -> _Request | None:
        """The request that `data` starts with, or None where it is not for the lane."""
        head_end = data.find(b"\r\n\r\n", 0, _MAX_HEAD_BYTES)
        if head_end < 0:
            return None
        head = data[:head_end]
        request_line, *fields = head.split(b"\r\n")
        if len(self._connections) > self._state.max_connections:
            return None
        handler = self._state.handlers.get(request_line)
        if handler is None:
            return self._read_question(head)
        if not head.count(b"\n") == head.count(b"\r") == len(fields):
            return None
        body_bytes = self._body_bytes(fields)
        if body_bytes is None:
            return None
        return _Request(handler, head_end + 4, head_end + 4 + body_bytes)

    def _read_question(self, head: bytes) -> _Request | None:
        question = read_question(head) if self._state.answerers else None
        if question is None or question.path not in self._state.answerers or question.body_bytes > _MAX_BODY_BYTES:
            return None
        if not self._state.admits(question):
            return None
        start = len(head) + 4
        return _Request(None, start, start + question.body_bytes, question)

    def _body_bytes(self, fields: list[bytes]) -> int | None:
        """The length of the body, or None when a header says anything that is not for the lane."""
        host, length = b"", b""
        for line in fields:
            name, _, value = line.partition(b":")
            name = name.lower()
            if name in _HARMLESS:
                continue
            value = value.strip(b" \t")
            if name == b"host" and not host:
                host = value
            elif name == b"content-length" and not length and value.isdigit() and len(value) < 6:
                length = value
            elif name != b"connection" or value.lower() != b"keep-alive":
                return None
        if not host or (self._state.loopback and not is_loopback_host(split_host(host.decode("latin-1")))):
            return None
        body_bytes = int(length or b"0")
        return body_bytes if body_bytes <= _MAX_BODY_BYTES else None

    def _wait_for_more(self, data: bytes) -> None:
        if self._state.held_bytes + len(data) > _MAX_HELD_BYTES:
            self._hand_over(data)
            return
        self._hold(data)
        if self._patience is None:
            self._patience = self._loop.call_later(_PART_WAIT_S, self._hand_over_part)

    def _hand_over_part(self) -> None:
        """It trickles: uvicorn's application has a deadline for that."""
        if self._waiting and not self._answering:
            self._hand_over(self._waiting)

    def _hand_over(self, data: bytes) -> None:
        self._connections.discard(self)
        self._let_go()
        successor = self._successor()
        successor.connection_made(self._transport)
        self._transport.set_protocol(successor)
        if data:
            successor.data_received(data)

    def _respond(self, status: int, fields: bytes, body: bytes) -> None:
        """The answer to the request that runs; the next one, where it waits already, is taken."""
        transport = self._transport
        if transport.is_closing():
            return
        self._closing |= fields == CLOSING
        ending = CLOSING if self._closing and fields != CLOSING else b""
        transport.write(
            b"HTTP/1.1 %d %b\r\n%b%bcontent-length: %d\r\n\r\n%b"
            % (status, _REASONS.get(status, b""), fields, ending, len(body), body)
        )
        self._answering, self._leave = False, None
        self._used_s = self._loop.time()
        if self._closing:
            transport.close()
        elif self._waiting:
            self._loop.call_soon(self._proceed)

    # ---- what is held

    def _hold(self, data: bytes) -> None:
        self._state.held_bytes += len(data) - len(self._waiting)
        self._waiting = data
        if self._patience is not None and (self._answering or not data):
            self._patience.cancel()
            self._patience = None

    def _let_go(self) -> None:
        self._hold(b"")
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _close_if_idle(self) -> None:
        left_s = self._used_s + self._state.idle_s - self._loop.time()
        if left_s <= 0 and not self._answering:
            self._transport.close()
        else:
            self._idle = self._loop.call_later(max(left_s, 1.0), self._close_if_idle)
