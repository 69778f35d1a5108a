"""What the dashboard's tests share."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.dashboard.chromium import CHROMIUM, FLAGS, build_page, hub

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture
def anyio_backend() -> str:
    """Hub code runs on asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A Chromium, with the page built for it."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright, without browsers")
    build_page()
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        found.close()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A hub of the module's own."""
    with hub() as (address, _):
        yield address
