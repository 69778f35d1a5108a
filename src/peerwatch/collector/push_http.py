"""The collector's HTTP door: pushes and enrolments. Plain ASGI, since a framework's request costs as much as ours.

Neither needs a credential: a push is signed by a member's key and an enrolment by an invite's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio

from peerwatch.collector.collector import Collector
from peerwatch.errors import ConfigError, DecodeError, QuotaError, SignatureError, StoreError
from peerwatch.fleet.authority import Authority

PUSH_PATH = "/api/v1/push"
ENROL_PATH = "/api/v1/enrol"
CONTENT_TYPE = b"application/x-protobuf"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_MAX_ENROL_BYTES = 4 << 10


class BodyError(Exception):
    """The request's body is not to be had: too large, too slow, or its sender is gone."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class PushEndpoint:
    """ASGI application for `POST /api/v1/push` and `POST /api/v1/enrol`."""

    def __init__(
        self, collector: Collector, authority: Authority, max_request_bytes: int, body_deadline_s: float = 30.0
    ) -> None:
        self._collector = collector
        self._authority = authority
        self._max_request_bytes = max_request_bytes
        self._body_deadline_s = body_deadline_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await _answer(send, 405, b"POST only\n", b"text/plain")
            return
        is_push = scope["path"] == PUSH_PATH
        try:
            body = await self._body(receive, self._max_request_bytes if is_push else _MAX_ENROL_BYTES)
            if is_push:
                await self._push(body, send)
            else:
                await self._enrol(body, send)
        except BodyError as error:
            await _answer(send, error.status, f"{error}\n".encode(), b"text/plain")
        except DecodeError as error:
            await _answer(send, 400, f"{error}\n".encode(), b"text/plain")

    async def _push(self, body: bytes, send: Send) -> None:
        result = await self._collector.push(body)
        if result.wait_s is None:
            await _answer(send, 200, result.reply, CONTENT_TYPE)
        else:
            wait = str(max(1, round(result.wait_s))).encode()
            await _answer(send, 429, result.reply, CONTENT_TYPE, [(b"retry-after", wait)])

    async def _enrol(self, body: bytes, send: Send) -> None:
        try:
            entry = self._authority.enrol(body)
        except (SignatureError, ConfigError, QuotaError) as error:
            await _answer(send, 403, f"{error}\n".encode(), b"text/plain")
        except StoreError as error:
            await _answer(send, 503, f"{error}\n".encode(), b"text/plain")
        else:
            await _answer(send, 200, self._authority.membership.welcome(entry.member), CONTENT_TYPE)

    async def _body(self, receive: Receive, limit_bytes: int) -> bytes:
        """The whole body within its limit and its deadline (slow-loris), raising BodyError past either."""
        parts: list[bytes] = []
        size_bytes = 0
        with anyio.move_on_after(self._body_deadline_s):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise BodyError(400, "the client is gone")
                part = message.get("body", b"")
                size_bytes += len(part)
                if size_bytes > limit_bytes:
                    raise BodyError(413, f"request of more than {limit_bytes} bytes, the limit")
                parts.append(part)
                if not message.get("more_body", False):
                    return b"".join(parts) if len(parts) > 1 else part
        raise BodyError(408, f"the body did not arrive within {self._body_deadline_s:.0f} s")


async def _answer(
    send: Send, status: int, body: bytes, content_type: bytes, headers: list[tuple[bytes, bytes]] | None = None
) -> None:
    fixed = [(b"content-type", content_type), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": fixed + (headers or [])})
    await send({"type": "http.response.body", "body": body})
