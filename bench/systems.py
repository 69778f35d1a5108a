"""Systems under measurement: how each is started, fed, brought to rest and weighed."""

from __future__ import annotations

import sys
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.fleet import PushWriter, found_fleet
from bench.peers import Peer
from bench.process import CpuMeter, Process, ServerError, folder_bytes, free_port
from bench.remote_write import write_requests
from bench.sender import Door
from bench.workload import Workload
from peerwatch import __version__
from peerwatch.errors import DecodeError
from peerwatch.wire.push import decode_reply

MOST_SAMPLES = 10_000  # of one remote-write request: the upper end of what senders of both projects use
_FLUSH_MS = 600_000  # how much time of data a peerwatch hub keeps in memory, by default
_PUSH_HEADERS = (("Content-Type", "application/x-protobuf"),)
_WRITE_HEADERS = (
    ("User-Agent", "Prometheus/3.5.0"),
    ("Content-Encoding", "snappy"),
    ("Content-Type", "application/x-protobuf"),
    ("X-Prometheus-Remote-Write-Version", "0.1.0"),
)


@dataclass(frozen=True, slots=True)
class Settled:
    """What bringing it to rest took beyond what the meter of the load shows: a second process's share."""

    cpu_s: float = 0.0
    peak_rss_bytes: int = 0


class System(ABC):
    """A server and its data folder. Used once per measurement: `start`, load, `settle`, `stop`."""

    name: str
    ours = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.port = free_port()
        self.process: Process | None = None

    @abstractmethod
    def start(self) -> Process:
        """Start the server and return once it answers."""

    @abstractmethod
    def door(self) -> Door:
        """Where samples go."""

    @abstractmethod
    def requests(self, workload: Workload, agent: int, ticks: int) -> Iterator[list[bytes]]:
        """Ready-made requests of one agent, by runs of `ticks` ticks."""

    @abstractmethod
    def rest(self, meter: CpuMeter) -> None:
        """Have everything written to disk that the system writes by itself, and wait until it is idle."""

    def compact(self) -> Settled:
        """What a second process still has to do for that, where the load's own cannot."""
        return Settled()

    @abstractmethod
    def disk_bytes(self) -> int:
        """What the samples take on disk at rest, in the kindest reading."""

    def after_chunk(self, data_ms: int) -> None:
        """Called when another `data_ms` of every agent's data have been delivered."""
        return

    def running(self) -> Process:
        """The server. Raises ServerError when it is not started."""
        if self.process is None:
            raise ServerError(f"{self.name} is not running")
        return self.process

    def stop(self) -> None:
        """End the server."""
        if self.process is not None:
            self.process.stop()
            self.process = None

    @property
    def url(self) -> str:
        """The server's base URL."""
        return f"http://127.0.0.1:{self.port}"


class Peerwatch(System):
    """Our hub. It flushes as it would over the data's own time: once per `flush_ms` of data."""

    name = f"peerwatch {__version__}"
    ours = True

    def __init__(self, folder: Path, workload: Workload, flush_ms: int = _FLUSH_MS) -> None:
        super().__init__(folder)
        names = [workload.name(agent) for agent in range(workload.agents)]
        self._members = found_fleet(folder, names)
        flush_bytes = 8 * workload.samples * flush_ms // (workload.ticks * workload.interval_ms)
        # The load takes seconds instead of hours. So that blocks are written and merged as often as in life, a flush
        # is due at 10 minutes of data, and a window of the last day counts as still being written.
        self._environ = {
            "PEERWATCH_STORE_HEAD_BUDGET_BYTES": str(int(flush_bytes * 0.9)),
            "PEERWATCH_STORE_FLUSH_INTERVAL_S": "86400",
        }
        self._flush_ms = flush_ms
        self._unflushed_ms = 0
        self._blocks: frozenset[str] = frozenset()

    def start(self) -> Process:
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "peerwatch",
            "hub",
            "--data",
            self.folder,
            "--listen",
            f"127.0.0.1:{self.port}",
        ]
        self.process = Process(command, self.folder / "log", self._environ)
        self.process.wait_until_answers(f"{self.url}/health/ready")
        return self.process

    def door(self) -> Door:
        return Door(self.port, "/api/v1/push", _PUSH_HEADERS, _push_accepted)

    def requests(self, workload: Workload, agent: int, ticks: int) -> Iterator[list[bytes]]:
        writer = PushWriter(workload, self._members[agent])
        return writer.requests(workload.matrix(agent), ticks)

    def after_chunk(self, data_ms: int) -> None:
        """Wait for the flush, at most 20 s: it would be over long before as much data are there again."""
        self._unflushed_ms += data_ms
        if self._unflushed_ms < self._flush_ms:
            return
        self._unflushed_ms = 0
        deadline_s = time.monotonic() + 20
        while (blocks := self._block_names()) == self._blocks and time.monotonic() < deadline_s:
            time.sleep(0.05)
        self._blocks = blocks

    def _block_names(self) -> frozenset[str]:
        folder = self.folder / "store" / "blocks"
        if not folder.is_dir():
            return frozenset()
        return frozenset(path.name for path in folder.iterdir() if path.suffix != ".tmp")

    def rest(self, meter: CpuMeter) -> None:
        meter.wait_for_rest(2)

    def compact(self) -> Settled:
        """Start again with windows that count as over: the rest of the head is flushed, their blocks are merged."""
        self.stop()
        self._environ["PEERWATCH_STORE_FLUSH_INTERVAL_S"] = "1"
        process = self.start()
        with CpuMeter(process) as second:
            second.wait_for_rest(4)
        return Settled(second.busy_s, process.peak_rss_bytes())

    def disk_bytes(self) -> int:
        return folder_bytes(self.folder / "store")


