"""The root key: kept safe, brought back, replaced, and what members know afterwards."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from peerwatch.errors import ConfigError, SignatureError
from peerwatch.fleet.authority import Authority
from peerwatch.fleet.exchange import Exchange
from peerwatch.fleet.keys import load_key
from peerwatch.fleet.membership import Membership, membership_from_hub
from peerwatch.fleet.root_file import export_root, import_root, is_sealed
from peerwatch.fleet.roster import AGENT, HUB
from peerwatch.fleet.trust import HUB_CERTIFICATE_LIFE_MS, HubCertificate, certify_hub
from peerwatch.wire import schema_pb2 as pb
from peerwatch.wire.identity import PrivateKey
from tests.fleet.kit import second_hub
from tests.fleet.test_membership import NOW, Clock

WORDS = "correct horse battery"
FORMAT1 = Path(__file__).parent / "format1" / "membership.bin"


@pytest.fixture
def hub(tmp_path: Path) -> Authority:
    """It has the root key."""
    return Authority.open(tmp_path / "hub", "hub-1", Clock())


def _member(hub: Authority, path: Path) -> Membership:
    """What an agent knows that joins now."""
    return membership_from_hub(path, hub.membership.welcome(b""), hub.fleet, hub.membership.trust.root, NOW)


def test_an_exported_key_comes_back_with_its_passphrase_only(hub: Authority, tmp_path: Path) -> None:
    """Mode 0600, the seed not in it; a wrong passphrase, a file that is there and an open one are refused."""
    key, file = hub.root.needed(), tmp_path / "root.json"
    export_root(file, key, hub.fleet, WORDS)
    assert file.stat().st_mode & 0o777 == 0o600 and is_sealed(file)
    assert key.seed.hex() not in file.read_text() and WORDS not in file.read_text()
    assert import_root(file, WORDS).public == key.public
    with pytest.raises(ConfigError, match="the passphrase is wrong"):
        import_root(file, WORDS + "!")
    with pytest.raises(ConfigError, match="is there already"):
        export_root(file, key, hub.fleet, WORDS)
    file.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        import_root(file, WORDS)


def test_a_short_passphrase_is_refused_and_a_plain_export_is_possible(hub: Authority, tmp_path: Path) -> None:
    """The command asks for --plain; nothing is written where it is refused."""
    with pytest.raises(ConfigError, match="at least 12"):
        export_root(tmp_path / "a", hub.root.needed(), hub.fleet, "short")
    assert not (tmp_path / "a").exists()
    export_root(tmp_path / "b", hub.root.needed(), hub.fleet, "")
    assert not is_sealed(tmp_path / "b") and import_root(tmp_path / "b", "").public == hub.root.needed().public


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"version": 1', '"version": 2'),
        ('"ops": 4', '"ops": 65'),
        ('"memory_bytes": 67108864', '"memory_bytes": 9999999999'),
        ('"fleet"', '"fleed"'),
        ("{", "["),
    ],
)
def test_a_file_that_is_none_is_refused(hub: Authority, tmp_path: Path, old: str, new: str) -> None:
    """A later version, a cost that nobody should pay, other JSON, none at all."""
    file = tmp_path / "root.json"
    export_root(file, hub.root.needed(), hub.fleet, WORDS)
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(ConfigError, match=r"root\.json"):
        import_root(file, WORDS)


def test_only_the_present_root_is_put_on_a_hub(hub: Authority, tmp_path: Path) -> None:
    """Another key would be found out at the next renewal, which may be in a year."""
    (tmp_path / "hub/root.key").rename(tmp_path / "away")
    with pytest.raises(ConfigError, match="peerwatch root import"):
        hub.rotate_root()
    with pytest.raises(ConfigError, match="the present root of this fleet is"):
        hub.root.put(PrivateKey.generate())
    hub.root.put(load_key(tmp_path / "away"))
    assert hub.root.needed().public == hub.membership.trust.root


def test_members_that_were_away_learn_the_whole_line(hub: Authority, tmp_path: Path) -> None:
    """After two rotations: from any hub; the fleet's name stays, and so do old tokens."""
    agent, first_root = _member(hub, tmp_path / "agent.bin"), hub.membership.trust.root
    token_root = hub.invite((), b"", 3_600_000, "https").root
    version = hub.membership.roster.version
    roots = [hub.rotate_root(), hub.rotate_root()]
    assert hub.membership.roster.version > version  # so that acks make every agent look
    agent.absorb(hub.membership.welcome(b""), NOW)
    assert (agent.trust.root, agent.fleet) == (roots[1], hub.fleet)
    assert agent.hub_verifier(hub.member, NOW).public == hub.keys.signing.public
    agent.save()
    again = Membership.load(tmp_path / "agent.bin", NOW)
    assert again.trust.root == roots[1] and again.hub_verifier(hub.member, NOW)
    late = membership_from_hub(tmp_path / "late.bin", hub.membership.welcome(b""), hub.fleet, token_root, NOW)
    assert token_root == first_root and late.trust.root == roots[1]


