"""Running: the frame of every long-running role: logs, event loop, memory, signals."""

from __future__ import annotations

import gc
import sys
from collections.abc import Awaitable, Callable

import anyio
import stamina.instrumentation

from peerwatch.cli.heap import keep_small, share_one_heap
from peerwatch.cli.stopping import watch_signals
from peerwatch.errors import error_of
from peerwatch.settings import LogConfig
from peerwatch.telemetry import configure_logging, configure_metrics

_HUB_GC = (20_000, 20, 20)
"""Thresholds of the cycle collector in a hub. What a hub holds is long-lived series, and a request makes no cycles: at
Python's own (700, 10, 10) looking through them again took 6 % of ingest's CPU; at these it is below 0.1 %."""


def run_role(log: LogConfig, main: Callable[[anyio.Event], Awaitable[None]], *, uvloop: bool) -> None:
    """Run `main` on asyncio until it returns; its event is set when the process is asked to stop.

    `uvloop` is for hubs: it halves the cost of a request, and an agent that makes one in ten seconds saves its memory.
    An error of ours that ends it is raised as itself, however many task groups it went through.
    """
    share_one_heap()
    json = log.format == "json" or (log.format == "auto" and not sys.stderr.isatty())
    configure_logging(log.level, json=json)
    configure_metrics()
    if uvloop:
        gc.set_threshold(*_HUB_GC)
    stamina.instrumentation.set_on_retry_hooks([])  # the shipper counts and logs its own failures
    try:
        anyio.run(_framed, main, backend="asyncio", backend_options={"use_uvloop": uvloop})
    except BaseExceptionGroup as group:
        raise error_of(group) from group


async def _framed(main: Callable[[anyio.Event], Awaitable[None]]) -> None:
    stop = anyio.Event()
    async with anyio.create_task_group() as tasks:
        await tasks.start(watch_signals, stop)
        tasks.start_soon(keep_small)
        await main(stop)
        tasks.cancel_scope.cancel()
