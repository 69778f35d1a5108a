"""Peers for `bench.mesh`: many that are measured or measure, and the one whose cost is counted.

python -m bench.mesh_peer crowd COUNT      # prints [member, address] of each; one line of input names whom to probe
python -m bench.mesh_peer one              # one line of input: partners, interval, seconds; prints what it cost
"""

from __future__ import annotations

import json
import os
import random
import resource
import socket
import struct
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread

from peerwatch.model import SystemClock
from peerwatch.node.config import NodeLimits
from peerwatch.node.gater import Deny, Direction
from peerwatch.node.host import Host
from peerwatch.node.messages import Probe
from peerwatch.node.metrics import NodeMetrics
from peerwatch.node.prober import Prober
from peerwatch.telemetry import CollectorRegistry, configure_logging
from peerwatch.wire.identity import PrivateKey

_TCP_INFO_BYTES = 232
_SENT_AT = 120  # in struct tcp_info: bytes acked and received, u64 each
_SEGMENTS_AT = 136  # segments out and in, u32 each
_HEADER_BYTES = 52  # of IP and TCP, with time stamps


class _Open:
    """Lets everybody in: membership costs a look into a dict."""

    def screen(self, address: str, direction: Direction, pending_in_subnet: int = 0) -> Deny | None:
        """See `connection.Gate`."""
        return None

    def admit(self, member: bytes, address: str, direction: Direction) -> Deny | None:
        """See `connection.Gate`."""
        return None


class _Peer:
    """A host with a prober."""

    def __init__(self) -> None:
        self.host = Host(
            PrivateKey.generate(),
            _Open(),
            lambda event: None,
            limits=NodeLimits.agent(),
            listen=["/ip4/127.0.0.1/tcp/0"],
        )
        self.found: list[Probe] = []
        metrics = NodeMetrics(CollectorRegistry(), NodeLimits.agent(), 10)
        self.prober = Prober(self.host, self.found.append, metrics, SystemClock(), random.Random())

    @property
    def address(self) -> str:
        """Without the peer id."""
        return self.host.addresses[0].partition("/p2p/")[0]


async def crowd(count: int) -> None:
    """Until the input ends."""
    async with AsyncExitStack() as stack:
        peers = [_Peer() for _ in range(count)]
        for peer in peers:
            await stack.enter_async_context(peer.host)
        tasks = await stack.enter_async_context(anyio.create_task_group())
        for peer in peers:
            tasks.start_soon(peer.prober.run)
        _say([[peer.host.member.hex(), peer.address] for peer in peers])
        while asked := await _line():
            target = {bytes.fromhex(asked["member"]): (asked["address"],)}
            for peer in peers[: asked["count"]]:
                peer.prober.measure(target, asked["interval_s"])
        tasks.cancel_scope.cancel()


async def one() -> None:
    """Measures and is measured, and then tells what it took."""
    peer = _Peer()
    async with peer.host, anyio.create_task_group() as tasks:
        tasks.start_soon(peer.prober.run)
        _say([peer.host.member.hex(), peer.address])
        while asked := await _line():
            partners = {bytes.fromhex(member): (address,) for member, address in asked["partners"]}
            peer.prober.measure(partners, asked["interval_s"])
            await anyio.sleep(asked["settle_s"])
            before, began, count = _cpu_s(), _traffic(), len(peer.found)
            await anyio.sleep(asked["seconds"])
            after, ended, found = _cpu_s(), _traffic(), peer.found[count:]
            _say(
                {
                    "cpu_s": after - before,
                    "bytes": ended - began,
                    "connections": len(peer.host.connections),
                    "probes": len(found),
                    "answered": sum(len(probe.rtts_us) for probe in found),
                    "rtt_us": sorted(rtt for probe in found for rtt in probe.rtts_us),
                }
            )
        tasks.cancel_scope.cancel()


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _traffic() -> int:
    """Bytes on the wire so far, both ways, of every connection that is open now."""
    total = 0
    for entry in list(Path("/proc/self/fd").iterdir()):
        try:
            copy = socket.socket(fileno=os.dup(int(entry.name)))
        except OSError:  # no socket, or closed meanwhile
            continue
        with copy:
            if copy.family != socket.AF_INET:
                continue
            info = copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
            if len(info) >= _SEGMENTS_AT + 8:
                total += sum(struct.unpack_from("=QQ", info, _SENT_AT))
                total += _HEADER_BYTES * sum(struct.unpack_from("=II", info, _SEGMENTS_AT))
    return total


def _say(what: Any) -> None:
    print(json.dumps(what), flush=True)


async def _line() -> Any:
    text = await anyio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
    return json.loads(text) if text.strip() else None


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    configure_logging("error")
    if arguments[0] == "crowd":
        anyio.run(crowd, int(arguments[1]), backend="trio")
    else:
        anyio.run(one, backend="trio")
    sys.stdout.flush()
    os._exit(0)  # the thread that reads standard input would keep the process


if __name__ == "__main__":
    main(sys.argv[1:])
