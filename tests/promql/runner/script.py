"""Scripts: the test language read into commands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from peerwatch.query.gotext import parse_duration_ms

_EVAL = re.compile(
    r"eval(?P<flavour>_fail|_warn|_info|_ordered)?\s+"
    r"(?:instant\s+at\s+(?P<at>\S+)|range\s+from\s+(?P<start>\S+)\s+to\s+(?P<end>\S+)\s+step\s+(?P<step>\S+))\s+"
    r"(?P<expr>.*)"
)
_LOAD = re.compile(r"load(?P<nhcb>_with_nhcb)?\s+(?P<step>\S+)")
_EXPECT = re.compile(
    r"expect\s+(?P<what>fail|warn|info|no_warn|no_info|ordered|string|range vector)\s*"
    r"(?:(?P<how>msg|regex)\s*:)?\s*(?P<text>.*)"
)
_RANGE_VECTOR = re.compile(r"from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)")


@dataclass(frozen=True)
class Load:
    """Series lines to put into storage, one sample per step from the epoch on. `nhcb`: also as native histograms."""

    step_ms: int
    lines: list[str]
    nhcb: bool


@dataclass(frozen=True)
class Clear:
    """Empty the storage."""


@dataclass(frozen=True)
class Expectation:
    """One expect line."""

    what: str
    how: str = ""
    text: str = ""

    def matches(self, found: str) -> bool:
        """Whether a message is the expected one."""
        if self.how == "regex":
            return re.search(self.text, found) is not None
        return self.how != "msg" or self.text == found


@dataclass(frozen=True)
class Case:
    """One evaluation. step_ms is 0 for an instant query; `line` counts from 1."""

    file: str
    line: int
    expr: str
    start_ms: int
    end_ms: int
    step_ms: int
    expectations: list[Expectation] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """file:line."""
        return f"{self.file}:{self.line}"

    @property
    def is_range(self) -> bool:
        """A range query."""
        return self.step_ms > 0

    def expected(self, what: str) -> list[Expectation]:
        """The expectations of one kind."""
        return [one for one in self.expectations if one.what == what]

    @property
    def range_vector_grid(self) -> tuple[int, int, int] | None:
        """(start, end, step) in ms of an expected range vector."""
        for one in self.expected("range vector"):
            found = _RANGE_VECTOR.match(one.text)
            if found:
                return time_ms(found[1]), time_ms(found[2]), time_ms(found[3])
        return None


Command = Load | Clear | Case


def time_ms(text: str) -> int:
    """A duration, or plain seconds; may be negative."""
    if text.startswith("-"):
        return -time_ms(text[1:])
    try:
        return round(float(text) * 1000)
    except ValueError:
        return parse_duration_ms(text)


def read_script(file: str, text: str) -> Iterator[Command]:
    """The commands of a script, in order. Raises ValueError for a line that is none."""
    lines = [line.strip() for line in text.split("\n")]
    lines = ["" if line.startswith("#") else line for line in lines]
    at = 0
    while at < len(lines):
        line, head = lines[at], at + 1
        at += 1
        if not line:
            continue
        body = []
        if line != "clear":
            while at < len(lines) and lines[at]:
                body.append(lines[at])
                at += 1
        yield _command(file, head, line, body)


def _command(file: str, number: int, line: str, body: list[str]) -> Command:
    if line == "clear":
        return Clear()
    if found := _LOAD.fullmatch(line):
        return Load(time_ms(found["step"]), body, found["nhcb"] is not None)
    found = _EVAL.fullmatch(line)
    if found is None:
        raise ValueError(f"{file}:{number}: not a command: {line}")
    expectations = [Expectation(flavour.lstrip("_")) for flavour in [found["flavour"]] if flavour]
    results = []
    for entry in body:
        if directive := _EXPECT.fullmatch(entry):
            text = directive["text"].strip()
            expectations.append(Expectation(directive["what"], directive["how"] or "", text))
        else:
            results.append(entry)
    if found["at"]:
        at_ms = time_ms(found["at"])
        return Case(file, number, found["expr"], at_ms, at_ms, 0, expectations, results)
    span = (time_ms(found["start"]), time_ms(found["end"]), time_ms(found["step"]))
    return Case(file, number, found["expr"], *span, expectations, results)
