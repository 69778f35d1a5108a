"""The extra without a compiler is libp2p's own list, but for the one package that has no wheel."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import requires, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement

pytestmark = pytest.mark.p2p

_PYPROJECT = Path(__file__).parents[3] / "pyproject.toml"
_OURS = ["wsproto>=1.2"]  # libp2p brings it by another package of its list; we import it ourselves
_ENVIRONMENT = {"python_version": "3.11", "sys_platform": "linux", "extra": ""}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _extras() -> dict[str, list[str]]:
    extras: dict[str, list[str]] = tomllib.loads(_PYPROJECT.read_text())["project"]["optional-dependencies"]
    return extras


def test_the_installed_libp2p_is_the_one_that_was_tested() -> None:
    """The patches are for one version."""
    assert _extras()["p2p"] == [f"libp2p=={version('libp2p')}", *_OURS]


def test_whatever_libp2p_asks_for_is_asked_for() -> None:
    """A list that is written twice is compared: name by name, and no limit is looser than libp2p's."""
    asked = [Requirement(line) for line in requires("libp2p") or ()]
    theirs = {_canonical(one.name): one for one in asked if not one.marker or one.marker.evaluate(_ENVIRONMENT)}
    base = {"anyio", "pynacl"}  # the base install has them
    listed = _extras()["p2p-wheels"]
    assert set(_OURS) <= set(listed)
    ours = {_canonical(one.name): one for one in map(Requirement, listed) if str(one) not in _OURS}
    assert ours.keys() | base == theirs.keys()
    differing = {name for name, one in ours.items() if not set(theirs[name].specifier) <= set(one.specifier)}
    assert differing == {"fastecdsa", "protobuf"}  # protobuf's lower limit is our own generated code's
