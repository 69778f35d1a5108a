"""SourceRunner: runs one source so that neither its failing nor its hanging reaches the others."""

from __future__ import annotations

from dataclasses import dataclass

from peerwatch.agent.source import NoDataError, Reading, Source
from peerwatch.agent.workers import Job, Workers
from peerwatch.model import Clock
from peerwatch.telemetry import CollectorRegistry, Counter, get_logger

_log = get_logger("agent.schedule")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one run of a source went; `reading` is None when it gave nothing this tick."""

    reading: Reading | None
    duration_s: float

    @property
    def success(self) -> bool:
        """Whether there is a reading."""
        return self.reading is not None


class SourceCounters:
    """What the runners count, per source. Owned by the agent's registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.failures = Counter(
            "peerwatch_agent_source_failures_total", "Samplings of a source that failed.", ["source"], registry=registry
        )
        self.timeouts = Counter(
            "peerwatch_agent_source_timeouts_total",
            "Samplings of a source that were not done within their deadline.",
            ["source"],
            registry=registry,
        )
        self.skips = Counter(
            "peerwatch_agent_source_skips_total",
            "Ticks without a source because its last sampling still runs, or no time was left.",
            ["source"],
            registry=registry,
        )


class SourceRunner:
    """One source with its state: whether it still runs, how long it took, whether its trouble was told.

    A source is never run twice at once; while it hangs it costs one thread and nothing else.
    """

    def __init__(self, name: str, source: Source, workers: Workers, clock: Clock, counters: SourceCounters) -> None:
        self.name = name
        self.last_duration_s = 0.0
        self._source = source
        self._workers = workers
        self._clock = clock
        self._job: Job[Reading] | None = None
        self._trouble = ""
        self._failures = counters.failures.labels(name)
        self._timeouts = counters.timeouts.labels(name)
        self._skips = counters.skips.labels(name)

    async def run(self, now_ms: int, patience_s: float) -> Outcome:
        """Sample, waiting at most `patience_s`. Never raises what the source raises."""
        if patience_s <= 0 or (self._job is not None and not self._job.finished):
            self._skips.inc()
            return Outcome(None, 0.0)
        start_s = self._clock.monotonic_s()
        reading = await self._attempt(now_ms, patience_s)
        self.last_duration_s = self._clock.monotonic_s() - start_s
        return Outcome(reading, self.last_duration_s)

    async def _attempt(self, now_ms: int, patience_s: float) -> Reading | None:
        self._job = self._workers.start(lambda: self._source.collect(now_ms))
        try:
            reading = await self._job.result(patience_s)
        except TimeoutError:
            if self._job.finished:  # the source's own: it gave up on something
                self._failed("timed out inside")
            else:
                self._timeouts.inc()
                self._tell(f"not done within {patience_s:.3g} s")
            return None
        except NoDataError as error:
            self._tell(str(error))
            return None
        except Exception as error:  # one failing source must not stop the others: counted, logged, left out
            self._failed(f"{type(error).__name__}: {error}")
            return None
        if self._trouble:
            self._trouble = ""
            _log.info("source works again", source=self.name)
        return reading

    def _failed(self, trouble: str) -> None:
        self._failures.inc()
        self._tell(trouble)

    def _tell(self, trouble: str) -> None:
        if trouble != self._trouble:  # once per kind of trouble, not once per tick
            self._trouble = trouble
            _log.warning("source gave nothing", source=self.name, error=trouble)
