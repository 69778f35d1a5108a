"""A scraped target: what Prometheus would have stored of it, and what it may not do to the agent."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from peerwatch.agent.config import ScrapeConfig
from peerwatch.agent.source import Reading
from peerwatch.agent.sources.http_get import HttpGetter
from peerwatch.agent.sources.scrape import ScrapeSource
from peerwatch.agent.tick import TickMerger
from peerwatch.errors import LinkError
from peerwatch.model import SystemClock
from peerwatch.model.relabel import RelabelAction, RelabelRule
from peerwatch.testing.clock import ManualClock
from tests.agent.shapes import shown

TEXT = "text/plain; version=0.0.4"


class Pages:
    """A target that gives one page after the other, the last one for ever; an exception is raised."""

    def __init__(self, *pages: str | Exception, content_type: str = TEXT) -> None:
        self.pages = list(pages)
        self.content_type = content_type
        self.asked: list[dict[str, str]] = []

    def get(self, headers: dict[str, str]) -> tuple[bytes, str]:
        self.asked.append(headers)
        page = self.pages.pop(0) if len(self.pages) > 1 else self.pages[0]
        if isinstance(page, Exception):
            raise page
        return page.encode(), self.content_type


def source(pages: Pages, **settings: object) -> ScrapeSource:
    config = ScrapeConfig("http://app.example:8080/metrics", "app", **settings)  # type: ignore[arg-type]
    return ScrapeSource(config, ManualClock(), pages)


def values(reading: Reading) -> dict[str, float]:
    return {str(s.labels): float(v) for s, v in zip(reading.series, reading.values, strict=True)}


def meta(up: int, scraped: int, kept: int, added: int) -> dict[str, float]:
    return {
        "up": up,
        "scrape_duration_seconds": 0,
        "scrape_samples_scraped": scraped,
        "scrape_samples_post_metric_relabeling": kept,
        "scrape_series_added": added,
    }


def test_a_page_becomes_a_reading_with_prometheus_own_series() -> None:
    """The target's samples and the five series that Prometheus adds; nothing new the second time."""
    target = source(Pages('a{x="1"} 1 1234\nb 2\n'))
    first, second = target.collect(0), target.collect(0)
    assert (first.job, first.target) == ("app", "app.example:8080")
    assert values(first) == {'a{x="1"}': 1, "b": 2, **meta(1, 2, 2, 2)}
    assert values(second) == {'a{x="1"}': 1, "b": 2, **meta(1, 2, 2, 0)}
    assert second.series is first.series


def test_what_vanishes_ends() -> None:
    """A series that is gone, and every series of a target that is down, gets one stale marker; `up` says which."""
    target = source(Pages("a 1\nb 2\n", "a 1\n", LinkError("refused"), LinkError("refused"), "a 3\n"))
    merger = TickMerger(1)
    ticks = [shown(merger.merge(0, 0, [target.collect(0)])) for _ in range(5)]
    assert ticks == [
        {"a": 1, "b": 2, **meta(1, 2, 2, 2)},
        {"a": 1, "b": "stale", **meta(1, 1, 1, 0)},
        {"a": "stale", **meta(0, 0, 0, 0)},
        meta(0, 0, 0, 0),
        {"a": 3, **meta(1, 1, 1, 1)},
    ]


def test_relabelling() -> None:
    """Series are dropped, renamed and merged by rules; a series that a rule leaves without a name is gone."""
    rules = (
        RelabelRule(RelabelAction.DROP, ("__name__",), regex="go_.*"),
        RelabelRule(
            RelabelAction.REPLACE, ("__name__",), regex="old_(.*)", target_label="__name__", replacement="new_$1"
        ),
        RelabelRule(RelabelAction.REPLACE, ("__name__",), regex="nameless", target_label="__name__", replacement=""),
        RelabelRule(RelabelAction.LABELDROP, regex="pod"),
    )
    page = 'go_gc 1\nold_a{pod="p1"} 2\nold_a{pod="p2"} 3\nnameless 4\nb 5\nup 6\n'
    assert values(source(Pages(page), metric_relabel=rules).collect(0)) == {"new_a": 2, "b": 5, **meta(1, 6, 2, 2)}


@pytest.mark.parametrize(
    "pages",
    [
        Pages("nonsense"),
        Pages("a 1\n", content_type="application/openmetrics-text; version=1.0.0"),
        Pages("a 1\nb 1\nc 1\n"),
    ],
    ids=["nonsense", "cut off", "over the sample limit"],
)
def test_a_bad_page_is_a_failed_scrape(pages: Pages) -> None:
    """Half a page is no page: `up` is 0 and nothing of it is kept."""
    assert values(source(pages, sample_limit=2).collect(0)) == meta(0, 0, 0, 0)


def test_the_token_is_read_for_each_scrape(tmp_path: Path) -> None:
    """A token can be rotated; one that cannot be read, or holds a line break, fails the scrape."""
    token = tmp_path / "token"
    token.write_text("one\n")
    pages = Pages("a 1\n")
    target = source(pages, bearer_token_file=str(token), headers=(("X-Tenant", "t"),))
    target.collect(0)
    token.write_text("two")
    target.collect(0)
    assert [asked["Authorization"] for asked in pages.asked] == ["Bearer one", "Bearer two"]
    assert pages.asked[0]["X-Tenant"] == "t"
    for bad in ("a\r\nX-Evil: 1", ""):
        token.write_text(bad)
        assert values(target.collect(0))["up"] == 0
    token.unlink()
    assert values(target.collect(0))["up"] == 0
    assert len(pages.asked) == 2


