"""Fabric: hubs and agents as real processes on hosts of a network, and the comparison of all hubs with all agents."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import add
from pathlib import Path

import psutil

from peerwatch.agent.sources.kinds import KINDS
from peerwatch.cli.hub_client import HubClient
from peerwatch.fleet.keys import load_key
from peerwatch.wire.identity import peer_id
from tests.e2e.ledger import Ledger, Verdict, compare
from tests.e2e.processes import ROOT, Processes, Running, environment, eventually, recorded
from tests.fabric.network import Host, Network

_SOURCES = ("loadavg", "stat", "time", "filefd")  # a dozen series: what travels is the same, and comparing is quick
_START_S = 240.0  # sixty processes start at once on two cores
_AT_ONCE = (
    6  # agents are founded so many at a time, each pair of processes costs 4 s of CPU; a story restarts all at once
)
_LOG_TAIL_CHARS = 3_000
_EXTRA = {"PYTHONDONTWRITEBYTECODE": ""}  # so that the second to start need not compile what the first did


@dataclass(slots=True)
class Machine:
    """A host with a hub or an agent on it. Its processes are the one that was started, and its node."""

    host: Host
    folder: Path
    running: Running | None = None

    @property
    def name(self) -> str:
        """What it is called in the fleet."""
        return self.host.name

    @property
    def is_up(self) -> bool:
        """Whether its main process runs."""
        return self.running is not None and self.running.process.poll() is None

    @property
    def pid(self) -> int:
        """Of its main process."""
        assert self.running is not None
        return self.running.process.pid

    @property
    def node_pid(self) -> int:
        """Of its node; 0 while it has none."""
        children = psutil.Process(self.pid).children()
        return next((one.pid for one in children if "peerwatch.node" in one.cmdline()), 0)

    def kill_node(self) -> None:
        """Its node, where it has one now."""
        if node := self.node_pid:
            psutil.Process(node).kill()

    def processes(self) -> list[psutil.Process]:
        """Main process and node."""
        assert self.running is not None
        try:
            main = psutil.Process(self.running.process.pid)
            return [main, *main.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def signal(self, number: int) -> None:
        """To all its processes: what befalls the machine."""
        for process in self.processes():
            process.send_signal(number)

    def kill(self) -> None:
        """As if the power was cut."""
        assert self.running is not None
        self.signal(signal.SIGKILL)
        self.running.kill()


class Fabric:
    """Hubs `h1`... and agents `a01`... of one fleet. Agents sample every `interval_s`, and report two ticks at once.

    With a `sink` each agent delivers to one hub (`shard`), and hubs record there what they store (`recording_hub`).
    """

    def __init__(
        self,
        processes: Processes,
        network: Network,
        interval_s: float = 2.0,
        *,
        sources: Collection[str] = _SOURCES,
        hub_settings: Mapping[str, str] | None = None,
        sink: Path | None = None,
    ) -> None:
        self._hub_program = ["peerwatch"] if sink is None else ["tests.e2e.recording_hub", str(sink)]
        self._hub_settings = dict(hub_settings or {})
        self._processes = processes
        self._network = network
        self._config = processes.folder / "agents.toml"
        off = [kind.name for kind in KINDS if kind.name not in sources]
        sources = "\n".join(f"[agent.sources.{name}]\nenabled = false" for name in off)
        times = f"sample_interval_s = {interval_s}\nreport_interval_s = {2 * interval_s}"
        ship = "[ship]\nmembership_gap_s = 5"  # how soon they hear of a new hub; stories do not wait for a minute
        mode = "" if sink is None else '[delivery]\nmode = "shard"\n'
        self._config.write_text(f"[agent]\n{times}\n{sources}\n{ship}\n{mode}")
        self.hubs: dict[str, Machine] = {}
        self.agents: dict[str, Machine] = {}
        self._checked_ms = time.time() * 1000

    # ---- founding

    def found_hub(self, copy_of: Machine | None = None) -> Machine:
        """One more hub: the first founds the fleet, the others join it there; one with what another has stored."""
        name = f"h{len(self.hubs) + 1}"
        hub = Machine(self._network.host(name), self._processes.folder / name)
        if self.hubs:
            token = self._invite({"roles": ["hub"], "name": name})
            command = [sys.executable, "-m", "peerwatch", "join", token, "--data", str(hub.folder)]
            self._run(hub.host, command)
        if copy_of is not None:
            snapshot = self._processes.folder / f"snapshot-for-{name}"
            with HubClient("", copy_of.folder) as client:
                client.post("/api/v1/admin/snapshot", {"target": str(snapshot)})
            snapshot.rename(hub.folder / "store")
        self.hubs[name] = hub
        self.start(hub)
        return hub

    def found_agents(self, count: int, *, behind_nat: bool = False) -> list[Machine]:
        """So many more agents, started."""
        names = [f"a{number:02d}" for number in range(len(self.agents) + 1, len(self.agents) + count + 1)]
        make = self._network.host_behind_nat if behind_nat else self._network.host
        made = [Machine(make(name), folder) for name, folder in zip(names, self.join_more(names), strict=True)]
        for first in range(0, count, _AT_ONCE):
            started = made[first : first + _AT_ONCE]
            self.agents |= {one.name: one for one in started}
            self.start(*started)
            self.wait_fresh(self.hubs.values(), time.time())
        return made

    def place(self, folders: Iterable[Path]) -> None:
        """Agents for these members, each on a host of its own, all started at once."""
        made = {one.name: Machine(self._network.host(one.name), one) for one in folders}
        self.agents |= made
        self.start(*made.values())

    def join_more(self, names: Iterable[str]) -> list[Path]:
        """Make members of these names, which nothing runs as yet; their folders."""
        folders = [self._processes.folder / name for name in names]
        token = self._invite({"uses": len(folders)})
        command = [sys.executable, "-m", "tests.fabric.joiner", token, *map(str, folders)]
        self._run(next(iter(self.hubs.values())).host, command)
        return folders

    def _invite(self, wish: Mapping[str, object]) -> str:
        with HubClient("", next(iter(self.hubs.values())).folder) as hub:
            token: str = hub.post("/api/v1/admin/invites", {**wish})["token"]
            return token

    def _run(self, host: Host, command: list[str]) -> None:
        done = subprocess.run(
            host.command(command), capture_output=True, text=True, check=False, env=environment(_EXTRA), cwd=ROOT
        )
        assert done.returncode == 0, done.stderr

    # ---- starting

    def start(self, *machines: Machine) -> None:
        """Start what is not running; return once hubs answer and agents say that they deliver."""
        for one in machines:
            is_hub = one.name in self.hubs
            command, extra = self._hub(one) if is_hub else (self._agent(one), {})
            one.running = self._processes.program(one.host.command(command), one.name, _EXTRA | extra)
        for one in machines:
            assert one.running is not None
            one.running.wait_for("peerwatch hub: http" if one.name in self.hubs else "delivering to", _START_S)
            if one.name in self.hubs:
                eventually(lambda of=one.running: "libp2p node listens" in of.log, f"{one.name}'s node", _START_S)  # type: ignore[misc]

    def _hub(self, hub: Machine) -> tuple[list[str], dict[str, str]]:
        address = hub.host.address
        program = [sys.executable, "-m", *self._hub_program]
        command = [*program, "hub", "--data", str(hub.folder), "--listen", f"{address}:9480"]
        listen = {"P2P_LISTEN_ADDRS": f"/ip4/{address}/tcp/4001", "PEERWATCH_HUB_SYNC_INTERVAL_S": "1"}
        return command, {**listen, **self._hub_settings, "PEERWATCH_NAME": hub.name}

    def _agent(self, agent: Machine) -> list[str]:
        return recorded(agent.folder, "agent", "--data", str(agent.folder), "--config", str(self._config))

    def run_on(self, host: Host, command: list[str]) -> Running:
        """Start another program there."""
        return self._processes.program(host.command(command), f"{host.name}-more")

    # ---- asking

    @staticmethod
    def multiaddr(hub: Machine) -> str:
        """Where a hub's node is dialled."""
        return f"/ip4/{hub.host.address}/tcp/4001/p2p/{peer_id(load_key(hub.folder / 'fleet' / 'peer.key').public)}"

    def value(self, hub: Machine, metric: str, agent: Machine) -> float | None:
        """An agent's newest value of a metric, as the hub has it."""
        with HubClient("", hub.folder) as client:
            result = client.get("/api/v1/query", query=f'{metric}{{instance="{agent.name}"}}')["data"]["result"]
        return float(result[0]["value"][1]) if result else None

    @staticmethod
    def opened(hub: Machine) -> float:
        """How many connections others have opened to the hub's node that runs now."""
        with HubClient("", hub.folder) as client:
            _, text = client.status("/metrics/node")
        found = re.search(r'^libp2p_connections_opened_total\{direction="inbound"\} (\S+)', text, re.MULTILINE)
        assert found is not None, text
        return float(found[1])

    def live_hubs(self) -> list[Machine]:
        """Those that run."""
        return [one for one in self.hubs.values() if one.is_up]

    def ages_s(self, hub: Machine) -> dict[str, float]:
        """How old this hub's newest sample is of each agent that runs; infinite where it has none."""
        with HubClient("", hub.folder) as client:
            data = client.get("/api/v1/query", query="time() - timestamp(node_load1)")["data"]
        ages = {one["metric"]["instance"]: float(one["value"][1]) for one in data["result"]}
        return {name: ages.get(name, float("inf")) for name, one in self.agents.items() if one.is_up}

    def age_s(self, hub: Machine) -> float:
        """That of the agent which the hub has not heard for longest."""
        return max(self.ages_s(hub).values(), default=0.0)

    def wait_fresh(self, hubs: Iterable[Machine], since_s: float, within_s: float = _START_S) -> float:
        """Until these hubs have of every agent a sample taken after that time; the seconds from then until now."""
        for hub in hubs:
            deadline_s = time.monotonic() + within_s
            while unheard := {name: age for name, age in self.ages_s(hub).items() if age >= time.time() - since_s}:
                if time.monotonic() > deadline_s:
                    raise AssertionError(f"{hub.name} has not heard {self._told(unheard)} for {within_s:g} s")
                time.sleep(0.05)
        return time.time() - since_s

    def _told(self, unheard: Mapping[str, float]) -> str:
        """Who they are, since when, and the end of the first one's log."""
        running = self.agents[min(unheard)].running
        assert running is not None
        return f"{unheard}; {running.name} logged:\n{running.log[-_LOG_TAIL_CHARS:]}\n"

    def worst_age_s(self, hubs: Collection[Machine], during_s: float) -> float:
        """Wait so long; the most that `age_s` was at any of these hubs meanwhile."""
        worst_s, until_s = 0.0, time.monotonic() + during_s
        while time.monotonic() < until_s:
            worst_s = max([worst_s, *(self.age_s(hub) for hub in hubs)])
            time.sleep(1)
        return worst_s

    def verdict(self, until_ms: float) -> Verdict:
        """What was taken since the last good comparison and until then, beside what each live hub has."""
        since_ms, asked_s = self._checked_ms, time.time()  # the same span at each hub, however long an answer takes
        window_s = round(asked_s - since_ms / 1000) + 1
        query = f'{{instance=~"a.*",__name__!="up"}}[{window_s}s]'  # `up` is the hub's own
        answers = {}
        for hub in self.live_hubs():
            with HubClient("", hub.folder) as client:
                found = client.get("/api/v1/query", query=query, time=f"{asked_s:.3f}")
                answers[hub.name] = found["data"]["result"]
        verdicts = [Verdict()]
        for name, agent in self.agents.items():
            ledger = Ledger.read(agent.folder)  # after asking, so that it holds all that can have been answered
            wanted = ledger.samples(ledger.spooled, since_ms, until_ms)
            taken = ledger.samples(ledger.sealed)
            for answer in answers.values():
                of_agent = [one for one in answer if one["metric"]["instance"] == name]
                verdicts.append(compare(name, wanted, taken, of_agent))
        return reduce(add, verdicts)

    def assert_same_everywhere(self, story: str, within_s: float = 180.0) -> None:
        """Until every live hub has every sample taken until now, exactly once; prints how long that took."""
        now_s = time.time()
        while (verdict := self.verdict(now_s * 1000)).lost and time.time() - now_s < within_s:
            time.sleep(0.5)
        hubs = ", ".join(one.name for one in self.live_hubs())
        print(f"{story}: {hubs} complete after {time.time() - now_s:.1f} s: {verdict}", flush=True)  # noqa: T201
        assert verdict.good, f"{story}: {verdict}"
        self._checked_ms = now_s * 1000