def _push_accepted(status: int, body: bytes) -> bool:
    if status == 429:
        return False
    if status != 200:
        raise ServerError(f"push answered {status}: {body[:300]!r}")
    try:
        reply = decode_reply(body)
    except DecodeError as error:
        raise ServerError(f"push answered junk: {error}") from error
    if reply.need_schemas or any(one.reason.final for one in reply.refusals):
        raise ServerError(f"push was not taken: {reply}")
    return bool(reply.acks) and not reply.refusals


def _write_accepted(status: int, body: bytes) -> bool:
    if status not in (200, 204):
        raise ServerError(f"remote write answered {status}: {body[:300]!r}")
    return True


class _RemoteWritten(System):
    """A server that takes remote write."""

    path: str

    def __init__(self, folder: Path, peer: Peer) -> None:
        super().__init__(folder)
        self.name = peer.name
        self._peer = peer

    def door(self) -> Door:
        return Door(self.port, self.path, _WRITE_HEADERS, _write_accepted)

    def requests(self, workload: Workload, agent: int, ticks: int) -> Iterator[list[bytes]]:
        matrix = workload.matrix(agent)
        return write_requests(workload.full_labels(agent), matrix.times_ms, matrix.values, ticks, MOST_SAMPLES)


class Prometheus(_RemoteWritten):
    """Prometheus with its remote-write receiver. At rest: a snapshot, which compacts the head into a block."""

    path = "/api/v1/write"

    def start(self) -> Process:
        config = self.folder / "prometheus.yml"
        config.write_text("global: {scrape_interval: 15s}\n")
        command: list[str | Path] = [
            self._peer.path,
            f"--config.file={config}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            "--storage.tsdb.retention.time=100d",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--web.enable-remote-write-receiver",
            "--web.enable-admin-api",
            "--log.level=warn",
        ]
        self.process = Process(command, self.folder / "log")
        self.process.wait_until_answers(f"{self.url}/-/ready")
        return self.process

    def rest(self, meter: CpuMeter) -> None:
        meter.wait_for_rest(3)
        request = urllib.request.Request(f"{self.url}/api/v1/admin/tsdb/snapshot", method="POST")
        with urllib.request.urlopen(request, timeout=600) as answer:
            if answer.status != 200:
                raise ServerError(f"{self.name}: snapshot answered {answer.status}")
        meter.wait_for_rest(2)

    def disk_bytes(self) -> int:
        """Its blocks and the head as a block; its WAL, which it keeps for hours beside them, is not charged."""
        return max(folder_bytes(path) for path in (self.folder / "data" / "snapshots").iterdir())


class VictoriaMetrics(_RemoteWritten):
    """VictoriaMetrics, single node. At rest: after a forced flush. Weighed after a forced merge, not timed."""

    path = "/api/v1/write"

    def start(self) -> Process:
        command: list[str | Path] = [
            self._peer.path,
            f"-storageDataPath={self.folder / 'data'}",
            "-retentionPeriod=1y",
            f"-httpListenAddr=127.0.0.1:{self.port}",
            "-loggerLevel=WARN",
            "-dedup.minScrapeInterval=0s",
        ]
        self.process = Process(command, self.folder / "log")
        self.process.wait_until_answers(f"{self.url}/health")
        return self.process

    def rest(self, meter: CpuMeter) -> None:
        self._get("/internal/force_flush")
        meter.wait_for_rest(6)  # parts in memory go to disk within 5 s, and are merged then

    def disk_bytes(self) -> int:
        self._get("/internal/force_merge")
        with CpuMeter(self.running()) as meter:
            meter.wait_for_rest(3)
        return sum(folder_bytes(self.folder / "data" / part) for part in ("data", "indexdb"))

    def _get(self, path: str) -> None:
        with urllib.request.urlopen(self.url + path, timeout=600) as answer:
            answer.read()
