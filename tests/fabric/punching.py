"""A host that punches: `punching.py relay`, `punching.py hidden RELAY` or `punching.py caller RELAY TARGET`.

`RELAY` is a multiaddr, `TARGET` a peer id. Each prints a line when it is ready; the caller then says, as JSON, by which
address it is connected to the target, again and again for half a minute.
"""

from __future__ import annotations

import json
import sys

import anyio

from peerwatch.node.address import parse_address
from peerwatch.node.connection import ConnectionOpened
from peerwatch.telemetry import configure_logging
from peerwatch.wire.identity import PrivateKey, public_key_of
from tests.node.host.kit import Node, node

KEYS = {name: PrivateKey(bytes([number]) * 32) for number, name in enumerate(("relay", "hidden", "caller"), 1)}
LOOKS = 60


def _say(words: object) -> None:
    print(json.dumps(words), flush=True)  # noqa: T201


def _shown(one: Node, member: bytes) -> dict[str, object]:
    """How it is connected to the member, and how connections to it came to be so far."""
    opened = [event for event in one.ear.of(ConnectionOpened) if event.member == member]
    now = [conn.address for conn in one.host.connections if conn.member == member]
    return {"now": now, "punched": [event.punched for event in opened]}


async def _main(role: str, *words: str) -> None:
    if role == "relay":
        one = node(key=KEYS[role], may_reserve=lambda _: True, listen=False)
        one = _listening(one)
        async with one.host:
            _say("ready")
            await anyio.sleep_forever()
    relay = public_key_of(parse_address(words[0]).peer)
    one = node(key=KEYS[role], listen=False, punches=True)
    async with one.host:
        await one.host.dial(relay, [words[0]])
        if role == "hidden":
            await one.host.reserve(relay)
            _say("ready")
            await anyio.sleep_forever()
        target = public_key_of(words[1])
        await one.host.dial(target, [f"{words[0]}/p2p-circuit/p2p/{words[1]}"])
        for _ in range(LOOKS):
            _say(_shown(one, target))
            await anyio.sleep(0.5)


def _listening(one: Node) -> Node:
    from peerwatch.node.host import Host

    host = Host(one.key, one.gate, one.ear, listen=["/ip4/0.0.0.0/tcp/4001"], may_reserve=lambda _: True)
    return Node(host, one.gate, one.ear, one.key)


if __name__ == "__main__":
    configure_logging()
    anyio.run(_main, *sys.argv[1:], backend="trio")
