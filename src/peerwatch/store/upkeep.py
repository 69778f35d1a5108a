"""Upkeep: flush, compaction, retention: what moves samples from head to block to nowhere, beside appends and reads."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from peerwatch.errors import CorruptionError, StoreError
from peerwatch.model import Clock
from peerwatch.store.block import Block
from peerwatch.store.block_set import PublishError
from peerwatch.store.block_writer import BlockWriter
from peerwatch.store.cells import MergeCounts
from peerwatch.store.checkpoint import Checkpoint, write_checkpoint
from peerwatch.store.compact import Compaction, choose, merged_facts
from peerwatch.store.config import StoreConfig
from peerwatch.store.damage import Damage
from peerwatch.store.dictionary import Dictionary
from peerwatch.store.disk import Disk
from peerwatch.store.flush import Flush
from peerwatch.store.generation import Generation
from peerwatch.store.metrics import StoreMetrics
from peerwatch.store.retention import FOREVER_MS, Stored, horizon_by_age, horizon_by_size, limit_bytes
from peerwatch.store.segment_bin import SegmentBin
from peerwatch.store.snapshot import Snapshot
from peerwatch.store.view import View
from peerwatch.store.wal import Wal, segment_numbers
from peerwatch.telemetry import get_logger

_log = get_logger("store.upkeep")


class Upkeep:
    """One piece of work at a time (`lock`); owned by the store, called from worker threads.

    Every step leaves the folder in a state from which a start finds each acknowledged sample exactly once. What fails
    is tried again by the next call; nothing is lost meanwhile, the samples stay in memory and in the WAL.
    """

    def __init__(
        self,
        folder: Path,
        config: StoreConfig,
        *,
        clock: Clock,
        disk: Disk,
        view: View,
        dictionary: Dictionary,
        wal: Wal,
        append_lock: threading.Lock,
        segments: SegmentBin,
        damage: Damage,
        metrics: StoreMetrics,
    ) -> None:
        self.lock = threading.RLock()
        self._folder = folder
        self._config = config
        self._clock = clock
        self._disk = disk
        self._view = view
        self._dictionary = dictionary
        self._wal = wal
        self._append_lock = append_lock
        self._segments = segments
        self._damage = damage
        self._metrics = metrics
        self._flushed_s = clock.monotonic_s()
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Give up a compaction that runs; what it had written is removed."""
        self._stopping.set()

    # ---- flush

    def flush(self) -> None:
        """Write everything in memory to blocks. Raises StoreError; the samples then stay where they are."""
        with self.lock, self._metrics.flush_seconds.time():
            self._freeze()
            while self._view.frozen:
                self._flush_generation(self._view.frozen[0])
            self._flushed_s = self._clock.monotonic_s()
            self._reap()
            self._write_checkpoint(self._view.horizon_ms)

    def _freeze(self) -> None:
        with self._append_lock:
            if self._view.live:
                self._view.freeze(self._wal.rotate())

    def _flush_generation(self, generation: Generation) -> None:
        view, blocks = self._view, self._view.blocks
        flush = Flush(self._disk, self._config.compact_span_ms, view.horizon_ms, self._dictionary.tile_keys)
        writers = flush.write(generation, view.lock, self._clock.now_ms(), blocks.next_path)
        try:
            published = blocks.publish(writers)
        except PublishError as error:
            generation.strays += error.strays
            raise
        self._count(flush.counts, *(head.counts for head in generation.heads.values()))
        self._segments.put(generation.segments)
        view.replace(generation, published)
        blocks.forget_stray(generation.strays)

    def _count(self, *all_counts: MergeCounts) -> None:
        for counts in all_counts:
            self._metrics.duplicates.inc(counts.duplicates)
            self._metrics.conflicts.inc(counts.conflicts)

    # ---- compaction

    def compact(self) -> bool:
        """Merge the blocks of one window, when that is worth it; returns whether it was. Raises StoreError."""
        with self.lock:
            slack_ms = int(self._config.flush_interval_s * 1000)
            blocks = [block for block in self._view.blocks.all() if block.number not in self._view.blocks.suspect]
            chosen = choose(blocks, self._clock.now_ms() - slack_ms)
            if not chosen:
                return False
            with self._metrics.compact_seconds.time():
                self._merge(chosen)
            self._reap()
            return True

    def _merge(self, chosen: list[Block]) -> None:
        blocks = self._view.blocks
        compaction = Compaction(self._dictionary.tile_keys, self._dictionary.labels_of, self._stopping.is_set)
        writer = BlockWriter(self._disk, blocks.next_path())
        try:
            facts = merged_facts(chosen, blocks.retired, self._segments.waiting, self._view.horizon_ms)
            compaction.write(writer, chosen, facts)
        except CorruptionError as error:
            writer.discard()
            self._damage.note("block not merged", str(error))
            self._set_damaged_aside(chosen)
            return
        except StoreError:
            writer.discard()
            raise
        self._count(compaction.counts)
        self._view.swap(blocks.publish([writer])[0])

    def _set_damaged_aside(self, chosen: list[Block]) -> None:
        """Find out which of the blocks are damaged, so that the others can be merged."""
        damaged = []
        for block in chosen:
            with block.opened() as opened:
                if opened.findings():
                    damaged.append(block.number)
        self._view.blocks.suspect.update(damaged or [block.number for block in chosen])

    # ---- retention

    def retain(self) -> int:
        """Drop windows that are too old or do not fit; returns how many blocks went. Raises StoreError."""
        with self.lock:
            horizon = self._due_horizon()
            if horizon > self._view.horizon_ms:
                self._write_checkpoint(horizon)  # first: a start in between must not show what is about to go
                self._view.raise_horizon(horizon)
            gone = [block for block in self._view.blocks.all() if block.footer.window_end <= self._view.horizon_ms]
            self._view.blocks.retire(block.number for block in gone)
            self._metrics.dropped_blocks.inc(len(gone))
            self._reap()
            return len(gone)

    def try_retain(self) -> bool:
        """`retain`, unless upkeep is busy; returns whether it ran. For an append that finds the disk full."""
        if not self.lock.acquire(blocking=False):
            return False
        try:
            return self._attempt("retain", lambda: self.retain() > 0)
        finally:
            self.lock.release()

    def _due_horizon(self) -> int:
        stored = [
            Stored(block.footer.window_start, block.footer.window_end, block.size_bytes)
            for block in self._view.blocks.all()
            if block.footer.window_end > self._view.horizon_ms
        ]
        total = self._disk.space(self._folder).total_bytes
        by_size = horizon_by_size(stored, self.wal_bytes(), limit_bytes(self._config, total))
        return max(horizon_by_age(self._clock.now_ms(), self._view.newest_ms(), self._config), by_size)

    def prune(self) -> int:
        """Forget series and layouts that nothing refers to any more. Raises StoreError."""
        with self.lock, self._append_lock:
            layouts = self._view.head_layouts()
            self._dictionary.forget_layouts(lambda layout, persisted: persisted or layout in layouts)
            if self._view.horizon_ms == FOREVER_MS:
                return 0
            return self._dictionary.prune(self._view.horizon_ms, self._view.head_series())

    # ---- snapshot

    def snapshot(self, target: Path) -> None:
        """Copy the store to `target` while it runs. Raises StoreError."""
        with self.lock:
            with self._append_lock:  # so that what is listed is either the tail or closed for good
                tail = self._wal.tail()
                numbers = segment_numbers(self._disk.names(self._folder / "wal"))
            gone = set(self._segments.waiting)
            wanted = [number for number in numbers if number not in gone]
            blocks = [block.path for block in self._view.blocks.all()]
            Snapshot(self._disk, self._folder, target).take(blocks, wanted, tail)

    # ---- all of it

    def maintain(self) -> None:
        """Whatever is due. One part that fails does not stop the others; failures are counted and logged."""
        with self.lock:
            if self.flush_due():
                self._attempt("flush", self.flush)
            while self._attempt("compact", self.compact):
                pass
            self._attempt("retain", self.retain)
            self._attempt("prune", self.prune)
            self._attempt("reap", self._reap)

    def flush_due(self) -> bool:
        """Whether the interval is over or the budget used up."""
        view = self._view
        waited_s = self._clock.monotonic_s() - self._flushed_s
        over = view.head_bytes > self._config.head_budget_bytes
        return bool(view.frozen) or (bool(view.live) and (over or waited_s >= self._config.flush_interval_s))

    def wal_bytes(self) -> int:
        """Size of the segments on disk."""
        folder = self._folder / "wal"
        total = 0
        for name in self._disk.names(folder):
            try:
                total += self._disk.size(folder / name)
            except StoreError:
                continue  # removed since it was listed
        return total

    def checkpoint(self) -> None:
        """Write down what a start would gather. Raises StoreError."""
        with self.lock:
            self._write_checkpoint(self._view.horizon_ms)

    def _attempt(self, task: str, work: Callable[[], object]) -> bool:
        try:
            return bool(work())
        except StoreError as error:
            self._metrics.failures.labels(task).inc()
            _log.error("upkeep failed, will be tried again", task=task, error=str(error))
            return False

    def _reap(self) -> None:
        """Remove what is no longer needed, once what replaces it is durable. Raises StoreError."""
        if self._view.blocks.retired or self._segments.waiting:
            self._disk.sync_folder(self._folder / "blocks")
            self._view.blocks.reap()
            self._segments.empty()

    def _write_checkpoint(self, horizon_ms: int) -> None:
        view = self._view
        with view.lock:
            marks = view.marks.copy()
        covered = [block.number for block in view.blocks.all()]
        ids, first, last = self._dictionary.ranges()
        checkpoint = Checkpoint(
            horizon_ms=horizon_ms,
            next_block=view.blocks.next_number,
            next_segment=self._wal.next_number,
            blocks=covered,
            ids=ids,
            first_ms=first,
            last_ms=last,
            marks=marks,
        )
        write_checkpoint(self._disk, self._folder, checkpoint)
