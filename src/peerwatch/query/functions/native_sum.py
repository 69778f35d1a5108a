"""sum_over_time and avg_over_time of native histograms."""

from __future__ import annotations

import numpy as np

from peerwatch.model import HistogramCells
from peerwatch.model.histograms import COUNTER_RESET, NOT_COUNTER_RESET
from peerwatch.query.functions.context import CallContext
from peerwatch.query.functions.native_windows import Collected, any_in, samples_of, windows_of
from peerwatch.query.native.bundle import Bundle, added
from peerwatch.query.window import RangeVector

_OPERATION = "aggregation"


def over_time(context: CallContext, ranges: RangeVector, *, average: bool) -> HistogramCells | None:
    """The sum or average of windows that hold nothing but histograms."""
    found, span = samples_of(ranges), context.call.args[0].span
    collected = Collected((len(ranges.labels), len(ranges.ends_ms)), context.budget)
    custom, told, denied = found.custom, found.hints == COUNTER_RESET, found.hints == NOT_COUNTER_RESET
    for windows in windows_of(ranges, found):
        mixed = any_in(custom, windows) & any_in(~custom, windows)
        for row in np.unique(windows.row[mixed]).tolist():
            context.notes.mixed_schemas(ranges.labels[row].metric, span)
        windows = windows.take(~mixed)
        if (any_in(told, windows) & any_in(denied, windows)).any():
            context.notes.colliding_resets(_OPERATION, span)
        members = np.arange(len(found), dtype=np.int64)
        result, reconciled = added(found, Bundle(windows.first, windows.counts, members), average=average)
        if reconciled.any():
            context.notes.reconciled_bounds(_OPERATION, span)
        collected.put(windows, result)
    return collected.cells()