Reply = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def served(reply: Reply, version: str = "HTTP/1.0") -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = version

        def do_GET(self) -> None:
            reply(self)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def page(body: bytes, status: int = 200, **headers: str) -> Reply:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return reply


def got(reply: Reply, limit_bytes: int = 1000, timeout_s: float = 5.0) -> tuple[bytes, str]:
    with served(reply) as url:
        getter = HttpGetter(url, SystemClock(), timeout_s=timeout_s, limit_bytes=limit_bytes)
        try:
            return getter.get({"Accept": "*/*"})
        finally:
            getter.close()


def test_a_page_over_http() -> None:
    """Plain or zipped, with its content type."""
    assert got(page(b"a 1\n", Content_Type=TEXT)) == (b"a 1\n", TEXT)
    assert got(page(gzip.compress(b"a 1\n" * 100), Content_Encoding="gzip")) == (b"a 1\n" * 100, "")


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (page(b"x" * 1001), "over the limit of 1000 bytes"),
        (page(gzip.compress(b"x" * 10_000_000), Content_Encoding="gzip"), "over the limit of 1000 bytes"),
        (page(gzip.compress(b"x" * 900)[:-9], Content_Encoding="gzip"), "cut off"),
        (page(b"not gzip", Content_Encoding="gzip"), "broken gzip"),
        (page(b"x", Content_Encoding="br"), "only gzip"),
        (page(b"x", 503), "status 503"),
        (page(b"", 302, Location="/metrics"), "redirects"),
    ],
)
def test_a_target_that_takes_too_much_is_refused(reply: Reply, reason: str) -> None:
    """Size, compression bombs, broken or foreign encodings, other statuses, redirect loops."""
    with pytest.raises(LinkError, match=reason):
        got(reply)


def test_a_target_that_drips_is_cut_off() -> None:
    """Byte after byte does not hold the scrape longer than its time."""
    stop = threading.Event()

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        while not stop.wait(0.02):
            try:
                handler.wfile.write(b"a")
            except OSError:
                return

    try:
        with pytest.raises(LinkError, match=r"not done within 0.1 s"):
            got(reply, timeout_s=0.1)
    finally:
        stop.set()


def test_nobody_there_is_a_link_error() -> None:
    """A refused connection is an answer, not an exception of the HTTP client."""
    with served(page(b"")) as url:
        pass
    with pytest.raises(LinkError, match="ConnectionRefusedError"):
        HttpGetter(url, SystemClock(), timeout_s=1, limit_bytes=10).get({})


def test_a_connection_is_kept_and_replaced_when_the_target_closed_it() -> None:
    """One for many scrapes; a target that closes is asked again over a new one."""
    ports: list[int] = []

    def reply(handler: BaseHTTPRequestHandler) -> None:
        ports.append(handler.client_address[1])
        page(b"a 1\n")(handler)
        if len(ports) == 3:
            handler.close_connection = True  # without having said so

    with served(reply, "HTTP/1.1") as url:
        getter = HttpGetter(url, SystemClock(), timeout_s=5, limit_bytes=1000)
        assert [getter.get({})[0] for _ in range(5)] == [b"a 1\n"] * 5
        getter.close()
    assert len(set(ports[:3])) == 1 and len(set(ports[3:])) == 1 and len(set(ports)) == 2


def test_a_page_that_breaks_off_is_refused() -> None:
    """Half a page would end the series of the other half."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "10")
        handler.end_headers()
        handler.wfile.write(b"a 1\n")

    with pytest.raises(LinkError, match="connection closed 6 bytes before the end"):
        got(reply)


def test_a_page_in_chunks() -> None:
    """As most exporters send larger ones."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"2\r\na \r\n2\r\n1\n\r\n0\r\n\r\n")

    with served(reply, "HTTP/1.1") as url:
        getter = HttpGetter(url, SystemClock(), timeout_s=5, limit_bytes=1000)
        assert [getter.get({})[0] for _ in range(2)] == [b"a 1\n"] * 2
        getter.close()


def test_secrets_do_not_follow_a_redirect_to_another_address() -> None:
    """Within the same address they do."""
    seen: list[tuple[str, str | None]] = []

    def reply(handler: BaseHTTPRequestHandler) -> None:
        seen.append((handler.path, handler.headers["Authorization"]))
        page(b"a 1\n")(handler)

    with served(reply) as other:

        def redirect(handler: BaseHTTPRequestHandler) -> None:
            seen.append((handler.path, handler.headers["Authorization"]))
            page(b"", 302, Location="/moved?x=1" if handler.path == "/metrics" else other)(handler)

        with served(redirect) as url:
            named = url.replace("http://", "http://me:se%20cret@")
            getter = HttpGetter(named, SystemClock(), timeout_s=5, limit_bytes=1000)
            assert getter.get({"Accept": "*/*"})[0] == b"a 1\n"
            getter.close()
    basic = "Basic bWU6c2UgY3JldA=="
    assert seen == [("/metrics", basic), ("/moved?x=1", basic), ("/metrics", None)]


@pytest.mark.parametrize("location", ["file:///etc/passwd", "http://[", "gopher://x/", "http://"])
def test_a_redirect_leads_nowhere_but_to_http(location: str) -> None:
    """And one that is no URL is a failed scrape."""
    with pytest.raises(LinkError):
        got(page(b"", 302, Location=location))
