"""What the dashboard's tests share."""

from __future__ import annotations

import pytest


@pytest.fixture
def anyio_backend() -> str:
    """Hub code runs on asyncio."""
    return "asyncio"
