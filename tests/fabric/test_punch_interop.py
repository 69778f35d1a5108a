"""Hole punching between our node and go-libp2p's, each behind a NAT of its own that drops what it did not ask for."""

from __future__ import annotations

import subprocess
import time

import pytest

from peerwatch.wire.identity import peer_id
from tests.fabric.network import Host, Network

pytest.importorskip("libp2p", reason="the extra p2p is not installed: make p2p")
from tests.fabric.punching import KEYS
from tests.fabric.test_punch import _Peer
from tests.node.host.foreign import GO, PARAMETERS, ForeignPeer, Kind, built

pytestmark = [
    pytest.mark.p2p,
    pytest.mark.servers,
    pytest.mark.parametrize("kind", [one for one in PARAMETERS if one.values == (GO,)]),  # js's has no hole punching
]
_LOOKS = 60


@pytest.fixture(autouse=True)
def _built(kind: Kind) -> None:
    """Before a test's own time runs."""
    built(kind)


def _behind_nat(network: Network, name: str) -> tuple[Host, str]:
    """A host, and the address of its router."""
    host = network.host_behind_nat(name)
    (router,) = [one for one in network.hosts if one.name == f"{name}-router"]
    router.run("iptables -w -A INPUT -i eth0 -p tcp --syn -j DROP")
    return host, router.address


def _go(host: Host, router: str, role: str) -> ForeignPeer:
    """One that tells its router's address with its own port, which that keeps."""
    words = ["--seed", KEYS[role].seed.hex(), "--listen", "/ip4/0.0.0.0/tcp/4001", "--punch", f"/ip4/{router}/tcp/4001"]
    peer = ForeignPeer(
        subprocess.Popen(
            host.command([*GO.command, *words]),
            cwd=built(GO),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
    )
    peer.start()
    return peer


def _relay(network: Network, name: str) -> tuple[_Peer, str]:
    """One of ours that both reach, and where."""
    host = network.host(name)
    peer = _Peer(host, "relay")
    assert peer.line() == "ready"
    return peer, f"/ip4/{host.address}/tcp/4001/p2p/{peer_id(KEYS['relay'].public)}"


def test_our_node_meets_one_that_begins(network: Network, kind: Kind) -> None:
    """Ours has called it through the relay."""
    relay, where = _relay(network, "go-begins-relay")
    (hidden, router), (caller, _) = _behind_nat(network, "go-hidden"), _behind_nat(network, "our-caller")
    theirs = _go(hidden, router, "hidden")
    ours = None
    try:
        assert "addresses" in theirs.tell("reserve", where)
        ours = _Peer(caller, "caller", where, peer_id(KEYS["hidden"].public))
        for _ in range(_LOOKS):
            seen = ours.line()
            if any("/p2p-circuit" not in address for address in seen["now"]):
                break
        (address,) = seen["now"]
        assert address.startswith(f"/ip4/{router}/tcp/4001/") and seen["punched"] == [False, True]
    finally:
        for one in (theirs, relay, ours):
            if one is not None:
                one.end()


def test_one_meets_our_node_that_begins(network: Network, kind: Kind) -> None:
    """It has called ours through the relay."""
    relay, where = _relay(network, "ours-begins-relay")
    (hidden, _), (caller, router) = _behind_nat(network, "our-hidden"), _behind_nat(network, "go-caller")
    ours = _Peer(hidden, "hidden", where)
    theirs = _go(caller, router, "caller")
    try:
        assert ours.line() == "ready"
        target = peer_id(KEYS["hidden"].public)
        assert "rtt_ms" in theirs.tell("ping", f"{where}/p2p-circuit/p2p/{target}")
        for _ in range(_LOOKS):
            if (paths := theirs.tell("paths", target)) == {"direct": 1, "relayed": 0}:
                break
            time.sleep(0.5)
        assert paths == {"direct": 1, "relayed": 0}
        assert "rtt_ms" in theirs.tell("ping", f"/p2p/{target}")
    finally:
        for one in (theirs, ours, relay):
            one.end()
