"""Queries that are meant to hurt: each ends with an error that names its limit, and nobody else waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import psutil
import pytest

from tests.e2e.processes import Processes, eventually, value

pytestmark = pytest.mark.e2e

WITHIN_S = 15.0
"""Far above what any of them took on two shared cores (at most 4 s, where the deadline was 1.5 s)."""

OTHERS_WAIT_S = 5.0
"""The longest that another client's query may wait meanwhile; measured: 0.5 s."""

MOST_MEMORY_BYTES = 2 << 30
"""50 million samples are 800 MB, and a function needs as much again on the side."""

BAD, EXECUTION, TIMEOUT = (400, "bad_data"), (422, "execution"), (503, "timeout")
_SERIES = "node_load1"
_EVERYTHING = '{__name__!=""}'
_INSTANCES = ",".join(['"instance"'] * 40_000)
_ALTERNATIVES = "|".join(f"a{at}.*b{at}" for at in range(5_000))
_LONG = {"start": "1700000000", "end": "1700100000", "step": "10"}


def _nested(around: str, inner: str, depth: int) -> str:
    for _ in range(depth):
        inner = around % inner
    return inner


HOSTILE: dict[str, tuple[dict[str, str], tuple[int, str], str]] = {
    "10 MB of text": ({"query": _SERIES + " + 1" * 2_500_000}, BAD, "request body of more than 2097152 bytes"),
    "2 MB of text": ({"query": '"' + "a" * 2_000_000 + '"'}, BAD, "query of 2000002 characters, limit 1048576"),
    "100,000 parentheses": ({"query": "(" * 100_000}, BAD, "query of more than 100000 tokens"),
    "40,000 pairs of them": ({"query": "(" * 40_000 + "1" + ")" * 40_000}, BAD, "nested deeper than 100 levels"),
    "99,000 signs": ({"query": "-" * 99_000 + "1"}, BAD, "nested deeper than 100 levels"),
    "a program of a regex": ({"query": '{a=~"((x{1,100}){1,100}){1,100}"}'}, BAD, "invalid repetition size"),
    "a giant @": ({"query": "up @ 1e300"}, BAD, "timestamp out of bounds for @ modifier"),
    "a giant offset": ({"query": "up offset 9000y"}, BAD, "duration out of range"),
    "1e9 points": ({"query": "1", "start": "0", "end": "1e9", "step": "1"}, BAD, "maximum resolution of 11,000 points"),
    "1e9 points of a subquery": ({"query": "max_over_time(vector(1)[30y:1s])"}, EXECUTION, "946080000 steps, limit"),
    "1e13 points of a subquery": ({"query": "up[290y:1ms]"}, EXECUTION, "limit 50000000"),
    "a subquery of everything": ({"query": f"max_over_time({_EVERYTHING}[30d:1s])"}, EXECUTION, "limit 50000000"),
    "a label that doubles": (
        {
            "query": _nested(
                'label_replace(%s, "a", "$1$1", "a", "(.+)")', 'label_replace(node_load1, "a", "x", "", "")', 40
            )
        },
        EXECUTION,
        'label "a" of 131072 characters, limit 65536',
    ),
    "a label of 40,000 others": (
        {"query": f'label_join({_SERIES}, "a", ",", {_INSTANCES})'},
        EXECUTION,
        "characters, limit 65536",
    ),
    "a huge topk": ({"query": f"topk(1e300, {_EVERYTHING})"}, EXECUTION, "overflows int64"),
    "everything times everything": (
        {"query": f"{_EVERYTHING} * on () group_left () {_EVERYTHING}"},
        EXECUTION,
        "many-to-many matching not allowed",
    ),
    "windows that overlap": (
        {"query": "quantile_over_time(0.5, vector(time())[12h:1s])", "timeout": "1.5", **_LONG},
        TIMEOUT,
        "query timed out in expression evaluation, limit 1.5 s",
    ),
    "a window of 40 million": (
        {"query": "predict_linear(vector(time())[463d:1s], 1)", "timeout": "1.5"},
        TIMEOUT,
        "query timed out in expression evaluation, limit 1.5 s",
    ),
}

