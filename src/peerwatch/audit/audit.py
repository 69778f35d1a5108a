"""Audit: recomputes what is stored into what was signed, window by window, and says what is proven and what broken."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from peerwatch.audit.claims import Claims, Signer
from peerwatch.audit.layouts import Layouts
from peerwatch.audit.logged import check_envelope, logged_rest, logged_result
from peerwatch.audit.report import AuditReport, Offence, Reason, Tally
from peerwatch.audit.rows import BatchRows, rows_by_sender
from peerwatch.audit.window import BatchResult, NameRows, Rest, Scope, WindowAudit
from peerwatch.errors import DecodeError, PeerError
from peerwatch.model import Int64Array, Matcher
from peerwatch.store.reader import LoggedBatch, StoreReader, Window
from peerwatch.wire.identity import peer_id
from peerwatch.wire.leaf import read_origin
from peerwatch.wire.run_root import Place, is_first_format

_SERIES_TOGETHER = 4096  # of agents whose samples are read at once: tiles hold the same series of many hosts
_FOREVER_MS = 1 << 62

Progress = Callable[[int, int, int], None]
"""Called with windows done, windows in all, samples compared so far."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be proved. `agent` is a name in the roster; empty: all. `matchers` choose series; none: all."""

    agent: str = ""
    matchers: tuple[Matcher, ...] = ()
    start_ms: int = -_FOREVER_MS
    end_ms: int = _FOREVER_MS


