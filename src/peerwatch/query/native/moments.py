"""Moments: how far the observations of native histograms are spread."""

from __future__ import annotations

import numpy as np

from peerwatch.model import Float64Array, Histograms
from peerwatch.query import kahan
from peerwatch.query.limits import Budget
from peerwatch.query.native.table import Table, tables


def variances(found: Histograms, budget: Budget) -> Float64Array:
    """float64 [N]: all observations of a bucket count as its middle: arithmetic for custom bounds, zero around zero,
    geometric else."""
    result = np.zeros(len(found))
    with np.errstate(all="ignore"):
        for rows, table in tables(found, budget):
            result[rows] = _of_table(table)
        return result / found.counts


def _of_table(table: Table) -> Float64Array:
    found = table.found
    middle = np.sqrt(table.upper * table.lower)
    middle = np.where(table.upper < 0, -middle, middle)
    middle = np.where((table.lower <= 0) & (table.upper >= 0), 0.0, middle)
    middle = np.where(found.custom[:, None], (table.upper + table.lower) / 2.0, middle)
    apart = middle - (found.sums / found.counts)[:, None]
    shares = np.where(table.there & (table.counts != 0), table.counts * apart * apart, 0.0)
    total, lost = np.zeros(len(found)), np.zeros(len(found))
    for column in range(shares.shape[1]):
        kahan.increase_all(shares[:, column], total, lost)
    return total + lost
