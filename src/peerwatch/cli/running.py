"""Running: the frame of every long-running role: logs, event loop, signals."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable

import anyio
import stamina.instrumentation

from peerwatch.cli.stopping import watch_signals
from peerwatch.settings import LogConfig
from peerwatch.telemetry import configure_logging, configure_metrics


def run_role(log: LogConfig, main: Callable[[anyio.Event], Awaitable[None]]) -> None:
    """Run `main` on asyncio with uvloop until it returns; its event is set when the process is asked to stop."""
    json = log.format == "json" or (log.format == "auto" and not sys.stderr.isatty())
    configure_logging(log.level, json=json)
    configure_metrics()
    stamina.instrumentation.set_on_retry_hooks([])  # the shipper counts and logs its own failures

    async def framed() -> None:
        stop = anyio.Event()
        async with anyio.create_task_group() as tasks:
            await tasks.start(watch_signals, stop)
            await main(stop)
            tasks.cancel_scope.cancel()

    anyio.run(framed, backend="asyncio", backend_options={"use_uvloop": True})
