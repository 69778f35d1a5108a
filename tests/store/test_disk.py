"""The fake disk keeps the same promises as the real one; the real one translates every error."""

from __future__ import annotations

from pathlib import Path

import pytest

from peerwatch.errors import StoreError
from peerwatch.store.disk import Disk
from tests.store.memory_disk import MemoryDisk


@pytest.fixture(params=["real", "memory"])
def disk_and_folder(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Disk, Path]:
    return (Disk(), tmp_path) if request.param == "real" else (MemoryDisk(), Path("/memory"))


def test_what_is_written_is_read(disk_and_folder: tuple[Disk, Path]) -> None:
    """Append, read, cut, extend."""
    disk, folder = disk_and_folder
    file = disk.create(folder / "a")
    disk.write(file, b"hello ")
    disk.write(file, b"world")
    disk.sync(file)
    assert disk.pread(file, 5, 6) == b"world" and disk.pread(file, 50, 6) == b"world"
    disk.truncate(file, 5)
    disk.close(file)
    more = disk.extend(folder / "a")
    disk.write(more, b"!")
    disk.close(more)
    assert disk.read(folder / "a") == b"hello!" and disk.size(folder / "a") == 6


def test_names_move_and_go(disk_and_folder: tuple[Disk, Path]) -> None:
    """Rename replaces, link adds a name to the same bytes, an open file outlives its name."""
    disk, folder = disk_and_folder
    for name in ("a", "b"):
        file = disk.create(folder / name)
        disk.write(file, name.encode())
        disk.close(file)
    disk.rename(folder / "a", folder / "b")
    disk.link(folder / "b", folder / "c")
    disk.sync_folder(folder)
    assert disk.names(folder) == ["b", "c"] and disk.read(folder / "b") == b"a"
    file = disk.open(folder / "b")
    disk.unlink(folder / "b")
    assert disk.names(folder) == ["c"] and disk.pread(file, 1, 0) == b"a" and disk.read(folder / "c") == b"a"
    disk.close(file)


def test_errors_are_store_errors_that_name_the_file(disk_and_folder: tuple[Disk, Path]) -> None:
    """Nobody above the disk meets an OSError."""
    disk, folder = disk_and_folder
    disk.close(disk.create(folder / "a"))
    with pytest.raises(StoreError, match=r"create .*a: File exists"):
        disk.create(folder / "a")
    for use in (disk.open, disk.extend, disk.read, disk.size, disk.unlink):
        with pytest.raises(StoreError, match="missing: No such file"):
            use(folder / "missing")


def test_a_lock_has_one_holder(disk_and_folder: tuple[Disk, Path]) -> None:
    """Until it is given back."""
    disk, folder = disk_and_folder
    held = disk.lock(folder / "lock")
    with pytest.raises(StoreError, match="in use by another peerwatch"):
        disk.lock(folder / "lock")
    disk.close(held)
    disk.close(disk.lock(folder / "lock"))
    assert disk.space(folder).free_bytes > 0
