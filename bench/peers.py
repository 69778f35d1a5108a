"""Peers: which servers of others are here to be compared with. Absent ones are named, never passed over silently.

A binary is looked for in the folder that PEERWATCH_BENCH_BIN names (newest versions, built by `make bench-peers`) and
on PATH (the distribution's packages). Both are measured where both are there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_KNOWN = ("prometheus", "victoria-metrics", "prometheus-node-exporter")
_VERSION = re.compile(r"\bv?(\d+\.\d+\.\d+)")


@dataclass(frozen=True, slots=True)
class Peer:
    """A server's binary."""

    kind: str
    version: str
    path: Path

    @property
    def name(self) -> str:
        """As tables show it."""
        short = {"prometheus": "Prometheus", "victoria-metrics": "VictoriaMetrics"}.get(self.kind, "node_exporter")
        return f"{short} {self.version}"


def find_peers(kind: str) -> list[Peer]:
    """The binaries of this kind that are here, newest first; each version once."""
    folder = os.environ.get("PEERWATCH_BENCH_BIN", "")
    on_path = shutil.which(kind)
    candidates = [Path(folder) / kind] if folder else []
    candidates += [Path(on_path)] if on_path else []
    found = {peer.version: peer for peer in (_peer(kind, path) for path in candidates if path.is_file())}
    return sorted(found.values(), key=lambda peer: [int(part) for part in peer.version.split(".")], reverse=True)


def _peer(kind: str, path: Path) -> Peer:
    flag = "-version" if kind == "victoria-metrics" else "--version"
    done = subprocess.run([path, flag], capture_output=True, text=True, timeout=20, check=False)
    match = _VERSION.search(done.stdout + done.stderr)
    return Peer(kind, match[1] if match else _version_of_module(path), path)


def _version_of_module(path: Path) -> str:
    """What a Go binary built without its makefile says of itself: the version of its main package's module."""
    go = shutil.which("go")
    if go is None:
        return "0.0.0"
    done = subprocess.run([go, "version", "-m", path], capture_output=True, text=True, timeout=20, check=False)
    wanted = "prometheus/prometheus" if path.name == "prometheus" else "VictoriaMetrics/VictoriaMetrics"
    match = re.search(rf"{wanted}\s+v(\d+)\.(\d+)\.(\d+)", done.stdout)
    if match is None:
        return "0.0.0"
    major, minor, patch = match.groups()
    if path.name == "prometheus" and major == "0":  # its module v0.315.0 is release 3.15.0
        return f"{int(minor) // 100}.{int(minor) % 100}.{patch}"
    return f"{major}.{minor}.{patch}"


def absent() -> list[str]:
    """One line per server that cannot be compared with, and what to do."""
    hint = "apt install {0}, or put a binary of that name into the folder PEERWATCH_BENCH_BIN names"
    return [f"{kind} is absent: {hint.format(kind)}" for kind in _KNOWN if not find_peers(kind)]
