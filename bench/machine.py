"""Machine: where and when a benchmark ran, in one line for its table."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime


def machine() -> str:
    """Date, cores, load of others, kernel, Python."""
    load = os.getloadavg()[0]
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC · {os.cpu_count()} cores, load {load:.1f} before the run · "
        f"Linux {platform.release()} · Python {platform.python_version()}"
    )


def command_line() -> str:
    """The command that was run."""
    return "python -m bench " + " ".join(sys.argv[1:])
