"""A node that runs alone: whom it lets in is what hubs say, and hubs only while none says anything."""

from __future__ import annotations

import ssl
from collections.abc import MutableMapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import anyio
import pytest

from peerwatch.cli import roster_follow
from peerwatch.cli.roster_follow import STALE_S, RosterFollower
from peerwatch.errors import LinkError, SignatureError
from peerwatch.fleet.authority import Authority
from peerwatch.fleet.exchange import Asker, Exchange
from peerwatch.fleet.invite import Enrolment, sign_enrolment
from peerwatch.fleet.keys import MemberKeys, load_or_create_keys
from peerwatch.fleet.membership import Membership, membership_from_hub
from peerwatch.fleet.roster import AGENT, RELAY
from peerwatch.node.roster_view import view_of
from peerwatch.telemetry import CollectorRegistry
from peerwatch.testing.clock import ManualClock
from peerwatch.wire.identity import PrivateKey, peer_id
from tests.links.server import Receive, Send, free_port, self_signed, serving


class Fleet:
    """A hub and a relay that joined it; `there` says whether the hub answers."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock()
        self.hub = Authority.open(folder / "hub", "hub", self.clock)
        self.keys = load_or_create_keys(folder / "relay")
        self.path = folder / "relay" / "membership.bin"
        welcome = self.hub.membership.welcome(self.join(RELAY, self.keys))
        root = self.hub.membership.trust.root
        self.membership = membership_from_hub(self.path, welcome, self.hub.fleet, root, self.clock.now_ms())
        self.membership.save()
        self.there = True
        self.hangs = False
        self.asked = 0
        self._exchange = Exchange(self.hub, self.clock)
        self.follower = RosterFollower(self.membership, self.keys, self._ask, 1.0, self.clock, CollectorRegistry())

    async def _ask(self, hub: bytes, question: bytes) -> bytes:
        self.asked += 1
        if self.hangs:
            await anyio.sleep_forever()
        if hub != self.hub.member or not self.there:
            raise LinkError("nobody is there")
        return self._exchange.answer(question)

    def over_https(self, path: str, body: bytes) -> bytes:
        """The hub's answer, as far as a relay needs it."""
        return self._exchange.answer(body) if path == "/api/v1/roster" else self.hub.membership.welcome(b"")

    def join(self, role: str, keys: MemberKeys) -> bytes:
        """One more member, by an invite of its own."""
        invite = self.hub.invite((), b"", 3_600_000, "https", roles=(role,))
        asked = Enrolment(
            self.hub.fleet, invite.key.public, keys.peer.public, keys.signing.public, "m", self.clock.now_ms()
        )
        return self.hub.enrol(sign_enrolment(invite.key, keys.peer, keys.signing, asked)).member

    def agent(self) -> bytes:
        """One more agent."""
        return self.join(AGENT, MemberKeys(PrivateKey.generate(), PrivateKey.generate()))

    def ask(self) -> None:
        """A round of questions."""
        anyio.run(self.follower.ask_all)

    def let_in(self) -> set[str]:
        """Whom the node would let in now."""
        return set(view_of(self.follower, self.clock.now_ms()).members)


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    return Fleet(tmp_path)


def test_only_hubs_are_let_in_until_a_hub_has_answered(fleet: Fleet) -> None:
    """Then everybody the hub knows, and what it says is on disk."""
    agent, hub = peer_id(fleet.agent()), peer_id(fleet.hub.member)
    before = fleet.follower.changes
    assert fleet.let_in() == {hub} and not fleet.follower.is_fresh
    fleet.ask()
    assert fleet.let_in() == {hub, agent, peer_id(fleet.keys.peer.public)}
    assert fleet.follower.changes != before, "the node is told"
    kept = Membership.load(fleet.path, fleet.clock.now_ms())
    assert kept.roster.get(fleet.keys.peer.public) is not None and len(kept.roster) == len(fleet.hub.membership.roster)


