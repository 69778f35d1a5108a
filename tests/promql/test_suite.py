"""PromQL scripts: our own, and Prometheus's conformance suite where it is at hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from peerwatch.query.options import EngineOptions
from tests.promql.runner.run import SUITE_OPTIONS, run_script
from tests.promql.table import OWN, suite_folder, suite_scripts

SUITE = suite_scripts()


def check(path: Path, options: EngineOptions) -> None:
    """Every case passes."""
    problems = {
        outcome.case.name: f"{outcome.case.expr}: {outcome.problem}"
        for outcome in run_script(path, options)
        if outcome.problem is not None
    }
    assert problems == {}


@pytest.mark.parametrize("path", sorted(OWN.glob("*.test")), ids=lambda path: path.name)
def test_own_script(path: Path) -> None:
    """Every case of our own scripts passes, on an engine with a server's defaults."""
    check(path, EngineOptions())


@pytest.mark.skipif(not SUITE, reason=f"no scripts in {suite_folder()} (set PROMQLTEST_DIR)")
@pytest.mark.parametrize("path", SUITE, ids=lambda path: path.name)
def test_conformance_script(path: Path) -> None:
    """Prometheus's own suite passes, every case of every class."""
    check(path, SUITE_OPTIONS)
