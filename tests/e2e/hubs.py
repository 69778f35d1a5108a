"""Hubs: several hubs of one fleet and agents that keep a record, over HTTPS or libp2p, and what all hubs answer."""

from __future__ import annotations

import json
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.ledger import Ledger, Verdict, compare, settled
from tests.e2e.processes import QUICK, Processes, Running, ask, eventually, recorded, value

CATCH_UP_S = 90.0  # an away hub is asked again after half a minute at most; the machine may be busy
SOON = {"PEERWATCH_SHIP_MEMBERSHIP_GAP_S": "1", **QUICK}


@dataclass(slots=True)
class Hub:
    """One hub: what it is started with, again and again, and its process now."""

    name: str
    folder: Path
    address: str
    p2p: str
    process: Running | None = None

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def running(self) -> Running:
        assert self.process is not None
        return self.process


class Hubs:
    """The first of `names` founds the fleet; the others join when told to. `link` is "https" or "p2p", for all.

    With a `sink` the hubs record there what they store (see `recording_hub`).
    """

    def __init__(self, processes: Processes, names: tuple[str, ...], link: str, sink: Path | None = None) -> None:
        self._processes = processes
        self._sink = sink
        self._link = link
        self._ports = _free_ports(2 * len(names))
        self.hubs = {name: self._make(name) for name in names}
        self.agents: dict[str, Running] = {}
        self.start(names[0])
        self.first = self.hubs[names[0]]

    def __getitem__(self, name: str) -> Hub:
        return self.hubs[name]

    def _make(self, name: str) -> Hub:
        port = self._ports.pop()
        p2p = f"/ip4/127.0.0.1/tcp/{self._ports.pop()}" if self._link == "p2p" else ""
        return Hub(name, self._processes.folder / name, f"127.0.0.1:{port}", p2p)

    def start(self, name: str) -> None:
        """Start a hub, again after it was killed, until it answers."""
        hub = self.hubs[name]
        settings = {"PEERWATCH_NAME": name, "PEERWATCH_HUB_SYNC_INTERVAL_S": "1"}
        if hub.p2p:
            settings["P2P_LISTEN_ADDRS"] = hub.p2p
        program = ["peerwatch"] if self._sink is None else ["tests.e2e.recording_hub", str(self._sink)]
        command = [sys.executable, "-m", *program, "hub", "--data", str(hub.folder), "--listen", hub.address]
        hub.process = self._processes.program(command, name, settings)
        hub.process.wait_for("peerwatch hub: http")

    def join(self, name: str) -> None:
        """Make a hub a member; it does not run yet."""
        done = self._processes.run(
            "join", self.token("--roles", "hub", "--name", name), "--data", str(self[name].folder)
        )
        assert done.stdout.startswith(f"joined as hub {name},"), done

    def token(self, *flags: str) -> str:
        """What an invite of the first hub prints."""
        command = ["invite", "--json", "--data", str(self.first.folder), *flags]

        def made() -> str:
            done = self._processes.run(*command)
            return str(json.loads(done.stdout)["token"]) if done.returncode == 0 else ""

        return eventually(made, f"a token {flags}", 60, 0.5)

    def agent(self, name: str, **settings: str) -> Running:
        """An agent that joins by the first hub, or starts again."""
        data = self._processes.folder / name
        if not (data / "agent").exists():
            token = self.token("--name", name, "--link", self._link)
            done = self._processes.run("join", token, "--no-run", "--data", str(data))
            assert done.returncode == 0, done
        command = recorded(data, "agent", "--data", str(data), "--metrics-port", "0")
        self.agents[name] = self._processes.program(command, name, {**SOON, **settings})
        self.agents[name].metrics_url()
        return self.agents[name]

    def serves(self, name: str, *agents: str, within_s: float = CATCH_UP_S) -> None:
        """Until a hub has samples of these agents (all) that were taken after now."""
        now_ms = time.time() * 1000
        url = self[name].url
        for agent in agents or self.agents:
            eventually(lambda one=agent: newest_ms(url, one) > now_ms, f"fresh samples of {agent} at {name}", within_s)  # type: ignore[misc]

    def stale_s(self, name: str) -> float:
        """How old the newest sample is at a hub, of the agent for which it is oldest."""
        return time.time() - min(newest_ms(self[name].url, agent) for agent in self.agents) / 1000

    def verdict(self, name: str, until_ms: float) -> Verdict:
        """Every sample that any agent took by then, beside what this hub answers."""
        verdict = Verdict()
        for agent in self.agents:
            answer = ask(self[name].url, f'{{instance="{agent}",__name__!="up"}}[1h]')  # `up` is the hub's own
            ledger = Ledger.read(self._processes.folder / agent)
            wanted = ledger.samples(ledger.spooled, until_ms=until_ms)
            verdict += compare(agent, wanted, ledger.samples(ledger.sealed), answer)
        return verdict

    def compare(self, *names: str) -> dict[str, Verdict]:
        """The verdict on each of these hubs (all), of what was taken before now, once nothing lacks any more."""
        now_ms = time.time() * 1000
        return {name: settled(lambda one=name: self.verdict(one, now_ms), CATCH_UP_S) for name in names or self.hubs}  # type: ignore[misc]


def newest_ms(url: str, agent: str) -> float:
    """When the newest sample of an agent was taken that a hub answers with; 0: none in the last minutes."""
    seconds = value(url, f'max(timestamp(node_boot_time_seconds{{instance="{agent}"}}))')
    return 1000 * seconds if seconds else 0.0


def cursors(data: Path) -> set[str]:
    """For whom an agent keeps something."""
    return {path.stem for path in (data / "spool").glob("*.cursor")}


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports
