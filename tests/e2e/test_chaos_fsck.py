"""Flipped bytes on disk: fsck names the files, sets aside what is damaged, and everything else stays as it was."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from tests.e2e.fleet import Fleet, finish, undelivered
from tests.e2e.processes import Processes

pytestmark = [pytest.mark.e2e, pytest.mark.chaos]
AGENTS = [f"c{number:02d}" for number in range(20)]


def _flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 0x55]))


def _largest(folder: Path, pattern: str) -> Path:
    return max(folder.glob(pattern), key=lambda path: path.stat().st_size)


@pytest.mark.parametrize("where", ["blocks/*.blk", "wal/*.wal"])
def test_fsck_finds_and_isolates_flipped_bytes_and_other_data_is_intact(processes: Processes, where: str) -> None:
    """No answer is wrong, twice or invented; less than half is lost; a second look finds nothing."""
    extra = {"PEERWATCH_STORE_FLUSH_INTERVAL_S": "4" if where.startswith("blocks") else "600"}
    fleet = Fleet(processes, extra)
    hub = fleet.start_hub()
    fleet.wait_alive(hub)
    pusher = fleet.push(AGENTS, interval_s=0.3)
    time.sleep(14)  # three flushes
    assert undelivered(finish(pusher)) == {}
    assert fleet.compare().good
    hub.kill()
    store = fleet.folder / "store"
    shutil.copytree(store, processes.folder / "untouched")
    clean = processes.run("fsck", "--data", str(fleet.folder))
    assert (clean.returncode, "nothing is damaged" in clean.stdout) == (0, True), clean
    victim = _largest(store, where)
    _flip(victim, victim.stat().st_size // 3)
    found = processes.run("fsck", "--data", str(fleet.folder))
    assert found.returncode == 1 and victim.name in found.stdout, found
    repaired = processes.run("fsck", "--repair", "--data", str(fleet.folder))
    assert victim.name in repaired.stdout, repaired
    again = processes.run("fsck", "--data", str(fleet.folder))
    assert again.returncode == 0, again
    hub = fleet.start_hub()
    fleet.wait_alive(hub)
    verdict = fleet.compare()
    print(f"{where}: acknowledged={verdict.wanted} lost with the damaged part={len(verdict.lost)}")  # noqa: T201
    assert not (verdict.wrong or verdict.twice or verdict.unknown), verdict
    assert 0 < len(verdict.lost) < verdict.wanted / 2
    assert hub.stop(10) == 0


def test_a_damaged_store_still_answers_and_never_with_wrong_values(processes: Processes) -> None:
    """Without any repair: a hub that meets the damage at run time goes on with what is good and says what is not."""
    fleet = Fleet(processes, {"PEERWATCH_STORE_FLUSH_INTERVAL_S": "4"})
    hub = fleet.start_hub()
    fleet.wait_alive(hub)
    pusher = fleet.push(AGENTS, interval_s=0.3)
    time.sleep(10)
    assert undelivered(finish(pusher)) == {}
    hub.kill()
    victim = _largest(fleet.folder / "store", "blocks/*.blk")
    _flip(victim, victim.stat().st_size // 3)
    hub = fleet.start_hub()
    fleet.wait_alive(hub)
    verdict = fleet.compare()
    assert not (verdict.wrong or verdict.twice or verdict.unknown), verdict
    assert len(verdict.lost) < verdict.wanted
    assert fleet.is_ready(), "what comes in now can be stored"
    assert hub.stop(10) == 0
