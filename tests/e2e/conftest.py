"""What the stories share."""

from __future__ import annotations

import subprocess
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


_TMPFS_BYTES = 48 << 20
_MOUNT = (
    "unshare",
    "--user",
    "--map-root-user",
    "--mount",
    "sh",
    "-c",
    f'mkdir -p "$0" && mount -t tmpfs -o size={_TMPFS_BYTES} tmpfs "$0" && exec "$@"',
)


@pytest.fixture
def tmpfs(tmp_path: Path) -> tuple[str, ...]:
    """The start of a command: a folder and a program follow, which then sees a small file system of its own there."""
    folder = tmp_path / "probe"
    done = subprocess.run([*_MOUNT, str(folder), "true"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no small file system to be had: {done.stderr.strip()}")
    return _MOUNT


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failed story shows what its processes printed and logged."""
    report: pytest.TestReport = yield  # type: ignore[assignment, misc]
    if report.failed and _PROCESSES in item.stash:
        report.sections += item.stash[_PROCESSES].logs()
    return report  # type: ignore[return-value]
