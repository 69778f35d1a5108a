"""Baselines: what an agent's next block of a schema is told relative to, and when that is renewed."""

from __future__ import annotations

from collections import OrderedDict

from peerwatch.model import SampleMatrix
from peerwatch.wire.baseline import Baseline

_RENEWED_AFTER = (
    360  # batches: an hour of ten-second reports. A new one costs a round trip and some 1 KiB for 300 series
)
_FEWEST_ROWS = 32  # below, the name costs more than it saves
_MAX_ROWS = 400_000  # in remembered baselines: four times the largest batch

Key = tuple[bytes, str, str]
"""(schema id, job, target)."""


class Baselines:
    """Owned by the sealer. Bounded in rows; the longest unused go, and are made anew when they are needed again."""

    def __init__(self) -> None:
        self._rows = 0
        self._places: OrderedDict[Key, _Place] = OrderedDict()

    def choose(self, key: Key, matrix: SampleMatrix) -> Baseline | None:
        """What to tell this matrix relative to; None at the first sight of a schema, which may be the last."""
        if matrix.rows < _FEWEST_ROWS or not len(matrix.times_ms):
            return None
        place = self._places.get(key)
        if place is None:
            self._remember(key, _Place(matrix.rows))
            return None
        self._places.move_to_end(key)
        return place.use(matrix)

    def _remember(self, key: Key, place: _Place) -> None:
        self._places[key] = place
        self._rows += place.rows
        while self._rows > _MAX_ROWS and len(self._places) > 1:
            self._rows -= self._places.popitem(last=False)[1].rows


class _Place:
    """One schema of one target."""

    __slots__ = ("_baseline", "_uses", "rows")

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._baseline: Baseline | None = None
        self._uses = 0

    def use(self, matrix: SampleMatrix) -> Baseline:
        if self._baseline is None or self._uses >= _RENEWED_AFTER:
            self._baseline, self._uses = Baseline.of(matrix.values[:, -1]), 0
        self._uses += 1
        return self._baseline
