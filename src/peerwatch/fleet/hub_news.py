"""HubNews: what a hub tells all hubs at once: that it is here or leaves, and digests of the roster and bans it has.

Signed by the hub's signing key, so it does not matter who carries it. Bytes to values; no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from peerwatch.errors import DecodeError, SignatureError
from peerwatch.fleet.authority import Authority
from peerwatch.fleet.membership import Membership
from peerwatch.model import Clock
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.signed import Domain, open_message, parse_message, sign_message, split_message

MAX_NEWS_BYTES = 1_024  # it has some 230
_DIGEST_BYTES = 32
_MOST_SKEW_MS = 300_000  # between two hubs' clocks, as for questions about the roster; what is older is a replay
_MOST_HUBS = 256  # as many as may be certified
_REMEMBERED = 64  # numbers of each hub: gossip may bring news out of order


class HubState(Enum):
    """Whether a hub may be counted on."""

    HERE = pb.HUB_HERE
    LEAVING = pb.HUB_LEAVING


@dataclass(frozen=True, slots=True)
class HubNews:
    """`seq` is when it was made, in UTC milliseconds; no two of a hub have the same."""

    hub: bytes
    seq: int
    state: HubState
    roster_digest: bytes
    bans_digest: bytes


class NewsWriter:
    """Makes this hub's news. Owned by its event loop."""

    def __init__(self, authority: Authority, clock: Clock) -> None:
        self._authority = authority
        self._clock = clock
        self._seq = 0

    def write(self, state: HubState, roster_digest: bytes, bans_digest: bytes) -> bytes:
        """News, signed."""
        self._seq = max(self._seq + 1, self._clock.now_ms())
        payload = pb.HubNews(
            fleet=self._authority.fleet,
            hub=self._authority.member,
            seq=self._seq,
            state=state.value,
            roster_digest=roster_digest,
            bans_digest=bans_digest,
        ).SerializeToString()
        return sign_message(self._authority.keys.signing, Domain.HUB_NEWS, payload)


class NewsReader:
    """Believes news of hubs: of this fleet, certified and not revoked, fresh, and never twice. Bounded by 256 hubs."""

    def __init__(self, membership: Membership, clock: Clock) -> None:
        self._membership = membership
        self._clock = clock
        self._heard: dict[bytes, list[int]] = {}

    def read(self, raw: bytes, publisher: bytes) -> HubNews:
        """News that `publisher`'s node has published; cheapest checks first. Raises PeerError with what is wrong."""
        if len(raw) > MAX_NEWS_BYTES:
            raise DecodeError(f"hub news of {len(raw)} bytes, limit {MAX_NEWS_BYTES}")
        message = parse_message(pb.HubNews, split_message(raw)[0])
        if message.fleet != self._membership.fleet or message.hub != publisher:
            raise SignatureError("hub news is of another fleet, or another hub's than whoever published it")
        news = _checked(message)
        now_ms = self._clock.now_ms()
        if abs(now_ms - news.seq) > _MOST_SKEW_MS:
            raise SignatureError(f"hub news is of {news.seq} ms, here it is {now_ms} ms: a replay, or check the clocks")
        self._check_new(news)
        open_message(raw, Domain.HUB_NEWS, self._membership.hub_verifier(news.hub, now_ms))
        self._remember(news)
        return news

    def _check_new(self, news: HubNews) -> None:
        """The 64 newest numbers are remembered; what is before those is old."""
        heard = self._heard.get(news.hub, [])
        if news.seq in heard or (len(heard) >= _REMEMBERED and news.seq < heard[0]):
            raise SignatureError(f"hub news {news.seq} was heard before")

    def _remember(self, news: HubNews) -> None:
        heard = self._heard.setdefault(news.hub, [])
        heard.append(news.seq)
        heard.sort()
        del heard[:-_REMEMBERED]
        if len(self._heard) > _MOST_HUBS:
            del self._heard[min(self._heard, key=lambda one: self._heard[one][-1])]


def _checked(message: pb.HubNews) -> HubNews:
    for digest in (message.roster_digest, message.bans_digest):
        if len(digest) != _DIGEST_BYTES:
            raise DecodeError(f"hub news with a digest of {len(digest)} bytes, must be {_DIGEST_BYTES}")
    try:
        state = HubState(message.state)
    except ValueError as error:
        raise DecodeError(f"hub news with state {message.state}") from error
    return HubNews(message.hub, message.seq, state, message.roster_digest, message.bans_digest)
