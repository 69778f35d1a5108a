"""Descriptors: how many files this process may hold open, raised as far as the system allows (requirement B106)."""

from __future__ import annotations

import resource
from contextlib import suppress
from dataclasses import dataclass

WANTED = 65_536  # B106; a hub of 5,000 agents needs 8,192, and the same process may serve HTTP


@dataclass(frozen=True, slots=True)
class DescriptorLimit:
    """What was found, wanted and reached. Never fatal: the node runs with fewer, and says so."""

    soft: int
    hard: int
    wanted: int

    @property
    def shortfall(self) -> int:
        """How many are missing; 0 when there are enough."""
        return max(0, self.wanted - self.soft)

    @property
    def words(self) -> str:
        """What an operator must know; empty when there are enough."""
        if not self.shortfall:
            return ""
        return (
            f"RLIMIT_NOFILE: {self.soft}, wanted {self.wanted}, the system allows {self.hard}; raise it with "
            f"LimitNOFILE={self.wanted} (systemd), ulimit -n {self.wanted} or --ulimit nofile (containers)"
        )


def decide_soft_limit(soft: int, hard: int, wanted: int) -> int:
    """The soft limit to set: never lower than it is, never above what is wanted, within the hard one."""
    if soft == resource.RLIM_INFINITY:
        return soft
    allowed = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    return max(soft, allowed)


def raise_descriptor_limit(wanted: int = WANTED) -> DescriptorLimit:
    """Raise this process's soft limit towards `wanted`, and say what came of it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = decide_soft_limit(soft, hard, wanted)
    if target != soft:
        with suppress(ValueError, OSError):  # macOS caps below the hard limit it names; what is had is told below
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return DescriptorLimit(_countable(soft), _countable(hard), wanted)


def _countable(limit: int) -> int:
    """Infinity as a number that compares as one."""
    return (1 << 63) - 1 if limit == resource.RLIM_INFINITY else limit
