"""Carrier: one request and its answer over a libp2p stream, which is then kept for the next (docs/formats/node.md)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
import msgspec

from peerwatch.errors import DecodeError, LinkError, PeerwatchError
from peerwatch.node.connection import Stream
from peerwatch.node.failures import checked_reply, to_failed
from peerwatch.node.frames import FrameReader, pack_frame
from peerwatch.node.gater import Direction
from peerwatch.node.host import Host
from peerwatch.node.messages import Delivered, Failed, encode_message
from peerwatch.node.metrics import NodeMetrics
from peerwatch.wire.protocols import MEMBERSHIP, PUSH

_READ_BYTES = 1 << 16
_MOST_IDLE = 4  # streams kept per member: an agent has two lanes, and asks who the hubs are
_MAX_REQUEST_BYTES = {PUSH: 9 << 20, MEMBERSHIP: 16}  # a push as the collector's HTTP door takes it: 8 MB and its frame
_MAX_ANSWER_BYTES = 4 << 20
_REQUEST_S = 30.0
"""From a request's first byte to its last."""

_answers = msgspec.msgpack.Decoder(Delivered | Failed)
Serve = Callable[[bytes, str, bytes], Awaitable[bytes]]
"""Member, protocol, request to answer; raises errors of ours."""


class Carrier:
    """Both sides of the protocols above. Mutable; owned by the node's event loop.

    A stream carries one request at a time, so requests of one member run side by side on as many streams, which the
    host bounds. `serve` answers those of others; its errors travel as words, ours that are bugs end the stream.
    """

    def __init__(self, host: Host, serve: Serve, metrics: NodeMetrics) -> None:
        self._host = host
        self._metrics = metrics
        self._serve = serve
        self._idle: defaultdict[tuple[bytes, str], list[Stream]] = defaultdict(list)
        for protocol in (PUSH, MEMBERSHIP):
            host.handle(protocol, self._answer_all)

    def forget(self, member: bytes) -> None:
        """Its connection is gone, and the streams kept for it with it."""
        for protocol in (PUSH, MEMBERSHIP):
            self._idle.pop((member, protocol), None)

    async def ask(self, member: bytes, protocol: str, body: bytes, within_s: float) -> bytes:
        """The member's answer. Raises LinkError, DecodeError (it cannot read the request), QuotaError (denied)."""
        if protocol not in _MAX_REQUEST_BYTES:
            raise LinkError(f"protocol {protocol!r} is none of {', '.join(_MAX_REQUEST_BYTES)}")
        frame = pack_frame(body or b"\0", _MAX_REQUEST_BYTES[protocol])
        try:
            with anyio.fail_after(within_s):
                reply = await self._exchange(member, protocol, frame)
        except TimeoutError as error:
            raise LinkError(f"{protocol}: no answer within {within_s:g} s") from error
        self._metrics.message(Direction.OUT, protocol)
        checked = checked_reply(reply)
        assert isinstance(checked, Delivered)  # it raises for Failed
        return checked.body

    async def _exchange(self, member: bytes, protocol: str, frame: bytes) -> Delivered | Failed:
        idle = self._idle[member, protocol]
        while idle:  # one that broke meanwhile is no failure yet: all that is sent here may arrive twice
            with suppress(LinkError):
                return await self._on(idle.pop(), frame)
        return await self._on(await self._host.open_stream(member, protocol), frame)

    async def _on(self, stream: Stream, frame: bytes) -> Delivered | Failed:
        """One request on this stream; kept afterwards, dropped when anything else happens."""
        try:
            await stream.write(frame)
            reader = FrameReader(_MAX_ANSWER_BYTES)
            answer = await _next_frame(stream, reader)
            if answer is None or reader.in_frame:
                raise LinkError(f"stream {stream.protocol} ended without an answer, or with more than one")
            reply = _decoded(answer)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await stream.reset()
            raise
        await self._keep(stream)
        return reply

    async def _keep(self, stream: Stream) -> None:
        idle = self._idle[stream.member, stream.protocol]
        if len(idle) < _MOST_IDLE:
            idle.append(stream)
        else:
            await stream.reset()

    async def _answer_all(self, stream: Stream) -> None:
        """Serve a stream of another's until it ends. What is no frame ends it: the host resets it."""
        reader = FrameReader(_MAX_REQUEST_BYTES[stream.protocol])
        while (request := await _next_frame(stream, reader)) is not None:
            if reader.in_frame:
                raise DecodeError(f"{stream.protocol}: a second request before the answer to the first")
            answer: Delivered | Failed
            began_s = anyio.current_time()
            self._metrics.message(Direction.IN, stream.protocol)
            try:
                answer = Delivered(body=await self._serve(stream.member, stream.protocol, request))
            except PeerwatchError as error:
                answer = to_failed(error)
            self._metrics.processed(stream.protocol, anyio.current_time() - began_s)
            await stream.write(pack_frame(encode_message(answer), _MAX_ANSWER_BYTES))


async def _next_frame(stream: Stream, reader: FrameReader) -> bytes | None:
    """The next frame; None where the other side ended between two. The rest of one that began must come in time."""
    while True:
        try:
            with anyio.fail_after(_REQUEST_S if reader.in_frame else None):
                data = await stream.read(_READ_BYTES)
        except TimeoutError as error:
            raise LinkError(f"{stream.protocol}: the rest of a frame did not come within {_REQUEST_S:g} s") from error
        if not data:
            if reader.in_frame:
                raise LinkError(f"{stream.protocol}: ended within a frame")
            return None
        frames = reader.feed(data)
        if len(frames) > 1:
            raise DecodeError(f"{stream.protocol}: {len(frames)} frames at once, one was due")
        if frames:
            return frames[0]


def _decoded(answer: bytes) -> Delivered | Failed:
    try:
        reply: Delivered | Failed = _answers.decode(answer)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise LinkError(f"answer of {len(answer)} bytes is none: {error}") from error
    return reply
