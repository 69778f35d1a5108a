"""Stopping: the first signal asks, the second insists."""

from __future__ import annotations

import os
import signal

import anyio
from anyio.abc import TaskStatus

from peerwatch.telemetry import get_logger

_log = get_logger("process")
_SIGNALS = (signal.SIGTERM, signal.SIGINT)


async def watch_signals(stop: anyio.Event, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
    """Set `stop` at the first SIGTERM or SIGINT; end the process at once at the second.

    Ending at once loses nothing that was acknowledged: an acknowledged sample is in the WAL, an unacknowledged one in
    its sender's spool.
    """
    with anyio.open_signal_receiver(*_SIGNALS) as signals:
        task_status.started()
        async for number in signals:
            if stop.is_set():
                _log.warning("stopping at once", signal=number.name)
                os._exit(128 + number)
            _log.info("stopping", signal=number.name)
            stop.set()
