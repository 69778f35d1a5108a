"""WindowAudit: the batches of some agents in one window, recomputed from the samples that are stored."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from peerwatch.audit.layouts import AuditedLayout, Layouts
from peerwatch.audit.matrix import LayoutMatrix, Spans, layout_matrix
from peerwatch.audit.report import Reason
from peerwatch.audit.rows import BatchRows
from peerwatch.model import Int64Array, Matcher, MatchOp
from peerwatch.store.reader import Cells, StoreReader, Window
from peerwatch.wire.identity_labels import INSTANCE
from peerwatch.wire.leaf import leaf_of
from peerwatch.wire.run_root import Place

Signed = Callable[[bytes, Place], bool]
"""Whether a sender has signed a number."""


@dataclass(frozen=True, slots=True)
class NameRows:
    """One sender's batches that begin in a window (`home`), and with them those that reach into it (`all`)."""

    sender: bytes
    home: BatchRows
    all: BatchRows


@dataclass(frozen=True, slots=True)
class Rest:
    """Samples that bear a name and came in none of its batches; `reason` None: of series that no batch brings."""

    name: str
    reason: Reason | None
    samples: int
    first_ms: int
    last_ms: int


@dataclass(frozen=True, slots=True)
class BatchResult:
    """A stored batch as it is now. `samples` count; `excuse` says why the leaf may be wrong, if not by a change."""

    number: Place
    leaf: bytes
    samples: int
    first_ms: int
    last_ms: int
    detail: str
    problem: Reason | None
    excuse: Callable[[], Reason | None]


Agents = Sequence[tuple[str, Sequence[NameRows]]]


@dataclass(frozen=True, slots=True)
class Scope:
    """What an audit is about: which layouts and names there are, and the time [start_ms, end_ms] that counts."""

    reader: StoreReader
    layouts: Layouts
    signed_ids: Int64Array
    names: Collection[str]
    start_ms: int
    end_ms: int

    def problem(self, layout: AuditedLayout, name: str) -> Reason | None:
        """Why a batch of `name` with this layout cannot be compared."""
        if layout.problem is not None or layout.name == name:
            return layout.problem
        return Reason.MISATTRIBUTED if layout.name in self.names else Reason.RENAMED


