"""DeliveryConfig: to which hubs of its fleet an agent delivers, and what it keeps for those that are still to come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from peerwatch.errors import ConfigError

_MOST_NEWCOMER_S = 86_400.0  # of what every hub has: beyond a day a hub without a snapshot is the better cure


@dataclass(frozen=True, slots=True)
class DeliveryConfig:
    """Whether each hub has a full copy, or all share one engine. The same on every agent of a fleet."""

    mode: Literal["embedded", "shard"] = "embedded"  # to each hub, up to three; or to one hub of any number
    newcomer_s: float = 3600.0  # what all hubs have is kept so long for a hub that joins from a snapshot; 0: not at all

    def __post_init__(self) -> None:
        if not 0 <= self.newcomer_s <= _MOST_NEWCOMER_S:
            raise ConfigError(f"delivery.newcomer_s: {self.newcomer_s:g}, must be from 0 to {_MOST_NEWCOMER_S:g}")
