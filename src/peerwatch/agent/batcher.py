"""Batcher: gathers ticks until a report is due, and makes a Batch of them."""

from __future__ import annotations

from peerwatch.agent.grid import Grid
from peerwatch.agent.tick import Tick, stack_ticks
from peerwatch.model import Batch, BatchBlock

_Key = tuple[str, str, str]


class Batcher:
    """Ticks of all lanes, one batch per report window. Mutable; owned by the agent.

    A batch also closes before it would pass `max_samples`, when a lane's time does not go forward (the clock was set
    back), since the times of a block increase, and when what waits is a whole window late. Nothing is ever dropped.
    """

    def __init__(self, grid: Grid, max_samples: int) -> None:
        self._grid = grid
        self._max_samples = max_samples
        self._ticks: dict[_Key, list[Tick]] = {}
        self._samples = 0
        self._window_end_ms = 0

    def add(self, tick: Tick) -> list[Batch]:
        """Take one tick; returns the batch that had to be closed before it, if any."""
        done = self.take() if self._must_close_before(tick) else []
        if not self._ticks:
            self._window_end_ms = self._grid.window_end(tick.time_ms)
        self._ticks.setdefault((tick.job, tick.target, tick.lane), []).append(tick)
        self._samples += len(tick.series)
        return done

    def close_if_due(self, time_ms: int, step_ms: int) -> list[Batch]:
        """The batch, if the next leading tick, `step_ms` after the one of `time_ms`, lies in another window."""
        due = time_ms >= self._window_end_ms or self._grid.is_last_in_window(time_ms, step_ms)
        return self.take() if due else []

    def take(self) -> list[Batch]:
        """What is there, as at most one batch, for instance when stopping."""
        ticks, self._ticks = self._ticks, {}
        self._samples = 0
        blocks = tuple(_block(run) for run in ticks.values() if any(len(tick.series) for tick in run))
        return [Batch(blocks)] if blocks else []

    def _must_close_before(self, tick: Tick) -> bool:
        if not self._ticks:
            return False
        run = self._ticks.get((tick.job, tick.target, tick.lane))
        if run and tick.time_ms <= run[-1].time_ms:
            return True
        if tick.time_ms >= self._window_end_ms + self._grid.interval_ms:
            return True  # a whole window late: what waits has waited long enough
        return self._samples + len(tick.series) > self._max_samples


def _block(ticks: list[Tick]) -> BatchBlock:
    series, matrix = stack_ticks(ticks)
    return BatchBlock(series, matrix, ticks[0].job, ticks[0].target)
