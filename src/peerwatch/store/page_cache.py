"""PageCache: decoded index pages of blocks, under a byte budget."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from peerwatch.model import Int64Array

Key = tuple[int, str, int]
"""Block number, kind of page, which one."""
Columns = tuple[Int64Array, ...]


class PageCache:
    """Thread-safe. When full, the least recently used pages go; a page larger than the budget is not kept at all."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget = budget_bytes
        self._lock = threading.Lock()
        self._pages: OrderedDict[Key, Columns] = OrderedDict()
        self._bytes = 0

    @property
    def size_bytes(self) -> int:
        """Memory held."""
        return self._bytes

    def get(self, key: Key, load: Callable[[], Columns]) -> Columns:
        """The page, loaded when it is not there. Two threads may load the same page; one copy is kept."""
        with self._lock:
            found = self._pages.get(key)
            if found is not None:
                self._pages.move_to_end(key)
                return found
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


def _size(page: Columns) -> int:
    return sum(column.nbytes for column in page) + 200  # the objects around them
