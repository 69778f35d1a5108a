"""PromQL scripts: our own, and Prometheus's conformance suite where it is at hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from peerwatch.query.options import EngineOptions
from tests.promql.runner.run import SUITE_OPTIONS, run_script
from tests.promql.table import OWN, suite_folder, suite_scripts

KNOWN = OWN / "known_failures.txt"
SKIPPED_CLASSES = {"E": "native histograms are neither stored nor evaluated yet"}

SUITE = suite_scripts()


def known_failures(file: str) -> set[str]:
    """The cases of a script that are known to fail: file:line, one per line of the list."""
    names = [line.split("#")[0].strip() for line in KNOWN.read_text().splitlines()]
    return {name for name in names if name.startswith(f"{file}:")}


def check(path: Path, options: EngineOptions) -> None:
    """Exactly the known cases fail; one that passes must leave the list."""
    problems = {
        outcome.case.name: f"{outcome.case.expr}: {outcome.problem}"
        for outcome in run_script(path, options)
        if outcome.problem is not None and outcome.kind not in SKIPPED_CLASSES
    }
    assert {name: problem for name, problem in problems.items() if name not in known_failures(path.name)} == {}
    assert known_failures(path.name) - problems.keys() == set()


@pytest.mark.parametrize("path", sorted(OWN.glob("*.test")), ids=lambda path: path.name)
def test_own_script(path: Path) -> None:
    """Every case of our own scripts passes, on an engine with a server's defaults."""
    check(path, EngineOptions())


@pytest.mark.skipif(not SUITE, reason=f"no scripts in {suite_folder()} (set PROMQLTEST_DIR)")
@pytest.mark.parametrize("path", SUITE, ids=lambda path: path.name)
def test_conformance_script(path: Path) -> None:
    """Prometheus's own suite passes but for the cases on the list and the classes we skip as a whole."""
    check(path, SUITE_OPTIONS)
