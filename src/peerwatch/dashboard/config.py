"""Config of the dashboard."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

STATIC_DIR = Path(__file__).parent / "static"


@dataclass(frozen=True, slots=True)
class Config:
    """Every number of the dashboard. The defaults serve one hub with some dozens of people looking at it."""

    static_dir: Path = STATIC_DIR
    """Where the built page lies; `make web` fills it."""

    instance: str = ""
    """The instance a visitor sees first. Empty: the first of the fleet."""

    job: str = "node"
    """The job of host metrics; a hub gives it to what its agents say about themselves."""

    max_clients: int = 64
    """Live streams open at once. A browser tab is one; the 65th is told to come back."""

    max_topics: int = 64
    """Distinct (instance, range) pairs kept alive; one beyond that ends the one that has been idle longest."""

    queue_messages: int = 8
    """Messages waiting for one client. Forty seconds at 5 s ticks: longer ago, the newest matter more."""

    resume_ticks: int = 60
    """Ticks kept per topic for who comes back: five minutes at 5 s, about 3 KiB each."""

    linger_s: float = 30.0
    """How long a topic without clients goes on, so that a phone that changes its network misses nothing."""

    heartbeat_s: float = 10.0
    """Silence after which a client is sent a ping. Below the 30-60 s after which proxies close a quiet connection."""

    min_tick_s: float = 1.0
    """Two evaluations are at least this far apart: a thousand agents change something all the time."""

    max_quiet_s: float = 5.0
    """An evaluation happens at least this often, so that a dead agent shows as a gap and not as a frozen line."""

    fleet_every_s: float = 10.0
    """How often the fleet list is sent when it is long; up to `short_fleet` rows go with every tick."""

    short_fleet: int = 50
    max_fleet_rows: int = 1000
    """Rows of the fleet list; what is beyond them is a number under the list."""

    max_series_per_query: int = 32
    """Series of one query of a panel: those with the highest values stay, the rest is counted and said."""

    query_deadline_s: float = 10.0
    parallel_queries: int = 4
    """Queries that all requests together have running at once. Live ticks have their own place: nobody's
    seven days of history may hold them up."""

    max_history_requests: int = 8
    """History requests served at once; the ninth is told to come back."""
