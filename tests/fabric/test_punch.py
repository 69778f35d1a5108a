"""Hole punching: peers behind NATs of their own get a direct connection where these let them, and only there."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from peerwatch.wire.identity import peer_id
from tests.e2e.processes import ROOT, environment
from tests.fabric.network import Host, Network

pytest.importorskip("libp2p", reason="the extra p2p is not installed: make p2p")
from tests.fabric.punching import KEYS

pytestmark = [pytest.mark.e2e, pytest.mark.p2p]


class _Peer:
    """A running punching.py."""

    def __init__(self, host: Host, *words: str) -> None:
        command = [sys.executable, str(ROOT / "tests/fabric/punching.py"), *words]
        self._process = subprocess.Popen(
            host.command(command), env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def line(self) -> Any:
        """What it says next."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self._process.communicate()[1][-3000:]
        return json.loads(line)

    def end(self) -> None:
        """At once."""
        self._process.kill()
        self._process.communicate()


def _punched(network: Network, name: str, rule: str) -> tuple[str, dict[str, Any]]:
    """The address of the hidden peer's router, and what the caller saw last: at once when it is direct."""
    relay = network.host(f"{name}-relay")
    hidden, caller = network.host_behind_nat(f"{name}-hidden"), network.host_behind_nat(f"{name}-caller")
    routers = {host.name: host for host in network.hosts if host.name.endswith("-router")}
    for one in (hidden, caller):
        routers[f"{one.name}-router"].run(f"iptables -w -A INPUT -i eth0 -p tcp --syn -j DROP\n{rule}")
    where = f"/ip4/{relay.address}/tcp/4001/p2p/{peer_id(KEYS['relay'].public)}"
    peers: list[_Peer] = []
    try:
        for host, words in ((relay, ["relay"]), (hidden, ["hidden", where])):
            peers.append(_Peer(host, *words))
            assert peers[-1].line() == "ready"
        peers.append(_Peer(caller, "caller", where, peer_id(KEYS["hidden"].public)))
        for _ in range(50):
            seen: dict[str, Any] = peers[-1].line()
            if any("/p2p-circuit" not in address for address in seen["now"]):
                break
    finally:
        for peer in peers:
            peer.end()
    return routers[f"{hidden.name}-router"].address, seen


def test_two_peers_behind_nat_get_a_direct_connection(network: Network) -> None:
    """Through routers that keep ports and drop what they did not ask for; it takes the relayed one's place."""
    router, seen = _punched(network, "drops", "")
    (address,) = seen["now"]
    assert address.startswith(f"/ip4/{router}/tcp/") and "/p2p-circuit" not in address
    assert seen["punched"] == [False, True]


def test_a_relayed_connection_stays_where_ports_cannot_be_foretold(network: Network) -> None:
    """Routers that choose another port for each connection: the tries end, and what there is goes on."""
    other_ports = "iptables -w -t nat -R POSTROUTING 1 -o eth0 -j MASQUERADE --random"
    _, seen = _punched(network, "symmetric", other_ports)
    (address,) = seen["now"]
    assert "/p2p-circuit/" in address and seen["punched"] == [False]
