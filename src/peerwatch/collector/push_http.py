"""The collector's HTTP door: pushes, enrolments, questions of hubs. Plain ASGI: a framework costs as much as the rest.

None needs a credential: a push is signed by a member's key, an enrolment by an invite's, a question by a hub's, and the
membership by hubs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from math import ceil
from typing import Any

import anyio

from peerwatch.collector.collector import Collector, PushResult
from peerwatch.errors import ConfigError, DecodeError, QuotaError, SignatureError, StoreError
from peerwatch.fleet.authority import Authority
from peerwatch.fleet.exchange import MAX_QUESTION_BYTES, ROSTER_PATH, Exchange
from peerwatch.model import Clock
from peerwatch.serve.fast_lane import CLOSING, Handler, Respond

PUSH_PATH = "/api/v1/push"
ENROL_PATH = "/api/v1/enrol"
MEMBERSHIP_PATH = "/api/v1/membership"
CONTENT_TYPE = b"application/x-protobuf"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_TEXT = b"text/plain; charset=utf-8"
_MAX_ENROL_BYTES = 4 << 10
_BODIES = 16  # requests of the largest size that may be in memory at once; thousands of the usual size
_BUSY_WAIT_S = 2.0
_METHODS = {PUSH_PATH: "POST", ENROL_PATH: "POST", ROSTER_PATH: "POST", MEMBERSHIP_PATH: "GET"}
_REVOKED = "this hub was revoked by its fleet and takes nothing any more"


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    body: bytes
    content_type: bytes = _TEXT
    headers: tuple[tuple[bytes, bytes], ...] = ()


class _BodyError(Exception):
    """The request's body is not to be had: too large, too slow, or its sender is gone."""

    def __init__(self, answer: _Answer) -> None:
        super().__init__(answer.body)
        self.answer = answer


