"""Two hubs come to know the same, whatever each of them did while it did not hear of the other."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from peerwatch.errors import DecodeError, SignatureError
from peerwatch.fleet.authority import Authority
from peerwatch.fleet.exchange import Exchange
from peerwatch.fleet.invite import Invite
from peerwatch.fleet.roster import AGENT, HUB
from peerwatch.fleet.trust import HubCertificate, certify_hub
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.identity import PrivateKey
from peerwatch.wire.signed import Domain, sign_message
from tests.fleet.kit import second_hub
from tests.fleet.test_membership import NOW, Clock, _request


@pytest.fixture
def hubs(tmp_path: Path) -> tuple[Authority, Authority]:
    """Two hubs of one fleet; the first has the root key."""
    first = Authority.open(tmp_path / "hub", "hub-1", Clock())
    return first, second_hub(first, tmp_path / "hub", tmp_path / "second", Clock())


def _talk(asker: Authority, asked: Authority) -> int:
    """One exchange; how many questions it took."""
    mine, theirs = Exchange(asker, Clock()), Exchange(asked, Clock())
    if mine.take(theirs.answer(mine.first_question(asked.member))).agrees:
        return 1
    heard = mine.take(theirs.answer(mine.second_question(asked.member)))
    if not heard.lacking:
        return 2
    mine.take(theirs.answer(mine.third_question(asked.member, heard.lacking)))
    return 3


def _until_they_agree(one: Authority, other: Authority) -> None:
    for _ in range(4):
        if _talk(one, other) == 1:
            return
    raise AssertionError("they do not agree after four exchanges")


def _known(hub: Authority) -> list[tuple[str, bytes, bool]]:
    return sorted((entry.name, entry.member, entry.revoked) for entry in hub.membership.roster)


def _join(hub: Authority, name: str, invite: Invite | None = None) -> bytes:
    used = invite or hub.invite(("https://127.0.0.1:1",), b"", 3_600_000, "https")
    return hub.enrol(_request(used, PrivateKey.generate(), PrivateKey.generate(), name)).member


def test_one_exchange_merges_both_ways(hubs: tuple[Authority, Authority]) -> None:
    """Each learns what only the other knew; while they agree, one small question is all."""
    first, second = hubs
    assert _talk(second, first) == 1
    members = {_join(first, "a"), _join(second, "b")}
    assert _talk(second, first) == 3
    for hub in hubs:
        assert members <= {entry.member for entry in hub.membership.roster}
    assert _talk(first, second) == 1


def test_a_revocation_reaches_the_other_hub_and_stays(hubs: tuple[Authority, Authority]) -> None:
    """Also when the other hub has said something newer of that member meanwhile."""
    first, second = hubs
    member = _join(first, "a")
    _until_they_agree(first, second)
    first.revoke("a")
    for _ in range(5):
        second.admit(member, second.membership.roster.get(member).signing_key, "a", (AGENT,))  # type: ignore[union-attr]  # it is there
    _until_they_agree(second, first)
    for hub in hubs:
        entry = hub.membership.roster.get(member)
        assert entry is not None and entry.revoked


def test_names_that_both_gave_are_told_apart(hubs: tuple[Authority, Authority]) -> None:
    """No machine's samples come under another's name; both hubs rename the same one."""
    first, second = hubs
    _join(first, "web"), _join(second, "web")
    _until_they_agree(first, second)
    assert _known(first) == _known(second)
    names = [name for name, member, _ in _known(first) if name.startswith("web")]
    assert len(names) == 2 and len(set(names)) == 2


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["join", "revoke", "race", "talk"])), max_size=12))
def test_hubs_agree_in_the_end(tmp_path_factory: pytest.TempPathFactory, deeds: list[tuple[int, str]]) -> None:
    """Whatever each of them lets in, puts out or gives away, in any order, with exchanges in between or not."""
    folder = tmp_path_factory.mktemp("fleet")
    first = Authority.open(folder / "hub", "hub-1", Clock())
    hubs = (first, second_hub(first, folder / "hub", folder / "second", Clock()))
    shared = first.invite((), b"", 3_600_000, "https")
    _until_they_agree(*hubs)
    for which, deed in deeds:
        hub = hubs[which]
        agents = [entry for entry in hub.membership.roster if entry.is_agent and not entry.is_hub and not entry.revoked]
        if deed == "join":
            _join(hub, "web")
        elif deed == "race" and hub.membership.roster.get(shared.key.public) in hub.open_invites():
            _join(hub, "last", shared)
        elif deed == "revoke" and agents:
            hub.revoke(agents[0].name)
        elif deed == "talk":
            _talk(*hubs)
    _until_they_agree(*hubs)
    assert _known(hubs[0]) == _known(hubs[1])
    acting = [name for name, _, revoked in _known(first) if not revoked]
    assert len(acting) == len(set(acting))
    assert sum(not entry.revoked for entry in first.membership.roster.came_by(shared.key.public)) <= 1


def test_who_may_ask(hubs: tuple[Authority, Authority], tmp_path: Path) -> None:
    """A certified hub of this fleet, that means this one, now; else not even names are told."""
    first, second = hubs
    theirs = Exchange(first, Clock())
    late, asker = Clock(), Exchange(second, Clock())
    late.ms += 300_001
    with pytest.raises(SignatureError, match="check the clocks"):
        Exchange(first, late).answer(asker.first_question(first.member))
    with pytest.raises(SignatureError, match="another hub"):
        theirs.answer(asker.first_question(second.member))
    stranger = Authority.open(tmp_path / "stranger", "x", Clock())
    with pytest.raises(SignatureError, match="another fleet"):
        theirs.answer(Exchange(stranger, Clock()).first_question(first.member))
    question = bytearray(asker.second_question(first.member))
    question[-1] ^= 1
    with pytest.raises((SignatureError, DecodeError)):
        theirs.answer(bytes(question))
    with pytest.raises(DecodeError, match="limit"):
        theirs.answer(bytes(9 << 20))
    first.revoke("hub-2")
    with pytest.raises(SignatureError, match="was revoked"):
        theirs.answer(asker.first_question(first.member))


def test_an_entry_that_is_not_believed_does_not_stop_the_others(hubs: tuple[Authority, Authority]) -> None:
    """It is logged, and what is good beside it counts."""
    first, second = hubs
    member = _join(second, "a")
    _join(second, "b")
    raw = second.membership.roster.raw(member)
    second.membership.roster._entries[member] = (second.membership.roster.get(member), raw[:-1] + b"x")  # type: ignore[assignment]
    with capture_logs() as logs:
        _talk(second, first)
    assert [one["event"] for one in logs] == ["roster entry not believed"]
    assert first.membership.roster.get(member) is None
    assert "b" in [name for name, _, _ in _known(first)]


def test_a_hub_that_was_revoked_learns_it_from_the_others(hubs: tuple[Authority, Authority]) -> None:
    """By their signed word; from then on it signs nothing."""
    first, second = hubs
    first.revoke("hub-2")
    second.absorb(first.membership.welcome(b""))
    assert second.is_revoked and not first.is_revoked
    assert first.others() == []


def test_a_hub_that_joins_by_an_invite_is_certified_where_the_root_is(tmp_path: Path) -> None:
    """And only for an invite of that very hub: else any hub could have others certified."""
    first = Authority.open(tmp_path / "hub", "hub-1", Clock())
    second = second_hub(first, tmp_path / "hub", tmp_path / "second", Clock())
    mine = first.invite((), b"", 3_600_000, "https", roles=(HUB,))
    foreign = second.invite((), b"", 3_600_000, "https", roles=(HUB,))
    _until_they_agree(first, second)
    trust = first.membership.trust
    assert trust.hub_verifier(_join(first, "hub-3", mine), NOW)
    with pytest.raises(SignatureError, match="holds no certificate"):
        trust.hub_verifier(_join(first, "hub-4", foreign), NOW)


def test_old_invites_are_forgotten_by_all(hubs: tuple[Authority, Authority]) -> None:
    """A month after they expired; hubs that forget at different times still agree."""
    first, second = hubs
    first.invite((), b"", 3_600_000, "https")
    _until_they_agree(first, second)
    clock = Clock()
    clock.ms += 31 * 86_400_000
    first.membership.roster.forget_invites(clock.ms)
    mine, theirs = Exchange(first, clock), Exchange(second, clock)
    assert mine.take(theirs.answer(mine.first_question(second.member))).agrees
    assert len(first.membership.roster) == len(second.membership.roster) - 1


def test_a_stranger_cannot_keep_a_hub_busy(hubs: tuple[Authority, Authority], tmp_path: Path) -> None:
    """However many certificates come with an unsigned question, hardly a signature is looked at."""
    first, _ = hubs
    stranger, looked = PrivateKey.generate(), list[bytes]()
    bogus = [
        certify_hub(stranger, first.fleet, HubCertificate(at.to_bytes(32, "big"), stranger.public, 0, NOW * 2, 1))
        for at in range(300)
    ]
    question = pb.RosterQuestion(
        fleet=first.fleet, hub=bytes(32), to=first.member, time_ms=NOW, certificates=bogus, entries=bogus
    ).SerializeToString()
    raw = sign_message(stranger, Domain.ROSTER_QUESTION, question)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("peerwatch.fleet.trust.open_message", lambda raw, *_: looked.append(raw) or bytes(0))
        with pytest.raises((SignatureError, DecodeError)):
            Exchange(first, Clock()).answer(raw)
    assert len(looked) <= 1
