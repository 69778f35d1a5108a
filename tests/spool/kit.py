"""What the spool's tests share: small envelopes, one way to open, and a registry per opening."""

from __future__ import annotations

from pathlib import Path

from peerwatch.spool import Disk, Position, Spool, SpoolConfig, SpooledEnvelope
from peerwatch.telemetry import CollectorRegistry
from peerwatch.testing.clock import ManualClock
from peerwatch.testing.disk import MemoryDisk

BIG = 1 << 20
SCHEMAS = {b"schema-one": b"cpu memory", b"schema-two": b"disk " * 20}


def small(**changes: float) -> SpoolConfig:
    """Limits that a test reaches with a few dozen envelopes."""
    numbers: dict[str, float] = {
        "max_bytes": 16_384,
        "segment_bytes": 2048,
        "memory_bytes": 4096,
        "max_age_ms": 3_600_000,
        "fresh_s": 60.0,
        **changes,
    }
    return SpoolConfig(**numbers)  # type: ignore[arg-type]  # ints where ints belong


def envelope(seq: int, *, epoch: int = 1, size: int = 40, ids: tuple[bytes, ...] = (b"schema-one",)) -> SpooledEnvelope:
    """An envelope whose bytes tell which it is."""
    content = f"{epoch}:{seq} ".encode().ljust(size, b".")
    return SpooledEnvelope(Position(epoch, seq), 1_700_000_000_000 + seq, content, ids)


class Rig:
    """A spool that can be closed and opened again over the same folder or disk."""

    def __init__(self, folder: Path, config: SpoolConfig, *, disk: Disk | None = None) -> None:
        self.folder = folder
        self.config = config
        self.disk = disk
        self.clock = ManualClock()
        self.open()

    def open(self) -> Spool:
        """Open (again), with fresh counters."""
        self.registry = CollectorRegistry()
        self.spool = Spool.open(self.folder, self.config, clock=self.clock, registry=self.registry, disk=self.disk)
        return self.spool

    def reopen(self) -> Spool:
        """Close cleanly and open again."""
        self.spool.close()
        return self.open()

    def append(self, *seqs: int, epoch: int = 1, size: int = 40) -> None:
        """Append small envelopes."""
        for seq in seqs:
            self.spool.append(envelope(seq, epoch=epoch, size=size), SCHEMAS)

    def metric(self, name: str, **labels: str) -> float:
        """A metric of the spool's, without its prefix."""
        value = self.registry.get_sample_value(f"peerwatch_spool_{name}", labels)
        assert value is not None, name
        return value


def seqs(items: list[SpooledEnvelope]) -> list[int]:
    """The sequence numbers."""
    return [item.position.seq for item in items]


def segments(disk: MemoryDisk) -> list[str]:
    """The segments' files, oldest first."""
    return [name for name in disk.names() if name.endswith(".seg")]


def drain(rig: Rig, receiver: str = "hub") -> list[int]:
    """Everything that waits for a receiver: the older ones, then the fresh ones."""
    reader = rig.spool.reader(receiver)
    return seqs([*reader.backfill(BIG), *reader.fresh(BIG)])
