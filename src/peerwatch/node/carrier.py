"""Carrier: one request and its answer over a libp2p stream, which is then kept for the next (docs/formats/node.md)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
import msgspec

from peerwatch.errors import DecodeError, LinkError, PeerwatchError, QuotaError
from peerwatch.node.conduct import Conduct
from peerwatch.node.config import SocketConfig
from peerwatch.node.connection import Stream
from peerwatch.node.failures import checked_reply, to_failed
from peerwatch.node.frames import FrameReader, FrameSizeError, pack_frame
from peerwatch.node.gater import Direction
from peerwatch.node.held import Held, Share
from peerwatch.node.host import Host
from peerwatch.node.messages import Delivered, Failed, encode_message
from peerwatch.node.metrics import NodeMetrics
from peerwatch.node.reputation import Deed
from peerwatch.node.scheduler import QueueLimits
from peerwatch.node.turns import Turns
from peerwatch.wire.identity import peer_id
from peerwatch.wire.protocols import ENROL, MEMBERSHIP, PARTNERS, PUSH, ROSTER

_READ_BYTES = 1 << 16
_MOST_STREAMS = 4  # of one member and protocol, kept or served: an agent has two lanes
_MAX_HELD_BYTES = 64 << 20  # a quarter of what an agent's node may take; 30,000 requests of the usual size
_SHARES = 3  # of all that is held one member has a third at most: two of the largest requests
_MOST_DELAY_S = 10.0  # that a request waits for its member's buckets; who must wait longer is told to come again
_MAX_REQUEST_BYTES = {
    PUSH: 9 << 20,  # as the collector's HTTP door takes it: 8 MB and its frame
    MEMBERSHIP: 16,
    PARTNERS: 24 << 10,  # a PeerInfo with all that it may hold
    ENROL: 4 << 10,
    ROSTER: 8 << 20,
}
_MAX_ANSWER_BYTES = 4 << 20
_REQUEST_S = 30.0
"""From a request's first byte to its last."""


class _SlowError(LinkError):
    """The rest of a request did not come in time."""


_answers = msgspec.msgpack.Decoder(Delivered | Failed)
Serve = Callable[[bytes, str, bytes], Awaitable[bytes]]
"""Member, protocol, request to answer; raises errors of ours."""


