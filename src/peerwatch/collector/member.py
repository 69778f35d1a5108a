"""MemberState: what the collector remembers of one sender between its batches."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from peerwatch.collector.bucket import TokenBucket
from peerwatch.collector.config import CollectorConfig
from peerwatch.collector.series_quota import SeriesQuota
from peerwatch.fleet.roster import RosterEntry
from peerwatch.model import Int64Array, Layout
from peerwatch.wire.envelope import Header
from peerwatch.wire.identity import Verifier

LayoutKey = tuple[bytes, str, str]
"""(schema id, job, target): what a block says of its series."""


@dataclass(frozen=True, slots=True)
class SenderLayout:
    """A store's layout for one sender, and the fingerprints by which its quota counts the series."""

    layout: Layout
    prints: Int64Array


class MemberState:
    """Owned by the collector's event loop; there is one per active member, so the roster bounds how many."""

    __slots__ = (
        "behind_batches",
        "bucket",
        "entry",
        "epoch",
        "last_seen_ms",
        "layouts",
        "name",
        "newest_ms",
        "quota",
        "refused",
        "seq",
        "verifier",
    )

    def __init__(self, entry: RosterEntry, config: CollectorConfig, now_s: float) -> None:
        self.entry = entry
        self.name = entry.name
        self.verifier = Verifier(entry.signing_key)
        self.bucket = TokenBucket(config.burst_bytes, config.max_bytes_per_s, now_s)
        self.quota = SeriesQuota(
            config.max_series_per_sender, config.max_new_series_per_hour, config.max_layouts_per_sender, now_s
        )
        self.layouts: OrderedDict[LayoutKey, SenderLayout] = OrderedDict()
        self.epoch = 0
        self.seq = -1
        self.newest_ms = 0
        self.last_seen_ms = 0
        self.behind_batches = 0
        self.refused = 0

    def remember_layout(self, key: LayoutKey, layout: SenderLayout, limit: int) -> None:
        """Keep a layout; the least recently used goes when there are more than `limit`."""
        self.layouts[key] = layout
        self.layouts.move_to_end(key)
        if len(self.layouts) > limit:
            self.layouts.popitem(last=False)

    def used_layout(self, key: LayoutKey) -> None:
        """It is wanted, so others go first."""
        if key in self.layouts:
            self.layouts.move_to_end(key)

    def saw(self, header: Header, newest_ms: int, now_ms: int) -> None:
        """Note a stored batch. Back-fill tells of the past, so only the newest number says how far behind it is."""
        self.last_seen_ms = now_ms
        self.newest_ms = max(self.newest_ms, newest_ms)
        if (header.epoch, header.seq) < (self.epoch, self.seq):
            return
        self.epoch, self.seq = header.epoch, header.seq
        same_epoch = header.floor_epoch == header.epoch
        self.behind_batches = header.seq - (header.floor_seq if same_epoch else 0)


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """One line of `peerwatch agents`. Times are UTC milliseconds, 0 where nothing has come since the hub started.

    `since_ms` is when the agent's process started; `behind_batches` how many batches of this run it had not delivered
    when it made the newest one.
    """

    name: str
    peer_id: str
    roles: tuple[str, ...]
    revoked: bool
    up: bool
    since_ms: int
    last_seen_ms: int
    newest_sample_ms: int
    behind_batches: int
    active_series: int
    refused_batches: int
