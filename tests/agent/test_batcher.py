"""Ticks become batches: one per report window, nothing lost, bounded."""

from __future__ import annotations

from peerwatch.agent.batcher import Batcher
from peerwatch.agent.grid import Grid
from peerwatch.model import Batch
from tests.agent.shapes import columns, gauge, tick

A, B = gauge("a"), gauge("b")


def feed(batcher: Batcher, times_ms: list[int], *, step_ms: int = 5000) -> list[list[int]]:
    """The times of each batch that comes out."""
    out: list[Batch] = []
    for at_ms in times_ms:
        out += batcher.add(tick(at_ms, {A: at_ms}))
        out += batcher.close_if_due(at_ms, step_ms)
    return [batch.blocks[0].matrix.times_ms.tolist() for batch in out]


def test_two_ticks_make_a_report() -> None:
    """Sampled every 5 s and reported every 10 s, a batch has two ticks and is there with the second."""
    assert feed(Batcher(Grid(10_000), 1000), [20_000, 25_000, 30_000, 35_000, 40_000]) == [
        [20_000, 25_000],
        [30_000, 35_000],
    ]


def test_every_tick_at_once() -> None:
    """With a report as long as a sample every tick is a batch."""
    assert feed(Batcher(Grid(5000), 1000), [20_000, 25_003, 30_000]) == [[20_000], [25_003], [30_000]]


def test_a_missed_tick_does_not_hold_the_report_up() -> None:
    """When the closing tick is missing, the next tick closes, and nothing is lost."""
    assert feed(Batcher(Grid(10_000), 1000), [20_000, 30_000, 35_000, 40_000, 61_000]) == [
        [20_000, 30_000],
        [35_000],
        [40_000],
    ]


def test_a_clock_that_goes_back_starts_a_new_batch() -> None:
    """Times inside a block always increase."""
    batcher = Batcher(Grid(60_000), 1000)
    assert feed(batcher, [120_000, 125_000, 122_000, 127_000]) == [[120_000, 125_000]]
    (rest,) = batcher.take()
    assert rest.blocks[0].matrix.times_ms.tolist() == [122_000, 127_000]
    assert batcher.take() == []


def test_a_batch_is_bounded() -> None:
    """It closes before it would pass its limit; a single tick over the limit still goes."""
    batcher = Batcher(Grid(60_000), 3)
    big = {gauge("a", i=str(i)): 1.0 for i in range(5)}
    out = batcher.add(tick(1000, {A: 1, B: 1})) + batcher.add(tick(2000, {A: 1, B: 2})) + batcher.add(tick(3000, big))
    assert [batch.sample_count for batch in [*out, *batcher.take()]] == [2, 2, 5]


def test_lanes_are_blocks_and_a_change_inside_is_presence() -> None:
    """What has other times is another block; a series that comes inside the window is absent before."""
    batcher = Batcher(Grid(10_000), 1000)
    batcher.add(tick(20_000, {A: 1}, lane="fast"))
    batcher.add(tick(21_000, {B: 7}, lane="slow"))
    batcher.add(tick(25_000, {A: 2, B: 3}, lane="fast"))
    (batch,) = batcher.close_if_due(25_000, 5000)
    assert [columns(block) for block in batch.blocks] == [
        {20_000: {"a": 1}, 25_000: {"a": 2, "b": 3}},
        {21_000: {"b": 7}},
    ]
