"""ManualClock: time that moves when a test says so."""

from __future__ import annotations


class ManualClock:
    """A `model.Clock` that stands still. Mutable; owned by the test that made it.

    `advance` is time passing (both clocks move); `jump` is someone setting the wall clock (monotonic time does not).
    """

    def __init__(self, now_ms: int = 1_700_000_000_000, monotonic_s: float = 1000.0) -> None:
        self._now_ms = now_ms
        self._monotonic_s = monotonic_s

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic_s(self) -> float:
        return self._monotonic_s

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass. Raises ValueError for a negative number: only the wall clock can go back."""
        if seconds < 0:
            raise ValueError(f"time passes forwards, got {seconds} s; use jump() to set the wall clock back")
        self._monotonic_s += seconds
        self._now_ms += round(seconds * 1000)

    def jump(self, delta_ms: int) -> None:
        """Set the wall clock `delta_ms` forwards or, when negative, backwards."""
        self._now_ms += delta_ms
