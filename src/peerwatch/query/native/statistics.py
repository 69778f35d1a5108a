"""Statistics: native histograms without their buckets, for what asks only for counts and sums."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from peerwatch.model import HistogramCells, Histograms, SeriesSet
from peerwatch.model.histograms import COUNTER_RESET, NOT_COUNTER_RESET, UNKNOWN_RESET
from peerwatch.query.native.reset import was_reset


def with_statistics_only(found: SeriesSet) -> SeriesSet:
    """The same samples; histograms keep schema, count and sum, and say whether they were reset since the one before
    them, which nobody could tell later. Of the first one of a series that stays as its sender had it."""
    cells = found.histograms
    if cells is None:
        return found
    mask = cells.mask
    column = cells.of(mask)
    owners = np.repeat(np.arange(len(found.labels)), np.diff(found.offsets))[mask]
    live = np.flatnonzero(~column.stale)
    hints = column.hints.copy()
    later = np.flatnonzero(owners[live[1:]] == owners[live[:-1]]) + 1
    later = later[hints[live[later]] == UNKNOWN_RESET]
    reset = was_reset(column.take(live[later]), column.take(live[later - 1]))
    hints[live[later]] = np.where(reset, COUNTER_RESET, NOT_COUNTER_RESET)
    return replace(found, histograms=HistogramCells.at(mask, _bare(replace(column, hints=hints))))


def _bare(column: Histograms) -> Histograms:
    zeros = np.zeros(len(column))
    bare = column.with_buckets(np.zeros(len(column.buckets), np.bool_))
    bounds_of = np.where(column.custom, 0, -1)
    return replace(bare, zero_counts=zeros, zero_widths=zeros, bounds_of=bounds_of, bounds=((),))
