"""The root key leaves a hub, comes back, certifies a second hub, and is replaced; agents follow."""

from __future__ import annotations

from pathlib import Path

import pytest

from peerwatch.fleet.membership import Membership
from peerwatch.model import SystemClock
from tests.e2e.processes import QUICK, Processes, eventually, value
from tests.e2e.test_hubs import _hub, _token

pytestmark = pytest.mark.e2e


def _words(processes: Processes) -> Path:
    file = processes.folder / "words"
    file.touch(0o600)
    file.write_text("correct horse battery\n")
    return file


def _root_of(folder: Path) -> bytes:
    return Membership.load(folder / "membership.bin", SystemClock().now_ms()).trust.root


def test_a_hub_is_certified_once_the_root_key_is_back(processes: Processes) -> None:
    """Kept elsewhere, the key is missed when a second hub joins; the messages lead the whole way."""
    _hub(processes, "one").url()
    one, two = str(processes.folder / "one"), str(processes.folder / "two")
    exported, words = str(processes.folder / "root.json"), ["--passphrase-file", str(_words(processes))]
    refused = processes.run("root", "export", exported, "--data", one)
    assert refused.returncode == 2 and "--plain" in refused.stderr
    done = processes.run("root", "export", exported, *words, "--data", one)
    assert done.returncode == 0 and Path(exported).stat().st_mode & 0o777 == 0o600, done
    (processes.folder / "one/fleet/root.key").unlink()
    joined = processes.run("join", _token(processes, "one", "--roles", "hub", "--name", "two"), "--data", two)
    assert joined.returncode == 0, joined
    early = processes.run("hub", "--data", two, "--listen", "127.0.0.1:0")
    assert early.returncode == 1 and "peerwatch root certify 12D3" in early.stderr, early
    missed = processes.run("root", "certify", "two", "--data", one)
    assert missed.returncode == 2 and "peerwatch root import" in missed.stderr
    wrong = processes.folder / "wrong"
    wrong.touch(0o600)
    wrong.write_text("another passphrase\n")
    denied = processes.run("root", "import", exported, "--passphrase-file", str(wrong), "--data", one)
    assert denied.returncode == 2 and "the passphrase is wrong" in denied.stderr
    assert processes.run("root", "import", exported, *words, "--data", one).returncode == 0
    certified = processes.run("root", "certify", "two", "--data", one)
    assert certified.stdout.startswith("certified two (12D3"), certified
    assert _hub(processes, "two").url().startswith("http://127.0.0.1")


def test_an_agent_and_a_hub_follow_a_new_root(processes: Processes) -> None:
    """The other hub within seconds, the agent when an ack tells of a newer roster, also after it was away."""
    one = _hub(processes, "one").url()
    token = _token(processes, "one", "--roles", "hub", "--name", "two")
    assert processes.run("join", token, "--data", str(processes.folder / "two")).returncode == 0
    _hub(processes, "two").url()
    data = processes.folder / "web"
    token = _token(processes, "one")
    assert processes.run("join", token, "--no-run", "--name", "web", "--data", str(data)).returncode == 0
    old = _root_of(data / "agent")
    for _ in range(2):
        done = processes.run("root", "rotate", "--data", str(processes.folder / "one"))
        assert done.returncode == 0, done.stderr
    new = _root_of(processes.folder / "one/fleet")
    assert new != old and new.hex() in done.stdout
    eventually(lambda: _root_of(processes.folder / "two/fleet") == new, "the other hub follows", 30)
    quick = {**QUICK, "PEERWATCH_SHIP_MEMBERSHIP_GAP_S": "1"}
    processes.start("agent", "--data", str(data), "--metrics-port", "0", name="web", extra=quick)
    eventually(lambda: value(one, 'up{instance="web"}') == 1, "it delivers", 40)
    eventually(lambda: _root_of(data / "agent") == new, "the agent follows", 30)
    late = processes.run("join", _token(processes, "two"), "--no-run", "--data", str(processes.folder / "late"))
    assert late.returncode == 0 and _root_of(processes.folder / "late/agent") == new, late
