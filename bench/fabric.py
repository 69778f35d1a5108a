"""What 1000 agents that deliver 8 KB every 10 s cost a hub and its node, over libp2p and over HTTPS; and how long it
takes until all of them deliver again when the hub was killed.

The agents are simulated, a few hundred to a process, with all that a hub sees of them (bench/fabric_client.py).
Envelopes are sealed beforehand. Acknowledgement times are from the moment an envelope is due, so they hold what waits
behind a failure. Everything shares this machine's cores: the clients' work delays the acks that are measured.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import psutil

from bench import kinds
from bench.fabric_client import Load, Plan
from bench.fleet import Member, found_fleet
from bench.machine import command_line, machine
from bench.process import Process, ServerError, free_port
from bench.table import markdown, ratio
from bench.workload import Metric, Workload, agent_metrics
from peerwatch.agent.seal import Sealer
from peerwatch.cli.hub_client import HubClient
from peerwatch.fleet.keys import load_key
from peerwatch.model import Batch, BatchBlock, Labels, SampleMatrix
from peerwatch.wire.identity import peer_id

_TICKS = 10
_EXTRA_SERIES = 55  # of full mantissas, which do not compress: with these an envelope has 8 KB
_START_S = 240.0


@dataclass(frozen=True, slots=True)
class Fleet:
    """What is the same for both ways: a hub's folder before its first start, its members, and what they will send."""

    folder: Path
    members: list[Member]
    loads: list[Load]
    names: list[str]
    envelope_bytes: float


@dataclass(frozen=True, slots=True)
class Window:
    """One stretch of ordinary reporting. CPU in percent of one core."""

    hub_cpu: float
    node_cpu: float
    client_cpu: float
    p50_ms: float
    p99_ms: float
    acks: int


@dataclass(slots=True)
class Outcome:
    """All that was measured of one way."""

    link: str
    joined_s: float = 0.0
    windows: list[Window] = field(default_factory=list)
    hub_mib: float = 0.0
    node_mib: float = 0.0
    back_s: dict[str, float] = field(default_factory=dict)
    """After the kill: until the hub answers, until half, 99 % and all agents were acknowledged anew."""
    due: int = 0
    acked: int = 0
    stored: int = 0

    def median(self, name: str) -> float:
        """Of the windows."""
        return statistics.median(getattr(one, name) for one in self.windows)