HARMLESS = {
    "a regex that backtracks elsewhere": 'label_replace(node_load1, "b", "$1", "a", "(a+)+$")',
    "the same in a selector": '{__name__=~"(a+)+$"}',
    "the same on a long label": "label_replace(label_replace(node_load1, 'a', '%s!', '', ''), 'b', '$1', 'a', '(a+)+$')"
    % ("a" * 60_000),
    "5,000 alternatives": f'{{__name__=~"{_ALTERNATIVES}"}}',
    "49,000 terms": "+".join(["1"] * 49_000),
    "90 nested subqueries": _nested("max_over_time(%s[1h:1s])", _SERIES, 90),
    "topk of more than there is": f"topk(1e18, {_EVERYTHING})",
    "everything 500 times": " or ".join([_EVERYTHING] * 500),
}


@dataclass
class Bystander:
    """Another client, that asks again and again."""

    url: str
    waits_s: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def run(self, stop: threading.Event) -> None:
        with httpx.Client(trust_env=False, timeout=WITHIN_S) as http:
            while not stop.is_set():
                began = time.monotonic()
                try:
                    answer = http.get(f"{self.url}/api/v1/query", params={"query": f"count({_EVERYTHING})"})
                except httpx.HTTPError as error:
                    self.problems.append(repr(error))
                    continue
                self.waits_s.append(time.monotonic() - began)
                if answer.status_code != 200 or not answer.json()["data"]["result"]:
                    self.problems.append(answer.text)
                stop.wait(0.05)


@contextmanager
def watching(url: str) -> Iterator[Bystander]:
    """A bystander at work; afterwards it must have been answered all the time."""
    bystander, stop = Bystander(url), threading.Event()
    thread = threading.Thread(target=bystander.run, args=(stop,))
    thread.start()
    try:
        yield bystander
    finally:
        stop.set()
        thread.join()
    assert bystander.problems == []
    assert len(bystander.waits_s) > 10
    assert max(bystander.waits_s) < OTHERS_WAIT_S


def _ask(url: str, form: dict[str, str]) -> httpx.Response:
    path = "query_range" if "step" in form else "query"
    began = time.monotonic()
    answer = httpx.post(f"{url}/api/v1/{path}", data=form, trust_env=False, timeout=4 * WITHIN_S)
    took_s = time.monotonic() - began
    assert took_s < WITHIN_S, f"{took_s:.1f} s"
    return answer


def test_hostile_queries_end_with_an_error_that_names_the_limit(processes: Processes) -> None:
    """Status, kind and limit for each; a query of another client is answered all the while; memory stays bounded."""
    running = processes.up()
    url = running.url()
    eventually(lambda: value(url, _SERIES), "the agent samples", 30)
    process = psutil.Process(running.process.pid)
    with watching(url):
        for name, (form, outcome, words) in HOSTILE.items():
            answer = _ask(url, form)
            body = answer.json()
            assert (answer.status_code, body.get("errorType")) == outcome, f"{name}: {answer.text[:500]}"
            assert words in body["error"], f"{name}: {body['error'][:500]}"
            assert process.memory_info().rss < MOST_MEMORY_BYTES, name
        for name, query in HARMLESS.items():
            answer = _ask(url, {"query": query})
            assert answer.status_code == 200, f"{name}: {answer.text[:500]}"
    assert value(url, f"count({_SERIES})") == 1


def test_hostile_queries_side_by_side_leave_a_place_for_others(processes: Processes) -> None:
    """Several at a time, each cut off by its own deadline: the other client is still answered."""
    url = processes.up().url()
    eventually(lambda: value(url, _SERIES), "the agent samples", 30)
    form = {"query": "stddev_over_time(vector(time())[12h:1s])", "timeout": "2", **_LONG}
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(_ask(url, form).status_code)) for _ in range(6)]
    with watching(url):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert answers == [503] * 6
