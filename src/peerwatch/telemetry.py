"""Our own metrics and structured logs: the one door to prometheus-client and structlog.

Components take a `CollectorRegistry` and make their metrics in their constructor, so that two hubs in one process
(tests, `up`) never share a counter. Names end in _seconds, _bytes or _total; label values are bounded.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST


@contextmanager
def _without_rich() -> Iterator[None]:
    """structlog imports rich wherever that is installed, for tracebacks in colour; plain ones save every process 3 MB.

    A name that is None there cannot be imported: what somebody else has loaded already stays.
    """
    absent = "rich" not in sys.modules
    if absent:
        sys.modules["rich"] = None  # type: ignore[assignment]  # the import system's own way to say so
    try:
        yield
    finally:
        if absent:
            del sys.modules["rich"]


with _without_rich():
    import structlog

__all__ = [
    "CONTENT_TYPE_LATEST",
    "CollectorRegistry",
    "Counter",
    "Gauge",
    "Histogram",
    "Logger",
    "configure_logging",
    "configure_metrics",
    "generate_latest",
    "get_logger",
    "process_registry",
]

Logger = structlog.stdlib.BoundLogger


def get_logger(place: str) -> Logger:
    """A logger whose events carry `place`; events are constant phrases, everything that varies is a field."""
    logger: Logger = structlog.get_logger(place=place)
    return logger


def process_registry() -> CollectorRegistry:
    """A registry that also tells what this process costs: process_resident_memory_bytes and its like."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


def configure_metrics() -> None:
    """Leave out the `_created` series, which double every counter and which no dashboard reads. Once per process."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # the library types most of itself, not this


def configure_logging(level: str = "info", *, json: bool = True) -> None:
    """Send every log line to standard error: JSON for Loki or ELK (requirement B43), or coloured for a terminal."""
    timestamper = structlog.processors.TimeStamper(fmt="iso", utc=True)
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        timestamper,
        structlog.processors.format_exc_info,
    ]
    renderer: Any = structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer()
    numeric = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(numeric),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    _route_libraries(max(numeric, logging.WARNING), shared, renderer)


def _route_libraries(level: int, shared: list[Any], renderer: Any) -> None:
    """Libraries' own log lines in the same form; their chatter below warnings is not ours to repeat."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer], foreign_pre_chain=shared
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
