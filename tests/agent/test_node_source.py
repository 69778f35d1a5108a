"""The node beside an agent, sampled: its page becomes series of a job of its own, within limits."""

from __future__ import annotations

import threading

import anyio
import anyio.lowlevel
import pytest
from structlog.testing import capture_logs

from peerwatch.agent.config import AgentConfig
from peerwatch.agent.sources.node import NODE_JOB, NodeSource
from peerwatch.agent.tick import TickMerger
from peerwatch.cli.node_page import NodePage
from peerwatch.errors import DecodeError, LinkError
from peerwatch.wire.exposition import ExpositionParser
from tests.agent.shapes import shown
from tests.agent.test_agent import ONE_LANE, START_MS, Story

PAGE = b'libp2p_connections_active{direction="inbound"} 3\nprocess_open_fds 40\n'


class Pages:
    """One page after the other; an exception is raised."""

    def __init__(self, *pages: bytes | Exception) -> None:
        self._pages = list(pages)

    def __call__(self) -> bytes:
        page = self._pages.pop(0) if len(self._pages) > 1 else self._pages[0]
        if isinstance(page, Exception):
            raise page
        return page


def test_a_node_that_is_down_ends_its_series() -> None:
    """Each with one stale marker; `peerwatch_node_up` says so, and all comes back with the node."""
    source, merger = NodeSource(Pages(PAGE, LinkError("down"), LinkError("down"), PAGE)), TickMerger(1)
    full = {"peerwatch_node_up": 1, 'libp2p_connections_active{direction="inbound"}': 3, "process_open_fds": 40}
    ticks = [shown(merger.merge(at, 1000, [source.collect(at)])) for at in range(4)]
    assert ticks[0] == ticks[3] == full
    assert ticks[1] == dict.fromkeys(full, "stale") | {"peerwatch_node_up": 0}
    assert ticks[2] == {"peerwatch_node_up": 0}


def test_what_is_said_of_a_node_is_news() -> None:
    """Not that it is still starting, and each change once."""
    down = LinkError("down")
    source = NodeSource(Pages(down, PAGE, down, down, PAGE))
    with capture_logs() as logs:
        for at in range(5):
            source.collect(at)
    assert [one["event"] for one in logs] == ["node does not answer", "node answers again"]


@pytest.mark.parametrize("page", [b"libp2p_x 1 2 3 4\n", b"".join(b"a_%d 1\n" % n for n in range(2_001))])
def test_a_page_that_is_none_or_too_long_is_refused(page: bytes) -> None:
    """The node faces the network: a stranger who took it over cannot fill the hub with series."""
    with pytest.raises(DecodeError):
        NodeSource(Pages(page)).collect(0)


def test_the_nodes_series_are_a_job_of_their_own() -> None:
    """At every third sampling, in a block apart; on the agent's own page without what the node says of its process."""
    story = Story(AgentConfig(phase=0.0, sources=ONE_LANE), lanes=2, node=Pages(PAGE))
    blocks = [block for batch in story.run(40) for block in batch.blocks if block.job == NODE_JOB]
    times_s = [(time - START_MS) // 1000 for block in blocks for time in block.matrix.times_ms.tolist()]
    assert times_s == [0, 10, 25, 40]  # at once, then on the grid of all clocks
    found = ExpositionParser().parse(story.agent.exposition())
    values = {str(series.labels): float(value) for series, value in zip(found.series, found.values, strict=True)}
    assert values['libp2p_connections_active{direction="inbound"}'] == 3
    assert values["process_open_fds"] != 40


def test_a_thread_asks_the_node_through_the_event_loop() -> None:
    """While it runs; before and after, and where the node fails, it is told so."""
    loop = threading.get_ident()

    async def ask() -> bytes:
        return b"same thread" if threading.get_ident() == loop else b"other thread"

    async def story() -> None:
        page = NodePage(ask)
        with pytest.raises(LinkError):
            await anyio.to_thread.run_sync(page)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(page.run)
            await anyio.lowlevel.checkpoint()
            assert await anyio.to_thread.run_sync(page) == b"same thread"
            tasks.cancel_scope.cancel()
        with pytest.raises(LinkError):
            await anyio.to_thread.run_sync(page)

    anyio.run(story)
