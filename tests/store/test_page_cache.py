"""Index pages are kept small, and no more of them than the budget allows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from peerwatch.model import Int64Array, Matcher, MatchOp
from peerwatch.store.config import StoreConfig
from peerwatch.store.page_cache import PageCache, narrowed, widened
from peerwatch.store.store import Store
from peerwatch.telemetry import CollectorRegistry
from tests.store.material import (
    BASE_MS,
    EVERYTHING_MS,
    Cells,
    ManualClock,
    cells_of,
    decode,
    envelope,
    matrix,
    put,
    series,
)


@pytest.mark.parametrize(
    ("values", "item_bytes"),
    [
        ([], 1),
        ([0, 255], 1),
        ([0, 256], 2),
        ([65_535], 2),
        ([65_536], 4),
        ([(1 << 32) - 1], 4),
        ([1 << 32], 8),
        ([-1, 127], 8),
        ([-(1 << 63), (1 << 63) - 1], 8),
    ],
)
def test_a_column_takes_as_little_as_its_numbers_allow(values: list[int], item_bytes: int) -> None:
    """And comes back as it was."""
    column = np.array(values, np.int64)
    (narrow,) = narrowed((column,))
    assert narrow.itemsize == item_bytes
    (wide,) = widened((narrow,))
    assert wide.dtype == np.int64 and wide.tolist() == values


def test_the_least_recently_used_page_goes_first() -> None:
    """What is held stays below the budget; a page over all of it is handed out and not kept."""
    cache = PageCache(2_500)
    loads: list[int] = []

    def page(number: int, size: int = 100) -> int:
        def load() -> tuple[Int64Array, ...]:
            loads.append(number)
            return (np.full(size, number, np.int64),)

        return int(cache.get((number, "page", 0), load)[0][0])

    assert [page(one) for one in (1, 2, 1, 3, 1, 2)] == [1, 2, 1, 3, 1, 2]
    assert loads == [1, 2, 3, 2]
    assert cache.size_bytes == 2_000
    assert page(4, 1_000) == 4 and cache.size_bytes <= 2_500
    cache.drop_block(2)
    page(2)
    assert loads.count(2) == 3


def test_rows_that_a_dashboard_asks_for_again_are_kept(tmp_path: Path) -> None:
    """A narrow read comes from memory the second time, with its gaps; a wide one is read and leaves nothing behind."""
    store = Store.open(
        tmp_path, StoreConfig(), clock=ManualClock(), decode_envelope=decode, registry=CollectorRegistry()
    )
    named_series = tuple(series(f"m{row}") for row in range(20))
    layout = store.layout(named_series)
    model: Cells = {}
    one = matrix(
        [BASE_MS, BASE_MS + 1000], [[row, row + 0.5] for row in range(20)], [[True, row != 3] for row in range(20)]
    )
    put(model, layout, one)
    store.append([envelope(1, (layout, one))])
    store.flush()

    def read(*names: str) -> Cells:
        pattern = Matcher("__name__", MatchOp.REGEX, "|".join(names))
        return cells_of(store.select([pattern], *EVERYTHING_MS))

    wanted = {labels: cells for labels, cells in model.items() if labels.metric in ("m2", "m3")}
    assert read("m2", "m3") == wanted
    assert read("m.*") == model
    for path in (tmp_path / "blocks").iterdir():
        path.write_bytes(b"\0" * path.stat().st_size)
    assert read("m2", "m3") == wanted
    assert read("m2", "m4") == {}, "damaged by now, and it was not kept"
    store.close()
