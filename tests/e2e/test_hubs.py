"""Two hubs of one fleet: one joins the other, and what either decides about members holds on both within seconds."""

from __future__ import annotations

import json
import re

import httpx
import pytest

from tests.e2e.processes import QUICK, Processes, Running, ask, eventually, value

pytestmark = pytest.mark.e2e


def _json(processes: Processes, hub: str, *command: str) -> list[dict[str, object]]:
    done = processes.run(*command, "--json", "--data", str(processes.folder / hub))
    assert done.returncode == 0, done.stderr
    found: list[dict[str, object]] = json.loads(done.stdout)
    return found


def _names(processes: Processes, hub: str) -> set[object]:
    return {row["name"] for row in _json(processes, hub, "agents", "--all") if not row["revoked"]}


def _token(processes: Processes, hub: str, *flags: str) -> str:
    done = processes.run("invite", "--json", "--data", str(processes.folder / hub), *flags)
    assert done.returncode == 0, done.stderr
    token: str = json.loads(done.stdout)["token"]
    return token


def _hub(processes: Processes, name: str, **extra: str) -> Running:
    settings = {**extra, "PEERWATCH_NAME": name, "PEERWATCH_HUB_SYNC_INTERVAL_S": "1"}
    folder = str(processes.folder / name)
    return processes.start("hub", "--data", folder, "--listen", "127.0.0.1:0", name=name, extra=settings)


def _two_hubs(processes: Processes, **extra: str) -> tuple[str, str]:
    """(URL of `one`, which has the root key, URL of `two`, which has joined it)."""
    one = _hub(processes, "one", **extra).url()
    token = _token(processes, "one", "--roles", "hub", "--name", "two")
    joined = processes.run("join", token, "--data", str(processes.folder / "two"))
    assert joined.stdout.startswith("joined as hub two,"), joined
    return one, _hub(processes, "two", **extra).url()


def test_two_hubs_share_one_roster(processes: Processes) -> None:
    """An agent that joined at one delivers to both; whoever revokes it, both refuse it, and its name is free."""
    one, two = _two_hubs(processes)
    data = processes.folder / "web"
    joined = processes.run("join", _token(processes, "one"), "--no-run", "--name", "web", "--data", str(data))
    assert joined.stdout.startswith("joined as web,"), joined
    eventually(lambda: "web" in _names(processes, "two"), "the other hub knows it", 30)
    agent = processes.start("agent", "--data", str(data), "--metrics-port", "0", extra=QUICK)
    eventually(lambda: value(one, 'up{instance="web"}') == 1, "it delivers to one", 40)
    eventually(lambda: value(two, 'up{instance="web"}') == 1, "it delivers to two, and believes its acks", 60)
    assert "ack not believed" not in agent.log
    assert processes.run("revoke", "web", "--data", str(processes.folder / "one")).returncode == 0
    eventually(lambda: ask(two, 'up{instance="web"}') == [], "the other hub has cut it off", 30)
    assert "web" not in _names(processes, "two")
    again = processes.run("join", _token(processes, "two"), "--no-run", "--data", str(data))
    assert again.returncode == 2 and "never comes back" in again.stderr


def test_an_invite_of_one_hub_is_spent_on_both(processes: Processes) -> None:
    """Each use counts on either hub, over HTTPS with pinned certificates."""
    one, two = _two_hubs(processes, PEERWATCH_HUB_TLS="always")
    assert one.startswith("https://") and two.startswith("https://")
    token = _token(processes, "two", "--uses", "2", "--name", "rack")
    first = processes.run("join", token, "--no-run", "--data", str(processes.folder / "a"))
    assert first.stdout.startswith("joined as rack,"), first
    eventually(lambda: "rack" in _names(processes, "one"), "the other hub knows it", 30)
    rows = eventually(lambda: _json(processes, "one", "invites"), "and the invite", 10)
    assert [(row["name"], row["uses_left"], row["uses"]) for row in rows] == [("rack", 1, 2)]
    assert processes.run("join", token, "--no-run", "--data", str(processes.folder / "b")).returncode == 0
    eventually(lambda: _json(processes, "one", "invites") == [], "it is spent", 30)


def test_a_revoked_hub_is_cut_off(processes: Processes) -> None:
    """It is told by the others' signed word, says so, and takes nothing any more."""
    _two_hubs(processes)
    hub = str(processes.folder / "two")
    assert processes.run("health", "--data", hub).returncode == 0
    done = processes.run("revoke", "two", "--data", str(processes.folder / "one"))
    assert done.returncode == 0, done.stderr
    eventually(lambda: processes.run("health", "--data", hub).returncode != 0, "it is not ready", 30)
    said = processes.run("health", "--data", hub)
    assert "revoked by its fleet" in said.stdout + said.stderr
    refused = processes.run("invite", "--data", hub)
    assert refused.returncode == 2 and "revoked" in refused.stderr, refused


def _ready(url: str) -> dict[str, object]:
    found: dict[str, object] = httpx.get(f"{url}/health/ready", trust_env=False, timeout=10).json()
    return found


def _hubs_shown(url: str) -> dict[str, float]:
    page = httpx.get(f"{url}/metrics", trust_env=False, timeout=10).text
    return {state: float(n) for state, n in re.findall(r'^peerwatch_hubs\{state="(\w+)"\} (\S+)', page, re.M)}


@pytest.mark.p2p
def test_hubs_find_each_other_over_libp2p_and_one_that_stops_says_so(processes: Processes) -> None:
    """With no address set by hand: each shows the other in peers and routing table; who leaves is dropped at once."""
    pytest.importorskip("libp2p", reason="the extra p2p is not installed: make p2p")
    one = _hub(processes, "one", P2P_LISTEN_ADDRS="/ip4/127.0.0.1/tcp/0").url()
    token = _token(processes, "one", "--roles", "hub", "--name", "two")
    joined = processes.run("join", token, "--data", str(processes.folder / "two"))
    assert joined.returncode == 0, joined
    leaver = _hub(processes, "two", P2P_LISTEN_ADDRS="/ip4/127.0.0.1/tcp/0")
    two = leaver.url()
    for url in (one, two):
        eventually(lambda url=url: _ready(url)["routing_table_size"] == 1, "it is in the table", 60)  # type: ignore[misc]
        assert _ready(url)["connected_peers"] == 1
        eventually(lambda url=url: _hubs_shown(url)["here"] == 1, "gossip is heard", 60)  # type: ignore[misc]
    assert leaver.stop() == 0
    eventually(lambda: _ready(one)["connected_peers"] == 0, "it is dropped at once", 3)
    assert _hubs_shown(one) == {"here": 0, "leaving": 1, "silent": 0}
    assert "routing table saved" in leaver.log
    assert (processes.folder / "two" / "routing_table.json").stat().st_mode & 0o777 == 0o600


def test_a_machine_that_is_hub_and_agent_delivers_to_the_other_hub_too(processes: Processes) -> None:
    """Its own hub takes its samples in the process, the other one over HTTPS; each answers with the same."""
    one = processes.up("one", extra={"PEERWATCH_NAME": "one", "PEERWATCH_HUB_SYNC_INTERVAL_S": "1"}).url()
    joined = processes.run(
        "join", _token(processes, "one", "--roles", "hub", "--name", "two"), "--data", str(processes.folder / "two")
    )
    assert joined.stdout.startswith("joined as hub two,"), joined
    two = _hub(processes, "two").url()
    boot = 'node_boot_time_seconds{instance="one"}'
    eventually(lambda: value(two, boot), "its samples are there", 60)
    assert value(one, boot) == value(two, boot)
