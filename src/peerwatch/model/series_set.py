"""SeriesSet: what a read returns, in columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from peerwatch.model.arrays import Float64Array, Int64Array
from peerwatch.model.histograms import HistogramCells
from peerwatch.model.labels import Labels


@dataclass(frozen=True, slots=True)
class SeriesSet:
    """Samples of many series, back to back: series i owns `times_ms[offsets[i]:offsets[i + 1]]`, values alike.

    labels: S distinct label sets, sorted. times_ms: int64 [N], strictly increasing within a series.
    values: float64 [N], stale markers included. offsets: int64 [S + 1], offsets[0] = 0, offsets[S] = N.
    A series without a sample in the asked range may be present with an empty slice.
    histograms: which of the samples are native histograms; None for none, which is usual. starts_ms: int64 [N], since
    when each sample's counter counts, 0 where that is unknown; None where it is for all.
    timelines: int64 [S], where the source knows it: series with the same number have the very same times.
    """

    labels: Sequence[Labels]
    times_ms: Int64Array
    values: Float64Array
    offsets: Int64Array
    histograms: HistogramCells | None = None
    starts_ms: Int64Array | None = None
    timelines: Int64Array | None = None
