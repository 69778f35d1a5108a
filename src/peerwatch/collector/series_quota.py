"""SeriesQuota: how many series one sender has, and how fast it makes new ones (requirement B26)."""

from __future__ import annotations

from peerwatch.model import Int64Array

_HOUR_S = 3_600.0


class SeriesQuota:
    """Counts distinct series over the last one to two hours. Memory is bounded by the limits it enforces.

    The hot path is one look-up per block: a layout that was admitted this hour needs no counting.
    """

    __slots__ = ("_current", "_layouts", "_max_new", "_max_series", "_new", "_previous", "_started_s")

    def __init__(self, max_series: int, max_new_per_hour: int, now_s: float) -> None:
        self._max_series = max_series
        self._max_new = max_new_per_hour
        self._current: set[int] = set()
        self._previous: set[int] = set()
        self._layouts: set[int] = set()
        self._new = 0
        self._started_s = now_s

    def admit_layout(self, layout_id: int, series_ids: Int64Array, now_s: float) -> str:
        """The empty string when these series are within the limits (they count from now on), else what is not."""
        self._turn(now_s)
        if layout_id in self._layouts:
            return ""
        ids = set(series_ids.tolist())
        known = self._current | self._previous
        fresh = len(ids - known)
        if len(known) + fresh > self._max_series:
            return f"{len(known) + fresh} series in use, limit {self._max_series} per sender"
        if self._new + fresh > self._max_new and known:
            return f"{self._new + fresh} new series within an hour, limit {self._max_new} per sender"
        if known:  # a sender's first schema is its size, not churn
            self._new += fresh
        self._current |= ids
        self._layouts.add(layout_id)
        return ""

    @property
    def active(self) -> int:
        """Distinct series within the last one to two hours."""
        return len(self._current | self._previous)

    def _turn(self, now_s: float) -> None:
        age_s = now_s - self._started_s
        if age_s < _HOUR_S:
            return
        self._previous = set() if age_s >= 2 * _HOUR_S else self._current
        self._current = set()
        self._layouts = set()
        self._new = 0
        self._started_s = now_s
