"""A real Prometheus that scrapes a real node_exporter on loopback, and a QueryClient for it."""

from __future__ import annotations

import math
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import numpy as np

from peerwatch.dashboard import Matrix, Vector
from peerwatch.errors import QueryError
from peerwatch.model import Labels

PROMETHEUS = shutil.which("prometheus")
NODE_EXPORTER = shutil.which("prometheus-node-exporter") or shutil.which("node_exporter")
_CONFIG = """
global: {{scrape_interval: 1s}}
scrape_configs:
- job_name: node
  static_configs: [{{targets: ['127.0.0.1:{port}'], labels: {{instance: this}}}}]
"""
_TCP = """# TYPE tcp_connections gauge
tcp_connections{state="established",family="ipv4"} 3
tcp_connections{state="established",family="ipv6"} 4
tcp_connections{state="listen",family="ipv4"} 5
"""


class PrometheusClient:
    """Answers from Prometheus's HTTP API. News come once a second: it does not tell."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def instant(self, expr: str, time_ms: int) -> Vector:
        found = await self._ask("query", query=expr, time=str(time_ms / 1000))
        rows = [{"metric": {}, "value": found["result"]}] if found["resultType"] == "scalar" else found["result"]
        values = np.array([float(row["value"][1]) for row in rows], dtype=np.float64)
        return Vector([Labels.of(row["metric"]) for row in rows], values)

    async def range(self, expr: str, start_ms: int, end_ms: int, step_ms: int) -> Matrix:
        found = await self._ask(
            "query_range", query=expr, start=str(start_ms / 1000), end=str(end_ms / 1000), step=str(step_ms / 1000)
        )
        times_ms = np.arange(start_ms, end_ms + 1, step_ms, dtype=np.int64)
        values = np.full((len(found["result"]), len(times_ms)), math.nan)
        for row, series in zip(values, found["result"], strict=True):
            for seconds, value in series["values"]:
                row[(round(seconds * 1000) - start_ms) // step_ms] = float(value)
        return Matrix([Labels.of(series["metric"]) for series in found["result"]], times_ms, values)

    async def changed(self, version: int) -> int:
        await anyio.sleep(1)
        return version + 1

    async def _ask(self, what: str, **params: str) -> Any:
        answer = (await self._http.post(f"/api/v1/{what}", data=params)).json()
        if answer["status"] != "success":
            raise QueryError(answer["error"])
        return answer["data"]


@asynccontextmanager
async def prometheus(folder: Path) -> AsyncIterator[PrometheusClient]:
    """Both servers, with their data in `folder`, once there are samples enough for a rate."""
    exporter_port, port = _free_port(), _free_port()
    (folder / "prometheus.yml").write_text(_CONFIG.format(port=exporter_port))
    (folder / "tcp.prom").write_text(_TCP)
    exporter = [
        f"--web.listen-address=127.0.0.1:{exporter_port}",
        f"--collector.textfile.directory={folder}",
    ]
    server = [
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with ExitStack() as processes:
        processes.enter_context(_running(str(NODE_EXPORTER), *exporter))
        processes.enter_context(_running(str(PROMETHEUS), *server))
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
            client = PrometheusClient(http)
            with anyio.fail_after(60):
                while not await _has_rates(client):  # noqa: ASYNC110 (a foreign process has no event)
                    await anyio.sleep(0.3)
            yield client


async def _has_rates(client: PrometheusClient) -> bool:
    try:
        found = await client._ask("query", query='count_over_time(node_load1{instance="this"}[1m]) > 3')
    except httpx.TransportError:  # not listening yet
        return False
    except (QueryError, ValueError):  # listening, but not ready
        return False
    return bool(found["result"])


@contextmanager
def _running(*command: str) -> Iterator[None]:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=dict(os.environ), **quiet) as process:  # type: ignore[call-overload]
        try:
            yield
        finally:
            process.terminate()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
