"""TokenBucket: how much at once, how much on average (requirement B30, refilled continuously)."""

from __future__ import annotations

_ROUNDING = 1e-6  # tokens: who waited exactly as long as told is not sent away for the last bit of a float


class TokenBucket:
    """Holds up to `capacity` tokens and gains `rate_per_s`. Time is an argument. Owned by whoever counts with it."""

    __slots__ = ("_at_s", "_capacity", "_rate_per_s", "_tokens")

    def __init__(self, capacity: float, rate_per_s: float, now_s: float) -> None:
        self._capacity = capacity
        self._rate_per_s = rate_per_s
        self._tokens = capacity
        self._at_s = now_s

    def wait_s(self, tokens: float, now_s: float) -> float:
        """How long until `take` would grant this; 0.0 when it would now. Takes nothing."""
        self._tokens = min(self._capacity, self._tokens + max(0.0, now_s - self._at_s) * self._rate_per_s)
        self._at_s = now_s
        missing = min(tokens, self._capacity) - self._tokens
        return missing / self._rate_per_s if missing > _ROUNDING else 0.0

    def take(self, tokens: float, now_s: float) -> float:
        """0.0 when the tokens were there and are now gone; else how many seconds to wait, and nothing is taken.

        A demand above the capacity is answered with the time to a full bucket and then granted from a full one, so
        that one large batch is slowed down and not refused for ever.
        """
        wait_s = self.wait_s(tokens, now_s)
        if not wait_s:
            self.spend(tokens)
        return wait_s

    def spend(self, tokens: float) -> None:
        """Take what `wait_s` has just said was there."""
        self._tokens = max(0.0, self._tokens - tokens)
