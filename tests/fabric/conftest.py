"""What the stories of this folder share."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import processes, pytest_runtest_makereport
from tests.fabric.network import Network, NoNamespaces

__all__ = ["network", "processes", "pytest_runtest_makereport"]

_PROGRAMS = ("unshare", "nsenter", "setpriv", "ip", "ss", "iptables")


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """A network without hosts; skips, with words, where this machine cannot have one."""
    missing = [name for name in _PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"no network namespaces without {', '.join(missing)}")
    try:
        made = Network()
        host = made.host("probe")
        host.lossy(0.5)
        host.heal()
        host.run("iptables -w -t nat -L")
    except NoNamespaces as error:
        pytest.skip(f"no network namespaces here: {error}")
    with made:
        yield made
