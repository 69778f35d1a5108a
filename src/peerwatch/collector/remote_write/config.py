"""RemoteWriteConfig: how much remote writers may bring."""

from __future__ import annotations

from dataclasses import dataclass

from peerwatch.errors import ConfigError


@dataclass(frozen=True, slots=True)
class RemoteWriteConfig:
    """Over all writers together: they share a credential at most. Raises ConfigError for numbers that cannot work."""

    max_series: int = 500_000  # of the last hour or two, each bucket one; some 0.5 KB of memory; more are refused
    max_families: int = 20_000  # metrics whose type and help is remembered; 1.0 sends them apart
    max_bodies: int = 8  # requests of the largest size, unpacked, in memory at once; more are told to wait

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not getattr(self, name) > 0:
                raise ConfigError(f"remote_write.{name} is {getattr(self, name)}, must be above 0")
