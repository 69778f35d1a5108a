"""Gauges: descriptors, threads, tasks and memory of processes over time, and whether they have grown."""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Mapping

import psutil

from peerwatch.cli.hub_client import HubClient
from peerwatch.errors import PeerwatchError
from tests.fabric.fabric import Machine

_MIB = 1 << 20
ALLOWED = {"descriptors": 4.0, "threads": 4.0, "tasks": 12.0, "MiB": 6.0}
"""How much the median may grow. Requests in hand hold some of each; 6 MiB is what an allocator keeps of a burst."""


class Gauges:
    """Readings of some processes. One that is started anew begins anew: only its last life counts."""

    def __init__(self) -> None:
        self._readings: dict[str, list[dict[str, float]]] = defaultdict(list)
        self._pids: dict[str, int] = {}

    def read(self, name: str, pid: int, tasks: float | None = None) -> None:
        """Note what this process has now; nothing when it is gone."""
        try:
            process = psutil.Process(pid)
            found = {
                "descriptors": process.num_fds(),
                "threads": process.num_threads(),
                "MiB": process.memory_info().rss / _MIB,
            }
        except psutil.NoSuchProcess:
            return
        if self._pids.get(name) != pid:
            self._pids[name] = pid
            self._readings[name] = []
        if tasks is not None:
            found["tasks"] = tasks
        self._readings[name].append(found)

    def growth(self) -> dict[str, dict[str, tuple[float, float]]]:
        """By process and gauge: the median of the second quarter of its life, and of the last."""
        found: dict[str, dict[str, tuple[float, float]]] = {}
        for name, readings in self._readings.items():
            quarter = len(readings) // 4
            early, late = readings[quarter : 2 * quarter], readings[-quarter:]
            if quarter:
                keys = [key for key in ALLOWED if _has(early, key) and _has(late, key)]
                found[name] = {key: (_median(early, key), _median(late, key)) for key in keys}
        return found


def grown(growth: Mapping[str, Mapping[str, tuple[float, float]]]) -> list[str]:
    """In words, what has grown by more than it may. Tasks are compared per descriptor: each connection has both."""
    found = []
    for name, gauges in growth.items():
        before, after = gauges["descriptors"]
        for key, (early, late) in gauges.items():
            expected = early * after / before if key == "tasks" else early
            if late - expected > ALLOWED[key]:
                found.append(f"{name}: {key} grew from {expected:.1f} to {late:.1f}, allowed is {ALLOWED[key]:g} more")
    return found


def hub_tasks(hub: Machine) -> tuple[float | None, float | None]:
    """Tasks of the hub and of its node; None for one that does not answer."""
    with HubClient("", hub.folder) as client:
        return _value(client, "/metrics", "peerwatch_hub_tasks"), _value(
            client, "/metrics/node", "peerwatch_node_tasks"
        )


def _value(client: HubClient, path: str, name: str) -> float | None:
    try:
        _, text = client.status(path)
    except PeerwatchError:
        return None
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else None


def _has(readings: list[dict[str, float]], key: str) -> bool:
    return any(key in one for one in readings)


def _median(readings: list[dict[str, float]], key: str) -> float:
    return statistics.median(one[key] for one in readings if key in one)
