"""Store: the embedded time-series store. See docs/architecture.md and docs/formats/{wal,block}.md."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from peerwatch.errors import DiskFullError, StoreError
from peerwatch.model import (
    Clock,
    EnvelopeEntry,
    Labels,
    Layout,
    Marks,
    Matcher,
    MetricType,
    RowsEntry,
    Series,
    SeriesSet,
)
from peerwatch.model.assembly import assemble
from peerwatch.model.parts import is_part, without_part
from peerwatch.store.block_set import BlockSet
from peerwatch.store.config import StoreConfig
from peerwatch.store.damage import Damage
from peerwatch.store.dictionary import Dictionary
from peerwatch.store.dictionary_log import DictionaryLog
from peerwatch.store.disk import Disk
from peerwatch.store.entry import check_entry
from peerwatch.store.generation import PROVENANCE_BYTES
from peerwatch.store.intake import DecodeEnvelope, Intake, encode_entry, provenance_of
from peerwatch.store.metrics import StoreMetrics
from peerwatch.store.page_cache import BlockCaches
from peerwatch.store.recovery import Recovery
from peerwatch.store.segment_bin import SegmentBin
from peerwatch.store.selection import Rows, Wanted
from peerwatch.store.stats import StoreStats
from peerwatch.store.upkeep import Upkeep
from peerwatch.store.view import View
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
        self._append_lock = threading.Lock()
        self._too_old_shown = 0
        for name in ("wal", "blocks"):
            disk.mkdir(folder / name)
        self._lock_file = disk.lock(folder / "lock")
        try:
            self._open_parts(decode_envelope)
        except BaseException:
            disk.close(self._lock_file)
            raise

    def _open_parts(self, decode: DecodeEnvelope) -> None:
        folder, disk = self._folder, self._disk
        disk.sync_folder(folder)
        self._damage = Damage(self._metrics.damage)
        self._dictionary = Dictionary(DictionaryLog(disk, folder, self._damage))
        self._intake = Intake(self._dictionary, self._config.compact_span_ms)
        caches = BlockCaches.of(self._config.footer_budget_bytes, self._config.row_budget_bytes)
        self._view = View(BlockSet(disk, folder / "blocks", caches, self._damage))
        segments = SegmentBin(disk, folder / "wal", folder / "quarantine")
        self._wal = Recovery(
            folder,
            disk=disk,
            view=self._view,
            dictionary=self._dictionary,
            intake=self._intake,
            segments=segments,
            damage=self._damage,
            decode=decode,
        ).run(self._config)
        self._upkeep = Upkeep(
            folder,
            self._config,
            clock=self._clock,
            disk=disk,
            view=self._view,
            dictionary=self._dictionary,
            wal=self._wal,
            append_lock=self._append_lock,
            segments=segments,
            damage=self._damage,
            metrics=self._metrics,
        )

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

        `decode_envelope` gives the matrices of an envelope's `raw`, one per part, in order, with its context by name;
        it was verified before it was stored. Raises StoreError when another process has the folder, or its format is
        newer than this program.
        """
        return cls(folder, config, clock=clock, decode_envelope=decode_envelope, registry=registry, disk=disk or Disk())

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
        with self._append_lock, self._metrics.append_seconds.time():
            try:
                self._refuse_if_full()
                layouts = [self._adopt(entry) for entry in entries]
                self._dictionary.sync()
                self._wal.append(
                    [encode_entry(entry, ids, self._dictionary) for entry, ids in zip(entries, layouts, strict=True)],
                    [one for entry in entries if isinstance(entry, EnvelopeEntry) for one in entry.context],
                )
            except StoreError:
                self._metrics.refused.inc()
                raise
            with self._view.lock:
                for entry, layout_ids in zip(entries, layouts, strict=True):
                    self._apply(entry, layout_ids)
        self._metrics.entries.inc(len(entries))
        self._metrics.samples.inc(sum(part.matrix.sample_count for entry in entries for part in entry.parts))

    def _adopt(self, entry: EnvelopeEntry | RowsEntry) -> list[int]:
        persist = isinstance(entry, EnvelopeEntry)
        return [self._dictionary.adopt(part.layout, persist) for part in entry.parts]

    def _apply(self, entry: EnvelopeEntry | RowsEntry, layout_ids: list[int]) -> None:
        view = self._view
        for part, layout_id in zip(entry.parts, layout_ids, strict=True):
            view.head_bytes += self._intake.put(view.live, layout_id, part.matrix, view.horizon_ms)
        if isinstance(entry, EnvelopeEntry):
            self._intake.note(view.live, entry)
            view.marks.add(entry.sender, entry.epoch, entry.seq)
            rows = provenance_of(entry, layout_ids, [part.matrix for part in entry.parts])
            view.live.provenance += rows
            view.head_bytes += len(rows) * PROVENANCE_BYTES

    def _refuse_if_full(self) -> None:
        error = self._why_full()
        if isinstance(error, DiskFullError) and self._upkeep.try_retain():
            error = self._why_full()
        if error is not None:
            raise error

    def _why_full(self) -> StoreError | None:
        held, limit = self._view.head_bytes, 2 * self._config.head_budget_bytes
        if held > limit:
            return HeadFullError(
                f"{self._folder} holds {held} bytes in memory, limit {limit} (2 x store.head_budget_bytes): "
                "flushes do not keep up"
            )
        free, least = self._disk.space(self._folder).free_bytes, self._config.min_free_bytes
        if free < least:
            return DiskFullError(f"{self._folder} has {free} bytes free, limit {least} (store.min_free_bytes)")
        return None

    # ---- reading

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, *, max_samples: int | None = None
    ) -> SeriesSet:
        """See Queryable."""
        start_ms = max(start_ms, self.horizon_ms)
        ids, found = self._dictionary.find(matchers, start_ms, end_ms)
        wanted = Wanted(ids, found.rank, found.labels, start_ms, end_ms)
        rows = Rows(wanted, max_samples)
        with self._view.reading(start_ms, end_ms, wanted.between()) as (heads, blocks):
            rows.add_blocks(blocks, self._damage)
            for series_ids, head in heads:
                rows.add_head(series_ids, head)
        return assemble(rows.to_series_set())

    def label_values(self, name: str, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """See Queryable."""
        return self._dictionary.label_values(name, matchers, max(start_ms, self.horizon_ms), end_ms)

    def label_names(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[str]:
        """See Queryable."""
        return self._dictionary.label_names(matchers, max(start_ms, self.horizon_ms), end_ms)

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[Labels]:
        """Sorted label sets of the series that match and may have samples in the range; a histogram is one series."""
        found = self._dictionary.find(matchers, max(start_ms, self.horizon_ms), end_ms)[1].labels
        if not found or not is_part(found[0]):  # parts come first
            return list(found)
        return sorted({without_part(labels) for labels in found})

    def metadata(self) -> dict[str, tuple[MetricType, str, str]]:
        """Type, help and unit by metric name."""
        return self._dictionary.meanings()

    # ---- dedupe marks

    def marks(self) -> Marks:
        """Which envelopes are stored, in WAL and blocks: a copy."""
        with self._view.lock:
            return self._view.marks.copy()

    def close_epochs(self, sender: bytes, below: int) -> None:
        """Forget the numbers of a sender's epochs below this one, but not that they are closed.

        The next checkpoint keeps that; until then the numbers themselves are still in it, in blocks or in the WAL.
        """
        with self._view.lock:
            self._view.marks.close_below(sender, below)

    @property
    def horizon_ms(self) -> int:
        """Samples before this are dropped and never shown; it only ever grows."""
        return self._view.horizon_ms

    # ---- upkeep: from worker threads, beside appends and reads

    def maintain(self) -> None:
        """Whatever is due; failures are counted, logged and tried again next time."""
        self._upkeep.maintain()
        self._show(self.stats())

    def flush(self) -> None:
        """Write everything in memory to blocks. Raises StoreError; the samples then stay where they are."""
        self._upkeep.flush()

    def compact(self) -> bool:
        """Merge the blocks of one window; returns whether there was one worth it. Raises StoreError."""
        return self._upkeep.compact()

    def retain(self) -> int:
        """Drop what is older than retention allows, or too much; returns how many blocks went. Raises StoreError."""
        return self._upkeep.retain()

    def snapshot(self, target: Path) -> None:
        """A consistent copy in `target`, which must not exist, while the store runs. Raises StoreError."""
        self._upkeep.snapshot(target)

    def stats(self) -> StoreStats:
        """The state in numbers."""
        view = self._view
        blocks = view.blocks.all()
        wal_bytes = self._upkeep.wal_bytes()
        full = self._why_full()
        return StoreStats(
            disk_bytes=sum(block.size_bytes for block in blocks) + wal_bytes + self._dictionary.size_bytes,
            wal_bytes=wal_bytes,
            head_bytes=view.head_bytes,
            free_bytes=self._disk.space(self._folder).free_bytes,
            series=len(self._dictionary),
            samples=sum(block.footer.samples for block in blocks) + view.head_samples(),
            blocks=len(blocks),
            oldest_ms=view.oldest_ms(),
            newest_ms=view.newest_ms(),
            horizon_ms=view.horizon_ms,
            damage=self._damage.count,
            refusal=None if full is None else str(full),
        )

    def close(self) -> None:
        """Give everything back; a compaction that runs is given up.

        What was acknowledged is durable already; a checkpoint makes the next start quick.
        """
        self._upkeep.stop()
        with self._upkeep.lock, self._append_lock:
            try:
                self._upkeep.checkpoint()
            except StoreError as error:
                _log.warning("checkpoint not written, the next start reads the blocks", error=str(error))
            self._wal.close()
            self._dictionary.close()
            self._disk.close(self._lock_file)

    def _show(self, stats: StoreStats) -> None:
        metrics = self._metrics
        metrics.head_bytes.set(stats.head_bytes)
        metrics.series.set(stats.series)
        metrics.blocks.set(stats.blocks)
        metrics.block_bytes.set(stats.disk_bytes - stats.wal_bytes)
        metrics.wal_bytes.set(stats.wal_bytes)
        metrics.free_bytes.set(stats.free_bytes)
        metrics.horizon.set(stats.horizon_ms / 1000)
        metrics.too_old.inc(self._intake.too_old - self._too_old_shown)
        self._too_old_shown = self._intake.too_old
