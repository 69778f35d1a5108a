"""Position: the number of an envelope."""

from __future__ import annotations

from dataclasses import dataclass

LIMIT = 1 << 62
"""Epochs and sequence numbers stay below this, so that "one more" always fits a signed 64-bit column."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where an envelope stands in what its sender sends: a restart raises the epoch, each envelope raises seq."""

    epoch: int
    seq: int

    def next(self) -> Position:
        """The lowest position above this one in the same epoch."""
        return Position(self.epoch, self.seq + 1)

    def __str__(self) -> str:
        return f"{self.epoch}:{self.seq}"


ORIGIN = Position(0, 0)
"""Nothing is below it: as a floor it promises nothing."""