class Carrier:
    """Both sides of the protocols above. Mutable; owned by the node's event loop.

    A stream carries one request at a time, so requests of one member run side by side on as many streams, which the
    host bounds. `serve` answers those of others; its errors travel as words, ours that are bugs end the stream.

    Of one member at most four streams of a protocol are served at a time; requests of all together hold at most
    `held_bytes`, those of one member a third of it: see `Held`. Past either the stream is reset, and whoever asked
    tries again. A whole request waits for its member's buckets, for 10 s at most, and then for its turn. Answers that
    are being written are not among these: they are bounded by the streams, one each, and by 4 MB (docs/libp2p.md).
    """

    def __init__(
        self, host: Host, serve: Serve, metrics: NodeMetrics, conduct: Conduct, held_bytes: int = _MAX_HELD_BYTES
    ) -> None:
        self._host = host
        self._served: Counter[tuple[bytes, str]] = Counter()
        self.held = Held(held_bytes, held_bytes // _SHARES)
        self._conduct = conduct
        waiting = QueueLimits.requests(host.limits, SocketConfig())
        self.turns = Turns(waiting, metrics.stream_refused)
        self._metrics = metrics
        self._serve = serve
        self._idle: defaultdict[tuple[bytes, str], list[Stream]] = defaultdict(list)
        for protocol in _MAX_REQUEST_BYTES:
            host.handle(protocol, self._answer_all)

    def forget(self, member: bytes) -> None:
        """Its connection is gone, and the streams kept for it with it."""
        self._idle.pop((member, PUSH), None)

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
        idle = self._idle.get((member, protocol), [])
        while idle:  # one that broke meanwhile is no failure yet: all that is sent here may arrive twice
            with suppress(LinkError):
                return await self._on(idle.pop(), frame)
        return await self._on(await self._host.open_stream(member, protocol), frame)

    async def _on(self, stream: Stream, frame: bytes) -> Delivered | Failed:
        """One request on this stream; kept afterwards, dropped when anything else happens."""
        try:
            await stream.write(frame)
            reply = _decoded(await _answer_frame(stream))
        except BaseException:
            with anyio.CancelScope(shield=True):
                await stream.reset()
            raise
        await self._keep(stream)
        return reply

    async def _keep(self, stream: Stream) -> None:
        """What is asked seldom would hold a stream of the hub's for nothing."""
        if stream.protocol == PUSH and len(self._idle[stream.member, PUSH]) < _MOST_STREAMS:
            self._idle[stream.member, PUSH].append(stream)
        else:
            await stream.reset()

    async def _answer_all(self, stream: Stream) -> None:
        """Serve a stream of another's until it ends. What is no frame ends it: the host resets it."""
        key = stream.member, stream.protocol
        if self._served[key] >= _MOST_STREAMS:
            raise QuotaError(f"{stream.protocol}: {self._served[key]} streams of one member, limit {_MOST_STREAMS}")
        self._served[key] += 1
        try:
            while await self._answer_one(stream):
                pass
        finally:
            self._served[key] -= 1
            if not self._served[key]:
                del self._served[key]

    async def _answer_one(self, stream: Stream) -> bool:
        """Serve one request; False when the other side ended instead.

        Whoever reads its answer slowly holds that answer, no more: its request and share are gone by then.
        """
        answer = await self._next_answer(stream)
        if answer is None:
            return False
        await stream.write(pack_frame(encode_message(answer), _MAX_ANSWER_BYTES))
        return True

    async def _next_answer(self, stream: Stream) -> Delivered | Failed | None:
        """Read a request and have it served; None when the other side ended instead."""
        reader = FrameReader(_MAX_REQUEST_BYTES[stream.protocol])
        with self.held.share(stream.member) as share:
            with share.scope:
                request = await self._read(stream, reader, share)
                denied = await self._paced(stream.member, len(request)) if request is not None else None
            if share.lost:
                self._conduct.did(Deed.TIMEOUT, stream.member)
                raise LinkError(f"{stream.protocol}: gave up its place to others after {share.age_s():.1f} s")
            if request is None:
                return None
            share.settle()
            self._metrics.message(Direction.IN, stream.protocol)
            return to_failed(denied) if denied else await self._answered(stream, request)

    async def _read(self, stream: Stream, reader: FrameReader, share: Share) -> bytes | None:
        """The next request. What is none is held against the member, as far as it proves something."""
        try:
            request = await _next_frame(stream, reader, share.add)
            if reader.in_frame:
                raise DecodeError(f"{stream.protocol}: a second request before the answer to the first")
        except DecodeError as error:
            self._conduct.did(Deed.OVERSIZE if isinstance(error, FrameSizeError) else Deed.MALFORMED, stream.member)
            raise
        except _SlowError:
            self._conduct.did(Deed.TIMEOUT, stream.member)
            raise
        return request

    async def _paced(self, member: bytes, size_bytes: int) -> QuotaError | None:
        """Wait until the member's buckets grant the request; how long to stay away where that is too long."""
        with anyio.move_on_after(_MOST_DELAY_S):
            # No event tells when this is due: others of the same member may be served before it.
            while (wait_s := self._conduct.charge(member, size_bytes)) and wait_s <= _MOST_DELAY_S:  # noqa: ASYNC110
                await anyio.sleep(wait_s)
        if not wait_s:
            return None
        self._conduct.attempted(member)
        return QuotaError(f"{peer_id(member)} sends more than its rate allows", wait_s)

    async def _answered(self, stream: Stream, request: bytes) -> Delivered | Failed:
        began_s = anyio.current_time()
        try:
            async with self.turns.turn(peer_id(stream.member)):
                return Delivered(body=await self._serve(stream.member, stream.protocol, request))
        except PeerwatchError as error:
            return to_failed(error)
        finally:
            self._metrics.processed(stream.protocol, anyio.current_time() - began_s)


def _uncounted(size_bytes: int) -> None:
    """Answers are bounded by the requests that we made."""


async def _answer_frame(stream: Stream) -> bytes:
    """The answer's frame. An answer that is none is the link's trouble, not the request's."""
    reader = FrameReader(_MAX_ANSWER_BYTES)
    try:
        answer = await _next_frame(stream, reader, _uncounted)
    except DecodeError as error:
        raise LinkError(str(error)) from error
    if answer is None or reader.in_frame:
        raise LinkError(f"stream {stream.protocol} ended without an answer, or with more than one")
    return answer


async def _next_frame(stream: Stream, reader: FrameReader, count: Callable[[int], None]) -> bytes | None:
    """The next frame; None where the other side ended between two. One that began must be whole in time."""
    data = await stream.read(_READ_BYTES)
    try:
        with anyio.fail_after(_REQUEST_S):
            while data:
                count(len(data))
                frames = reader.feed(data)
                if len(frames) > 1:
                    raise DecodeError(f"{stream.protocol}: {len(frames)} frames at once, one was due")
                if frames:
                    return frames[0]
                data = await stream.read(_READ_BYTES)
    except TimeoutError as error:
        raise _SlowError(f"{stream.protocol}: the rest of a frame did not come within {_REQUEST_S:g} s") from error
    if reader.in_frame:
        raise LinkError(f"{stream.protocol}: ended within a frame")
    return None


def _decoded(answer: bytes) -> Delivered | Failed:
    try:
        reply: Delivered | Failed = _answers.decode(answer)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise LinkError(f"answer of {len(answer)} bytes is none: {error}") from error
    return reply
