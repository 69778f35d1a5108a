"""View: where the samples are right now: live head, frozen heads, blocks. A sample is in one of them at any moment."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from peerwatch.model import Int64Array, Marks
from peerwatch.store.block import Block
from peerwatch.store.block_set import BlockSet
from peerwatch.store.generation import Generation
from peerwatch.store.head import HeadView
from peerwatch.store.retention import FOREVER_MS

HeadCells = tuple[Int64Array, HeadView]
"""Series of a head, and its cells."""


class View:
    """Owned by the store. `lock` is held for moments only, and never while files are read or written.

    Whoever appends holds it while cells are put in; whoever reads, while it notes which arrays and blocks to read
    (arrays are never written to again below their end, blocks are pinned); a flush, while it swaps head for blocks.
    """

    def __init__(self, blocks: BlockSet) -> None:
        self.lock = threading.Lock()
        self.blocks = blocks
        self.live = Generation()
        self.frozen: list[Generation] = []
        self.marks = Marks()
        self.head_bytes = 0
        self._horizon_ms = FOREVER_MS

    @property
    def horizon_ms(self) -> int:
        """Samples before it are dropped and never shown. It only grows."""
        return self._horizon_ms

    def raise_horizon(self, horizon_ms: int) -> None:
        """Everything before it is gone."""
        with self.lock:
            self._horizon_ms = max(self._horizon_ms, horizon_ms)

    @contextmanager
    def reading(
        self, start_ms: int, end_ms: int, wants: Callable[[int, int], bool]
    ) -> Iterator[tuple[list[HeadCells], list[Block]]]:
        """Everything that may have samples in the range, as of one moment.

        Of heads only those for which `wants` (lowest series id, highest one): a fleet has one per target, and most
        reads are about a single one.
        """
        with self.lock:
            heads = [
                (head.series_ids, head.view())
                for generation in (*self.frozen, self.live)
                if generation.first_ms <= end_ms and generation.last_ms >= start_ms
                for head in generation.heads.values()
                if wants(head.first_id, head.last_id) and head.first_ms <= end_ms and head.last_ms >= start_ms
            ]
            blocks = self.blocks.pin(start_ms, end_ms)
        try:
            yield heads, blocks
        finally:
            self.blocks.unpin(blocks)

    def freeze(self, segments: Sequence[int]) -> None:
        """The live generation gets no more samples; `segments` hold its newest ones."""
        with self.lock:
            self.live.segments += segments
            self.frozen.append(self.live)
            self.live = Generation()

    def replace(self, generation: Generation, blocks: Sequence[Block]) -> None:
        """What the generation held is in these blocks from now on."""
        with self.lock:
            self.frozen.remove(generation)
            self.blocks.add(blocks)
            self.head_bytes = sum(one.size_bytes for one in (*self.frozen, self.live))

    def swap(self, block: Block) -> None:
        """The block replaces those that it names."""
        with self.lock:
            self.blocks.add([block])

    def newest_ms(self) -> int | None:
        """Time of the newest sample, None in an empty store."""
        with self.lock:
            times = [one.last_ms for one in (*self.frozen, self.live) if one.heads]
        times += [block.footer.last_ms for block in self.blocks.all() if block.footer.samples]
        return max(times, default=None)

    def oldest_ms(self) -> int | None:
        """Time of the oldest sample, None in an empty store."""
        with self.lock:
            times = [one.first_ms for one in (*self.frozen, self.live) if one.heads]
        times += [block.footer.first_ms for block in self.blocks.all() if block.footer.samples]
        return max(min(times), self._horizon_ms) if times else None

    def head_samples(self) -> int:
        """Cells received and not yet in blocks."""
        with self.lock:
            return sum(one.samples for one in (*self.frozen, self.live))

    def head_series(self) -> list[Int64Array]:
        """The series that heads have."""
        with self.lock:
            return [head.series_ids for one in (*self.frozen, self.live) for head in one.heads.values()]

    def head_layouts(self) -> set[int]:
        """The layouts that heads or their provenance name."""
        with self.lock:
            return {layout for one in (*self.frozen, self.live) for layout in one.heads}
