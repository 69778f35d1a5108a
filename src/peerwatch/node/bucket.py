"""TokenBucket: how much at once, how much on average; refilled continuously, tuned by reputation (B30, B31).

The collector has one of its own, of fixed size: node and collector do not know each other.
"""

from __future__ import annotations

_ROUNDING = 1e-6  # tokens: who waited exactly as long as told is not sent away for the last bit of a float


class TokenBucket:
    """Holds up to `capacity` tokens and gains `rate_per_s`. Time is an argument. Owned by whoever counts with it.

    Begins full. In any time t it grants at most capacity + rate x t, and what its last demand had above the capacity.
    """

    __slots__ = ("_at_s", "_capacity", "_rate_per_s", "_tokens")

    def __init__(self, capacity: float, rate_per_s: float, now_s: float) -> None:
        self._capacity = capacity
        self._rate_per_s = rate_per_s
        self._tokens = capacity
        self._at_s = now_s

    def take(self, tokens: float, now_s: float) -> float:
        """0.0 when the tokens were there and are now gone; else how many seconds to wait, and nothing is taken.

        A demand above the capacity is granted from a full bucket, so that it is slowed down and not refused for ever;
        what is missing is owed, so that many such demands are not cheaper than as many small ones.
        """
        wait_s = self.lacks(tokens, now_s)
        if not wait_s:
            self._tokens -= tokens
        return wait_s

    def lacks(self, tokens: float, now_s: float) -> float:
        """What `take` would answer; nothing is taken."""
        self._refill(now_s)
        missing = min(tokens, self._capacity) - self._tokens
        return missing / self._rate_per_s if missing > _ROUNDING else 0.0

    def tune(self, capacity: float, rate_per_s: float, now_s: float) -> None:
        """Change the size. What was earned so far was earned at the old rate; a change never adds a token."""
        if capacity == self._capacity and rate_per_s == self._rate_per_s:
            return
        self._refill(now_s)
        self._capacity = capacity
        self._rate_per_s = rate_per_s
        self._tokens = min(self._tokens, capacity)

    def is_full(self, now_s: float) -> bool:
        """Whether it is as good as a new one."""
        self._refill(now_s)
        return self._tokens >= self._capacity - _ROUNDING

    def _refill(self, now_s: float) -> None:
        gained = max(0.0, now_s - self._at_s) * self._rate_per_s
        self._tokens = min(self._capacity, self._tokens + gained)
        self._at_s = max(self._at_s, now_s)
