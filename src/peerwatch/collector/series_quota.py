"""SeriesQuota: how many series one sender has, and how fast it makes new ones (requirement B26)."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

from peerwatch.model import Int64Array, Series

_HOUR_S = 3_600.0


def fingerprints(series: Iterable[Series]) -> list[int]:
    """A number per series, good within this process: Python's hash of the labels, which no peer can aim at."""
    return [hash(one.labels) for one in series]


class SeriesQuota:
    """Counts distinct series over the last one to two hours. Memory is bounded by the limits it enforces.

    It is asked before the store learns of a series, so a refused label bomb leaves nothing behind. The hot path is one
    look-up per block: a layout that was admitted this hour needs no counting.
    """

    __slots__ = ("_admitted", "_current", "_known", "_max_layouts", "_max_new", "_max_series", "_new", "_started_s")

    def __init__(self, max_series: int, max_new_per_hour: int, max_layouts: int, now_s: float) -> None:
        self._max_series = max_series
        self._max_new = max_new_per_hour
        self._max_layouts = max_layouts
        self._current: set[int] = set()
        self._known: set[int] = set()
        self._admitted: set[Hashable] = set()
        self._new = 0
        self._started_s = now_s

    def admit(self, layout: Hashable, prints: Int64Array, now_s: float) -> str:
        """The empty string when these series are within the limits (they count from now on), else what is not."""
        self._turn(now_s)
        if layout in self._admitted:
            return ""
        if len(self._admitted) >= self._max_layouts:
            return f"{len(self._admitted) + 1} schemas and targets within an hour, limit {self._max_layouts}"
        ids = prints.tolist()
        fresh = sum(one not in self._known for one in ids)
        if len(self._known) + fresh > self._max_series:
            return f"{len(self._known) + fresh} series in use, limit {self._max_series}"
        first = not self._known  # a sender's first schema is its size, not churn
        if self._new + fresh > self._max_new and not first:
            return f"{self._new + fresh} new series within an hour, limit {self._max_new}"
        self._new += 0 if first else fresh
        self._current.update(ids)
        self._known.update(ids)
        self._admitted.add(layout)
        return ""

    @property
    def active(self) -> int:
        """Distinct series within the last one to two hours."""
        return len(self._known)

    def _turn(self, now_s: float) -> None:
        age_s = now_s - self._started_s
        if age_s < _HOUR_S:
            return
        self._known = set() if age_s >= 2 * _HOUR_S else self._current
        self._current = set()
        self._admitted = set()
        self._new = 0
        self._started_s = now_s
