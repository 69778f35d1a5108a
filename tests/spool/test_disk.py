"""The real disk and the one in memory keep the same contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from peerwatch.errors import ConfigError, CorruptionError, StoreError
from peerwatch.spool import Disk
from peerwatch.testing.disk import MemoryDisk, PowerCut


@pytest.fixture(params=[Disk, lambda folder: MemoryDisk()], ids=["real", "memory"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    make: Callable[[Path], Disk] = request.param
    made = make(tmp_path / "a" / "b")
    made.prepare()
    yield made
    made.close()


def test_what_is_written_can_be_read(disk: Disk) -> None:
    """At any offset, over what was there, and short at the end of the file."""
    disk.write("one", 0, b"hello")
    disk.write("one", 3, b"p me")
    disk.sync("one")
    disk.sync_folder()
    assert (disk.read("one", 0, 99), disk.read("one", 4, 2), disk.read("one", 50, 1)) == (b"help me", b" m", b"")
    assert (disk.size("one"), disk.names()) == (7, ["one"])


def test_a_file_can_be_cut_and_grow_again(disk: Disk) -> None:
    """What is behind the cut is gone."""
    disk.write("one", 0, b"hello")
    disk.truncate("one", 2)
    disk.write("one", 2, b"y")
    assert disk.read("one", 0, 99) == b"hey"


def test_a_rename_replaces(disk: Disk) -> None:
    """The new name has the new content, also for whoever just read the old."""
    disk.write("one", 0, b"old")
    disk.read("one", 0, 3)
    disk.write("two", 0, b"new")
    disk.rename("two", "one")
    disk.write("two", 0, b"other")
    assert (disk.names(), disk.read("one", 0, 9), disk.read("two", 0, 9)) == (["one", "two"], b"new", b"other")


def test_a_removed_file_is_gone(disk: Disk) -> None:
    """Removing twice is fine; reading it is a loss, anything else an error; a new one of that name starts empty."""
    disk.write("one", 0, b"hello")
    disk.read("one", 0, 1)
    disk.remove("one")
    disk.remove("one")
    with pytest.raises(CorruptionError, match="one: No such file"):
        disk.read("one", 0, 1)
    for call in (lambda: disk.size("one"), lambda: disk.rename("one", "two")):
        with pytest.raises(StoreError, match="one: No such file"):
            call()
    disk.write("one", 0, b"x")
    assert disk.read("one", 0, 9) == b"x"


def test_the_folder_has_one_owner(tmp_path: Path) -> None:
    """The lock lasts until close."""
    first, second = Disk(tmp_path), Disk(tmp_path)
    first.prepare()
    first.prepare()
    with pytest.raises(ConfigError, match="in use by another process"):
        second.prepare()
    first.close()
    second.prepare()
    second.close()


def open_descriptors() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    """Whatever was read, written, renamed and removed, close lets go of all."""
    before = open_descriptors()
    disk = Disk(tmp_path)
    disk.prepare()
    for name in ("a", "b", "c"):
        disk.write(name, 0, b"x")
        disk.read(name, 0, 1)
    disk.rename("c", "b")
    disk.remove("a")
    disk.close()
    assert open_descriptors() == before


def test_a_folder_that_cannot_be_is_an_error_of_ours(tmp_path: Path) -> None:
    """The message names the folder and why."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match=r"open .*/file/spool: Not a directory"):
        Disk(tmp_path / "file" / "spool").prepare()


def test_a_power_cut_keeps_what_was_synced() -> None:
    """Synced bytes under a synced name are there, whatever else is lost."""
    for seed in range(50):
        disk = MemoryDisk()
        disk.write("one", 0, b"safe")
        disk.sync("one")
        disk.sync_folder()
        disk.write("one", 4, b"maybe")
        disk.write("two", 0, b"maybe")
        disk.cut_in = 0
        with pytest.raises(PowerCut):
            disk.rename("two", "three")
        with pytest.raises(PowerCut):
            disk.names()
        disk.restart(Random(seed))
        assert disk.read("one", 0, 4) == b"safe"
        assert b"safemaybe".startswith(disk.read("one", 0, 99).rstrip(b"\0"))
