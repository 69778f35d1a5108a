"""SeriesTable: which layout of the store holds a series that writers name, and in which row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from peerwatch.model import Int64Array, Layout
from peerwatch.wire.remote_write import SeriesKey


class PartKey(NamedTuple):
    """A part of a series that requests name so."""

    of: SeriesKey
    name: str


Key = SeriesKey | PartKey
Bundle = tuple[SeriesKey, bytes]
"""Parts that come together: of a series, all that histograms of a shape have."""

UNKNOWN = -1
GROUP_ROWS = 1 << 10
"""Series of one layout at most."""

_HOUR_S = 3_600.0
_ROW_BITS = 10
_WASTE = 8  # cells per sample, over a while, at which series do not belong together
_JUDGED_CELLS = 1 << 16
_SMALL_GROUP = GROUP_ROWS // 8  # to make it anew costs less than to store one more matrix with each request


@dataclass(slots=True)
class Group:
    """Series that came together, with one time: a scrape. Mutable; owned by the table.

    What comes of some of them only is stored with gaps, so `cells` per sample says whether they still belong together.
    """

    layout: Layout
    cells: int = 0
    samples: int = 0

    def wastes(self, cells: int, samples: int) -> bool:
        """Note a matrix of this group; whether too many of its cells, of late, are gaps."""
        self.cells += cells
        self.samples += samples
        if self.cells <= _JUDGED_CELLS:
            return False
        wasteful = self.cells > _WASTE * self.samples
        self.cells, self.samples = self.cells // 2, self.samples // 2
        return wasteful


class SeriesTable:
    """Series of the last one to two hours, by the key that requests give them. Owned by the receiver.

    Bounded by `max_series`: `room` says how many more it takes; a part counts as a series. A series that was forgotten
    is new when it comes again. The places of whole bundles are remembered beside, within the same bound, for less than
    an hour: so a histogram costs one look-up, not one for each bucket.
    """

    def __init__(self, max_series: int, now_s: float) -> None:
        self._max_series = max_series
        self._current: dict[Key, int] = {}
        self._previous: dict[Key, int] = {}
        self._bundles: dict[Bundle, Int64Array] = {}
        self._bundled = 0
        self._groups: dict[int, Group] = {}
        self._unused: set[int] = set()
        self._next_group = 0
        self._turned_s = now_s

    def __len__(self) -> int:
        return len(self._current) + len(self._previous)

    @property
    def room(self) -> int:
        """How many more series may come."""
        return self._max_series - len(self)

    def find(self, keys: Sequence[SeriesKey], now_s: float) -> Int64Array:
        """The place of each series, UNKNOWN where it has none."""
        self._turn(now_s)
        return self._find(keys)

    def find_parts(self, bundle: Bundle, names_of: Callable[[bytes], Sequence[str]]) -> Int64Array:
        """The places of the parts of a bundle; names_of gives the names of a shape's. Call `find` first."""
        known = self._bundles.get(bundle)
        if known is not None:
            return known
        of, shape = bundle
        places = self._find([PartKey(of, name) for name in names_of(shape)])
        if (places != UNKNOWN).all():
            if self._bundled + len(places) > self._max_series:
                self._forget_bundles()
            self._bundles[bundle] = places
            self._bundled += len(places)
        return places

    def _forget_bundles(self) -> None:
        self._bundles, self._bundled = {}, 0

    def _find(self, keys: Sequence[Key]) -> Int64Array:
        places = list(map(self._current.get, keys))
        if None in places:
            for at, place in enumerate(places):
                if place is None:
                    places[at] = self._promote(keys[at])
        return np.array(places, np.int64)

    def _promote(self, key: Key) -> int:
        """Once an hour, those of small groups are as new: what came late, bucket by bucket, then comes together."""
        place = self._previous.pop(key, UNKNOWN)
        if place == UNKNOWN or (self.height(place >> _ROW_BITS) < _SMALL_GROUP and self.room > 1):
            return UNKNOWN
        self._current[key] = place
        return place

    def put(self, keys: Iterable[Key], layout: Layout) -> list[int]:
        """Make a group of series, in the order of `layout`; their places from now on."""
        keys = list(keys)
        if any(isinstance(key, PartKey) and key in self._current for key in keys):
            self._forget_bundles()  # they have moved
        base = self._next_group << _ROW_BITS
        self._groups[self._next_group] = Group(layout)
        self._next_group += 1
        places = []
        for row, key in enumerate(keys):
            self._previous.pop(key, None)
            self._current[key] = base + row
            places.append(base + row)
        return places

    def group(self, number: int) -> Group:
        """The group of that number."""
        return self._groups[number]

    def height(self, number: int) -> int:
        """How many series a group has."""
        return len(self._groups[number].layout.series)

    def _turn(self, now_s: float) -> None:
        age_s = now_s - self._turned_s
        if age_s < _HOUR_S:
            return
        self._previous = self._current if age_s < 2 * _HOUR_S else {}
        self._current = {}
        self._forget_bundles()
        self._turned_s = now_s
        unused = self._groups.keys() - {place >> _ROW_BITS for place in self._previous.values()}
        for number in unused & self._unused:  # at the second time: whoever holds its number has long stored
            del self._groups[number]
        self._unused = unused


def split_places(places: Int64Array) -> tuple[Int64Array, Int64Array]:
    """(group, row in its layout) of each place."""
    return places >> _ROW_BITS, places & (GROUP_ROWS - 1)
