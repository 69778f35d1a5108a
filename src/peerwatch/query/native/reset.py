"""Resets: whether a native histogram that only grows has begun anew."""

from __future__ import annotations

import numpy as np

from peerwatch.model import BoolArray, Histograms
from peerwatch.model.histograms import COUNTER_RESET, NOT_COUNTER_RESET
from peerwatch.query.native.layout import to_schemas, union_of, widened, with_common_bounds


def was_reset(current: Histograms, previous: Histograms) -> BoolArray:
    """bool [N]: whether the counter was reset from `previous` to `current`.

    Its sender's word counts first. Else it was when any count fell or a populated bucket is gone, and when resolution
    grew, the zero bucket shrank, or its new edge cuts a populated bucket: none of these happens to a running counter.
    """
    told, denied = current.hints == COUNTER_RESET, current.hints == NOT_COUNTER_RESET
    fell = current.counts < previous.counts
    changed = current.custom != previous.custom
    exponential = ~current.custom & ~previous.custom
    changed |= exponential & (current.schemas > previous.schemas)
    changed |= exponential & (current.zero_widths < previous.zero_widths)
    result: BoolArray = told | (~denied & (fell | changed))
    open_rows = np.flatnonzero(~denied & ~result)
    if len(open_rows):
        result[open_rows] = _bucket_fell(current.take(open_rows), previous.take(open_rows))
    return result


def _bucket_fell(current: Histograms, previous: Histograms) -> BoolArray:
    current, previous, _ = with_common_bounds(current, previous)
    previous = widened(previous, current.zero_widths)
    result: BoolArray = (previous.zero_widths != current.zero_widths) | (current.zero_counts < previous.zero_counts)
    previous = to_schemas(previous, current.schemas)
    union = union_of(current, previous)
    now, before = union.spread(current.buckets, union.left), union.spread(previous.buckets, union.right)
    owners = np.repeat(np.arange(len(current)), union.sizes)
    result[owners[now < before]] = True
    return result