def found(folder: Path, agents: int, rounds: int) -> Fleet:
    """A fleet and what it will send: one envelope per agent and round."""
    extra = tuple(
        Metric(Labels.of({"__name__": "app_seconds", "number": str(row)}), kinds.latency)
        for row in range(_EXTRA_SERIES)
    )
    workload = Workload(agents, rounds * _TICKS, time.time_ns() // 1_000_000, 1_000, (*agent_metrics(), *extra))
    names = [workload.name(agent) for agent in range(agents)]
    members = found_fleet(folder, names)
    loads = [_load(workload, agent, member) for agent, member in enumerate(members)]
    sizes = [len(envelope) for load in loads for envelope in load.envelopes[2:]]
    return Fleet(folder, members, loads, names, statistics.mean(sizes))


def _load(workload: Workload, agent: int, member: Member) -> Load:
    sealer = Sealer(member.fleet, member.id, member.signing, epoch=time.time_ns() // 1_000_000)
    matrix, records, envelopes = workload.matrix(agent), {}, []
    for first in range(0, matrix.times_ms.size, _TICKS):
        columns = slice(first, first + _TICKS)
        part = SampleMatrix(matrix.times_ms[columns], matrix.values[:, columns].copy())
        sealed = sealer.seal(Batch((BatchBlock(workload.series, part),)), int(part.times_ms[-1]), None)
        records |= sealed.schemas
        envelopes.append(sealed.item.envelope)
    return Load(member.peer.seed, list(records.values()), envelopes)


class Hub:
    """`peerwatch hub` with its node, which can be killed and started again."""

    def __init__(self, folder: Path, log: Path) -> None:
        self.folder, self._log = folder, log
        self.http, self.p2p = free_port(), free_port()
        self.url = f"https://127.0.0.1:{self.http}"
        self.start()

    def start(self) -> None:
        """Start it and wait until it and its node are up."""
        command = [sys.executable, "-m", "peerwatch", "hub", "--data", self.folder]
        listen = {"P2P_LISTEN_ADDRS": self.multiaddr, "PEERWATCH_HUB_TLS": "always", "PEERWATCH_LOG_FORMAT": "text"}
        before = self._log.stat().st_size if self._log.exists() else 0
        self.process = Process([*command, "--listen", f"127.0.0.1:{self.http}"], self._log, listen)
        deadline_s = time.monotonic() + 60
        while b"libp2p node listens" not in self._log.read_bytes()[before:]:
            if time.monotonic() > deadline_s:
                raise ServerError(f"the hub's node is not up:\n{self._log.read_text()[-2000:]}")
            time.sleep(0.05)
        (self.node,) = psutil.Process(self.process.pid).children()

    def kill(self) -> None:
        """SIGKILL to both."""
        self.node.kill()
        psutil.Process(self.process.pid).kill()
        self.process.stop()

    @property
    def multiaddr(self) -> str:
        """Where its node listens."""
        return f"/ip4/127.0.0.1/tcp/{self.p2p}"

    def cpu_s(self) -> tuple[float, float]:
        """Of the hub, of its node."""
        times = self.node.cpu_times()
        return self.process.cpu_s(), times.user + times.system

    def count(self, query: str) -> int:
        """The number that a query gives."""
        with HubClient("", self.folder) as client:
            result = client.get("/api/v1/query", query=query)["data"]["result"]
        return int(float(result[0]["value"][1])) if result else 0


class Results:
    """What the clients have written so far: agent, number, due, acknowledged, tries."""

    def __init__(self, paths: Sequence[Path], processes: Sequence[Process]) -> None:
        self._paths = paths
        self._processes = processes

    def read(self) -> list[tuple[str, int, float, float, int]]:
        """All whole lines. Raises ServerError when a client has ended."""
        found = []
        for one in self._processes:
            one.rss_bytes()  # raises for one that has ended
        for path in self._paths:
            lines = path.read_text().splitlines(keepends=True) if path.exists() else []
            found += [tuple(json.loads(line)) for line in lines if line.endswith("\n")]
        return found

    def wait_for_all(self, names: Sequence[str], since_s: float, within_s: float) -> dict[str, float]:
        """Per agent, when its first acknowledgement after that time came; after so long those that have one."""
        deadline_s = time.monotonic() + within_s
        while True:
            first: dict[str, float] = {}
            for name, _, _, acked_s, _ in self.read():
                if acked_s > since_s:
                    first[name] = min(acked_s, first.get(name, acked_s))
            if len(first) == len(names) or time.monotonic() > deadline_s:
                return first
            time.sleep(1)


@contextlib.contextmanager
def clients(
    link: str, fleet: Fleet, hub: Hub, folder: Path, options: argparse.Namespace
) -> Iterator[tuple[Results, list[Process]]]:
    """The agents, in so many processes."""
    folder.mkdir()
    count = options.processes
    with contextlib.ExitStack() as stack:
        processes, paths = [], []
        certificate = (hub.folder / "tls" / "hub.crt").read_text() if link == "https" else ""
        hub_peer = peer_id(load_key(hub.folder / "fleet" / "peer.key").public)
        for number in range(count):
            names, loads = fleet.names[number::count], fleet.loads[number::count]
            address = f"{hub.multiaddr}/p2p/{hub_peer}"
            timing = options.interval, options.ramp
            plan = Plan(link, str(folder), hub.url, certificate, hub_peer, address, *timing, names)
            given = folder / f"{number}.plan", folder / f"{number}.load", folder / f"{number}.results"
            given[0].write_bytes(msgspec.json.encode(plan))
            given[1].write_bytes(msgspec.msgpack.encode(loads))
            command = [sys.executable, "-m", "bench.fabric_client", *given]
            processes.append(stack.enter_context(Process(command, folder / f"{number}.log")))
            paths.append(given[2])
        yield Results(paths, processes), processes


def measure(link: str, fleet: Fleet, folder: Path, options: argparse.Namespace) -> Outcome:
    """One way, with a hub of its own that knows nothing yet."""
    outcome = Outcome(link)
    hub_folder = folder / f"hub-{link}"
    shutil.copytree(fleet.folder, hub_folder)
    hub = Hub(hub_folder, folder / f"hub-{link}.log")
    try:
        began_s = time.monotonic()
        with clients(link, fleet, hub, folder / link, options) as (results, processes):
            first = results.wait_for_all(fleet.names, 0.0, options.ramp + _START_S)
            if len(first) < len(fleet.names):
                raise ServerError(f"{len(first)} of {len(fleet.names)} agents were acknowledged: too busy a machine")
            outcome.joined_s = max(first.values()) - began_s
            time.sleep(2 * options.interval)  # what was late is caught up
            for _ in range(options.windows):
                outcome.windows.append(_window(hub, results, processes, options.seconds))
            outcome.hub_mib = hub.process.rss_bytes() / 2**20
            outcome.node_mib = hub.node.memory_info().rss / 2**20
            outcome.back_s = _storm(hub, results, fleet.names)
            _settle(outcome, fleet, results)
        query = "sum(count_over_time(node_load1[2h]))"
        outcome.stored = hub.count(query) // _TICKS
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            hub.node.kill()
        hub.process.stop()
    return outcome


def _window(hub: Hub, results: Results, processes: Sequence[Process], seconds: float) -> Window:
    began_s, before, mine = time.monotonic(), hub.cpu_s(), sum(one.cpu_s() for one in processes)
    time.sleep(seconds)
    ended_s, after = time.monotonic(), hub.cpu_s()
    spent_s = sum(one.cpu_s() for one in processes) - mine
    waits = [1000 * (acked - due) for _, _, due, acked, _ in results.read() if began_s < acked <= ended_s]
    share = 100 / (ended_s - began_s)
    p50, p99 = np.percentile(waits, [50, 99])
    hub_cpu, node_cpu = ((now - then) * share for now, then in zip(after, before, strict=True))
    return Window(hub_cpu, node_cpu, spent_s * share, float(p50), float(p99), len(waits))


def _storm(hub: Hub, results: Results, names: Sequence[str]) -> dict[str, float]:
    """Kill the hub and start it at once; seconds from the kill."""
    killed_s = time.monotonic()
    hub.kill()
    hub.start()
    up_s = time.monotonic()
    first = sorted(results.wait_for_all(names, killed_s, _START_S).values())
    first += [float("inf")] * (len(names) - len(first))
    after = {"up": up_s, "half": first[len(first) // 2], "99 %": first[int(len(first) * 0.99) - 1], "all": first[-1]}
    return {name: at_s - killed_s for name, at_s in after.items()}


def _settle(outcome: Outcome, fleet: Fleet, results: Results) -> None:
    """Until everything that could be sent is acknowledged: what is not then is lost."""
    outcome.due = sum(len(load.envelopes) for load in fleet.loads)
    deadline_s = time.monotonic() + _START_S
    while (acked := len(results.read())) < outcome.due and time.monotonic() < deadline_s:
        time.sleep(1)
    outcome.acked = acked


def _report(outcomes: Sequence[Outcome], fleet: Fleet, options: argparse.Namespace) -> str:
    """The table, with the ratio of the first way to the last."""
    rows: list[tuple[str, list[float], str]] = [
        (label, [one.median(name) for one in outcomes], form)
        for label, name, form in (
            ("CPU of the hub, % of a core", "hub_cpu", "{:.1f}"),
            ("CPU of its node, % of a core", "node_cpu", "{:.1f}"),
            ("CPU of the clients, % of a core", "client_cpu", "{:.1f}"),
            ("ack p50, ms", "p50_ms", "{:.1f}"),
            ("ack p99, ms", "p99_ms", "{:.1f}"),
        )
    ]
    rows += [
        ("RSS of the hub, MiB", [one.hub_mib for one in outcomes], "{:.0f}"),
        ("RSS of its node, MiB", [one.node_mib for one in outcomes], "{:.0f}"),
        ("all connected and acknowledged after, s", [one.joined_s for one in outcomes], "{:.0f}"),
    ]
    names = {"up": "hub and node up", "half": "half of the agents acknowledged", "99 %": "99 %", "all": "all"}
    rows += [(f"after kill -9: {names[key]}, s", [one.back_s[key] for one in outcomes], "{:.1f}") for key in names]
    table = [
        [label, *(form.format(value) for value in values), ratio(values[0], values[-1]) if len(values) > 1 else ""]
        for label, values, form in rows
    ]
    sums = [f"{one.link}: {one.acked} of {one.due} envelopes acknowledged, {one.stored} stored" for one in outcomes]
    head = ["", *(one.link for one in outcomes), f"{outcomes[0].link} to {outcomes[-1].link}"]
    spread = [
        f"{one.link} p99 per window: " + ", ".join(f"{window.p99_ms:.0f}" for window in one.windows) + " ms"
        for one in outcomes
    ]
    what = f"{len(fleet.names)} agents, {fleet.envelope_bytes:.0f} B per {options.interval:g} s"
    what += f", medians of {options.windows} windows of {options.seconds:g} s"
    return "\n".join([what, "", markdown(head, table), "", *sums, *spread])


def main(arguments: Sequence[str]) -> None:
    """Run it."""
    parser = argparse.ArgumentParser("python -m bench fabric", description=__doc__, allow_abbrev=False)
    parser.add_argument("--agents", type=int, default=1000, help="[default: %(default)s]")
    parser.add_argument("--processes", type=int, default=4, help="for the agents [default: %(default)s]")
    parser.add_argument("--interval", type=float, default=10.0, help="between reports, s [default: %(default)s]")
    parser.add_argument("--ramp", type=float, default=60.0, help="over which they start, s [default: %(default)s]")
    parser.add_argument("--seconds", type=float, default=40.0, help="of a window [default: %(default)s]")
    parser.add_argument("--windows", type=int, default=3, help="[default: %(default)s]")
    parser.add_argument("--links", nargs="+", choices=("p2p", "https"), default=["p2p", "https"])
    options = parser.parse_args(arguments)
    where = machine()
    spent_s = options.ramp + options.windows * options.seconds + 60  # starting, windows, and the storm
    rounds = round(spent_s / options.interval)
    with tempfile.TemporaryDirectory(prefix="peerwatch-bench-") as name:
        folder = Path(name)
        fleet = found(folder / "fleet-of-all", options.agents, rounds)
        outcomes: list[Outcome] = []
        for link in options.links:  # what is measured is shown, whatever comes after
            outcomes.append(measure(link, fleet, folder, options))
            print(f"{command_line()}\n{where}\n\n{_report(outcomes, fleet, options)}\n", flush=True)
