"""The node's process: `python -m peerwatch.node`, started by the main process, which writes one line of JSON to it.

It ends when its standard input does, however the main process ended; signals of a terminal are for that one.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec

from peerwatch.errors import PeerwatchError, error_of
from peerwatch.fleet.keys import load_key
from peerwatch.model import SystemClock
from peerwatch.node.descriptors import raise_descriptor_limit
from peerwatch.node.node import Node
from peerwatch.node.start import NodeStart
from peerwatch.telemetry import configure_logging, configure_metrics, get_logger

_log = get_logger("node")
_MANY_PEERS_GC = (20_000, 20, 20)
"""Thresholds of the cycle collector where many peers connect. A connection is some hundred objects that stay: with 1000
on a busy machine, looking through them again at Python's own (700, 10, 10) took 2.7 s of 10, up to 1.2 s at once, in
which nobody is answered."""


def _main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    start = msgspec.json.decode(sys.stdin.buffer.readline(), type=NodeStart)
    configure_metrics()
    configure_logging(start.log_level, json=start.log_json)
    gc.freeze()  # what was imported stays: a third of what there is to look through
    if start.preset != "agent":
        gc.set_threshold(*_MANY_PEERS_GC)
    try:
        anyio.run(_run, start, backend="trio")
    except BaseExceptionGroup as group:
        error = error_of(group)
        if not isinstance(error, PeerwatchError):
            raise
        return _refuse(error)
    except (PeerwatchError, OSError) as error:
        return _refuse(error)
    return 0


def _refuse(error: BaseException) -> int:
    print(f"peerwatch node: {error}", file=sys.stderr)  # noqa: T201
    return 2


async def _run(start: NodeStart) -> None:
    folder = Path(start.folder)
    config = start.config()
    descriptors = raise_descriptor_limit(config.limits.descriptors)
    if descriptors.words:
        _log.warning("too few open files allowed", words=descriptors.words)
    node = Node(load_key(Path(start.key_file)), config, folder, SystemClock())
    stop = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_watch_input, stop)
        await node.run(stop)
        tasks.cancel_scope.cancel()


async def _watch_input(stop: anyio.Event) -> None:
    await anyio.to_thread.run_sync(os.read, sys.stdin.fileno(), 1, abandon_on_cancel=True)
    stop.set()


if __name__ == "__main__":
    code = _main()
    sys.stderr.flush()
    os._exit(code)  # the thread that reads standard input would keep the process
