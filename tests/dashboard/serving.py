"""A real HTTP server on loopback, as an async context."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from peerwatch.dashboard import Live, routes
from peerwatch.model import Clock


class _Server(uvicorn.Server):
    """Leaves signals alone: who embeds a server decides what they mean (here: end at once, as usual)."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serve(live: Live, clock: Clock, port: int = 0, more: Sequence[BaseRoute] = ()) -> AsyncIterator[str]:
    """Serves the dashboard and `more`, with its tick loop, as long as the context lasts; gives the base URL."""
    listener = socket.create_server(("127.0.0.1", port))
    app = Starlette(routes=[*routes(live, clock), *more])
    config = uvicorn.Config(app, http="httptools", ws="none", lifespan="off", log_level="warning")
    server = _Server(config)
    ticking = anyio.CancelScope()

    async def tick() -> None:
        with ticking:
            await live.run()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(tick)
        tasks.start_soon(server.serve, [listener])
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ticking.cancel()  # ends the streams, so that the server can stop
            server.should_exit = True
