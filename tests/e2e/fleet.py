"""Fleet: a hub and light agents around it, and the comparison of what was acknowledged with what the hub answers."""

from __future__ import annotations

import json
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import msgspec

from peerwatch.cli.hub_client import HubClient
from tests.e2e.ledger import LEDGER, Ledger, Verdict, compare
from tests.e2e.processes import Processes, Running, ask, eventually
from tests.e2e.pushers import METRIC, Plan

ALWAYS_FLUSHING = {
    "PEERWATCH_STORE_FLUSH_INTERVAL_S": "2",
    "PEERWATCH_STORE_SEGMENT_BYTES": str(64 << 10),
    "PEERWATCH_STORE_HEAD_BUDGET_BYTES": str(1 << 20),
}
"""So that every kill may hit a flush, a rotation or a compaction."""


class Fleet:
    """One hub on a fixed port, and pusher processes."""

    def __init__(self, processes: Processes, extra: Mapping[str, str] | None = None) -> None:
        self._processes = processes
        self._extra = dict(extra or {})
        self.folder = processes.folder / "hub"
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.names: list[str] = []

    def start_hub(self, wrapper: tuple[str, ...] = ()) -> Running:
        """Start the hub and return at once."""
        command = [sys.executable, "-m", "peerwatch", "hub", "--data", str(self.folder)]
        command += ["--listen", f"127.0.0.1:{self.port}"]
        return self._processes.program([*wrapper, *command], "hub", self._extra)

    def is_alive(self) -> bool:
        """Whether the hub answers."""
        try:
            return httpx.get(f"{self.url}/health/live", trust_env=False, timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def wait_alive(self, hub: Running) -> None:
        """Until it answers; an AssertionError with its log when it ends instead."""
        hub.wait_for(r"peerwatch hub: http")
        eventually(self.is_alive, "the hub answers", 30)

    def is_ready(self) -> bool:
        """Whether the hub says that it can store and answer."""
        return httpx.get(f"{self.url}/health/ready", trust_env=False, timeout=5).status_code == 200

    def push(self, names: list[str], *, socket_folder: Path | None = None, **plan: Any) -> Running:
        """Start one process with these agents. The hub must be up; `socket_folder` is where its socket is seen."""
        with HubClient("", socket_folder or self.folder) as hub:
            tokens = {
                name: hub.post("/api/v1/admin/invites", {"name": name, "addresses": [self.url]})["token"]
                for name in names
            }
        self.names += names
        folder = self._processes.folder / "agents"
        path = self._processes.folder / f"plan-{names[0]}.json"
        path.write_bytes(msgspec.json.encode(Plan(str(folder), tokens, **plan)))
        running = self._processes.program([sys.executable, "-m", "tests.e2e.pushers", str(path)], f"push-{names[0]}")
        eventually(lambda: all((folder / name / LEDGER).exists() for name in names), "all agents joined", 60)
        return running

    def ledgers(self) -> dict[str, Ledger]:
        """What each agent noted. Call when the pushers have ended."""
        return {name: Ledger.read(self._processes.folder / "agents" / name) for name in self.names}

    def compare(self, window: str = "1h") -> Verdict:
        """Ask the hub for every sample of every agent and compare with what was acknowledged."""
        verdict = Verdict()
        for name, ledger in self.ledgers().items():
            samples = ledger.samples(ledger.acked)
            verdict += compare(name, samples, samples, ask(self.url, f'{METRIC}{{instance="{name}"}}[{window}]'))
        return verdict


def finish(pusher: Running, within_s: float = 150.0) -> dict[str, dict[str, int]]:
    """Let a pusher stop sampling and deliver the rest; its summary."""
    pusher.signal(signal.SIGTERM)
    assert pusher.end(within_s) == 0, pusher.log[-3000:]
    summary: dict[str, dict[str, int]] = json.loads(pusher.out.splitlines()[-1])
    return summary


def undelivered(summary: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Agents that still hold something."""
    return {name: one["pending"] for name, one in summary.items() if one["pending"]}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def folder_bytes(folder: Path) -> int:
    """What the files below a folder hold."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