class PushEndpoint:
    """ASGI application for `/api/v1/push`, `/api/v1/enrol`, `/api/v1/roster` and `/api/v1/membership`.

    Bodies are bounded one by one and together (16 of the largest); past the latter the answer is 429 with a wait.
    """

    def __init__(
        self,
        collector: Collector,
        authority: Authority,
        clock: Clock,
        max_request_bytes: int,
        body_deadline_s: float = 30.0,
    ) -> None:
        self._collector = collector
        self._authority = authority
        self._exchange = Exchange(authority, clock)
        self._max_request_bytes = max_request_bytes
        self._body_deadline_s = body_deadline_s
        self._held_bytes = 0

    def fast(self) -> dict[bytes, Handler]:
        """What agents send all day, by request line, for a server's fast lane."""
        return {
            f"POST {PUSH_PATH} HTTP/1.1".encode(): self._fast_push,
            f"GET {MEMBERSHIP_PATH} HTTP/1.1".encode(): self._fast_membership,
        }

    def _fast_push(self, content: bytes, respond: Respond) -> None:
        def done(result: PushResult) -> None:
            if result.closes:
                respond(200, CLOSING, result.reply)
            elif result.wait_s is None:
                respond(200, b"", result.reply)  # its type goes without saying, and would be a tenth of the answer
            else:
                respond(429, b"%b: %b\r\n" % _retry_after(result.wait_s), result.reply)

        if self._authority.is_revoked:
            respond(503, b"content-type: %b\r\n" % _TEXT, f"{_REVOKED}\n".encode())
            return
        try:
            self._collector.take(content, done)
        except DecodeError as error:
            respond(400, b"content-type: %b\r\n" % _TEXT, f"{error}\n".encode())

    def _fast_membership(self, _: bytes, respond: Respond) -> None:
        respond(200, b"", self._authority.membership.welcome(b""))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":  # lifespan and websockets are the surrounding application's
            return
        try:
            answer = await self._answer(scope, receive)
        except _BodyError as error:
            answer = error.answer
        except DecodeError as error:
            answer = _text(400, str(error))
        length = str(len(answer.body)).encode()
        headers = [(b"content-type", answer.content_type), (b"content-length", length), *answer.headers]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Scope, receive: Receive) -> _Answer:
        path = scope["path"]
        method = _METHODS.get(path)
        if method is None:
            return _text(404, f"no {path} here")
        if scope["method"] != method:
            return _Answer(405, f"{path} takes {method} only\n".encode(), _TEXT, ((b"allow", method.encode()),))
        if path == MEMBERSHIP_PATH:
            return _Answer(200, self._authority.membership.welcome(b""), CONTENT_TYPE)
        if self._authority.is_revoked:
            return _text(503, _REVOKED)
        limits = {PUSH_PATH: self._max_request_bytes, ROSTER_PATH: MAX_QUESTION_BYTES, ENROL_PATH: _MAX_ENROL_BYTES}
        body = _Body(self, receive, limits[path], _announced_bytes(scope))
        try:
            content = await self._in_time(body)
            if path == PUSH_PATH:
                return await self._push(content)
            return self._answer_hub(content) if path == ROSTER_PATH else self._enrol(content)
        finally:
            self._held_bytes -= body.size_bytes

    async def _push(self, content: bytes) -> _Answer:
        result = await self._collector.push(content)
        if result.wait_s is None:
            ending = ((b"connection", b"close"),) if result.closes else ()
            return _Answer(200, result.reply, CONTENT_TYPE, ending)
        return _Answer(429, result.reply, CONTENT_TYPE, (_retry_after(result.wait_s),))

    def _enrol(self, content: bytes) -> _Answer:
        try:
            entry = self._authority.enrol(content)
        except (SignatureError, ConfigError, QuotaError) as error:
            return _text(403, str(error))
        except StoreError as error:
            return _text(503, str(error))
        return _Answer(200, self._authority.membership.welcome(entry.member), CONTENT_TYPE)

    def _answer_hub(self, content: bytes) -> _Answer:
        try:
            return _Answer(200, self._exchange.answer(content), CONTENT_TYPE)
        except SignatureError as error:
            return _text(403, str(error))
        except StoreError as error:
            return _text(503, str(error))

    async def _in_time(self, body: _Body) -> bytes:
        """The whole body within its deadline: one that trickles in must not hold its memory for ever."""
        with anyio.move_on_after(self._body_deadline_s):
            return await body.read()
        message = f"{body.size_bytes} bytes of body within {self._body_deadline_s:g} s, the limit; send it faster"
        raise _BodyError(_text(408, message))

    def hold(self, size_bytes: int) -> None:
        """Count bytes of bodies in memory. Raises when there are too many."""
        limit_bytes = _BODIES * self._max_request_bytes
        if self._held_bytes + size_bytes > limit_bytes:
            message = f"requests of {self._held_bytes + size_bytes} bytes in memory, limit {limit_bytes}\n"
            raise _BodyError(_Answer(429, message.encode(), _TEXT, (_retry_after(_BUSY_WAIT_S),)))
        self._held_bytes += size_bytes


class _Body:
    """A request's body on its way in. Owned by the request; the endpoint counts its bytes."""

    def __init__(self, endpoint: PushEndpoint, receive: Receive, limit_bytes: int, announced_bytes: int) -> None:
        self._endpoint = endpoint
        self._receive = receive
        self._limit_bytes = limit_bytes
        self._announced_bytes = announced_bytes
        self.size_bytes = 0

    async def read(self) -> bytes:
        """All of it."""
        self._check(self._announced_bytes)
        parts: list[bytes] = []
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise _BodyError(_text(400, f"the client left after {self.size_bytes} bytes of body"))
            part: bytes = message.get("body", b"")
            self._check(self.size_bytes + len(part))
            self._endpoint.hold(len(part))
            self.size_bytes += len(part)
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts) if len(parts) > 1 else part

    def _check(self, size_bytes: int) -> None:
        if size_bytes > self._limit_bytes:
            raise _BodyError(_text(413, f"request of {size_bytes} bytes or more, limit {self._limit_bytes}"))


def _announced_bytes(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value[:20])
    return 0


def _retry_after(wait_s: float) -> tuple[bytes, bytes]:
    return b"retry-after", str(max(1, ceil(wait_s))).encode()


def _text(status: int, message: str) -> _Answer:
    return _Answer(status, f"{message}\n".encode(), _TEXT)
