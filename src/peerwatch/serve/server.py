"""Server: uvicorn under our own task group and signals. The one door to uvicorn."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import uvicorn
from anyio.abc import TaskStatus

from peerwatch.serve.gate import App
from peerwatch.serve.tls import TlsFiles

_KEEP_ALIVE_S = 130  # longer than an agent's idle connection, so that the agent is the one that closes
_MAX_CONNECTIONS = 8_192


class _Quiet(uvicorn.Server):
    """uvicorn without its own signal handlers (stopping is the process's business), and it says when it is up."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = anyio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.up.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Server:
    """Serves one application on one listening socket."""

    def __init__(self, app: App, listener: socket.socket, tls: TlsFiles | None, *, drain_s: float = 3.0) -> None:
        self._listener = listener
        self._server = _Quiet(
            uvicorn.Config(
                app,
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=max(1, round(drain_s)),
                limit_concurrency=_MAX_CONNECTIONS,
                backlog=2048,
                ssl_certfile=str(tls.certificate) if tls else None,
                ssl_keyfile=str(tls.key) if tls else None,
            )
        )

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until `stop`, then finish what runs within the drain time."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._server.serve, [self._listener])
            await self._server.up.wait()
            task_status.started()

    def stop(self) -> None:
        """Accept nothing more and let `run` return."""
        self._server.should_exit = True
