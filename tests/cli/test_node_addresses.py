"""What a node says of where it listens, where that cannot be kept."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest
from structlog.testing import capture_logs

from peerwatch.cli import node_process
from peerwatch.cli.node_process import NodeProcess
from peerwatch.errors import StoreError
from peerwatch.fleet.authority import Authority
from peerwatch.model import SystemClock
from peerwatch.node.start import NodeStart

pytest.importorskip("libp2p", reason="the extra p2p is not installed: make p2p")
pytestmark = pytest.mark.p2p


@pytest.mark.parametrize(
    "trouble", [StoreError("cannot write membership.bin: no space left"), OSError("no space left")]
)
def test_a_full_disk_does_not_cost_the_node_its_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    """It is logged once, and its addresses are passed on again at each look until they are kept; then no more."""
    monkeypatch.setattr(node_process, "_ALIVE_S", 0.2)
    authority = Authority.open(tmp_path / "fleet", "hub", SystemClock())
    key = str(tmp_path / "fleet" / "peer.key")
    start = NodeStart(str(tmp_path), key, "agent", ("/ip4/127.0.0.1/tcp/0",), (), False, 0, (), (), "info", True)
    told: list[Sequence[str]] = []
    lives = set[int]()

    def keep(addresses: Sequence[str]) -> None:
        told.append(addresses)
        lives.add(process.pid)
        if len(told) < 4:
            raise trouble

    process = NodeProcess(start, lambda: authority.membership.roster, SystemClock(), on_addresses=keep)

    async def story() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(process.run)
            with anyio.fail_after(60):
                while len(told) < 4:  # noqa: ASYNC110  # bounded above
                    await anyio.sleep(0.05)
            await anyio.sleep(2.5)  # two looks more
            tasks.cancel_scope.cancel()

    with capture_logs() as logs:
        anyio.run(story)
    assert len(told) == 4 and len(lives) == 1
    assert [one["reason"] for one in logs if one["event"] == "addresses of the libp2p node not kept"] == [str(trouble)]
    assert not [one for one in logs if one["event"] == "libp2p node down"]
