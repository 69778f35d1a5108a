"""`peerwatch join` over Noise: the key of the invite gets a machine in, and nothing else does."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from peerwatch.fleet.invite import decode_token, encode_token
from tests.e2e.processes import QUICK, Processes, eventually, value

pytest.importorskip("libp2p", reason="the extra p2p is not installed: make p2p")
from tests.e2e.test_lone_node import Fleet

pytestmark = pytest.mark.e2e
NOBODY = "http://127.0.0.1:9"
UP_S = 60.0
JOIN_S = 90.0  # refused, it has tried with two keys, eight times each


class Joining:
    """A hub that is reached over libp2p only, as far as its tokens say, and machines that join it."""

    def __init__(self, processes: Processes) -> None:
        self.processes = processes
        self.fleet = Fleet(processes)
        eventually(lambda: "libp2p node listens" in self.fleet.hub.log, "the hub's node is up", UP_S)

    def token(self, *more: str) -> str:
        """A token whose HTTPS address leads nowhere."""
        arguments = ["--data", str(self.fleet.hub_folder), "--json", "--link", "p2p", "--address", NOBODY, *more]
        made = eventually(lambda: self.processes.run("invite", *arguments).stdout, "a token for libp2p", UP_S, 1.0)
        token: str = json.loads(made)["token"]
        return token

    def join(self, token: str, name: str) -> subprocess.CompletedProcess[str]:
        """One machine."""
        folder = str(self.processes.folder / name)
        return self.processes.run("join", token, "--no-run", "--name", name, "--data", folder, within_s=JOIN_S)

    def over_https(self, token: str) -> str:
        """The same invite, by the other road."""
        invite = decode_token(token)
        return encode_token(replace(invite, link="https", addresses=(self.fleet.hub.url(),)))


def test_a_machine_joins_and_delivers_over_libp2p_alone(processes: Processes) -> None:
    """No address over HTTPS works. The token is spent then; the machine that it let in may ask again."""
    joining = Joining(processes)
    token = joining.token()
    done = joining.join(token, "first")
    assert done.returncode == 0, done
    assert "joined as first" in done.stdout and done.stderr == ""
    folder = processes.folder / "first"
    agent = processes.start("agent", "--data", str(folder), "--metrics-port", "0", extra=QUICK)
    url = joining.fleet.hub.url()
    eventually(lambda: value(url, 'node_boot_time_seconds{instance="first"}'), "samples over libp2p", UP_S)
    assert agent.stop() == 0
    spent = joining.join(token, "second")
    assert spent.returncode == 1
    for words in ("no hub let this machine in over libp2p", "used up", "new one: peerwatch invite --link p2p"):
        assert words in spent.stderr, spent
    assert not (processes.folder / "second" / "agent" / "membership.bin").exists()
    for lost in ("membership.bin", "hub.json"):  # as if the answer had got lost
        (folder / "agent" / lost).unlink()
    again = joining.join(token, "first")
    assert again.returncode == 0 and "joined as first" in again.stdout, again
    assert _names(processes, joining.fleet.hub_folder) == ["first"]


def test_uses_count_the_same_over_both_roads(processes: Processes) -> None:
    """Three uses: one over Noise, one over HTTPS, one over Noise; the fourth is refused by either. So is a token that
    was withdrawn, and one that has expired, also for a machine that does not know of it."""
    joining = Joining(processes)
    brief = joining.token("--expires", "1m")
    token = joining.token("--uses", "3")
    for name, used in (("a", token), ("b", joining.over_https(token)), ("c", token)):
        done = joining.join(used, name)
        assert done.returncode == 0, done
    assert joining.join(token, "d").returncode == 1
    refused = joining.join(joining.over_https(token), "d")
    assert refused.returncode == 2 and "has been used" in refused.stderr
    withdrawn = joining.token("--name", "never")
    done = processes.run("invite", "--data", str(joining.fleet.hub_folder), "--revoke", withdrawn)
    assert done.returncode == 0, done
    assert joining.join(withdrawn, "d").returncode == 1
    _expired_for(joining, brief, processes.folder)
    assert _names(processes, joining.fleet.hub_folder) == ["a", "b", "c"]


def _expired_for(joining: Joining, token: str, folder: Path) -> None:
    """The machine says so by itself; one whose clock is behind is refused by the hub, and told what to do next."""
    invite = decode_token(token)
    eventually(lambda: time.time() * 1000 > invite.expires_ms, "its time is over", 70, 1.0)
    late = joining.join(token, "late")
    assert late.returncode == 2, late
    assert "has expired, by this machine's clock; ask for a new one: peerwatch invite --link p2p" in late.stderr
    believed = encode_token(replace(invite, expires_ms=invite.expires_ms + 3_600_000))
    late = joining.join(believed, "late")
    assert late.returncode == 1, late
    for words in ("no hub let this machine in", "expired", "new one: peerwatch invite --link p2p"):
        assert words in late.stderr, late
    refused = joining.join(joining.over_https(believed), "late")
    assert refused.returncode == 2 and "has expired; ask for a new one" in refused.stderr, refused
    assert not (folder / "late" / "agent" / "membership.bin").exists()


def _names(processes: Processes, hub: Path) -> list[str]:
    """The agents of the fleet."""
    rows = json.loads(processes.run("agents", "--data", str(hub), "--json").stdout)
    return sorted(row["name"] for row in rows)
