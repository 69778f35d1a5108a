"""`python -m tests.promql.table [-v]`: how many cases of each class pass."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path

from tests.promql.runner.classes import REASONS
from tests.promql.runner.run import Outcome, run_script

CHECKOUT = Path(__file__).resolve().parents[2]
OWN = CHECKOUT / "tests" / "promql"


def suite_folder() -> Path:
    """Where Prometheus's own scripts are, if anywhere."""
    return Path(os.environ.get("PROMQLTEST_DIR", CHECKOUT.parent / "shared" / "promqltest"))


def suite_scripts() -> list[Path]:
    """The scripts of the conformance suite."""
    return sorted(suite_folder().glob("*.test"))


def table(outcomes: list[Outcome]) -> str:
    """Markdown: passed and failed per class."""
    passed = Counter(one.kind for one in outcomes if one.problem is None)
    failed = Counter(one.kind for one in outcomes if one.problem is not None)
    rows = ["| class | cases | passed | failed | what |", "|---|---:|---:|---:|---|"]
    for kind, reason in REASONS.items():
        total = passed[kind] + failed[kind]
        rows.append(f"| {kind} | {total} | {passed[kind]} | {failed[kind]} | {reason} |")
    return "\n".join(rows)


def main() -> None:
    """Print the table; with -v also what failed."""
    outcomes = [outcome for path in suite_scripts() for outcome in run_script(path)]
    if "-v" in sys.argv:
        shown = set(sys.argv[sys.argv.index("-v") + 1] if sys.argv[-1] != "-v" else "ABCDT")
        for one in outcomes:
            if one.problem is not None and one.kind in shown:
                sys.stdout.write(f"{one.kind} {one.case.name}: {one.case.expr}\n    {one.problem[:300]}\n")
    sys.stdout.write(table(outcomes) + "\n")


if __name__ == "__main__":
    main()
