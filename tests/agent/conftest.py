"""Fixtures of the shipping tests."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.agent.ship_kit import World


@pytest.fixture
def make_world(tmp_path: Path) -> Callable[..., World]:
    """An agent and a hub with any settings."""

    def make(**settings: Any) -> World:
        return World(tmp_path, **settings)

    return make


@pytest.fixture
def world(make_world: Callable[..., World]) -> World:
    """An agent and a hub with the default settings."""
    return make_world()


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Trouble is logged; a test that means to see that looks itself."""
    with capture_logs():
        yield
