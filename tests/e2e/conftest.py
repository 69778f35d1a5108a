"""What the stories share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.processes import Processes

_PROCESSES = pytest.StashKey[Processes]()


@pytest.fixture
def processes(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Processes]:
    """Processes in a folder of their own; all of them are gone when the test ends."""
    made = Processes(tmp_path)
    request.node.stash[_PROCESSES] = made
    yield made
    made.end_all()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failed story shows what its processes printed and logged."""
    report: pytest.TestReport = yield  # type: ignore[assignment, misc]
    if report.failed and _PROCESSES in item.stash:
        report.sections += item.stash[_PROCESSES].logs()
    return report  # type: ignore[return-value]
