"""The libp2p node beside this agent: what it says of itself, and what its mesh probes found."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from peerwatch.agent.source import Family, Reading
from peerwatch.errors import LinkError
from peerwatch.model import Series
from peerwatch.telemetry import get_logger
from peerwatch.wire.exposition import ExpositionLimits, ExpositionParser

NODE_JOB = "peerwatch-node"
"""Label `job` of these series: a process of its own, whose `process_*` are not the agent's."""

Page = Callable[[], bytes]
"""The node's metrics as text. Called in a thread, may block. Raises LinkError while the node is down."""

_UP = (Family("peerwatch_node_up", "1 if the libp2p node answered, 0 otherwise.").series(),)
_LIMITS = ExpositionLimits(body_bytes=1 << 20, series=2_000)  # some 150 of its own, 20 for each of 32 partners

_log = get_logger("agent.node")


class NodeSource:
    """One node. While it does not answer `peerwatch_node_up` is 0 and its other series end.

    The node faces the network, so its page is bounded like a stranger's: past a limit the sampling fails.
    """

    def __init__(self, page: Page) -> None:
        self._page = page
        self._parser = ExpositionParser(_LIMITS)
        self._found: tuple[Series, ...] = ()
        self._series: tuple[Series, ...] = _UP
        self._answers: bool | None = None  # it takes a second or two to start, which is no news

    def collect(self, now_ms: int) -> Reading:
        """See `Source`. Raises DecodeError for a page that is none."""
        try:
            found = self._parser.parse(self._page())
        except LinkError as error:
            self._tell(answers=False, reason=str(error))
            return Reading(_UP, np.zeros(1), NODE_JOB)
        self._tell(answers=True)
        if found.series is not self._found:
            self._found = found.series
            self._series = _UP + found.series
        return Reading(self._series, np.concatenate([np.ones(1), found.values]), NODE_JOB)

    def _tell(self, *, answers: bool, reason: str = "") -> None:
        if answers == self._answers or (self._answers is None and not answers):
            return
        if not answers:
            _log.warning("node does not answer", reason=reason)
        elif self._answers is False:
            _log.info("node answers again")
        self._answers = answers
