"""What all tests share: in CI nothing skips silently, and generated examples are the same in each run."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("ci", derandomize=True, print_blob=True)
if os.environ.get("PEERWATCH_CI") == "1":  # a change is judged by what it changed, not by luck
    settings.load_profile("ci")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Where PEERWATCH_CI=1 a skipped test has failed: everything it needs was to be installed."""
    report: pytest.TestReport = yield  # type: ignore[assignment, misc]
    if os.environ.get("PEERWATCH_CI") == "1" and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
    return report  # type: ignore[return-value]


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """The same for a module that skips as a whole."""
    report: pytest.CollectReport = yield  # type: ignore[assignment, misc]
    if os.environ.get("PEERWATCH_CI") == "1" and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
    return report  # type: ignore[return-value]
