"""docs/reference.md is what the code says: no setting, command, endpoint or own metric is undocumented."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_reference_is_up_to_date() -> None:
    """It equals what `python docs/make_reference.py` writes, which ends with an error for what has no description."""
    done = subprocess.run(
        [sys.executable, "docs/make_reference.py", "--check"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, f"run python docs/make_reference.py\n{done.stdout[-3000:]}{done.stderr[-1000:]}"
