"""The reference: a real Prometheus with the samples of `material`, on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cramjam
import httpx
from bench.peers import Peer, find_peers
from bench.remote_write import RequestTemplate

from peerwatch.wire import remote_pb2 as pb
from tests.differential.material import Column
from tests.differential.natives import NativeColumn
from tests.wire.remote_kit import histogram, series_v1, snappy

OLDEST = (3, 5, 0)
START_S = 60.0
_FEATURES = "promql-experimental-functions,promql-binop-fill-modifiers,promql-extended-range-selectors"
_CONFIG = "storage: {tsdb: {out_of_order_time_window: 1d}}\n"
_SAMPLES_PER_REQUEST = 5_000

Answer = tuple[int, dict[str, Any]]
"""(HTTP status, the JSON)."""


def find_reference() -> Peer | None:
    """A Prometheus that is new enough; `make peer-prometheus` builds one for PEERWATCH_BENCH_BIN."""
    peers = [peer for peer in find_peers("prometheus") if _release(peer) >= OLDEST]
    return peers[0] if peers else None


def _release(peer: Peer) -> tuple[int, ...]:
    return tuple(int(part) for part in peer.version.split("."))


@dataclass(frozen=True, slots=True)
class Reference:
    """A running Prometheus. Asked one query at a time."""

    http: httpx.Client

    def ask(self, path: str, form: Mapping[str, str]) -> Answer:
        """POST a form to the query API."""
        response = self.http.post(f"/api/v1/{path}", data=dict(form))
        return response.status_code, response.json()

    def take(self, columns: Sequence[Column]) -> None:
        """Remote-write all samples."""
        for labels, times_ms, values in columns:
            for at in range(0, len(times_ms), _SAMPLES_PER_REQUEST):
                part = slice(at, at + _SAMPLES_PER_REQUEST)
                raw = RequestTemplate([labels], len(times_ms[part])).fill(times_ms[part], values[None, part])
                self._write(bytes(cramjam.snappy.compress_raw(raw)))

    def take_natives(self, columns: Sequence[NativeColumn]) -> None:
        """Remote-write native histograms."""
        for labels, times_ms, natives in columns:
            raws = [
                histogram(native, time_ms).SerializeToString()
                for native, time_ms in zip(natives, times_ms.tolist(), strict=True)
            ]
            series = series_v1(labels, [], histograms=raws).SerializeToString()
            self._write(snappy(pb.WriteV1(timeseries=[series])))

    def _write(self, body: bytes) -> None:
        headers = {
            "Content-Encoding": "snappy",
            "Content-Type": "application/x-protobuf",
            "X-Prometheus-Remote-Write-Version": "0.1.0",
        }
        response = self.http.post("/api/v1/write", content=body, headers=headers)
        assert response.status_code == 204, response.text


@contextmanager
def running(peer: Peer, folder: Path) -> Iterator[Reference]:
    """The server with its data in `folder`, ready to be asked; ended afterwards."""
    (folder / "prometheus.yml").write_text(_CONFIG)
    port = _free_port()
    command = [
        str(peer.path.resolve()),
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/tsdb",
        f"--web.listen-address=127.0.0.1:{port}",
        "--web.enable-remote-write-receiver",
        f"--enable-feature={_FEATURES}",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=dict(os.environ), stdout=log, stderr=log)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as http:
            _wait_until_ready(http, process, folder / "prometheus.log")
            yield Reference(http)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_until_ready(http: httpx.Client, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if http.get("/-/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(f"Prometheus is not ready after {START_S:g} s:\n{log.read_text()[-3000:]}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
