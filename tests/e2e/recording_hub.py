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

Number = tuple[str, int, int]
"""Sender, epoch, seq."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One envelope as one hub handed it to the sink."""

    hub: int
    sender: str
    epoch: int
    seq: int
    content: str
    at_s: float

    @property
    def number(self) -> Number:
        """What no two envelopes have in common."""
        return self.sender, self.epoch, self.seq


class RecordingSink:
    """The engine that hubs share in tests: a file, to which each write is one line per envelope.

    What any engine behind `shard` must do is in `test_sink_contract.py`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def append(self, entries: Sequence[EnvelopeEntry]) -> None:
        """On return they are there for whoever reads, also when this process ends at once."""
        for one in entries:
            content = sha256(one.raw).hexdigest()
            line = Recorded(os.getpid(), one.sender.hex(), one.epoch, one.seq, content, time.time())
            os.write(self._file, msgspec.json.encode(line) + b"\n")

    def folded(self) -> dict[Number, str]:
        """What a query would see: the content of each number, once."""
        return {one.number: one.content for one in read_sink(self._path)}

    def close(self) -> None:
        """Of this hub; the engine stays."""
        os.close(self._file)


def record(path: Path) -> None:
    """Have the hub's store, which is its own in all else, write to this sink."""
    sink = RecordingSink(path)
    delay = delay_file(path, os.getpid())

    class RecordingStore(WatchedStore):
        def append(self, entries: Sequence[EnvelopeEntry | RowsEntry]) -> None:
            sink.append([one for one in entries if isinstance(one, EnvelopeEntry)])
            if delay.exists():
                time.sleep(float(delay.read_text()))
            super().append(entries)

    hub_role.WatchedStore = RecordingStore  # type: ignore[misc]


def delay_file(sink: Path, hub: int) -> Path:
    """While it is there, each commit of the hub with this process takes so many seconds more, as on a bad disk."""
    return sink.with_name(f"{sink.name}.delay-{hub}")


def read_sink(sink: Path) -> list[Recorded]:
    """What the sink got so far."""
    return [msgspec.json.decode(line, type=Recorded) for line in sink.read_bytes().splitlines(keepends=True)]


if __name__ == "__main__":
    record(Path(sys.argv.pop(1)))
    main.run()
