"""NamedCache: what is named by its hash and asked for again when it was forgotten: schemas and baselines."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, Protocol, TypeVar


class Named(Protocol):
    """Something that its content names."""

    @property
    def id(self) -> bytes:
        """Its name."""
        ...

    @property
    def rows(self) -> int:
        """How many series it is about."""
        ...


T = TypeVar("T", bound=Named)


class NamedCache(Generic[T]):
    """Recently used things by name. Bounded by the rows it holds; the least recently used go. Not thread-safe."""

    def __init__(self, max_rows: int) -> None:
        self._max_rows = max_rows
        self._rows = 0
        self._known: OrderedDict[bytes, T] = OrderedDict()

    def get(self, name: bytes) -> T | None:
        """What has that name, or None."""
        found = self._known.get(name)
        if found is not None:
            self._known.move_to_end(name)
        return found

    def put(self, thing: T) -> None:
        """Remember it."""
        if thing.id in self._known:
            return
        self._known[thing.id] = thing
        self._rows += thing.rows
        while self._rows > self._max_rows and len(self._known) > 1:
            self._rows -= self._known.popitem(last=False)[1].rows
