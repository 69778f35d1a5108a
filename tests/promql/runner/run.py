"""Running scripts against our engine."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from peerwatch.errors import QueryError
from peerwatch.model import Labels
from peerwatch.query.engine import Engine
from peerwatch.query.options import EngineOptions
from peerwatch.query.result import MatrixResult, Result, StringResult
from tests.promql.memory import MemoryQueryable
from tests.promql.runner.classes import class_of
from tests.promql.runner.compare import MismatchError, check_messages, check_middle, check_result
from tests.promql.runner.custom import custom_histograms
from tests.promql.runner.script import Case, Clear, Load, read_script
from tests.promql.runner.series import SeriesLine, parse_series

SUITE_OPTIONS = EngineOptions(delayed_name_removal=True, start_timestamps=True)
"""What the conformance suite expects of its engine; our own scripts run with a server's defaults."""

_MINUTE_MS = 60_000
_NOT_AS_RANGE = re.compile(r"\b(?:start|end|step|range)\s*\(\s*\)", re.IGNORECASE)


@dataclass(frozen=True)
class Outcome:
    """How one case went. `problem` is None when it passed."""

    case: Case
    kind: str
    problem: str | None


class Storage:
    """What the script has loaded, and which series hold native histograms or start times."""

    def __init__(self) -> None:
        self.samples = MemoryQueryable()
        self.native: set[Labels] = set()
        self.start_times: set[Labels] = set()
        self.typed = False

    def clear(self) -> None:
        self.__init__()  # type: ignore[misc]  # back to the beginning

    def load(self, command: Load) -> None:
        starts: list[int | None] = []
        parsed = []
        for line in command.lines:
            series = parse_series(line)
            if series.starts_ms is not None:
                starts = series.starts_ms
                self.start_times.add(series.labels)
                continue
            self._add(series, command.step_ms, starts)
            starts = []
            parsed.append(series)
        if command.nhcb:
            for labels, values in custom_histograms(parsed).items():
                self._add(SeriesLine(labels, values), command.step_ms, [])

    def _add(self, series: SeriesLine, step_ms: int, starts: Sequence[int | None]) -> None:
        if series.has_histogram:
            self.native.add(series.labels)
        self.typed |= bool(series.labels.get("__type__") or series.labels.get("__unit__"))
        slots = [at for at, value in enumerate(series.values) if value is not None]
        times = np.array(slots, np.int64) * step_ms
        offsets = [starts[at] if at < len(starts) else None for at in slots]
        begun = [0 if offset is None else int(time + offset) for time, offset in zip(times, offsets, strict=True)]
        samples = [value for value in series.values if value is not None]
        self.samples.add_mixed(series.labels, times, samples, np.array(begun, np.int64))


def run_script(path: Path, defaults: EngineOptions = SUITE_OPTIONS) -> Iterator[Outcome]:
    """Every case of a script, in order."""
    storage = Storage()
    for command in read_script(path.name, path.read_text()):
        match command:
            case Clear():
                storage.clear()
            case Load():
                storage.load(command)
            case Case():
                kind = class_of(command, storage.native, storage.start_times, storage.typed)
                options = replace(defaults, type_and_unit_labels=storage.typed)
                yield Outcome(command, kind, _problem(command, Engine(storage.samples, options)))


def _problem(case: Case, engine: Engine) -> str | None:
    try:
        _run(case, engine)
    except MismatchError as error:
        return str(error)
    return None


def _run(case: Case, engine: Engine) -> None:
    failure = case.expected("fail")
    try:
        result = _evaluated(case, engine)
    except QueryError as error:
        if failure and all(one.matches(str(error)) for one in failure):
            return
        raise MismatchError(f"failed: {error}") from error
    if failure:
        raise MismatchError("expected to fail, did not")
    check_messages(case, result)
    check_result(case, result)
    _check_as_range(case, engine, result)


def _evaluated(case: Case, engine: Engine) -> Result:
    if case.is_range:
        return engine.range(case.expr, case.start_ms, case.end_ms, case.step_ms)
    return engine.instant(case.expr, case.start_ms)


def _check_as_range(case: Case, engine: Engine, result: Result) -> None:
    """Instant and range evaluation must agree: the middle of three steps is the instant."""
    if case.is_range or isinstance(result.value, StringResult | MatrixResult) or _NOT_AS_RANGE.search(case.expr):
        return
    try:
        ranged = engine.range(case.expr, case.start_ms - _MINUTE_MS, case.start_ms + _MINUTE_MS, _MINUTE_MS)
    except QueryError as error:
        raise MismatchError(f"failed as a range query: {error}") from error
    if not case.expected("ordered"):
        check_middle(case, ranged)
