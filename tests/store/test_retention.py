"""How old samples may get, and how large the store."""

from __future__ import annotations

import pytest

from peerwatch.errors import ConfigError
from peerwatch.store.config import DAY_MS, HOUR_MS, StoreConfig
from peerwatch.store.retention import FOREVER_MS, Stored, horizon_by_age, horizon_by_size, limit_bytes

CONFIG = StoreConfig(retention_ms=10 * HOUR_MS)


def test_age_is_cut_at_a_window() -> None:
    """A window goes as a whole, when all of it is too old."""
    assert horizon_by_age(100 * HOUR_MS, 100 * HOUR_MS, CONFIG) == 90 * HOUR_MS
    assert horizon_by_age(101 * HOUR_MS + 5, 101 * HOUR_MS, CONFIG) == 90 * HOUR_MS


def test_the_clock_alone_deletes_nothing() -> None:
    """A clock that jumps ahead does not empty the store; one that falls behind keeps more."""
    assert horizon_by_age(10**15, 100 * HOUR_MS, CONFIG) == 90 * HOUR_MS
    assert horizon_by_age(50 * HOUR_MS, 100 * HOUR_MS, CONFIG) == 40 * HOUR_MS
    assert horizon_by_age(10**15, None, CONFIG) == FOREVER_MS


def test_the_oldest_windows_go_until_the_rest_fits() -> None:
    """All blocks of a window go together; the newest window stays whatever its size."""
    stored = [Stored(at, at + 1, 100) for at in (0, 1, 1, 2, 3)]
    assert horizon_by_size(stored, 50, 550) == FOREVER_MS
    assert horizon_by_size(stored, 50, 549) == 1
    assert horizon_by_size(stored, 50, 400) == 2
    assert horizon_by_size(stored, 50, 0) == 3


def test_the_limit_is_the_smaller_of_both() -> None:
    """A share of the disk, and what the operator set."""
    assert limit_bytes(StoreConfig(), 1000) == 800
    assert limit_bytes(StoreConfig(retention_bytes=10), 1000) == 10
    assert limit_bytes(StoreConfig(retention_bytes=5000), 1000) == 800


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"retention_ms": 37_000 * DAY_MS}, "store.retention_ms is .*100 years"),
        ({"head_budget_bytes": 0}, "store.head_budget_bytes is 0, must be more than 0"),
        ({"max_disk_fraction": 1.5}, "store.max_disk_fraction is 1.5"),
        ({"retention_bytes": 0}, "store.retention_bytes is 0"),
        ({"min_free_bytes": -1}, "store.min_free_bytes is -1"),
        ({"compact_span_ms": 24 * HOUR_MS}, "store.compact_span_ms is 86400000, at most 8388608"),
    ],
)
def test_a_bad_setting_is_named(setting: dict[str, int], message: str) -> None:
    """The error holds the path, the value and what is allowed."""
    with pytest.raises(ConfigError, match=message):
        StoreConfig(**setting)  # type: ignore[arg-type]
