"""The comparison that the stories rest on: what is lost, changed, answered twice or made up is found, by its place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from peerwatch.model import STALE, Batch, BatchBlock, Labels, SampleMatrix, Series
from peerwatch.spool import Position
from tests.e2e.ledger import LEDGER, Ledger, LedgerWriter, Verdict, compare

SERIES = tuple(Series(Labels.of(__name__="m", row=row)) for row in ("a", "b"))
FIRST, SECOND = Position(7, 0), Position(7, 1)


def _batch(time_ms: int, *values: float) -> Batch:
    matrix = SampleMatrix(np.array([time_ms], dtype=np.int64), np.array(values)[:, None])
    return Batch((BatchBlock(SERIES, matrix),))


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    """Two batches numbered, the second not known to be in the spool; series b ended before it."""
    with LedgerWriter(tmp_path) as writer:
        writer.sealed(FIRST, _batch(1000, 1.5, 2.0))
        writer.spooled(FIRST)
        writer.sealed(SECOND, _batch(2000, 2.5, STALE))
    return Ledger.read(tmp_path)


def _answer(**rows: list[tuple[float, str]]) -> list[dict[str, object]]:
    ours = {"__name__": "m", "instance": "x", "job": "node"}
    return [{"metric": {**ours, "row": row}, "values": values} for row, values in rows.items()]


def _judge(ledger: Ledger, **rows: list[tuple[float, str]]) -> Verdict:
    wanted, taken = ledger.samples(ledger.spooled), ledger.samples(ledger.sealed)
    return compare("x", wanted, taken, _answer(**rows))


@pytest.mark.parametrize("second", [[], [(2.0, "2.5")]], ids=["not there", "there"])
def test_what_a_killed_agent_did_not_know_to_be_spooled_may_be_there_or_not(
    ledger: Ledger, second: list[tuple[float, str]]
) -> None:
    """Either is good; the stale marker is no sample."""
    verdict = _judge(ledger, a=[(1.0, "1.5"), *second], b=[(1.0, "2")])
    assert verdict.good and verdict.wanted == 2, verdict


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ({"a": [(1.0, "1.5")]}, "lost"),
        ({"a": [(1.0, "1.5")], "b": [(1.0, "2.0000000000000004")]}, "wrong"),
        ({"a": [(1.0, "1.5")], "b": [(1.0, "2"), (1.0, "2")]}, "twice"),
        ({"a": [(1.0, "1.5")], "b": [(1.0, "2"), (1.001, "2")]}, "unknown"),
        ({"a": [(1.0, "1.5")], "b": [(1.0, "2")], "c": [(1.0, "2")]}, "unknown"),
    ],
)
def test_each_kind_of_fault_is_found(ledger: Ledger, rows: dict[str, list[tuple[float, str]]], kind: str) -> None:
    """One fault, and nothing else is said."""
    verdict = _judge(ledger, **rows)
    assert not verdict.good
    assert [name for name in ("lost", "wrong", "twice", "unknown") if getattr(verdict, name)] == [kind]


def test_what_an_agent_scrapes_is_not_taken_for_its_own(tmp_path: Path) -> None:
    """The same series of another job, at the same time, is another series."""
    own = _batch(1000, 1.5, 2.0).blocks[0]
    scraped = BatchBlock(own.series, SampleMatrix(own.matrix.times_ms, own.matrix.values + 1), "app", "t:1")
    with LedgerWriter(tmp_path) as writer:
        writer.sealed(FIRST, Batch((own, scraped)))
    samples = Ledger.read(tmp_path).samples([(FIRST.epoch, FIRST.seq)])
    assert sorted(value for row in samples.values() for value in row.values()) == [1.5, 2.0, 2.5, 3.0]


def test_a_comparison_of_nothing_is_not_good() -> None:
    """A story whose agents took nothing has shown nothing."""
    assert not compare("x", {}, {}, []).good


def test_a_ledger_is_read_while_it_is_written(tmp_path: Path, ledger: Ledger) -> None:
    """The line that is not whole yet is left for the next look."""
    with (tmp_path / LEDGER).open("a") as file:
        file.write('["spooled", 7, 1')
    assert Ledger.read(tmp_path) == ledger
