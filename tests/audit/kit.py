"""What the audit's tests share: a hub with a real store, agents that push into it, and somebody who has the disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from peerwatch.audit.audit import Audit, Question
from peerwatch.audit.claims import Signer
from peerwatch.audit.report import AuditReport, Reason, Tally
from peerwatch.cli.hub_role import envelope_decoder
from peerwatch.model import BoolArray, EnvelopeEntry, Float64Array, Int64Array, RowsEntry
from peerwatch.store.block import Block, OpenBlock, split_slots
from peerwatch.store.block_writer import BlockFacts, BlockWriter
from peerwatch.store.config import StoreConfig
from peerwatch.store.disk import Disk
from peerwatch.store.entry import EnvelopeRecord, RecordType, decode_envelope_record, encode_envelope
from peerwatch.store.reader import StoreReader
from peerwatch.store.record import encode_file_header, encode_record
from peerwatch.store.store import Store
from peerwatch.store.wal import MAGIC, read_segment
from peerwatch.telemetry import CollectorRegistry
from peerwatch.testing.clock import ManualClock
from tests.collector.kit import Hub

WINDOW_MS = 7_200_000
START_MS = 1_700_000_000_000 // WINDOW_MS * WINDOW_MS + WINDOW_MS - 300_000  # five minutes before a window's end
Change = Callable[[Int64Array, Int64Array, Float64Array, BoolArray], None]
"""Called with (series ids, times, values, presence) of a row group of equal times; changes the last two in place."""


class AuditedHub:
    """A collector over a store on disk. Everything runs on one clock."""

    def __init__(self, folder: Path, *, retention_ms: int = 400 * 86_400_000) -> None:
        self._retention_ms = retention_ms
        self.folder = folder / "store"
        self.clock = ManualClock(START_MS)
        self.store = self._open()
        self.hub = Hub(folder / "fleet", cast(Any, self.store))
        self.hub.clock = self.clock
        self.hub.restart()

    def _open(self) -> Store:
        return Store.open(
            self.folder,
            StoreConfig(min_free_bytes=0, retention_ms=self._retention_ms),
            clock=self.clock,
            decode_envelope=envelope_decoder(),
            registry=CollectorRegistry(),
        )

    def push(self, *requests: bytes) -> None:
        """Push; everything must be taken."""
        replies = self.hub.push(*requests)
        assert not any(reply.refusals or reply.need_schemas for reply in replies), replies
        self.hub.restart()

    def write(self, entry: RowsEntry) -> None:
        """What no member signs."""
        self.store.append([entry])

    def flush(self) -> None:
        """The head becomes blocks."""
        self.store.flush()

    def compact(self) -> None:
        """Blocks of closed windows become one."""
        self.clock.advance(3 * WINDOW_MS / 1000)
        while self.store.compact():
            pass

    def signers(self) -> list[Signer]:
        """As the roster says."""
        roster = self.hub.authority.membership.roster
        return [Signer(one.name, one.member, one.signing_key) for one in roster]

    def audit(self, signers: Sequence[Signer] | None = None, hub: str = "", **question: Any) -> AuditReport:
        """Of what is on disk now. `hub` is the peer id of whose store it is, where that is known."""
        reader = StoreReader(self.folder, envelope_decoder())
        fleet = self.hub.authority.fleet
        known = self.signers() if signers is None else signers
        return Audit(reader, fleet, known, Question(**question), hub=hub).run()

    # ---- somebody who has the disk

    def tamper(self, change: Change | None = None, facts: Callable[[BlockFacts], BlockFacts] = lambda one: one) -> None:
        """Write every block anew, with other samples or words about them, and right checksums. Closes the store."""
        self.store.close()
        for block in StoreReader(self.folder, envelope_decoder()).blocks:
            rewrite(block, change, facts)


def rewrite(
    block: Block, change: Change | None = None, facts: Callable[[BlockFacts], BlockFacts] = lambda one: one
) -> None:
    """A block with other samples or words about them, and right checksums, in place of this one."""
    writer = BlockWriter(Disk(), block.path.with_name("tampered"))
    with block.opened() as opened:
        _copy_tiles(opened, writer, change)
        footer = block.footer
        told = BlockFacts(
            window_start=footer.window_start,
            window_end=footer.window_end,
            horizon_ms=footer.horizon_ms,
            replaces=footer.replaces,
            wal=footer.wal,
            from_wal=footer.from_wal,
            marks=opened.marks(),
            provenance=opened.provenance(),
            run_roots=opened.run_roots(),
        )
        writer.finish(facts(told), list(opened.names()))
    writer.path.replace(block.path)


def rewrite_log(path: Path, change: Callable[[EnvelopeRecord], EnvelopeRecord]) -> None:
    """A WAL segment with other envelopes, and right checksums."""
    segment = read_segment(Disk(), path.parent, int(path.stem))
    assert segment.scan is not None
    pieces = [encode_file_header(MAGIC, 1)]
    for record in segment.scan.records:
        payload = bytes(record.payload)
        if record.type == RecordType.ENVELOPE:
            told = change(decode_envelope_record(record.payload))
            entry = EnvelopeEntry(told.sender, told.epoch, told.seq, told.raw, (), told.run_root)
            payload = b"".join(encode_envelope(entry, told.layout_ids))
        pieces += encode_record(record.type, [payload], 1)
    path.write_bytes(b"".join(pieces))


def _copy_tiles(opened: OpenBlock, writer: BlockWriter, change: Change | None) -> None:
    ids, slots, lines = opened.rows()
    tiles, within = split_slots(slots)
    for number in range(opened.tile_count):
        rows = np.flatnonzero(tiles == number)
        rows = rows[np.argsort(within[rows])]
        tile = opened.tile(number)
        widths = [len(opened.times(int(lines[row]))) for row in rows]
        presence = np.arange(tile.values.shape[1]) < np.array(widths)[:, None]
        if tile.presence is not None:
            presence &= tile.presence
        values = tile.values.copy()
        for at, row in enumerate(rows.tolist()):
            times, part = opened.times(int(lines[row])), slice(0, widths[at])
            if change is not None:
                change(ids[row : row + 1], times, values[at : at + 1, part], presence[at : at + 1, part])
        timelines = np.array([writer.timeline(opened.times(int(lines[row]))) for row in rows], np.int64)
        writer.tile(ids[rows], timelines, values, presence)


def set_value(time_ms: int, value: float) -> Change:
    """One cell: the first series that has a sample at this time gets this value."""
    done: list[int] = []

    def change(ids: Int64Array, times: Int64Array, values: Float64Array, presence: BoolArray) -> None:
        at = int(np.searchsorted(times, time_ms))
        if not done and at < len(times) and times[at] == time_ms and presence[0, at]:
            values[0, at] = value
            done.append(int(ids[0]))

    return change


def remove(first_ms: int, last_ms: int, ids: Sequence[int] | None = None) -> Change:
    """Every sample in the time, of these series or of all."""

    def change(found: Int64Array, times: Int64Array, values: Float64Array, presence: BoolArray) -> None:
        if ids is None or int(found[0]) in ids:
            presence[:, (times >= first_ms) & (times <= last_ms)] = False

    return change


def without_batch(sender: bytes, seq: int, *, marks: bool) -> Callable[[BlockFacts], BlockFacts]:
    """Takes a batch out of what blocks say; with `marks` its number, too."""

    def facts(told: BlockFacts) -> BlockFacts:
        provenance = told.provenance
        code = provenance.senders.index(sender) if sender in provenance.senders else -1
        kept = ~((provenance.table[0] == code) & (provenance.table[2] == seq))
        changed = replace(told, provenance=replace(provenance, table=provenance.table[:, kept]))
        if marks:
            for one, epoch, runs in list(changed.marks):
                if one == sender:
                    numbers = [n for first, last in runs for n in range(first, last + 1) if n != seq]
                    changed.marks._seen.pop((one, epoch))
                    for number in numbers:
                        changed.marks.add(one, epoch, number)
        return changed

    return facts


def tally(report: AuditReport, name: str) -> Tally:
    """The one of that name."""
    (found,) = [one for one in report.tallies if one.name == name]
    return found


def reasons(found: Tally) -> dict[Reason, int]:
    """All that is not proven."""
    return dict(found.broken) | dict(found.unproven)
