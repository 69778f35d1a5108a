"""Dropped: numbers of batches that an agent gave up. Its spool notes them, its runs sign them, an audit reads them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Dropped:
    """Numbers `first` to `last` (inclusive) of `epoch`, given up before `receivers` had them; none: before anybody had.

    Receivers are named as in the spool: a hub by its peer id. Whoever is not named has these batches.
    """

    epoch: int
    first: int
    last: int
    receivers: tuple[str, ...]
