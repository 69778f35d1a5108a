"""The build driver's decisions, and what the lock file must not hold."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

WEB = Path(__file__).parents[2] / "web"


@pytest.fixture(scope="module")
def build() -> ModuleType:
    """web/build.py, which is no part of the package."""
    spec = importlib.util.spec_from_file_location("web_build", WEB / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_the_digest_follows_names_and_contents_of_sources_only(build: ModuleType, tmp_path: Path) -> None:
    """A changed, renamed or new source makes another build; what the build itself makes does not."""
    source = tmp_path / "src" / "a.ts"
    source.parent.mkdir()
    source.write_text("1")
    first = build.source_digest(tmp_path)
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "x.js").write_text("x")
    assert build.source_digest(tmp_path) == first
    source.write_text("2")
    changed = build.source_digest(tmp_path)
    source.rename(source.with_name("b.ts"))
    assert len({first, changed, build.source_digest(tmp_path)}) == 3


def test_a_page_is_current_when_made_from_these_sources(build: ModuleType, tmp_path: Path) -> None:
    """Neither a stamp without a page nor a page of other sources will do."""
    (tmp_path / build.STAMP).write_text("abc")
    assert not build.is_current(tmp_path, "abc")
    (tmp_path / "index.html").write_text("")
    assert build.is_current(tmp_path, "abc")
    assert not build.is_current(tmp_path, "def")


def test_a_new_build_takes_the_place_of_the_old(build: ModuleType, tmp_path: Path) -> None:
    """Nothing of the old page is left, also when there was none."""
    target, staging = tmp_path / "static", tmp_path / "work" / "staging"
    for name in ("one.js", "two.js"):
        staging.mkdir(parents=True)
        (staging / name).write_text("")
        build.replace(target, staging)
        assert [path.name for path in target.iterdir()] == [name]
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize(
    ("version", "parsed"), [("20.19.1", (20, 19)), ("24.0.0", (24, 0)), ("", (0, 0)), ("unknown", (0, 0))]
)
def test_versions_are_compared_as_numbers(build: ModuleType, version: str, parsed: tuple[int, int]) -> None:
    """20.9 is older than 20.19, and what is no version is the oldest."""
    assert build.parse_version(version) == parsed


def test_packed_files_are_the_same_each_time(build: ModuleType, tmp_path: Path) -> None:
    """The same sources make the same bytes."""
    (tmp_path / "a.js").write_text("let a = 1;" * 50)
    build.compress(tmp_path)
    first = (tmp_path / "a.js.gz").read_bytes()
    build.compress(tmp_path)
    assert (tmp_path / "a.js.gz").read_bytes() == first
    assert not (tmp_path / "a.js.gz.gz").exists()


def test_a_command_that_fails_is_told_with_what_it_said(build: ModuleType) -> None:
    """The reason reaches the person who ran the build."""
    with pytest.raises(build.BuildError, match=r"step ended with 3:\nno room"):
        build.run([sys.executable, "-c", "import sys; print('no room'); sys.exit(3)"], None, 30, "step")


def test_the_lock_file_names_no_registry() -> None:
    """Packages are pinned by version and hash; where they come from is the installer's business."""
    packages = json.loads((WEB / "package-lock.json").read_text())["packages"]
    assert [name for name, package in packages.items() if "resolved" in package] == []
    assert [name for name, package in packages.items() if name and "integrity" not in package] == []
