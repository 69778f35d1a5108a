"""Store: the embedded time-series store. See docs/architecture.md and docs/formats/{wal,block}.md."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from peerwatch.errors import DiskFullError, StoreError
from peerwatch.model import Clock, Labels, Marks, Matcher, MetricType, Series, SeriesSet
from peerwatch.store.config import StoreConfig
from peerwatch.store.dictionary import Dictionary
from peerwatch.store.dictionary_log import DictionaryLog
from peerwatch.store.disk import Disk
from peerwatch.store.entry import EnvelopeEntry, Layout, RowsEntry, check_entry
from peerwatch.store.generation import Generation
from peerwatch.store.intake import DecodeEnvelope, Intake, Replay, encode_entry, provenance_of
from peerwatch.store.metrics import StoreMetrics
from peerwatch.store.selection import Budget, Wanted, assemble, piece_of_head
from peerwatch.store.stats import StoreStats
from peerwatch.store.wal import Wal, read_segment, segment_numbers
from peerwatch.telemetry import CollectorRegistry, get_logger

_log = get_logger("store")


class HeadFullError(StoreError):
    """Flushing does not keep up and memory is bounded: try again later."""


class Store:
    """Appends are durable and readable when they return; reads see each acknowledged sample exactly once.

    `append` and `layout` are called from one thread at a time; reads come from any threads, beside everything else.
    """

    def __init__(
        self,
        folder: Path,
        config: StoreConfig,
        *,
        clock: Clock,
        decode_envelope: DecodeEnvelope,
        registry: CollectorRegistry,
        disk: Disk,
    ) -> None:
        self._folder = folder
        self._config = config
        self._clock = clock
        self._disk = disk
        self._metrics = StoreMetrics(registry)
        disk.mkdir(folder / "wal")
        self._lock_file = disk.lock(folder / "lock")
        self._dictionary = Dictionary(DictionaryLog(disk, folder))
        self._intake = Intake(self._dictionary)
        self._append_lock = threading.Lock()
        self._view_lock = threading.Lock()
        self._live = Generation()
        self._frozen: list[Generation] = []
        self._marks = Marks()
        self._head_bytes = 0
        self._horizon_ms = -(1 << 62)
        self._recover(decode_envelope)

    @classmethod
    def open(
        cls,
        folder: Path,
        config: StoreConfig,
        *,
        clock: Clock,
        decode_envelope: DecodeEnvelope,
        registry: CollectorRegistry,
        disk: Disk | None = None,
    ) -> Store:
        """Open or make the store in `folder`; replays the WAL.

        `decode_envelope` gives the matrices of an envelope's `raw`, one per part, in order; it was verified before it
        was stored. Raises StoreError when another process has the folder, or its format is newer than this program.
        """
        return cls(folder, config, clock=clock, decode_envelope=decode_envelope, registry=registry, disk=disk or Disk())

    def _recover(self, decode: DecodeEnvelope) -> None:
        folder = self._folder / "wal"
        numbers = segment_numbers(self._disk.names(folder))
        replay = Replay(self._intake, self._dictionary, decode, self._horizon_ms)
        for number in numbers:
            replay.segment(read_segment(self._disk, folder, number), self._live)
        self._marks.update(self._live.marks)
        self._head_bytes = self._live.size_bytes
        next_number = max(numbers, default=0) + 1
        self._wal = Wal(self._disk, folder, self._config, next_number)

    # ---- writing

    def layout(self, series: tuple[Series, ...], origin: bytes = b"") -> Layout:
        """The handle for an ordered list of series; the same list and origin give the same layout.

        `origin` is kept with it for provenance (an agent's schema id). Raises StoreError.
        """
        return self._dictionary.layout(series, origin)

    def append(self, entries: Sequence[EnvelopeEntry | RowsEntry]) -> None:
        """Make all entries durable and readable: one write, one fsync. All of them or, on an error, none counts.

        Raises DiskFullError (no room), HeadFullError (flush is behind), StoreError: all worth another try.
        """
        for entry in entries:
            check_entry(entry)
        with self._append_lock:
            self._refuse_if_full()
            layouts = [self._adopt(entry) for entry in entries]
            self._dictionary.sync()
            self._wal.append([encode_entry(entry) for entry in entries])
            with self._view_lock:
                for entry, layout_ids in zip(entries, layouts, strict=True):
                    self._apply(entry, layout_ids)

    def _adopt(self, entry: EnvelopeEntry | RowsEntry) -> list[int]:
        persist = isinstance(entry, EnvelopeEntry)
        return [self._dictionary.adopt(part.layout, persist) for part in entry.parts]

    def _apply(self, entry: EnvelopeEntry | RowsEntry, layout_ids: list[int]) -> None:
        live = self._live
        for part, layout_id in zip(entry.parts, layout_ids, strict=True):
            self._head_bytes += self._intake.put(live, layout_id, part.matrix, self._horizon_ms)
        if isinstance(entry, EnvelopeEntry):
            self._intake.note(live, entry)
            self._marks.add(entry.sender, entry.epoch, entry.seq)
            live.provenance += provenance_of(entry, layout_ids, [part.matrix for part in entry.parts])

    def _refuse_if_full(self) -> None:
        limit = 2 * self._config.head_budget_bytes
        if self._head_bytes > limit:
            raise HeadFullError(
                f"head of {self._folder} holds {self._head_bytes} bytes, limit {limit} (2 x store.head_budget_bytes)"
            )
        free = self._disk.space(self._folder).free_bytes
        if free < self._config.min_free_bytes:
            raise DiskFullError(
                f"{self._folder} has {free} bytes free, limit {self._config.min_free_bytes} (store.min_free_bytes)"
            )

    # ---- reading

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, *, max_samples: int | None = None
    ) -> SeriesSet:
        """See Queryable."""
        start_ms = max(start_ms, self._horizon_ms)
        wanted = Wanted.of(*self._dictionary.find(matchers, start_ms, end_ms), start_ms, end_ms)
        budget = Budget(max_samples)
        pieces = []
        with self._view_lock:
            for generation in [*self._frozen, self._live]:
                for head in generation.heads.values():
                    piece = piece_of_head(head, wanted)
                    if piece is not None:
                        pieces.append(budget.take(piece))
        return assemble(wanted, pieces)

    def label_values(self, name: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """See Queryable."""
        return self._dictionary.label_values(name, matchers, max(start_ms, self._horizon_ms), end_ms)

    def label_names(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """See Queryable."""
        return self._dictionary.label_names(matchers, max(start_ms, self._horizon_ms), end_ms)

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[Labels]:
        """Sorted label sets of the series that match and may have samples in the range."""
        return sorted(self._dictionary.find(matchers, max(start_ms, self._horizon_ms), end_ms)[1])

    def metadata(self) -> dict[str, tuple[MetricType, str, str]]:
        """Type, help and unit by metric name."""
        return self._dictionary.meanings()

    # ---- dedupe marks

    def marks(self) -> Marks:
        """Which envelopes are stored, in WAL and blocks: a copy."""
        with self._view_lock:
            return self._marks.copy()

    def drop_marks(self, sender: bytes, epoch: int) -> None:
        """Forget an epoch that lies below its sender's floor."""
        with self._view_lock:
            self._marks.drop(sender, epoch)

    @property
    def horizon_ms(self) -> int:
        """Samples before this are dropped and never shown; it only ever grows."""
        return self._horizon_ms

    # ---- state

    def stats(self) -> StoreStats:
        """The state in numbers."""
        with self._view_lock:
            live = self._live
            samples, empty = live.samples, not live.heads
        free = self._disk.space(self._folder).free_bytes
        return StoreStats(
            disk_bytes=0,
            wal_bytes=0,
            head_bytes=self._head_bytes,
            free_bytes=free,
            series=len(self._dictionary),
            samples=samples,
            blocks=0,
            oldest_ms=None if empty else live.first_ms,
            newest_ms=None if empty else live.last_ms,
            horizon_ms=self._horizon_ms,
            damage=0,
            refusal=None,
        )

    def flush(self) -> None:
        """Write the head to blocks."""

    def maintain(self) -> None:
        """Whatever is due."""

    def close(self) -> None:
        """Give everything back. What was acknowledged is durable already."""
        with self._append_lock:
            self._wal.close()
            self._dictionary.close()
            self._disk.close(self._lock_file)
