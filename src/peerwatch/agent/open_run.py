"""OpenRun: the leaves of what an agent has sent since it last signed a run, kept so that a restart loses none."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from zlib import crc32

from peerwatch.telemetry import get_logger
from peerwatch.wire.leaf import LEAF_BYTES
from peerwatch.wire.run_root import MAX_RUN_BATCHES, Place

_log = get_logger("agent.run")
_HEAD = struct.Struct("<8s4q")  # magic and version, first epoch and seq, epoch and seq of the end of the run before
_MAGIC = b"PWRUN\x00\x00\x01"
_CRC = struct.Struct("<I")
_HEAD_BYTES = _HEAD.size + _CRC.size
_LEAF_BYTES = LEAF_BYTES + _CRC.size


class OpenRun:
    """`leaves` begin at place `first`; `before` is where the run before ended. Owned by the sealer.

    Written without fsync: a killed process loses nothing, a power cut the newest leaves, and then those batches are not
    covered by any signature, which an audit says. A file that cannot be written is logged once: batches matter more.
    """

    def __init__(self, path: Path | None, start: Place) -> None:
        """`path` None: kept in memory only. `start` is the place of the next batch when there is no earlier run."""
        self._path = path
        self._file: int | None = None
        self._failed = False
        self.first: Place = start
        self.before: Place = (0, 0)
        self.leaves: list[bytes] = []
        if path is not None:
            self._load(path)

    @property
    def end(self) -> Place:
        """The place of the last leaf."""
        return self.first[0], self.first[1] + len(self.leaves) - 1

    def add(self, leaf: bytes) -> None:
        """The next batch was sent."""
        self.leaves.append(leaf)
        if self._file is None:
            self._write_anew()
        else:
            self._write(_record(leaf, len(self.leaves)))

    def begin(self, first: Place, before: Place) -> None:
        """The run up to `before` is signed and sent; the next one begins at `first`."""
        self.first, self.before, self.leaves = first, before, []
        self._write_anew()

    def close(self) -> None:
        """Let the file go."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _write_anew(self) -> None:
        """In place of what is there, whole or not at all."""
        self.close()
        if self._path is None:
            return
        head = _HEAD.pack(_MAGIC, *self.first, *self.before)
        fresh = self._path.with_name(self._path.name + ".tmp")
        try:
            self._file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
            leaves = [_record(leaf, number) for number, leaf in enumerate(self.leaves, 1)]
            self._write(b"".join([head, _CRC.pack(crc32(head)), *leaves]))
            fresh.replace(self._path)
        except OSError as error:
            self._fail(error)

    def _write(self, data: bytes) -> None:
        if self._file is None:
            return
        try:
            if os.write(self._file, data) != len(data):
                raise OSError(f"{len(data)} bytes were not written whole")
        except OSError as error:
            self._fail(error)

    def _fail(self, error: OSError) -> None:
        """The next leaf tries again, with all of them."""
        self.close()
        if not self._failed:
            _log.warning("open run not kept: a restart leaves its batches unsigned", error=str(error))
        self._failed = True

    def _load(self, path: Path) -> None:
        """What the last start left, up to the first leaf that is not whole."""
        try:
            with path.open("rb") as file:
                data = file.read(_HEAD_BYTES + _LEAF_BYTES * MAX_RUN_BATCHES)
        except OSError:
            return  # the first start
        head = data[: _HEAD.size]
        if len(data) < _HEAD_BYTES or _CRC.unpack_from(data, _HEAD.size)[0] != crc32(head) or head[:8] != _MAGIC:
            _log.warning("open run unreadable: its batches stay unsigned", file=str(path))
            return
        _, epoch, seq, before_epoch, before_seq = _HEAD.unpack(head)
        self.first, self.before = (epoch, seq), (before_epoch, before_seq)
        for at in range(_HEAD_BYTES, len(data) - _LEAF_BYTES + 1, _LEAF_BYTES):
            leaf = data[at : at + LEAF_BYTES]
            if _CRC.unpack_from(data, at + LEAF_BYTES)[0] != crc32(leaf, len(self.leaves) + 1):
                break
            self.leaves.append(leaf)


def _record(leaf: bytes, number: int) -> bytes:
    return leaf + _CRC.pack(crc32(leaf, number))
