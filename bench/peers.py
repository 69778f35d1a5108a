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
_VERSION = re.compile(r"\bv?(\d+\.\d+\.\d+)\b")


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
    for ask in (_own_word, _word_of_module, _word_of_package):
        match = _VERSION.search(ask(kind, path))
        if match is not None:
            return Peer(kind, _release(kind, match[1]), path)
    return Peer(kind, "0.0.0", path)


def _own_word(kind: str, path: Path) -> str:
    return _output([str(path), "-version" if kind == "victoria-metrics" else "--version"])


def _word_of_module(_: str, path: Path) -> str:
    """What a Go binary that was built without its makefile knows: the version of its main package's module."""
    lines = _output(["go", "version", "-m", str(path)]).splitlines()
    return "".join(
        line for line in lines if re.search(r"(prometheus/prometheus|VictoriaMetrics/VictoriaMetrics)\s", line)
    )


def _word_of_package(kind: str, _: Path) -> str:
    """Debian's VictoriaMetrics does not know its own version; its package does."""
    return _output(["dpkg-query", "-W", "-f", "${Version}", kind])


def _output(command: list[str]) -> str:
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout + done.stderr


def _release(kind: str, version: str) -> str:
    """Prometheus's module v0.315.0 is its release 3.15.0."""
    major, minor, patch = version.split(".")
    if kind == "prometheus" and major == "0":
        return f"{int(minor) // 100}.{int(minor) % 100}.{patch}"
    return version


def absent() -> list[str]:
    """One line per server that cannot be compared with, and what to do."""
    hint = "apt install {0}, or put a binary of that name into the folder PEERWATCH_BENCH_BIN names"
    return [f"{kind} is absent: {hint.format(kind)}" for kind in _KNOWN if not find_peers(kind)]
