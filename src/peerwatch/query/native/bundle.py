"""Bundle: which native histograms are added up together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from peerwatch.model import BoolArray, Histograms, Int64Array
from peerwatch.query.native.arithmetic import divided, put
from peerwatch.query.native.total import Total, overflowed


@dataclass(frozen=True, slots=True)
class Bundle:
    """W bundles of histograms, each at least one, all with custom bounds or none. members[starts[i] : starts[i] +
    counts[i]] are the places in a column of what bundle i adds up, in order."""

    starts: Int64Array
    counts: Int64Array
    members: Int64Array

    def rounds(self) -> Iterator[tuple[Int64Array, Int64Array]]:
        """(bundles that have a k-th member, that member) for k = 0, 1, …"""
        for k in range(int(self.counts.max(initial=0))):
            live = np.flatnonzero(self.counts > k)
            yield live, self.members[self.starts[live] + k]


def added(column: Histograms, bundle: Bundle, *, average: bool) -> tuple[Histograms, BoolArray]:
    """(the sum or average of each bundle, whose custom bounds had to be reconciled)."""
    total: Total | None = None
    reconciled = np.zeros(len(bundle.counts), np.bool_)
    for live, members in bundle.rounds():
        if total is None:
            total = Total.of(column.take(members))
        else:
            reconciled[live] |= total.add(live, column.take(members))
    if total is None:
        return Histograms.none(), reconciled
    found = total.result()
    if not average:
        return found, reconciled
    counts = bundle.counts.astype(np.float64)
    large = np.flatnonzero(overflowed(total.sums) & ~_began_infinite(column, bundle))
    found = divided(found, counts)
    if len(large):
        found = put(found, large, _careful_mean(column, bundle, large))
    return found, reconciled


def _began_infinite(column: Histograms, bundle: Bundle) -> BoolArray:
    endless = np.append(overflowed(column)[bundle.members], False)
    edges = np.stack((bundle.starts, bundle.starts + bundle.counts), axis=-1).ravel()
    found: BoolArray = np.logical_or.reduceat(endless, edges)[::2]
    return found


def _careful_mean(column: Histograms, bundle: Bundle, rows: Int64Array) -> Histograms:
    """Averages whose sums would not fit: each member is divided first."""
    part = Bundle(bundle.starts[rows], bundle.counts[rows], bundle.members)
    total: Total | None = None
    for live, members in part.rounds():
        share = divided(column.take(members), part.counts[live].astype(np.float64))
        if total is None:
            total = Total.of(share)
        else:
            total.add(live, share)
    return Histograms.none() if total is None else total.result()
