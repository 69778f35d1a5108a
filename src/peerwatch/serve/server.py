"""Server: uvicorn under our own task group and signals. The one door to uvicorn."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import anyio
import uvicorn
from anyio.abc import TaskStatus
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from peerwatch.serve.fast_lane import Answerer, FastLane, Handler, LaneState
from peerwatch.serve.gate import App, Gate
from peerwatch.serve.question import Question
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
    """Serves one application on one listening socket.

    `fast` answers a few requests, by request line, before the application sees them; `loopback` as for the gate.
    `answerers` do so for questions, by path, where `app` is a gate and lets them pass.
    """

    def __init__(
        self,
        app: App,
        listener: socket.socket,
        tls: TlsFiles | None,
        *,
        drain_s: float = 3.0,
        fast: Mapping[bytes, Handler] | None = None,
        loopback: bool = True,
        answerers: Mapping[str, Answerer] | None = None,
    ) -> None:
        self._listener = listener
        self._lane = LaneState(fast or {}, loopback, _KEEP_ALIVE_S, _MAX_CONNECTIONS)
        if answerers and isinstance(app, Gate):
            self._lane.answerers, self._lane.admits = answerers, partial(_admits, app)
        self._server = _Quiet(
            uvicorn.Config(
                app,
                http=self._connection if fast or answerers else HttpToolsProtocol,  # type: ignore[arg-type]  # any that makes one
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

    def _connection(self, **uvicorns: Any) -> FastLane:
        """What uvicorn makes for each connection."""
        state = uvicorns["server_state"]
        return FastLane(self._lane, state.connections, partial(HttpToolsProtocol, **uvicorns))

    async def run(self, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until `stop`, then finish what runs within the drain time."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._serve)
            await self._server.up.wait()
            task_status.started()

    async def _serve(self) -> None:
        await self._server.serve([self._listener])
        for connection in list(self._server.server_state.connections):
            if isinstance(connection, FastLane):  # uvicorn has given up waiting for it
                connection.abort()

    def stop(self) -> None:
        """Accept nothing more and let `run` return."""
        self._server.should_exit = True


def _admits(gate: Gate, question: Question) -> bool:
    return gate.refusal(question.method, question.path, question.fields.items()) is None
