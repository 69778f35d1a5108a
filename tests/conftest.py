"""What all tests share: in CI nothing skips silently."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Where PEERWATCH_CI=1 a skipped test has failed: everything it needs was to be installed."""
    report: pytest.TestReport = yield  # type: ignore[assignment, misc]
    if os.environ.get("PEERWATCH_CI") == "1" and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
    return report  # type: ignore[return-value]


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """The same for a module that skips as a whole."""
    if os.environ.get("PEERWATCH_CI") == "1" and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
