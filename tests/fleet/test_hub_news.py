"""What hubs tell all hubs is believed when a hub has signed it, lately, and once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from peerwatch.errors import DecodeError, PeerError, SignatureError
from peerwatch.fleet.authority import Authority
from peerwatch.fleet.hub_news import MAX_NEWS_BYTES, HubNews, HubState, NewsReader, NewsWriter
from peerwatch.testing.clock import ManualClock
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.identity import PrivateKey, peer_id
from peerwatch.wire.signed import Domain, sign_message
from tests.fleet.kit import second_hub

ROSTER, BANS = b"r" * 32, b"b" * 32


@dataclass
class Pair:
    """Two hubs; the second tells, the first hears."""

    clock: ManualClock
    first: Authority
    second: Authority

    def news(self, key: PrivateKey | None = None, **changed: object) -> bytes:
        """A message with changes, signed by the second hub or with another key."""
        fields: dict[str, object] = {
            "fleet": self.second.fleet,
            "hub": self.second.member,
            "seq": self.clock.now_ms(),
            "state": pb.HUB_HERE,
            "roster_digest": ROSTER,
            "bans_digest": BANS,
        }
        payload = pb.HubNews(**{**fields, **changed}).SerializeToString()  # type: ignore[arg-type]
        return sign_message(key or self.second.keys.signing, Domain.HUB_NEWS, payload)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """As above."""
    clock = ManualClock()
    first = Authority.open(tmp_path / "one", "one", clock)
    return Pair(clock, first, second_hub(first, tmp_path / "one", tmp_path / "two", clock))


def test_news_is_heard_once_in_any_order(pair: Pair) -> None:
    """Each has a number of its own, also within one millisecond; what was heard is a replay."""
    writer, reader = NewsWriter(pair.second, pair.clock), NewsReader(pair.first.membership, pair.clock)
    told = [writer.write(state, ROSTER, BANS) for state in (HubState.HERE, HubState.LEAVING, HubState.HERE)]
    heard = [reader.read(raw, pair.second.member) for raw in reversed(told)]
    now_ms = pair.clock.now_ms()
    assert heard[1] == HubNews(pair.second.member, now_ms + 1, HubState.LEAVING, ROSTER, BANS)
    assert [one.seq for one in heard] == [now_ms + 2, now_ms + 1, now_ms]
    for raw in told:
        with pytest.raises(SignatureError, match="heard before"):
            reader.read(raw, pair.second.member)


def test_what_falls_out_of_the_window_is_not_believed_again(pair: Pair) -> None:
    """Sixty-four numbers are remembered; what is older than all of them is refused, heard or not."""
    writer, reader = NewsWriter(pair.second, pair.clock), NewsReader(pair.first.membership, pair.clock)
    told = [writer.write(HubState.HERE, ROSTER, BANS) for _ in range(66)]
    for raw in told[1:]:
        reader.read(raw, pair.second.member)
    for raw in told[:2]:
        with pytest.raises(SignatureError, match="heard before"):
            reader.read(raw, pair.second.member)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"fleet": b"f" * 16}, "another fleet"),
        ({"hub": b"h" * 32}, "another hub"),
        ({"seq": 1}, "a replay"),
        ({"state": 0}, "state 0"),
        ({"state": 7}, "state 7"),
        ({"roster_digest": b"short"}, "digest of 5 bytes"),
        ({"bans_digest": b""}, "digest of 0 bytes"),
        ({"bans_digest": b"x" * MAX_NEWS_BYTES}, f"limit {MAX_NEWS_BYTES}"),
    ],
)
def test_wrong_news_is_refused_in_words(pair: Pair, changed: dict[str, object], words: str) -> None:
    """Signed well as it is."""
    reader = NewsReader(pair.first.membership, pair.clock)
    with pytest.raises(PeerError, match=words):
        reader.read(pair.news(**changed), pair.second.member)
    reader.read(pair.news(), pair.second.member)


def test_only_a_certified_hub_of_the_fleet_is_believed(pair: Pair) -> None:
    """Not with another key, not an agent, not a hub that was revoked, not in another's name, not from the future."""
    reader, member = NewsReader(pair.first.membership, pair.clock), pair.second.member
    with pytest.raises(SignatureError):
        reader.read(pair.news(PrivateKey.generate()), member)
    agent = PrivateKey.generate()
    pair.first.admit(agent.public, agent.public, "agent", ("agent",))
    with pytest.raises(SignatureError):
        reader.read(pair.news(agent, hub=agent.public), agent.public)
    with pytest.raises(SignatureError, match="another hub"):
        reader.read(pair.news(), pair.first.member)
    with pytest.raises(SignatureError, match="a replay"):
        reader.read(pair.news(seq=pair.clock.now_ms() + 301_000), member)
    with pytest.raises(DecodeError):
        reader.read(b"\xff" * 40, member)
    pair.first.revoke(peer_id(member))
    with pytest.raises(SignatureError, match="revoked"):
        reader.read(pair.news(), member)
