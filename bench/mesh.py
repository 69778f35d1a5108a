"""What mesh probes cost one agent in a fleet of 10, 100 and 1000, and what they cost the hub.

The hub's side is real, with as many members as said. The agent is a real node on loopback with as many real partners
and visitors as it is told in such a fleet; the fleet's other members are only names. A node that does nothing is
measured first.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any, Self

import anyio

from bench.machine import command_line, machine
from bench.table import markdown
from peerwatch.cli.mesh_metrics import MeshMetrics
from peerwatch.fleet.authority import Authority
from peerwatch.fleet.introducer import Introducer
from peerwatch.fleet.pairing import Pairing
from peerwatch.fleet.partners import open_partners
from peerwatch.fleet.roster import AGENT, RosterEntry, sign_entry
from peerwatch.telemetry import configure_metrics
from peerwatch.testing.clock import ManualClock
from peerwatch.wire.identity import PrivateKey
from peerwatch.wire.multiaddr import parse_tcp
from peerwatch.wire.peer_info import seal_peer_info

_HEAD = ["members", "partners", "visitors", "CPU %", "bytes/s", "connections", "probes/s", "lost", "p50 µs", "p99 µs"]
_HEAD += ["series"]
_HUB_HEAD = ["members", "asked every s", "list bytes", "answer ms", "CPU %", "pairing ms", "taking it ms"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What one question for partners is, in a fleet of `members`."""

    members: int
    partners: int
    visitors: int
    refresh_s: float
    list_bytes: int
    answer_ms: float
    pairing_ms: float
    take_ms: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What probing took of one node, over `seconds`."""

    cpu_percent: float
    bytes_per_s: float
    connections: int
    probes_per_s: float
    lost: int
    p50_us: float
    p99_us: float


def ask(members: int, folder: Path) -> Asked:
    """A fleet in standing time, whose members ask until the pairs have settled."""
    clock = ManualClock()
    hub = Authority.open(folder, "hub", clock)
    introducer = Introducer(hub, clock)
    keys = [PrivateKey.generate() for _ in range(members)]
    for number, key in enumerate(keys):
        entry = RosterEntry(key.public, key.public, f"agent-{number}", (AGENT,), 0, number + 2, revoked=False)
        hub.membership.roster.merge(sign_entry(hub.keys.signing, hub.member, hub.fleet, entry), clock.now_ms())
    said = [parse_tcp("/ip4/192.0.2.1/tcp/4001").pack()]
    infos = [seal_peer_info(key, tuple(said), {}, clock.now_ms()) for key in keys]

    async def everybody() -> list[bytes]:
        clock.advance(introducer.refresh_ms / 1000)
        return [
            await introducer.answer(key.public, "/ip4/192.0.2.1/tcp/9", info)
            for key, info in zip(keys, infos, strict=True)
        ]

    async def story() -> tuple[list[bytes], float]:
        for _ in range(5):
            await everybody()
        began_s = time.perf_counter()
        return await everybody(), (time.perf_counter() - began_s) * 1000 / members

    answers, answer_ms = anyio.run(story)
    began_s = time.perf_counter()
    lists = [
        open_partners(answer, hub.membership, key.public, clock.now_ms())
        for answer, key in zip(answers, keys, strict=True)
    ]
    take_ms = (time.perf_counter() - began_s) * 1000 / members
    return Asked(
        members,
        _mean([len(one.partners) for one in lists]),
        _mean([len(one.visitors) for one in lists]),
        introducer.refresh_ms / 1000,
        _mean([len(answer) for answer in answers]),
        answer_ms,
        _pairing_ms([key.public for key in keys]),
        take_ms,
    )


def _mean(counts: Sequence[int]) -> int:
    return round(sum(counts) / len(counts))


def _pairing_ms(members: Sequence[bytes]) -> float:
    began_s = time.perf_counter()
    Pairing(members, members)
    return (time.perf_counter() - began_s) * 1000


class Child:
    """A process of `bench.mesh_peer`: a line of JSON each way. Ended on exit by closing its input."""

    def __init__(self, *arguments: str) -> None:
        command = [sys.executable, "-m", "bench.mesh_peer", *arguments]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.first = self.answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._child.stdin is not None
        self._child.stdin.close()
        try:
            self._child.wait(10)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def say(self, what: Any) -> None:
        """One line."""
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps(what) + "\n")
        self._child.stdin.flush()

    def answer(self) -> Any:
        """The next line."""
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise SystemExit("bench mesh: a peer ended")
        return json.loads(line)


def probe(partners: int, visitors: int, options: argparse.Namespace) -> Cost:
    """A node with so many partners and visitors."""
    with Child("crowd", str(partners + visitors)) as crowd, Child("one") as one:
        member, address = one.first
        interval = {"interval_s": options.interval}
        crowd.say({"member": member, "address": address, "count": visitors, **interval})
        told = {"partners": crowd.first[visitors:], "settle_s": 1.5 * options.interval, "seconds": options.seconds}
        one.say({**told, **interval})
        found = one.answer()
    rtts = found["rtt_us"]
    cuts = quantiles(rtts, n=100) if len(rtts) > 1 else [0.0] * 99
    return Cost(
        100 * found["cpu_s"] / options.seconds,
        found["bytes"] / options.seconds,
        found["connections"],
        found["probes"] / options.seconds,
        found["probes"] - found["answered"],
        cuts[49],
        cuts[98],
    )


def series_of(partners: int) -> int:
    """Lines that an agent with so many partners shows."""
    metrics = MeshMetrics()
    metrics.show(f"agent-{number}" for number in range(partners))
    return sum(not line.startswith(b"#") for line in metrics.render().splitlines())


def run(options: argparse.Namespace) -> None:
    """Measure every size."""
    configure_metrics()
    print(f"{command_line()}\n{machine()}\n", flush=True)
    idle = probe(0, 0, options)
    rows, hub_rows = [], []
    for members in options.members:
        folder = Path(tempfile.mkdtemp(prefix="bench-"))
        try:
            asked = ask(members, folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        cost = probe(asked.partners, asked.visitors, options)
        rows.append(_row(asked, cost, idle))
        hub_rows.append(_hub_row(asked))
    idle_text = f"idle: {idle.cpu_percent:.3f} % of a core"
    print(f"An agent, over {options.seconds:g} s at {options.interval:g} s ({idle_text}):\n")
    print(markdown(_HEAD, rows), "\n\nThe hub, and what a list is:\n")
    print(markdown(_HUB_HEAD, hub_rows))


def _row(asked: Asked, cost: Cost, idle: Cost) -> list[str]:
    return [
        str(asked.members),
        str(asked.partners),
        str(asked.visitors),
        f"{cost.cpu_percent - idle.cpu_percent:.3f}",
        f"{cost.bytes_per_s:.0f}",
        str(cost.connections),
        f"{cost.probes_per_s:.2f}",
        str(cost.lost),
        f"{cost.p50_us:.0f}",
        f"{cost.p99_us:.0f}",
        str(series_of(asked.partners + 1)),  # and the hub
    ]


def _hub_row(asked: Asked) -> list[str]:
    share = asked.members / asked.refresh_s * asked.answer_ms / 10
    return [
        str(asked.members),
        f"{asked.refresh_s:g}",
        str(asked.list_bytes),
        f"{asked.answer_ms:.2f}",
        f"{share:.2f}",
        f"{asked.pairing_ms:.1f}",
        f"{asked.take_ms:.2f}",
    ]


def options_of(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench mesh", description=__doc__)
    parser.add_argument("--members", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--seconds", type=float, default=60.0, help="of measuring, at each size")
    parser.add_argument("--interval", type=float, default=15.0, help="between probes of one partner")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    """Entry point."""
    run(options_of(arguments))
