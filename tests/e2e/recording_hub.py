"""`peerwatch hub` as it is, which also writes each envelope to a sink that all hubs share, before it is acknowledged.

Run as `python -m tests.e2e.recording_hub FILE hub ...`: FILE is the sink, the rest is peerwatch's. A line is one write,
so lines of several hubs do not mix. The sink has it first: a hub that is killed between has not acknowledged it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import msgspec

from peerwatch.cli import hub_role, main
from peerwatch.cli.watched_store import WatchedStore
from peerwatch.model import EnvelopeEntry, RowsEntry


@dataclass(frozen=True, slots=True)
class Recorded:
    """One envelope as one hub handed it to the sink."""

    hub: int
    sender: str
    epoch: int
    seq: int
    content: str
    at_s: float


def record(sink: Path) -> None:
    """Have the hub's store, which is its own in all else, write to this sink."""
    file = os.open(sink, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    class RecordingStore(WatchedStore):
        def append(self, entries: Sequence[EnvelopeEntry | RowsEntry]) -> None:
            for one in entries:
                if isinstance(one, EnvelopeEntry):
                    content = sha256(one.raw).hexdigest()
                    line = Recorded(os.getpid(), one.sender.hex(), one.epoch, one.seq, content, time.time())
                    os.write(file, msgspec.json.encode(line) + b"\n")
            super().append(entries)

    hub_role.WatchedStore = RecordingStore  # type: ignore[misc]


def read_sink(sink: Path) -> list[Recorded]:
    """What the sink got so far."""
    return [msgspec.json.decode(line, type=Recorded) for line in sink.read_bytes().splitlines(keepends=True)]


if __name__ == "__main__":
    record(Path(sys.argv.pop(1)))
    main.run()
