"""Grid: when a group's ticks are due. Plain arithmetic, no clock."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Grid:
    """The moments `phase_ms + n * interval_ms` of wall time, in UTC milliseconds."""

    interval_ms: int
    phase_ms: int = 0

    def after(self, time_ms: int) -> int:
        """The first moment of the grid later than `time_ms`."""
        return time_ms + self.interval_ms - (time_ms - self.phase_ms) % self.interval_ms

    def window_end(self, time_ms: int) -> int:
        """The end (exclusive) of the grid's window that holds `time_ms`."""
        return self.after(time_ms)

    def plan(self, tick_ms: int, now_ms: int) -> tuple[int, int]:
        """When the tick after that of `tick_ms` is due, seen from `now_ms`, and how many were missed meanwhile.

        At least half an interval after the last one, so that a tick off the grid (the first one, or after a jump of
        the clock) is not followed at once by another. A clock that went back by more than an interval starts anew.
        """
        base_ms = now_ms if now_ms < tick_ms - self.interval_ms else tick_ms
        planned_ms = self.after(base_ms + self.interval_ms // 2)
        if planned_ms >= now_ms:
            return planned_ms, 0
        missed = (now_ms - planned_ms) // self.interval_ms + 1
        return self.after(now_ms), missed

    def stamp(self, now_ms: int, planned_ms: int) -> int:
        """The time that a tick planned for `planned_ms` and begun at `now_ms` bears: the planned one if it is near.

        Equal steps make times compress to nothing and rates even; a hundredth of an interval is what that may cost.
        """
        tolerance_ms = max(2, self.interval_ms // 100)
        return planned_ms if abs(now_ms - planned_ms) <= tolerance_ms else now_ms

    def is_last_in_window(self, time_ms: int, step_ms: int) -> bool:
        """Whether the next tick, `step_ms` after `time_ms`, lies in another window."""
        return time_ms + step_ms >= self.window_end(time_ms)
