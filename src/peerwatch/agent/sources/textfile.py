"""Metrics that other programs leave in files: node_exporter's textfile convention."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from peerwatch.agent.source import Family, Layout, Reading
from peerwatch.errors import DecodeError
from peerwatch.model import Float64Array, Series
from peerwatch.telemetry import get_logger
from peerwatch.wire.exposition import ExpositionLimits, ExpositionParser

_MTIME = Family("node_textfile_mtime_seconds", "Unixtime mtime of textfiles successfully read.")
_ERROR = Family("node_textfile_scrape_error", "1 if there was an error opening or reading a file, 0 otherwise").series()
_LIMITS = ExpositionLimits(body_bytes=1 << 20, series=10_000)
_MAX_FILES = 256
_MAX_SERIES = 20_000

_log = get_logger("agent.textfile")


@dataclass(frozen=True, slots=True)
class _Read:
    """One file as it was when it was read last; `failure` is empty when it was good."""

    stamp: tuple[int, int, int]  # mtime in ns, size, inode: another stamp means other content
    parser: ExpositionParser
    series: tuple[Series, ...] = ()
    values: Float64Array = field(default_factory=lambda: np.zeros(0))
    failure: str = ""


class TextfileSource:
    """Every `*.prom` in one folder. Writers should write beside and rename, as for node_exporter.

    Bounded: 1 MB and 10,000 series a file, 256 files, 20,000 series in all. What is over, broken, or carries
    timestamps is left out whole, and `node_textfile_scrape_error` is 1. Only files that changed are read again.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._read: dict[str, _Read] = {}
        self._layout = Layout()

    def collect(self, now_ms: int) -> Reading:
        names, trouble = self._names()
        self._read = {name: self._refreshed(name) for name in names}
        good = {name: read for name, read in self._read.items() if not read.failure}
        kept, total = [], 0
        for name, read in good.items():
            total += len(read.series)
            if total > _MAX_SERIES:
                trouble = True
                break
            kept.append(name)
        trouble = trouble or len(good) < len(self._read)
        return self._reading(kept, trouble)

    def _names(self) -> tuple[list[str], bool]:
        try:
            names = sorted(name for name in os.listdir(self._folder) if name.endswith(".prom"))  # noqa: PTH208
        except OSError as error:
            _log.debug("textfile folder not readable", folder=self._folder, error=str(error))
            return [], True
        return names[:_MAX_FILES], len(names) > _MAX_FILES

    def _refreshed(self, name: str) -> _Read:
        before = self._read.get(name)
        parser = before.parser if before else ExpositionParser(_LIMITS)
        path = f"{self._folder}/{name}"
        try:
            stamp, body = _read_if_changed(path, before.stamp if before else None)
        except OSError as error:
            return self._failed(name, _Read((0, 0, 0), parser, failure=f"{error.strerror}"))
        if before is not None and body is None:
            return before
        try:
            found = parser.parse(body or b"")
        except DecodeError as error:
            return self._failed(name, _Read(stamp, parser, failure=str(error)))
        if found.times_ms is not None:
            return self._failed(name, _Read(stamp, parser, failure="has timestamps, which have no meaning here"))
        return _Read(stamp, parser, tuple(_helped(series, path) for series in found.series), found.values)

    def _failed(self, name: str, read: _Read) -> _Read:
        before = self._read.get(name)
        if before is None or before.failure != read.failure:
            _log.warning("textfile left out", file=f"{self._folder}/{name}", error=read.failure)
        return read

    def _reading(self, kept: list[str], trouble: bool) -> Reading:
        reads = [self._read[name] for name in kept]
        # The identity of each file's tuple stands for its content: it changes only when the file was read again.
        shape = tuple((name, _Identity(read.series)) for name, read in zip(kept, reads, strict=True))
        series = self._layout.series(
            shape,
            lambda: (
                _ERROR,
                *(_MTIME.series(file=f"{self._folder}/{name}") for name in kept),
                *(series for read in reads for series in read.series),
            ),
        )
        heads = [float(trouble), *(read.stamp[0] / 1e9 for read in reads)]
        return Reading(series, np.concatenate([np.array(heads), *(read.values for read in reads)]))


class _Identity:
    """Equal only to the same object, which it keeps alive so that its address cannot be used again."""

    __slots__ = ("_held",)

    def __init__(self, held: object) -> None:
        self._held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and other._held is self._held

    def __hash__(self) -> int:
        return id(self._held)


def _read_if_changed(path: str, known: tuple[int, int, int] | None) -> tuple[tuple[int, int, int], bytes | None]:
    # O_NONBLOCK: opening a pipe that someone named x.prom must not wait for a writer
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(0, "not a regular file")
        stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
        if stamp == known:
            return stamp, None
        return stamp, file.read(_LIMITS.body_bytes + 1)


def _helped(series: Series, path: str) -> Series:
    return series if series.help else replace(series, help=f"Metric read from {Path(path)}")
