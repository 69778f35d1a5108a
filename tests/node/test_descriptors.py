"""The limit on open files is raised as far as it goes, and what is missing is said."""

from __future__ import annotations

import resource
from collections.abc import Iterator

import pytest

from peerwatch.node.descriptors import DescriptorLimit, decide_soft_limit, raise_descriptor_limit

INFINITE = resource.RLIM_INFINITY


@pytest.fixture
def _as_before() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "expected"),
    [
        (1024, 1 << 20, 65_536, 65_536),
        (1024, 4096, 65_536, 4096),
        (1024, INFINITE, 65_536, 65_536),
        (100_000, 1 << 20, 65_536, 100_000),
        (INFINITE, INFINITE, 65_536, INFINITE),
    ],
)
def test_decision(soft: int, hard: int, wanted: int, expected: int) -> None:
    """Never lowered, never above the hard limit."""
    assert decide_soft_limit(soft, hard, wanted) == expected


@pytest.mark.usefixtures("_as_before")
def test_a_low_soft_limit_is_raised() -> None:
    """As far as wanted."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (300, hard))
    found = raise_descriptor_limit(310)
    assert (found.soft, found.shortfall, found.words) == (310, 0, "")
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (310, hard)


@pytest.mark.usefixtures("_as_before")
def test_what_cannot_be_had_is_said() -> None:
    """And the node runs with what there is."""
    found = raise_descriptor_limit(1 << 40)
    assert found.shortfall > 0
    assert f"wanted {1 << 40}" in found.words and "ulimit" in found.words


def test_words() -> None:
    """What is, what is wanted, what to do."""
    found = DescriptorLimit(soft=4096, hard=4096, wanted=65_536)
    assert found.shortfall == 61_440
    assert found.words.startswith(
        "RLIMIT_NOFILE: 4096, wanted 65536, the system allows 4096; raise it with LimitNOFILE"
    )
