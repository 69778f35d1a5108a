"""Spool: what is taken is delivered to every receiver, across outages and crashes, within bounds on disk and memory."""

from peerwatch.spool.config import SpoolConfig
from peerwatch.spool.disk import Disk
from peerwatch.spool.position import Position
from peerwatch.spool.reader import SpoolReader
from peerwatch.spool.spool import Spool
from peerwatch.spool.spooled import SpooledEnvelope
from peerwatch.spool.stats import Pending, SpoolStats

__all__ = ["Disk", "Pending", "Position", "Spool", "SpoolConfig", "SpoolReader", "SpoolStats", "SpooledEnvelope"]
