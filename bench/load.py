"""Load: which systems are measured, and the requests that each is given, in the order in which they would arrive."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.peers import find_peers
from bench.sender import Traffic, send_all
from bench.systems import Peerwatch, Prometheus, System, VictoriaMetrics
from bench.workload import Workload

WINDOW_MS = 2 * 3_600_000
_CHUNK_MS = 600_000
Make = Callable[[Path, Workload], System]


def systems(only: str = "") -> dict[str, Make]:
    """What can be measured here, ours first. `only` keeps those whose name contains it."""
    made: dict[str, Make] = {Peerwatch.name: Peerwatch}
    for peer in find_peers("prometheus"):
        made[peer.name] = lambda folder, _, peer=peer: Prometheus(folder, peer)  # type: ignore[misc]
    for peer in find_peers("victoria-metrics"):
        made[peer.name] = lambda folder, _, peer=peer: VictoriaMetrics(folder, peer)  # type: ignore[misc]
    return {name: make for name, make in made.items() if only.lower() in name.lower()}


def closed_window_end(now_ms: int) -> int:
    """The end of the last 2 h window that is over: where both our blocks and Prometheus's are cut."""
    return now_ms // WINDOW_MS * WINDOW_MS


@dataclass(frozen=True, slots=True)
class Load:
    """Requests by chunk and connection; a chunk holds `chunk_ms` of every agent's data.

    Each agent keeps to one connection, so that its samples arrive in order; no connection is a chunk ahead of another,
    since Prometheus refuses what is an hour older than its newest sample.
    """

    chunks: list[list[list[bytes]]]
    chunk_ms: int


def requests_of(system: System, workload: Workload, ticks: int, connections: int) -> Load:
    """All requests, made and signed, in the order in which they would arrive; 10 minutes of data per chunk."""
    by_agent = [list(system.requests(workload, agent, ticks)) for agent in range(workload.agents)]
    batch_ms = ticks * workload.interval_ms
    runs_per_chunk = max(1, _CHUNK_MS // batch_ms)
    chunks = []
    for first in range(0, workload.ticks // ticks, runs_per_chunk):
        runs = range(first, min(first + runs_per_chunk, workload.ticks // ticks))
        lanes = range(min(connections, workload.agents))
        chunks.append([_lane(by_agent[lane::connections], runs) for lane in lanes])
    return Load(chunks, runs_per_chunk * batch_ms)


def _lane(by_agent: Sequence[Sequence[Sequence[bytes]]], runs: range) -> list[bytes]:
    return [body for run in runs for requests in by_agent for body in requests[run]]


def deliver(system: System, load: Load) -> Traffic:
    """Send everything to the running system."""
    traffic = Traffic()
    for chunk in load.chunks:
        traffic.add(send_all(system.door(), chunk))
        system.after_chunk(load.chunk_ms)
    return traffic
