"""BanSync: two hubs tell each other whom they keep out. Bytes to bytes, carried by the roster's exchange; no I/O here.

Both messages are signed by the hub that says it, for the hub that hears it, and fresh; who may speak is what the
roster says of hubs. While the two agree only digests travel. docs/formats/bans.md, docs/decisions/0019.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hashlib import sha256
from typing import Annotated

import msgspec
from anyio import CapacityLimiter

from peerwatch.cli.ban_book import BanBook
from peerwatch.errors import DecodeError, SignatureError
from peerwatch.fleet.authority import Authority
from peerwatch.model import Clock
from peerwatch.node.messages import BanRecord, from_ban, to_ban
from peerwatch.telemetry import get_logger
from peerwatch.wire.signed import Domain, open_message, sign_message, split_message

BANS_PATH = "/api/v1/bans"
MAX_BANS_BYTES = 8 << 20  # 10,000 subjects with the longest reasons take 6 MB
_MOST_SKEW_MS = 300_000  # between two hubs' clocks; an older message is a replay
_MOST_RECORDS = 20_000

_log = get_logger("bans")
_Records = Annotated[list[BanRecord], msgspec.Meta(max_length=_MOST_RECORDS)]


class BanTalk(msgspec.Struct, frozen=True):
    """What one hub says to another. `bans` is None where it only asks whether the two agree."""

    fleet: bytes
    hub: bytes
    to: bytes
    time_ms: int
    digest: bytes
    bans: _Records | None = None


_decoder = msgspec.msgpack.Decoder(BanTalk)
_encode = msgspec.msgpack.encode


class BanSync:
    """Asks and answers for one hub. Owned by its event loop; what is learned is on disk before it is answered."""

    def __init__(self, authority: Authority, book: BanBook, clock: Clock) -> None:
        self._authority = authority
        self._book = book
        self._clock = clock

    async def talk(self, carry: Callable[[bytes], Awaitable[bytes]], hub: bytes, large: CapacityLimiter) -> None:
        """One exchange with another hub; where the two do not agree, once there is room in `large`.

        Raises what `carry` does, and PeerError for an answer that is none.
        """
        answer = self._hear(await carry(self._say(hub, whole=False)))
        if answer.digest != self.digest():
            async with large:
                self._hear(await carry(self._say(hub, whole=True)))

    def answer(self, raw: bytes) -> bytes:
        """The answer to another hub. Raises PeerError with the reason for what is not from one."""
        if self._authority.is_revoked:
            raise SignatureError("this hub was revoked by its fleet")
        heard = self._hear(raw)
        return self._say(heard.hub, whole=heard.digest != self.digest())

    def _say(self, to: bytes, *, whole: bool) -> bytes:
        records = [from_ban(one) for one in self._book.shared()[:_MOST_RECORDS]] if whole else None
        authority = self._authority
        talk = BanTalk(authority.fleet, authority.member, to, self._clock.now_ms(), self.digest(), records)
        return sign_message(authority.keys.signing, Domain.BANS, _encode(talk))

    def _hear(self, raw: bytes) -> BanTalk:
        """What is said, once it is known who says it; its bans are taken in."""
        if len(raw) > MAX_BANS_BYTES:
            raise DecodeError(f"bans of {len(raw)} bytes, limit {MAX_BANS_BYTES}")
        try:
            talk = _decoder.decode(split_message(raw)[0])
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise DecodeError(f"bans of another hub: {error}") from error
        now_ms, authority = self._clock.now_ms(), self._authority
        if talk.fleet != authority.fleet or talk.to != authority.member:
            raise SignatureError("these bans are for another fleet or another hub")
        if abs(now_ms - talk.time_ms) > _MOST_SKEW_MS:
            raise SignatureError(f"bans of {talk.time_ms} ms, here it is {now_ms} ms: check the clocks")
        open_message(raw, Domain.BANS, authority.membership.hub_verifier(talk.hub, now_ms))
        taken = self._book.take_shared(map(to_ban, talk.bans or []))
        if taken:
            _log.info("bans heard of", bans=len(taken))
        return talk

    def digest(self) -> bytes:
        return sha256(b"".join(sorted(_encode(from_ban(one)) for one in self._book.shared()))).digest()
