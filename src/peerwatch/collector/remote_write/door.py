"""RemoteWriteEndpoint: the HTTP side of remote write, as its specifications 1.0 and 2.0 want it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from math import ceil
from typing import Any

import anyio
import anyio.to_thread

from peerwatch.collector.remote_write.metrics import RemoteWriteMetrics
from peerwatch.collector.remote_write.receiver import Outcome, RemoteWriteReceiver
from peerwatch.errors import DecodeError, QuotaError, StoreError
from peerwatch.wire.limits import WireLimits
from peerwatch.wire.remote_write import Written, decode_write_v1, decode_write_v2
from peerwatch.wire.snappy import announced_bytes

WRITE_PATH = "/api/v1/write"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Decode = Callable[[bytes, WireLimits], Written]

_V1, _V2 = "prometheus.WriteRequest", "io.prometheus.write.v2.Request"
_DECODERS: dict[str, Decode] = {_V1: decode_write_v1, _V2: decode_write_v2}
_VERSIONS = {_V1: b"0.1.0", _V2: b"2.0.0"}
_BODY_DEADLINE_S = 30.0
_BUSY_WAIT_S = 2.0
_DECODERS_AT_ONCE = 2  # unpacked and parsed a body may take ten times its size for a moment
_INLINE_BYTES = 64 << 10  # a larger body is decoded beside the event loop


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    message: str = ""
    headers: tuple[tuple[bytes, bytes], ...] = ()


class _RefusedError(Exception):
    """The request ends here, with this answer."""

    def __init__(self, status: int, message: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(message)
        self.answer = _Answer(status, message, headers)


class RemoteWriteEndpoint:
    """ASGI application for `/api/v1/write`. Bodies are bounded one by one, and together, unpacked, by `max_bodies` of
    the largest; two of them are unpacked at a time.

    What a sender may repeat with success is answered with 503 and a wait, since Prometheus gives up on 429 unless it
    is configured not to; what it must not repeat with 400, 413 or 415.
    """

    def __init__(
        self, receiver: RemoteWriteReceiver, limits: WireLimits, max_bodies: int, metrics: RemoteWriteMetrics
    ) -> None:
        self._receiver = receiver
        self._limits = limits
        self._max_held_bytes = max_bodies * limits.max_body_bytes
        self._decoders = anyio.CapacityLimiter(_DECODERS_AT_ONCE)
        self._held_bytes = 0
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._answer(scope, receive)
        except _RefusedError as refused:
            answer = refused.answer
        self._metrics.request(answer.status)
        body = f"{answer.message}\n".encode() if answer.message else b""
        headers = list(answer.headers)
        if answer.status != 204:
            headers += [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Scope, receive: Receive) -> _Answer:
        if scope["method"] != "POST":
            raise _RefusedError(405, f"{WRITE_PATH} takes POST only", (b"allow", b"POST"))
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        message = message_name(headers.get(b"content-type", ""))
        encoding = headers.get(b"content-encoding", "snappy").strip().lower()
        if encoding != "snappy":
            raise _RefusedError(415, f"content-encoding {encoding[:100]!r} is not taken, only snappy")
        held = _Held(self)
        try:
            body = await self._body(receive, held, headers.get(b"content-length", ""))
            held.add(min(announced_bytes(body), self._limits.max_body_bytes))
            return await self._store(message, body)
        finally:
            self._held_bytes -= held.size_bytes

    async def _store(self, message: str, body: bytes) -> _Answer:
        version = (b"x-prometheus-remote-write-version", _VERSIONS[message])
        self._metrics.received_bytes.inc(len(body))
        try:
            written = await self._decode(_DECODERS[message], body)
            outcome = await self._receiver.store(written)
        except DecodeError as error:
            raise _RefusedError(400, str(error), version, *_counts(0)) from error
        except (StoreError, QuotaError) as error:
            wait_s = getattr(error, "wait_s", None) or _BUSY_WAIT_S
            raise _RefusedError(503, str(error), _retry_after(wait_s), version, *_counts(0)) from error
        self._metrics.stored(outcome, written.exemplars)
        headers = (version, *_counts(outcome.samples, outcome.histograms))
        return _Answer(400, _told(outcome), headers) if outcome.refused else _Answer(204, "", headers)

    async def _decode(self, decode: Decode, body: bytes) -> Written:
        if len(body) <= _INLINE_BYTES:
            return decode(body, self._limits)
        return await anyio.to_thread.run_sync(decode, body, self._limits, limiter=self._decoders)

    async def _body(self, receive: Receive, held: _Held, announced: str) -> bytes:
        if announced.isascii() and announced.isdigit():
            self._check_size(int(announced[:20]))
        with anyio.move_on_after(_BODY_DEADLINE_S):
            parts: list[bytes] = []
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise _RefusedError(400, f"the client left after {held.size_bytes} bytes of body")
                part: bytes = message.get("body", b"")
                self._check_size(held.size_bytes + len(part))
                held.add(len(part))
                parts.append(part)
                if not message.get("more_body", False):
                    return b"".join(parts)
        raise _RefusedError(408, f"{held.size_bytes} bytes of body within {_BODY_DEADLINE_S:g} s, the limit")

    def _check_size(self, size_bytes: int) -> None:
        limit = self._limits.max_request_bytes
        if size_bytes > limit:
            raise _RefusedError(413, f"request of {size_bytes} bytes or more, limit {limit}")

    def hold(self, size_bytes: int) -> None:
        """Count bytes of bodies in memory. Raises when there are too many."""
        if self._held_bytes + size_bytes > self._max_held_bytes:
            message = f"requests of {self._held_bytes + size_bytes} bytes in memory, limit {self._max_held_bytes}"
            raise _RefusedError(503, message, _retry_after(_BUSY_WAIT_S))
        self._held_bytes += size_bytes


class _Held:
    """The bytes that one request holds. Owned by it; the endpoint counts them."""

    def __init__(self, endpoint: RemoteWriteEndpoint) -> None:
        self._endpoint = endpoint
        self.size_bytes = 0

    def add(self, size_bytes: int) -> None:
        self._endpoint.hold(size_bytes)
        self.size_bytes += size_bytes


def message_name(content_type: str) -> str:
    """Which protobuf message a request says it is; without a word it is 1.0. Refuses with 415 whatever else."""
    kind, *parameters = [part.strip() for part in content_type.split(";")]
    if kind.lower() not in ("", "application/x-protobuf"):
        raise _RefusedError(415, f"content-type {content_type[:200]!r} is not taken, only application/x-protobuf")
    named = [
        value.strip().strip('"') for name, _, value in (one.partition("=") for one in parameters) if name == "proto"
    ]
    message = named[0] if named else _V1
    if message not in _DECODERS:
        raise _RefusedError(415, f"message {message[:200]!r} is not taken, only {' and '.join(_DECODERS)}")
    return message


def _told(outcome: Outcome) -> str:
    reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(outcome.refused.items()))
    refused = outcome.refused.total()
    total = outcome.samples + outcome.histograms + refused
    return f"{refused} of {total} samples refused ({reasons}): {outcome.first_error}"


def _counts(samples: int, histograms: int = 0) -> tuple[tuple[bytes, bytes], ...]:
    return (
        (b"x-prometheus-remote-write-samples-written", str(samples).encode()),
        (b"x-prometheus-remote-write-histograms-written", str(histograms).encode()),
        (b"x-prometheus-remote-write-exemplars-written", b"0"),
    )


def _retry_after(wait_s: float) -> tuple[bytes, bytes]:
    return b"retry-after", str(max(1, ceil(wait_s))).encode()
