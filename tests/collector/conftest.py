"""Fixtures of the collector's tests."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.collector.kit import Hub


@pytest.fixture
def make_hub(tmp_path: Path) -> Callable[..., Hub]:
    """A hub with any settings."""

    def make(**settings: Any) -> Hub:
        return Hub(tmp_path / "hub", **settings)

    return make


@pytest.fixture
def hub(make_hub: Callable[..., Hub]) -> Hub:
    """A hub with the default settings."""
    return make_hub()


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Refusals are logged; a test that means to see that looks itself."""
    with capture_logs():
        yield
