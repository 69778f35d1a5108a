"""Compensated summation, as Prometheus adds: Neumaier's variant, one value after the other."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from peerwatch.model import Float64Array


def increase(value: float, total: float, lost: float) -> tuple[float, float]:
    """(total, lost) after adding `value`; the sum is total + lost."""
    new = total + value
    if math.isinf(new):
        return new, 0.0
    if abs(total) >= abs(value):
        return new, lost + ((total - new) + value)
    return new, lost + ((value - new) + total)


def increase_all(value: Float64Array, total: Float64Array, lost: Float64Array) -> None:
    """`increase` for arrays, in place."""
    new = total + value
    larger = np.abs(total) >= np.abs(value)
    rest = np.where(larger, total, value)
    rest -= new
    rest += np.where(larger, value, total)
    lost += rest
    total[...] = new
    infinite = np.isinf(new)
    if infinite.any():
        lost[infinite] = 0.0


def mean(values: Iterable[float]) -> float:
    """The average; once a running sum would overflow, by a running mean instead."""
    total, lost, average, count = 0.0, 0.0, 0.0, 0
    running = False
    for value in values:
        count += 1
        if count == 1:
            total = value
            continue
        if not running:
            new_total, new_lost = increase(value, total, lost)
            if not math.isinf(new_total):
                total, lost = new_total, new_lost
                continue
            running = True
            average, lost = total / (count - 1), lost / (count - 1)
        share = (count - 1) / count
        average, lost = increase(value / count, share * average, share * lost)
    return average + lost if running else total / count + lost / count
