"""Start times: resets that samples tell of by when they began to count."""

from __future__ import annotations

import numpy as np

from peerwatch.model import BoolArray, Int64Array
from peerwatch.query.functions.native_windows import pairs_within
from peerwatch.query.window import Samples


def told_resets(samples: Samples) -> BoolArray:
    """bool [N]: samples that began to count after the one before them in their series was taken (or right then, if that
    one's own start is known: so it is with deltas)."""
    found = np.zeros(len(samples.times_ms), np.bool_)
    if samples.starts_ms is None:
        return found
    at = pairs_within(samples.offsets)
    start, time, previous = samples.starts_ms[at], samples.times_ms[at], samples.times_ms[at - 1]
    before = samples.starts_ms[at - 1]
    before = np.where(before > previous, 0, before)  # from the future: nobody knows
    valid = (start != before) & (start != 0) & (start < time) & (start >= previous)
    found[at] = valid & ((start > previous) | ((before != 0) & (before != previous)))
    return found


def overlapping(samples: Samples) -> BoolArray:
    """bool [N]: samples that say to count from before the one before them, and not from its own start."""
    found = np.zeros(len(samples.times_ms), np.bool_)
    if samples.starts_ms is None:
        return found
    at = pairs_within(samples.offsets)
    start = samples.starts_ms[at]
    found[at] = (start != 0) & (start < samples.times_ms[at - 1]) & (start != samples.starts_ms[at - 1])
    return found


def starts_at(samples: Samples, index: Int64Array) -> Int64Array:
    """Start times of some samples, 0 where unknown."""
    return np.zeros(index.shape, np.int64) if samples.starts_ms is None else samples.starts_ms[index]
