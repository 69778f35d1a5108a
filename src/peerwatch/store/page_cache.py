"""PageCache: decoded parts of blocks, under a byte budget: index pages, and rows of tiles that were read alone."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from peerwatch.model import Int64Array

Key = tuple[int, str, int]
"""Block number, kind of page, which one."""
Columns = tuple[Int64Array, ...]
NarrowColumns = tuple[NDArray[Any], ...]
Page = TypeVar("Page", bound=NarrowColumns)


@dataclass(frozen=True, slots=True)
class BlockCaches:
    """What blocks share. A dashboard asks for the same few rows again and again; a report reads all once, so `rows` is
    small and holds narrow reads only."""

    pages: PageCache
    rows: PageCache

    @classmethod
    def of(cls, page_bytes: int, row_bytes: int) -> BlockCaches:
        """Empty ones."""
        return cls(PageCache(page_bytes), PageCache(row_bytes))

    def drop_block(self, number: int) -> None:
        """Forget a block that is gone."""
        self.pages.drop_block(number)
        self.rows.drop_block(number)


class PageCache:
    """Thread-safe. When full, the least recently used pages go; a page larger than the budget is not kept at all."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget = budget_bytes
        self._lock = threading.Lock()
        self._pages: OrderedDict[Key, NarrowColumns] = OrderedDict()
        self._bytes = 0

    @property
    def size_bytes(self) -> int:
        """Memory held."""
        return self._bytes

    def get(self, key: Key, load: Callable[[], Page]) -> Page:
        """The page, loaded when it is not there. Two threads may load the same page; one copy is kept."""
        with self._lock:
            found = self._pages.get(key)
            if found is not None:
                self._pages.move_to_end(key)
                return cast(Page, found)  # a key is always loaded in the same way
        loaded = load()
        with self._lock:
            if key not in self._pages:
                self._pages[key] = loaded
                self._bytes += _size(loaded)
                self._evict()
        return loaded

    def drop_block(self, number: int) -> None:
        """Forget the pages of a block that is gone."""
        with self._lock:
            for key in [key for key in self._pages if key[0] == number]:
                self._bytes -= _size(self._pages.pop(key))

    def _evict(self) -> None:
        while self._bytes > self._budget:
            _, page = self._pages.popitem(last=False)
            self._bytes -= _size(page)


def narrowed(page: Columns) -> NarrowColumns:
    """The same numbers in the smallest types that hold them: a third to a tenth of the memory."""
    return tuple(_narrowed(column) for column in page)


def widened(page: NarrowColumns) -> Columns:
    """The reverse of `narrowed`."""
    return tuple(column.astype(np.int64) for column in page)


def _narrowed(column: Int64Array) -> NDArray[Any]:
    if column.min(initial=0) < 0:
        return column
    return column.astype(np.min_scalar_type(column.max(initial=0)))


def _size(page: NarrowColumns) -> int:
    return sum(column.nbytes for column in page) + 200  # the objects around them