class WindowAudit:
    """Reads the samples of `agents` once. Memory: these samples, and once more those of one layout at a time."""

    def __init__(
        self, scope: Scope, window: Window, following: Window | None, agents: Agents, is_signed: Signed
    ) -> None:
        self._scope = scope
        self._window = window
        self._agents = agents
        self._is_signed = is_signed
        self._named = {name: self._ids_named(name) for name, _ in agents}
        self._damage_before = scope.reader.damage.count
        self._cells = self._read(following)
        self._covered = np.zeros(len(self._cells.times_ms), np.bool_)
        self._matrices: dict[int, LayoutMatrix] = {}

    def batches(self) -> Iterator[tuple[bytes, BatchResult]]:
        """(sender, result) of every batch that begins in the window and has samples that count."""
        spans = self._spans()
        for layout_id, (every, ours) in spans.items():
            layout = self._scope.layouts.get(layout_id)
            span = int(every.firsts.min()), int(every.lasts.max())
            self._matrices[layout_id] = layout_matrix(
                layout, self._cells, span, (self._scope.start_ms, self._scope.end_ms), self._covered, ours
            )
        for name, senders in self._agents:
            for one in senders:
                for result in self._results(name, one):
                    yield one.sender, result

    def rest(self) -> Iterator[Rest]:
        """What no batch brought, after `batches`."""
        start = max(self._window.start_ms, self._scope.start_ms)
        end = min(self._window.end_ms - 1, self._scope.end_ms)
        times = self._cells.times_ms
        bare = ~self._covered & (times >= start) & (times <= end)
        sums = np.concatenate([np.zeros(1, np.int64), np.cumsum(bare)])
        counts = sums[self._cells.offsets[1:]] - sums[self._cells.offsets[:-1]]
        some = np.flatnonzero(counts)
        signed = np.isin(self._cells.ids[some], self._scope.signed_ids)
        for name, ids in self._named.items():
            own = np.isin(self._cells.ids[some], ids)
            for reason, kept in ((Reason.ADDED, some[own & signed]), (None, some[own & ~signed])):
                if len(kept):
                    found = np.concatenate([self._bare_times(bare, run) for run in kept.tolist()])
                    yield Rest(name, reason, len(found), int(found.min()), int(found.max()))

    def release(self) -> None:
        """Let the samples go; results that wait for their run still know this object."""
        none: Int64Array = np.empty(0, np.int64)
        self._cells = Cells(none, np.zeros(1, np.int64), none, np.empty(0), None)
        self._covered = np.zeros(0, np.bool_)
        self._matrices = {}

    # ---- inside

    def _bare_times(self, bare: np.ndarray, run: int) -> Int64Array:
        part = slice(int(self._cells.offsets[run]), int(self._cells.offsets[run + 1]))
        found: Int64Array = self._cells.times_ms[part][bare[part]]
        return found

    def _ids_named(self, name: str) -> Int64Array:
        matcher = Matcher(INSTANCE, MatchOp.EQUAL, name)
        ids = self._scope.reader.dictionary.find((matcher,), self._window.start_ms, self._window.end_ms)[0]
        return ids[self._scope.layouts.chosen(ids)]

    def _read(self, following: Window | None) -> Cells:
        """All cells that some batch may have had, and all that bear one of the names."""
        homes = [one.home for _, senders in self._agents for one in senders if len(one.home)]
        start = min([self._window.start_ms, *(int(one.firsts.min()) for one in homes)])
        end = max([self._window.end_ms - 1, *(int(one.lasts.max()) for one in homes)])
        ids = [self._scope.layouts.get(layout).ids for layout in self._layout_ids()]
        wanted = np.unique(np.concatenate([np.empty(0, np.int64), *ids, *self._named.values()]))
        windows = [self._window]
        if following is not None and following.start_ms <= end:
            windows.append(following)
        return self._scope.reader.cells(windows, wanted, start, end)

    def _layout_ids(self) -> list[int]:
        parts = [one.all.layouts for _, senders in self._agents for one in senders]
        found: list[int] = np.unique(np.concatenate([np.empty(0, np.int64), *parts])).tolist()
        return found

    def _spans(self) -> dict[int, tuple[Spans, Spans]]:
        """Per layout: the times of all its batches here, and of those that really are of the agent that it names."""
        found: dict[int, tuple[Spans, Spans]] = {}
        for layout_id in self._layout_ids():
            named = self._scope.layouts.get(layout_id).name
            every, ours = [BatchRows.none()], [BatchRows.none()]
            for name, senders in self._agents:
                for one in senders:
                    rows = one.all.take(one.all.layouts == layout_id)
                    every.append(rows)
                    if name == named:
                        ours.append(rows)
            found[layout_id] = _spans_of(every), _spans_of(ours)
        return found

    def _results(self, name: str, rows: NameRows) -> Iterator[BatchResult]:
        home = rows.home
        lows, highs, counts = (np.zeros(len(home), np.int64) for _ in range(3))
        for layout_id in np.unique(home.layouts).tolist():
            own, matrix = home.layouts == layout_id, self._matrices[layout_id]
            lows[own] = np.searchsorted(matrix.times_ms, home.firsts[own])
            highs[own] = np.searchsorted(matrix.times_ms, home.lasts[own], "right")
            counts[own] = matrix.counted[highs[own]] - matrix.counted[lows[own]]
        bounds = list(zip(home.layouts.tolist(), lows.tolist(), highs.tolist(), strict=True))
        problems = {one: self._scope.problem(self._scope.layouts.get(one), name) for one in {b[0] for b in bounds}}
        files = ", ".join(block.path.name for block in self._window.blocks)
        for number, part in home.batches():
            digests = [self._digest(*one) for one in bounds[part]]
            found = [problems[layout_id] for layout_id, _, _ in bounds[part]]
            yield BatchResult(
                number,
                leaf_of([one for one in digests if one is not None]),
                int(counts[part].sum()),
                int(home.firsts[part].min()),
                int(home.lasts[part].max()),
                files,
                next((one for one in found if one is not None), None),
                lambda part=part: self._excuse(rows.sender, home, part),  # type: ignore[misc]  # binds this batch
            )

    def _digest(self, layout_id: int, low: int, high: int) -> bytes | None:
        return self._matrices[layout_id].digest(self._scope.layouts.get(layout_id), low, high)

    def _excuse(self, sender: bytes, home: BatchRows, part: slice) -> Reason | None:
        if self._scope.reader.damage.count > self._damage_before:
            return Reason.DAMAGED
        if self._clashes(home, part):
            return Reason.CLASH
        return Reason.RETENTION if int(home.firsts[part].min()) < self._scope.reader.horizon_ms else None

    def _clashes(self, home: BatchRows, part: slice) -> bool:
        """Whether another batch, signed too, has cells of one of these series within the time of this one.

        Which of two values of a cell stays is settled by the store, so one of both batches cannot be made again.
        """
        number = int(home.epochs[part][0]), int(home.seqs[part][0])
        ids = np.concatenate([self._scope.layouts.get(int(one)).ids for one in home.layouts[part]])
        first, last = int(home.firsts[part].min()), int(home.lasts[part].max())
        for _, senders in self._agents:
            for one in senders:
                others = one.all
                near = (others.firsts <= last) & (others.lasts >= first)
                for at in np.flatnonzero(near).tolist():
                    other = int(others.epochs[at]), int(others.seqs[at])
                    shared = np.isin(self._scope.layouts.get(int(others.layouts[at])).ids, ids).any()
                    if other != number and shared and self._is_signed(one.sender, other):
                        return True
        return False


def _spans_of(parts: list[BatchRows]) -> Spans:
    return Spans(np.concatenate([one.firsts for one in parts]), np.concatenate([one.lasts for one in parts]))
