"""The textfile folder: node_exporter's convention, bounded."""

from __future__ import annotations

import os
from pathlib import Path

from peerwatch.agent.source import Reading
from peerwatch.agent.sources.textfile import TextfileSource


def put(folder: Path, name: str, text: str, mtime_s: int = 1000) -> None:
    path = folder / name
    path.write_text(text)
    os.utime(path, (mtime_s, mtime_s))


def shown(reading: Reading) -> dict[str, float]:
    return {str(s.labels): float(v) for s, v in zip(reading.series, reading.values, strict=True)}


def test_files_are_read_with_their_age(tmp_path: Path) -> None:
    """Every *.prom and nothing else; its modification time tells whether its writer still runs."""
    put(tmp_path, "a.prom", "# HELP backup_bytes Size.\n# TYPE backup_bytes gauge\nbackup_bytes 5\n")
    put(tmp_path, "b.prom", 'jobs{q="x"} 1\n', 2000)
    put(tmp_path, "c.prom.tmp", "half ")
    found = TextfileSource(str(tmp_path)).collect(0)
    assert shown(found) == {
        "node_textfile_scrape_error": 0,
        f'node_textfile_mtime_seconds{{file="{tmp_path}/a.prom"}}': 1000,
        f'node_textfile_mtime_seconds{{file="{tmp_path}/b.prom"}}': 2000,
        "backup_bytes": 5,
        'jobs{q="x"}': 1,
    }
    assert [s.help for s in found.series[-2:]] == ["Size.", f"Metric read from {tmp_path}/b.prom"]


def test_only_what_changed_is_read_again(tmp_path: Path) -> None:
    """An unchanged folder gives the identical tuple; new values come with a new modification time."""
    put(tmp_path, "a.prom", "x 1\n")
    source = TextfileSource(str(tmp_path))
    first = source.collect(0)
    put(tmp_path, "a.prom", "x 2\n")  # same time and size: not noticed, as the kernel says nothing changed
    assert shown(source.collect(0))["x"] == 1
    assert source.collect(0).series is first.series
    put(tmp_path, "a.prom", "x 3\n", 1001)
    assert shown(source.collect(0))["x"] == 3
    (tmp_path / "a.prom").unlink()
    assert shown(source.collect(0)) == {"node_textfile_scrape_error": 0}


def test_a_bad_file_is_left_out_and_the_others_stay(tmp_path: Path) -> None:
    """Nonsense, timestamps, too much, a pipe, a folder: the error is 1 and the good file is there."""
    put(tmp_path, "good.prom", "x 1\n")
    good = {
        "node_textfile_scrape_error": 1.0,
        f'node_textfile_mtime_seconds{{file="{tmp_path}/good.prom"}}': 1000.0,
        "x": 1.0,
    }
    for text in ("nonsense", "a 1 1000\n", "a 1\n" * 300_000):
        put(tmp_path, "bad.prom", text)
        assert shown(TextfileSource(str(tmp_path)).collect(0)) == good
    (tmp_path / "bad.prom").unlink()
    os.mkfifo(tmp_path / "pipe.prom")
    assert shown(TextfileSource(str(tmp_path)).collect(0)) == good
    (tmp_path / "pipe.prom").unlink()
    (tmp_path / "folder.prom").mkdir()
    assert shown(TextfileSource(str(tmp_path)).collect(0)) == good


def test_a_bad_file_that_is_mended_comes_back(tmp_path: Path) -> None:
    """The error goes away with its cause."""
    put(tmp_path, "a.prom", "nonsense")
    source = TextfileSource(str(tmp_path))
    assert shown(source.collect(0)) == {"node_textfile_scrape_error": 1}
    put(tmp_path, "a.prom", "x 1\n", 1001)
    assert shown(source.collect(0))["x"] == 1


def test_the_folder_is_bounded(tmp_path: Path) -> None:
    """Too many files or series: the first ones in order are kept, and the error says so."""
    for at in range(260):
        put(tmp_path, f"{at:03}.prom", f"x{at} 1\n")
    found = shown(TextfileSource(str(tmp_path)).collect(0))
    assert found["node_textfile_scrape_error"] == 1 and "x255" in found and "x256" not in found
    for path in tmp_path.iterdir():
        path.unlink()
    for at in range(3):
        put(tmp_path, f"{at}.prom", "".join(f'y{{f="{at}",i="{i}"}} 1\n' for i in range(9000)))
    assert len(TextfileSource(str(tmp_path)).collect(0).series) == 1 + 2 + 18_000


def test_no_folder_is_an_error_value(tmp_path: Path) -> None:
    """A folder that is not there is told by the metric, as node_exporter does."""
    assert shown(TextfileSource(str(tmp_path / "gone")).collect(0)) == {"node_textfile_scrape_error": 1}