def test_the_old_root_certifies_nothing_any_more(hub: Authority, tmp_path: Path) -> None:
    """For who has heard of the new one."""
    old = hub.root.needed()
    hub.rotate_root()
    forged = HubCertificate(b"h" * 32, PrivateKey.generate().public, 0, NOW * 2, NOW * 2)
    with pytest.raises(SignatureError):
        hub.membership.trust.add_certificate(certify_hub(old, hub.fleet, forged), NOW)
    agent = _member(hub, tmp_path / "agent.bin")
    agent.trust.learn((), [certify_hub(old, hub.fleet, forged)], NOW)
    with pytest.raises(SignatureError, match="holds no certificate"):
        agent.hub_verifier(b"h" * 32, NOW)


def test_a_rotation_certifies_the_other_hubs_and_reaches_them(hub: Authority, tmp_path: Path) -> None:
    """They go on signing; what they had of the old root is not believed any more."""
    second = second_hub(hub, tmp_path / "hub", tmp_path / "second", Clock())
    root = hub.rotate_root()
    mine, theirs = Exchange(second, Clock()), Exchange(hub, Clock())
    mine.take(theirs.answer(mine.first_question(hub.member)))
    assert second.membership.trust.root == root
    assert second.membership.hub_verifier(second.member, NOW) and second.membership.hub_verifier(hub.member, NOW)
    assert Authority.open(tmp_path / "second", "hub-2", Clock(), (HUB,)).membership.trust.root == root


def test_a_rotation_that_is_cut_off_leaves_a_working_root(hub: Authority, tmp_path: Path) -> None:
    """Before the membership is on disk the old one counts, afterwards the new one, wherever its file is."""
    folder, copy = tmp_path / "hub", tmp_path / "copy"
    shutil.copytree(folder, copy)
    hub.rotate_root()
    shutil.copy(folder / "root.key", copy / "root.key.next")  # cut off after the first file
    before = Authority.open(copy, "hub-1", Clock())
    assert before.root.needed().public == before.membership.trust.root != hub.membership.trust.root
    shutil.copy(folder / "membership.bin", copy / "membership.bin")  # cut off after the second
    after = Authority.open(copy, "hub-1", Clock())
    assert after.root.needed().public == hub.membership.trust.root == load_key(copy / "root.key").public


def test_every_hub_is_renewed_where_the_root_is(hub: Authority, tmp_path: Path) -> None:
    """Past half its life, and only those that may still act."""
    folder, root = tmp_path / "hub", hub.root.needed()
    second = second_hub(hub, folder, tmp_path / "second", Clock())
    third = second_hub(hub, folder, tmp_path / "third", Clock(), "hub-3")
    for other in (second, third):
        ends_ms = NOW + HUB_CERTIFICATE_LIFE_MS // 3
        short = HubCertificate(other.member, other.keys.signing.public, 0, ends_ms, NOW + 5)
        hub.membership.trust.add_certificate(certify_hub(root, hub.fleet, short), NOW)
    hub.revoke("hub-3")
    later = Clock()
    later.ms += 1000
    Authority(hub.membership, hub.keys, later, folder).renew_certificates()
    expiry = hub.membership.trust.certificate_expiry_ms
    assert expiry(second.member) > NOW + HUB_CERTIFICATE_LIFE_MS // 2 > expiry(third.member)


def test_only_hubs_are_certified(hub: Authority) -> None:
    """By name; an agent and a revoked hub are refused."""
    keys = [PrivateKey.generate().public for _ in range(4)]
    hub.admit(keys[0], keys[1], "hub-2", (HUB,))
    hub.admit(keys[2], keys[3], "web", (AGENT,))
    assert hub.certify("hub-2").member == keys[0] and hub.membership.hub_verifier(keys[0], NOW)
    with pytest.raises(ConfigError, match="web is no hub"):
        hub.certify("web")
    hub.revoke("hub-2")
    with pytest.raises(ConfigError, match="hub-2 is no hub"):
        hub.certify("hub-2")


def test_a_membership_of_format_1_is_read(tmp_path: Path) -> None:
    """What an earlier version wrote: hub, a machine, a spent invite and an open one; it is written anew as format 2."""
    path = tmp_path / "membership.bin"
    shutil.copy(FORMAT1, path)
    path.chmod(0o600)
    found = Membership.load(path, NOW)
    told = sorted((entry.name, entry.roles, entry.revoked, entry.uses, entry.invites) for entry in found.roster)
    assert [one for one in told if not one[0].startswith("invite-")] == [
        ("db-7", ("agent",), False, 1, ()),
        ("db-7", ("invite", "agent"), True, 1, ()),
        ("hub-1", ("hub", "agent"), False, 1, ()),
    ]
    assert [(one[1], one[2]) for one in told if one[0].startswith("invite-")] == [(("invite",), False)]
    assert pb.Membership.FromString(FORMAT1.read_bytes()).format == 0
    found.save()
    assert pb.Membership.FromString(path.read_bytes()).format == 2
    assert Membership.load(path, NOW).export() == found.export()


def test_a_membership_of_a_later_format_is_refused(hub: Authority, tmp_path: Path) -> None:
    """It is not guessed at."""
    path = tmp_path / "hub/membership.bin"
    message = pb.Membership.FromString(path.read_bytes())
    message.format = 3
    path.write_bytes(message.SerializeToString())
    with pytest.raises(ConfigError, match="has format 3, this version reads up to 2"):
        Membership.load(path, NOW)
