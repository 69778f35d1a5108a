"""Who is connected, and who is kept out: from one command on a hub to every hub and its node."""

from __future__ import annotations

import json
import time
from itertools import pairwise
from typing import Any

import httpx
import psutil
import pytest

from peerwatch.fleet.keys import load_key
from peerwatch.wire.identity import peer_id
from tests.e2e.processes import Processes, eventually

pytest.importorskip("libp2p", reason="the extra p2p is not installed: make p2p")
from tests.e2e.test_hubs import _two_hubs
from tests.e2e.test_p2p import STALL_S, Pair, _nodes

pytestmark = pytest.mark.e2e


def _ask(pair: Pair, processes: Processes, *command: str) -> Any:
    done = processes.run(*command, "--json", "--data", str(pair.hub_folder))
    assert done.returncode == 0, done
    return json.loads(done.stdout)


def _is_quiet(pair: Pair, for_s: float = 4.0) -> bool:
    before = max(pair.samples(), default=0)
    time.sleep(for_s)
    return max(pair.samples(), default=0) == before


def test_a_member_is_seen_kept_out_and_let_in_again(processes: Processes) -> None:
    """Its connection ends at once; the ban survives the death of node and hub; afterwards nothing is missing."""
    pair = Pair(processes)
    pair.goes_on("the start")
    began_ms = pair.samples()[0]
    (row,) = _ask(pair, processes, "peers")
    agent = peer_id(load_key(pair.agent_folder / "agent" / "peer.key").public)
    assert (row["name"], row["peer_id"], row["direction"]) == ("second", agent, "inbound")
    assert row["address"].startswith("/ip4/127.0.0.1/tcp/") and 0 < row["rtt_us"] < 2_000_000 and row["score"] > 0
    assert abs(row["since_ms"] - time.time() * 1000) < 60_000
    shown = processes.run("peers", "--data", str(pair.hub_folder)).stdout
    assert "second" in shown and " ms " in shown

    done = processes.run("bans", "add", "second", "--for", "2h", "--reason", "too loud", "--data", str(pair.hub_folder))
    assert done.stdout == f"banned second ({agent}) for 2h\n", done
    eventually(lambda: pair.connections() == 0, "it is cut off", 10)
    (ban,) = _ask(pair, processes, "bans", "list")
    assert (ban["subject"], ban["name"], ban["reason"]) == (agent, "second", "too loud")
    assert ban["by"].startswith("operator at ") and 7_100_000 < ban["expires_ms"] - time.time() * 1000 < 7_200_000
    assert _is_quiet(pair)
    (node,) = _nodes(pair.hub)
    node.kill()
    nodes = eventually(lambda: _nodes_after(pair, node), "another node", STALL_S)
    pair.hub.kill()
    eventually(lambda: not any(one.is_running() for one in nodes), "a node without its hub ends")
    pair.hub = pair.start_hub()
    pair.hub.url()
    eventually(lambda: _is_banned_there(pair), "its node refuses it", STALL_S)
    assert "too loud" in processes.run("bans", "list", "--data", str(pair.hub_folder)).stdout
    assert _is_quiet(pair)

    done = processes.run("bans", "remove", "second", "--reason", "sorry", "--data", str(pair.hub_folder))
    assert done.stdout == f"no longer banned: second ({agent})\n"
    pair.goes_on("the ban was removed", STALL_S + 90)  # for so long it keeps away when a batch was refused by the ban
    assert _ask(pair, processes, "bans", "list") == []
    eventually(lambda: _widest_gap_ms(pair) <= 2000 and pair.samples()[0] == began_ms, "all of it is there", STALL_S)


def test_a_hub_without_a_node_says_what_to_do(processes: Processes) -> None:
    """In words alone, as every refusal of a hub is told; bans are kept there all the same."""
    processes.up("lone")
    data = ["--data", str(processes.folder / "lone")]
    done = processes.run("peers", *data)
    assert done.returncode == 2 and "this hub has no libp2p node: set p2p.listen (P2P_LISTEN_ADDRS=" in done.stderr, (
        done
    )
    assert processes.run("bans", "list", "--json", *data).stdout == "[]\n"
    refused = [done, processes.run("bans", "add", "nobody", *data), processes.run("invite", "--expires", "1s", *data)]
    assert [one.returncode for one in refused] == [2, 2, 2], refused
    assert not any("bad_data" in one.stderr for one in refused), refused


def _nodes_after(pair: Pair, killed: psutil.Process) -> list[psutil.Process]:
    try:
        return [one for one in _nodes(pair.hub) if one.pid != killed.pid]
    except psutil.Error:  # one of them has just ended
        return []


def _is_banned_there(pair: Pair) -> bool:
    try:
        page = httpx.get(f"{pair.url}/metrics/node", trust_env=False, timeout=10).text
    except httpx.HTTPError:
        return False
    lines = [line for line in page.splitlines() if line.startswith('p2p_denied_total{reason="banned"}')]
    return bool(lines) and float(lines[0].split()[-1]) > 0 and "p2p_bans_active 1.0" in page.splitlines()


def _widest_gap_ms(pair: Pair) -> int:
    times = pair.samples()
    return max(later - earlier for earlier, later in pairwise(times))


def test_what_one_hub_bans_the_others_do_too(processes: Processes) -> None:
    """Within seconds, without gossip, and the other way round for lifting it."""
    _two_hubs(processes)

    def bans(hub: str) -> list[str]:
        done = processes.run("bans", "list", "--json", "--data", str(processes.folder / hub))
        return [row["subject"] for row in json.loads(done.stdout)]

    def act(hub: str, *command: str) -> None:
        done = processes.run("bans", *command, "--data", str(processes.folder / hub))
        assert done.returncode == 0, done

    act("one", "add", "192.0.2.0/24", "--reason", "scans")
    eventually(lambda: bans("two") == ["192.0.2.0/24"], "the other hub knows it", 20)
    act("two", "remove", "192.0.2.0/24")
    eventually(lambda: bans("one") == [], "it is lifted on both", 20)
    refused = processes.run("bans", "add", "two", "--data", str(processes.folder / "one"))
    assert refused.returncode == 2 and "peerwatch revoke" in refused.stderr, refused
