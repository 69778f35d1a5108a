"""Ledger: what an agent itself wrote down of its samples, and the comparison with what a hub answers."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from peerwatch.model import Batch, BatchBlock, Series, is_stale
from peerwatch.spool import Position

Key = frozenset[tuple[str, str]]
"""Its labels as the hub has them, less `instance`, which is the agent's name there."""
Samples = dict[Key, dict[int, float]]
"""Series to time (ms) to value."""
LEDGER = "ledger.jsonl"
_JOB = "node"  # what the hub calls a host's own series


class LedgerWriter:
    """Appends to the ledger in a folder, a line per event, each written at once: a kill takes no line that is whole."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / LEDGER).open("a", buffering=1)
        self._names: dict[
            tuple[int, str, str], tuple[str, tuple[Series, ...]]
        ] = {}  # by identity: samplers hand over the same tuple

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def sealed(self, position: Position, batch: Batch) -> None:
        """The agent has numbered this batch. Stale markers are left out: no query shows them."""
        blocks = []
        for block in batch.blocks:
            values = np.asarray(block.matrix.values)
            there = ~is_stale(values)
            if block.matrix.presence is not None:
                there &= block.matrix.presence
            rows = np.where(there, values.astype(object), None).tolist()
            blocks.append([self._named(block), block.matrix.times_ms.tolist(), rows])
        self._write("sealed", position.epoch, position.seq, blocks)

    def spooled(self, position: Position) -> None:
        """Its spool has it: from here on it must not be lost."""
        self._write("spooled", position.epoch, position.seq)

    def acked(self, epoch: int, seq: int) -> None:
        """A hub has signed for it."""
        self._write("acked", epoch, seq)

    def _named(self, block: BatchBlock) -> str:
        of = id(block.series), block.job, block.target
        found = self._names.get(of)
        if found is None:
            name = f"{os.getpid()}.{len(self._names)}"
            found = self._names[of] = (name, block.series)
            added = {"job": block.job or _JOB, "target": block.target}
            self._write("series", 0, 0, name, [list(one.labels.with_(added)) for one in block.series])
        return found[0]

    def _write(self, what: str, epoch: int, seq: int, *rest: Any) -> None:
        self._file.write(json.dumps([what, epoch, seq, time.time(), *rest]) + "\n")


@dataclass(frozen=True, slots=True)
class Sealed:
    """What one envelope holds, and when it was sealed (seconds, UTC). A block is series, times, and a row for each."""

    at_s: float
    blocks: list[tuple[list[Key], list[int], list[list[float | None]]]]


@dataclass(slots=True)
class Ledger:
    """What one agent says of itself, by (epoch, seq)."""

    sealed: dict[tuple[int, int], Sealed] = field(default_factory=dict)
    spooled: dict[tuple[int, int], float] = field(default_factory=dict)
    acked: dict[tuple[int, int], float] = field(default_factory=dict)
    """When the first ack came, seconds UTC; in the order of arrival."""

    @classmethod
    def read(cls, folder: Path) -> Ledger:
        """The ledger that an agent wrote; it may still be writing."""
        ledger, series = cls(), {}
        for line in (folder / LEDGER).read_text().splitlines(keepends=True):
            if not line.endswith("\n"):
                break  # the line that is being written
            what, epoch, seq, at_s, *rest = json.loads(line)
            if what == "series":
                series[rest[0]] = [frozenset((name, value) for name, value in one) for one in rest[1]]
            elif what == "sealed":
                blocks = [(series[name], times, rows) for name, times, rows in rest[0]]
                ledger.sealed[epoch, seq] = Sealed(at_s, blocks)
            else:
                known = ledger.acked if what == "acked" else ledger.spooled
                known.setdefault((epoch, seq), at_s)
        return ledger

    def samples(
        self, positions: Iterable[tuple[int, int]], since_ms: float = -np.inf, until_ms: float = np.inf
    ) -> Samples:
        """All samples in these envelopes that were taken after the one time and not after the other."""
        found: Samples = {}
        for position in positions:
            for keys, times, rows in self.sealed[position].blocks:
                for key, row in zip(keys, rows, strict=True):
                    there = {
                        at: x for at, x in zip(times, row, strict=True) if x is not None and since_ms < at <= until_ms
                    }
                    if there:
                        found.setdefault(key, {}).update(there)
        return found


Sample = tuple[str, str, int]
"""Agent, series, time in ms."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a comparison found: how many samples were to be there and how many were answered, and what is not right."""

    wanted: int = 0
    answered: int = 0
    lost: list[Sample] = field(default_factory=list)
    wrong: list[Sample] = field(default_factory=list)
    twice: list[Sample] = field(default_factory=list)
    unknown: list[Sample] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Nothing lost, nothing twice, nothing wrong, nothing that nobody took; and it is no comparison of nothing."""
        return self.wanted > 0 and not (self.lost or self.wrong or self.twice or self.unknown)

    def __add__(self, other: Verdict) -> Verdict:
        return Verdict(
            self.wanted + other.wanted,
            self.answered + other.answered,
            self.lost + other.lost,
            self.wrong + other.wrong,
            self.twice + other.twice,
            self.unknown + other.unknown,
        )

    def __str__(self) -> str:
        return (
            f"{self.wanted} samples, {self.answered} answered: {len(self.lost)} lost {self.lost[:3]}, "
            f"{len(self.wrong)} wrong {self.wrong[:3]}, {len(self.twice)} twice {self.twice[:3]}, "
            f"{len(self.unknown)} unknown {self.unknown[:3]}"
        )


def compare(name: str, wanted: Samples, taken: Samples, answer: Sequence[Mapping[str, Any]]) -> Verdict:
    """One agent's samples beside a hub's answer to `{instance="NAME"}[...]`.

    `wanted` must be there; what is there must be in `taken`, which is more: a killed agent may have numbered a batch
    without knowing that its spool has it.
    """
    verdict = Verdict(sum(map(len, wanted.values())), sum(len(one["values"]) for one in answer))
    found: Samples = {}
    for one in answer:
        key = frozenset((label, value) for label, value in one["metric"].items() if label != "instance")
        row = found.setdefault(key, {})
        for time_s, text in one["values"]:
            time_ms, sample = round(float(time_s) * 1000), float(text)
            place = (name, _text(key), time_ms)
            if time_ms in row:
                verdict.twice.append(place)
            row[time_ms] = sample
            if time_ms not in taken.get(key, {}):
                verdict.unknown.append(place)
            elif not _same(sample, taken[key][time_ms]):
                verdict.wrong.append(place)
    for key, samples in wanted.items():
        there = found.get(key, {})
        verdict.lost.extend((name, _text(key), at) for at in samples if at not in there)
    return verdict


def settled(judge: Callable[[], Verdict], within_s: float) -> Verdict:
    """The first verdict that finds nothing lost; the last one when the time is over."""
    deadline_s = time.monotonic() + within_s
    while True:
        verdict = judge()
        if not verdict.lost or time.monotonic() > deadline_s:
            return verdict
        time.sleep(0.5)


def _same(one: float, other: float) -> bool:
    return one == other or (one != one and other != other)  # NaN is no number's equal, its own neither


def _text(key: Key) -> str:
    return ",".join(f"{name}={value}" for name, value in sorted(key))
