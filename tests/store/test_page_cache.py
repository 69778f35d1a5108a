"""Index pages are kept small, and no more of them than the budget allows."""

from __future__ import annotations

import numpy as np
import pytest

from peerwatch.model import Int64Array
from peerwatch.store.page_cache import PageCache, narrowed, widened


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
