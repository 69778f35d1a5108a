"""EngineClient: the dashboard's QueryClient over the engine in this process."""

from __future__ import annotations

import threading
from collections.abc import Callable

import anyio
import anyio.to_thread
import numpy as np

from peerwatch.dashboard.query_client import Matrix, Vector
from peerwatch.errors import QueryError
from peerwatch.model import Labels
from peerwatch.query.engine import Engine
from peerwatch.query.result import MatrixResult, Result, ScalarResult, VectorResult

_PARALLEL = 2  # the dashboard's share of the cores; people's queries have their own


class EngineClient:
    """Evaluates in worker threads; a cancelled call tells its thread to stop. `touch` says that data came in."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._threads = anyio.CapacityLimiter(_PARALLEL)
        self._version = 1
        self._news = anyio.Event()

    def touch(self) -> None:
        """There are new samples. Call in the event loop."""
        self._version += 1
        self._news.set()
        self._news = anyio.Event()

    async def changed(self, version: int) -> int:
        """Wait until there is data newer than `version`."""
        while self._version <= version:
            await self._news.wait()
        return self._version

    async def instant(self, expr: str, time_ms: int) -> Vector:
        """The value of `expr` at `time_ms`."""
        result = await self._run(lambda gone: self._engine.instant(expr, time_ms, cancelled=gone))
        value = result.value
        if isinstance(value, ScalarResult):
            return Vector([Labels()], np.array([value.value]))
        if isinstance(value, VectorResult):
            return Vector(value.labels, value.values)
        raise QueryError(f"{expr!r} is not a vector")

    async def range(self, expr: str, start_ms: int, end_ms: int, step_ms: int) -> Matrix:
        """The values of `expr` on a complete grid; NaN where a series has none."""
        result = await self._run(lambda gone: self._engine.range(expr, start_ms, end_ms, step_ms, cancelled=gone))
        if not isinstance(result.value, MatrixResult):
            raise QueryError(f"{expr!r} is not a vector")
        series = result.value.series
        times_ms = np.arange(start_ms, end_ms + 1, step_ms, dtype=np.int64)
        values = np.full((len(series.labels), len(times_ms)), np.nan)
        rows = np.repeat(np.arange(len(series.labels)), np.diff(series.offsets))
        values[rows, (series.times_ms - start_ms) // step_ms] = series.values
        return Matrix(series.labels, times_ms, values)

    async def _run(self, work: Callable[[threading.Event], Result]) -> Result:
        gone = threading.Event()
        try:
            return await anyio.to_thread.run_sync(work, gone, limiter=self._threads, abandon_on_cancel=True)
        finally:
            gone.set()