def test_open_invites_are_let_in_and_spent_ones_are_not(fleet: Fleet) -> None:
    """A machine joins through this node with the key of its invite."""
    invite = fleet.hub.invite((), b"", 3_600_000, "https")
    fleet.ask()
    assert peer_id(invite.key.public) in fleet.let_in()
    fleet.hub.withdraw(view_name(fleet.hub, invite.key.public))
    fleet.ask()
    assert peer_id(invite.key.public) not in fleet.let_in()


def view_name(hub: Authority, member: bytes) -> str:
    """What the hub calls it."""
    entry = hub.membership.roster.get(member)
    assert entry is not None
    return entry.name


def test_a_roster_that_no_hub_confirms_is_let_go(fleet: Fleet) -> None:
    """After ten minutes hubs only are let in; by the clock that nobody sets. The first word of a hub mends it."""
    agent = peer_id(fleet.agent())
    fleet.ask()
    fleet.there = False
    fleet.clock.jump(10 * 3_600_000)
    fleet.ask()
    assert agent in fleet.let_in()
    fleet.clock.jump(-10 * 3_600_000)
    fleet.clock.advance(STALE_S + 1)
    before = fleet.follower.changes
    assert fleet.let_in() == {peer_id(fleet.hub.member)}
    fleet.there = True
    fleet.ask()
    assert agent in fleet.let_in() and fleet.follower.changes != before


def test_a_revoked_relay_is_told_nothing_and_lets_nobody_in(fleet: Fleet) -> None:
    """The hub does not answer it; what it hears by another way is enough to close."""
    fleet.ask()
    fleet.hub.revoke(peer_id(fleet.keys.peer.public))
    asker = Asker(fleet.membership, fleet.keys, fleet.clock, fleet.membership.save)
    with pytest.raises(SignatureError):
        Exchange(fleet.hub, fleet.clock).answer(asker.first_question(fleet.hub.member))
    fleet.membership.absorb(fleet.hub.membership.welcome(b""), fleet.clock.now_ms())
    assert fleet.follower.is_revoked and fleet.let_in() == set()


def test_an_agent_is_not_told_who_the_members_are(fleet: Fleet) -> None:
    """Only hubs and relays are, by their own signature."""
    keys = MemberKeys(PrivateKey.generate(), PrivateKey.generate())
    fleet.join(AGENT, keys)
    asker = Asker(fleet.membership, keys, fleet.clock, fleet.membership.save)
    with pytest.raises(SignatureError):
        Exchange(fleet.hub, fleet.clock).answer(asker.first_question(fleet.hub.member))
    forged = Asker(fleet.membership, MemberKeys(fleet.keys.peer, keys.signing), fleet.clock, fleet.membership.save)
    with pytest.raises(SignatureError):
        Exchange(fleet.hub, fleet.clock).answer(forged.first_question(fleet.hub.member))


def test_where_libp2p_hangs_hubs_are_asked_over_https(
    fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the same round; and for a while libp2p is not waited for again."""
    monkeypatch.setattr(roster_follow, "_MOST_P2P_S", 0.2)
    certificate, port = self_signed(tmp_path), free_port()
    pin = sha256(ssl.PEM_cert_to_DER_cert(certificate.pem)).digest()
    fleet.hub.announce((f"https://127.0.0.1:{port}",), pin, ())
    fleet.ask()
    asked, fleet.hangs = fleet.asked, True

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": fleet.over_https(scope["path"], body)})

    async def two_rounds() -> tuple[bytes, bytes]:
        async with serving(app, port, certificate):
            first = fleet.agent()
            await fleet.follower.ask_all()
            second = fleet.agent()
            await fleet.follower.ask_all()
            return first, second

    agents = anyio.run(two_rounds)
    assert {peer_id(one) for one in agents} <= fleet.let_in()
    assert fleet.asked == asked + 1
    fleet.clock.advance(61.0)
    fleet.hangs = False
    fleet.ask()
    assert fleet.asked > asked + 1, "libp2p has its turn again"