class Audit:
    """One run over one store. Memory: a window's provenance, the samples of some agents in it, and open runs."""

    def __init__(
        self,
        reader: StoreReader,
        fleet: bytes,
        signers: Iterable[Signer],
        question: Question,
        progress: Progress = lambda done, of, samples: None,
        hub: str = "",
    ) -> None:
        """`hub` is the peer id of whose store it is: what an agent dropped for another one is no excuse here.

        Empty: not known, and any is.
        """
        self._reader = reader
        self._hub = hub
        self._fleet = fleet
        self._question = question
        self._progress = progress
        self._signers = {one.sender: one for one in signers}
        self._names = {one.name for one in self._signers.values()}
        chosen = None
        if question.matchers:
            chosen = reader.dictionary.find(question.matchers, question.start_ms, question.end_ms)[0]
        layouts = Layouts(reader.dictionary, chosen)
        self._scope = Scope(reader, layouts, _signed_ids(reader), self._names, question.start_ms, question.end_ms)
        self._claims: dict[bytes, Claims] = {}
        self._tallies: dict[bytes, Tally] = {}
        self._pending: dict[bytes, dict[Place, BatchResult]] = {}
        self._spilled: dict[bytes, BatchRows] = {}

    def run(self) -> AuditReport:
        """Everything within the question. Raises StoreError when a file cannot be read at all."""
        windows = self._reader.windows()
        mine = [at for at, one in enumerate(windows) if self._touches(one)]
        first = max(0, mine[0] - 1) if mine else len(windows)  # what began before the time that is asked for
        last = mine[-1] + 1 if mine else len(windows)
        for at in range(first, last):
            self._take_runs(windows[at])
            self._audit_window(windows[at], windows[at + 1] if at + 1 < len(windows) else None)
            self._settle()
            self._progress(at + 1 - first, last - first, sum(one.samples for one in self._tallies.values()))
        self._audit_log()
        for window in windows[last:]:  # a run may have been signed long after its batches: at the agent's next start
            self._settle()
            if self._is_settled():
                break
            self._take_runs(window)
        self._finish()
        return AuditReport(self._told(), self._reader.damage.places)

    # ---- windows

    def _touches(self, window: Window) -> bool:
        return window.start_ms <= self._question.end_ms and window.end_ms > self._question.start_ms

    def _audit_window(self, window: Window, following: Window | None) -> None:
        rows = self._rows(window)
        after = {} if following is None else self._rows(following)
        named: dict[str, list[NameRows]] = {name: [] for name in self._names if self._wants(name)}
        for sender, here in rows.items():
            signer = self._signers.get(sender)
            name = peer_id(sender) if signer is None else signer.name
            if self._wants(name):
                together = BatchRows.joined([here, after.get(sender, BatchRows.none())])
                named.setdefault(name, []).append(self._name_rows(sender, together, window))
        for chunk in self._chunks(named):
            audit = WindowAudit(self._scope, window, following, chunk, self._is_signed)
            for sender, result in audit.batches():
                self._judge(sender, result)
            for rest in audit.rest():
                self._note_rest(rest, _files(window))
            audit.release()

    def _name_rows(self, sender: bytes, rows: BatchRows, window: Window) -> NameRows:
        """The sender's batches that begin before the window's end and were not met before."""
        home = self._new(sender, rows.starting_before(window.end_ms))
        spilled = self._spilled.pop(sender, BatchRows.none())
        over = home.take(home.lasts >= window.end_ms)
        if len(over):
            self._spilled[sender] = over
        asked = home.touching(self._question.start_ms, self._question.end_ms)
        if len(asked) and sender in self._signers:
            for at in (0, -1):
                self._claims_of(sender).within((int(asked.epochs[at]), int(asked.seqs[at])))
        return NameRows(sender, asked, BatchRows.joined([asked, spilled]))

    def _rows(self, window: Window) -> dict[bytes, BatchRows]:
        return rows_by_sender(self._reader.provenance(window))

    def _new(self, sender: bytes, rows: BatchRows) -> BatchRows:
        """Without batches that were compared in an earlier window, of which these rows then are no part."""
        if sender not in self._signers:
            return rows
        claims, kept = self._claims_of(sender), np.zeros(len(rows), np.bool_)
        for number, part in rows.batches():
            kept[part] = min(number) >= 0 and claims.saw(number)  # no sender's number is negative
        return rows.take(kept)

    def _wants(self, name: str) -> bool:
        return not self._question.agent or name == self._question.agent

    def _is_signed(self, sender: bytes, number: Place) -> bool:
        return sender in self._signers and self._claims_of(sender).covers(number)

    def _chunks(self, named: dict[str, list[NameRows]]) -> Iterable[list[tuple[str, list[NameRows]]]]:
        """Agents whose samples are read together."""
        chunk: list[tuple[str, list[NameRows]]] = []
        series = 0
        for name, rows in sorted(named.items()):
            chunk.append((name, rows))
            layouts = {one for part in rows for one in part.all.layouts.tolist()}
            series += sum(len(self._scope.layouts.get(one).ids) for one in layouts)
            if series >= _SERIES_TOGETHER:
                yield chunk
                chunk, series = [], 0
        if chunk:
            yield chunk

    # ---- verdicts

    def _judge(self, sender: bytes, result: BatchResult) -> None:
        tally, claims = self._tally_of(sender), self._claims_known(sender)
        if result.samples:
            tally.note_time(result.first_ms, result.last_ms)
        if claims is None:
            tally.note(Reason.STRANGER, result.samples)
        elif result.problem is Reason.MISATTRIBUTED:
            self._note(tally, result.problem, result)
        elif not claims.covers(result.number):
            self._pending.setdefault(sender, {})[result.number] = result
        elif result.problem in (Reason.CHANGED, Reason.LAYOUT):
            self._note(tally, result.problem, result)
        elif claims.leaf(result.number) != result.leaf:
            self._note(tally, result.excuse() or Reason.CHANGED, result)
        elif result.problem is not None:
            self._note(tally, result.problem, result)
        else:
            tally.proven += result.samples

    def _note(self, tally: Tally, reason: Reason, result: BatchResult, why: str = "") -> None:
        detail = f"{result.detail}: {why}" if why else result.detail
        offence = Offence(reason, result.number, result.first_ms, result.last_ms, detail)
        tally.note(reason, result.samples, offence)

    def _note_rest(self, rest: Rest, place: str) -> None:
        tally = self._tally_of(self._newest_sender(rest.name))
        tally.note_time(rest.first_ms, rest.last_ms)
        if rest.reason is None:
            tally.unsigned += rest.samples
        else:
            tally.note(rest.reason, rest.samples, Offence(rest.reason, (0, 0), rest.first_ms, rest.last_ms, place))

    def _take_runs(self, window: Window) -> None:
        for root in self._reader.run_roots(window):
            self._take_run(root.sender, (root.epoch, root.seq), root.blob)

    def _take_run(self, sender: bytes, number: Place, blob: bytes) -> None:
        signer = self._signers.get(sender)
        if signer is None or not self._wants(signer.name):
            return
        try:
            self._claims_of(sender).add(blob)
        except PeerError as error:
            if is_first_format(blob, self._claims_of(sender).verifier):
                return
            offence = Offence(Reason.FORGED_RUN, number, 0, 0, f"came with {number[0]}/{number[1]}: {error}")
            self._tally_of(sender).note(Reason.FORGED_RUN, 0, offence)

    # ---- the WAL

    def _audit_log(self) -> None:
        for batch in self._reader.logged():
            if batch.record.run_root:
                self._take_run(batch.record.sender, (batch.record.epoch, batch.record.seq), batch.record.run_root)
        for batch in self._reader.logged():
            signer = self._signers.get(batch.record.sender)
            name = peer_id(batch.record.sender) if signer is None else signer.name
            if self._wants(name):
                self._judge_logged(batch, logged_result(self._scope, name, batch))
        for rest in logged_rest(self._scope):
            if self._wants(rest.name):
                self._note_rest(rest, "write-ahead log")

    def _judge_logged(self, batch: LoggedBatch, result: BatchResult) -> None:
        """Its own signature proves it, where it is not in a run yet."""
        sender = batch.record.sender
        claims, tally = self._claims_known(sender), self._tally_of(sender)
        if claims is None:
            self._judge(sender, result)
            return
        if not claims.saw(result.number):
            return
        if result.first_ms <= self._question.end_ms and result.last_ms >= self._question.start_ms:
            claims.within(result.number)
        if claims.covers(result.number):
            self._judge(sender, result)
            return
        if result.samples:
            tally.note_time(result.first_ms, result.last_ms)
        try:
            check_envelope(batch, claims)
        except PeerError as error:
            self._note(tally, Reason.FORGED_BATCH, result, str(error))
            return
        tally.note_open(result.first_ms)
        if result.problem is None:
            tally.proven += result.samples
        else:
            self._note(tally, result.problem, result)

    def _settle(self) -> None:
        """Compare what waited for its run."""
        for sender, waiting in self._pending.items():
            claims = self._claims_of(sender)
            for number in [one for one in waiting if claims.covers(one)]:
                self._judge(sender, waiting.pop(number))
        for sender, claims in self._claims.items():
            claims.settle(set(self._pending.get(sender, ())))

    def _is_settled(self) -> bool:
        if any(self._pending.values()):
            return False
        return not any([*one.missing(), *one.missing_runs()] for one in self._claims.values())

    def _finish(self) -> None:
        self._settle()
        for sender, waiting in self._pending.items():
            for result in waiting.values():
                self._tally_of(sender).note_open(result.first_ms)
                self._note(self._tally_of(sender), Reason.OPEN, result)
        missing = [(sender, number) for sender, claims in self._claims.items() for number in claims.missing()]
        marks = self._reader.marks() if missing else None
        for sender, number in missing:
            tally = self._tally_of(sender)
            if marks is not None and marks.contains(sender, *number):
                tally.note(Reason.GONE, 1, Offence(Reason.GONE, number, 0, 0, ""))
            elif self._claims_of(sender).gave_up(number):
                tally.dropped_batches += 1
            else:
                tally.note(Reason.MISSING, 1, Offence(Reason.MISSING, number, 0, 0, ""))
        for sender, claims in self._claims.items():
            for end, before in claims.missing_runs():
                dropped = claims.gave_up_between(end, before)
                if dropped is not None:
                    self._tally_of(sender).dropped_batches += dropped
                    continue
                detail = f"no signed run of the numbers after {end[0]}/{end[1]} up to {before[0]}/{before[1]}"
                self._tally_of(sender).note(Reason.MISSING, 1, Offence(Reason.MISSING, before, 0, 0, detail))

    # ---- who

    def _claims_of(self, sender: bytes) -> Claims:
        """What a member signed; only for those of the roster."""
        found = self._claims.get(sender)
        if found is None:
            found = self._claims[sender] = Claims(self._fleet, self._signers[sender], self._hub)
        return found

    def _claims_known(self, sender: bytes) -> Claims | None:
        return self._claims_of(sender) if sender in self._signers else None

    def _tally_of(self, sender: bytes) -> Tally:
        found = self._tallies.get(sender)
        if found is None:
            signer = self._signers.get(sender) or Signer(peer_id(sender), sender, b"")
            found = self._tallies[sender] = Tally(signer.name, sender, signer.key)
        return found

    def _newest_sender(self, name: str) -> bytes:
        """Of several machines that bore a name, the one that counts for what nobody signed."""
        senders = [one.sender for one in self._signers.values() if one.name == name]
        return next((one for one in senders if one in self._tallies), senders[0])

    def _told(self) -> list[Tally]:
        told = [one for one in self._tallies.values() if self._wants(one.name) and (one.samples or one.broken)]
        return sorted(told, key=lambda one: (one.name, one.sender))


def _signed_ids(reader: StoreReader) -> Int64Array:
    """The series that come in signed batches; others under an agent's name were made by the hub or written remotely."""
    found = [np.empty(0, np.int64)]
    for layout in reader.dictionary.layout_ids():
        try:
            read_origin(reader.dictionary.origin_of(layout) or b"")
        except DecodeError:
            continue
        ids = reader.dictionary.series_ids_of(layout)
        if ids is not None:
            found.append(ids)
    return np.unique(np.concatenate(found))


def _files(window: Window) -> str:
    return ", ".join(block.path.name for block in window.blocks)
