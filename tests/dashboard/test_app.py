"""The routes over real HTTP on loopback."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest

from peerwatch.dashboard import CONTENT_SECURITY_POLICY, Config, Live
from tests.dashboard.events import Event, read_events
from tests.dashboard.fakes import FakeQueryClient, ManualClock, make_live
from tests.dashboard.serving import serve

pytestmark = pytest.mark.anyio
LIVE = "/dashboard/live?instance=atlas&range=5m"


@asynccontextmanager
async def hub(
    client: FakeQueryClient | None = None, clock: ManualClock | None = None, config: Config | None = None
) -> AsyncIterator[tuple[httpx.AsyncClient, Live]]:
    """A served dashboard and an HTTP client for it."""
    clock = clock or ManualClock()
    live = make_live(client or FakeQueryClient(), clock, config or Config(min_tick_s=0.001))
    async with serve(live, clock) as url, httpx.AsyncClient(base_url=url, timeout=5, trust_env=False) as http:
        yield http, live


@pytest.fixture
def built(tmp_path: Path) -> Config:
    """A config whose page is built."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text("<!doctype html><title>page</title>")
    (tmp_path / "graph.html").write_text("<!doctype html><title>graph</title>")
    (tmp_path / "assets" / "index-AbCd1234.js").write_text("let a")
    (tmp_path / "assets" / "index-AbCd1234.js.gz").write_bytes(gzip.compress(b"let a"))
    (tmp_path / "assets" / "theme.js").write_text("let b")
    (tmp_path / "secret.txt").write_text("no")
    return Config(static_dir=tmp_path)


async def test_without_a_build_the_page_says_what_to_do(tmp_path: Path) -> None:
    """It names the command, and says that the API works."""
    async with hub(config=Config(static_dir=tmp_path / "none")) as (http, _):
        answer = await http.get("/")
        assert answer.status_code == 503
        assert "make web" in answer.text and "/api/v1/query" in answer.text
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert (await http.get("/dashboard/panels")).status_code == 200


@pytest.mark.parametrize("path", ["/graph", "/query"])
async def test_the_expression_browser_is_where_links_of_prometheus_lead(built: Config, path: str) -> None:
    """Whatever the address asks for: reading it is the page's business."""
    async with hub(config=built) as (http, _):
        page = await http.get(f"{path}?g0.expr=up%20%3D%3D%200&g0.tab=1")
        assert (page.status_code, page.text) == (200, "<!doctype html><title>graph</title>")
        assert page.headers["content-security-policy"] == CONTENT_SECURITY_POLICY


async def test_the_page_is_always_asked_for_and_hashed_files_are_kept(built: Config) -> None:
    """A new build is seen at once, and nothing is loaded twice."""
    async with hub(config=built) as (http, _):
        page = await http.get("/")
        assert (page.status_code, page.text) == (200, "<!doctype html><title>page</title>")
        assert page.headers["cache-control"] == "no-cache"
        again = await http.get("/", headers={"if-none-match": page.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        hashed = await http.get("/assets/index-AbCd1234.js")
        assert hashed.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert (await http.get("/assets/theme.js")).headers["cache-control"] == "no-cache"


async def test_a_packed_file_goes_to_those_who_take_it(built: Config) -> None:
    """The build packs once; the hub never compresses."""
    async with hub(config=built) as (http, _):
        packed = await http.get("/assets/index-AbCd1234.js", headers={"accept-encoding": "br, gzip;q=1"})
        plain = await http.get("/assets/index-AbCd1234.js", headers={"accept-encoding": "identity"})
        assert (packed.headers.get("content-encoding"), packed.text) == ("gzip", "let a")
        assert (plain.headers.get("content-encoding"), plain.text) == (None, "let a")
        assert packed.headers["etag"] != plain.headers["etag"]
        assert plain.headers["content-type"].startswith("text/javascript")


@pytest.mark.parametrize(
    "path", ["..%2fsecret.txt", "%2e%2e%2fsecret.txt", "none.js", "a%00b.js", "index-AbCd1234.js.gz", ".hidden"]
)
async def test_only_files_of_the_build_are_served(built: Config, path: str) -> None:
    """No name leads out of the folder of assets."""
    async with hub(config=built) as (http, _):
        assert (await http.get(f"/assets/{path}")).status_code == 404


async def test_the_page_may_load_only_its_own_files(built: Config) -> None:
    """The policy allows no inline script, no foreign host and no frame."""
    async with hub(config=built) as (http, _):
        for path in ("/", "/assets/theme.js", "/assets/none.js"):
            answer = await http.get(path)
            assert answer.headers["content-security-policy"] == CONTENT_SECURITY_POLICY
            assert answer.headers["x-content-type-options"] == "nosniff"
    assert "unsafe" not in CONTENT_SECURITY_POLICY and "http" not in CONTENT_SECURITY_POLICY


async def test_panels_tell_what_there_is() -> None:
    """Ranges, panels, the first instance and the fleet, in one answer."""
    async with hub(FakeQueryClient(("atlas", "borealis"))) as (http, _):
        meta = (await http.get("/dashboard/panels")).json()
    assert meta["instance"] == "atlas"
    assert [found["id"] for found in meta["ranges"]] == ["5m", "15m", "1h", "6h", "24h", "7d"]
    assert [found["id"] for found in meta["panels"]][:3] == ["tiles", "cpu", "load"]
    assert [row[0] for row in meta["fleet"]["rows"]] == ["atlas", "borealis"]


async def test_history_is_on_one_grid() -> None:
    """Every series has as many values as the grid has points."""
    async with hub() as (http, _):
        found = (await http.get("/dashboard/history?instance=atlas&range=24h")).json()
    assert (found["step"], found["count"], found["errors"]) == (300_000, 289, {})
    assert found["start"] % 300_000 == 0
    lines = [values for panel in found["panels"].values() for line in panel for values in line.values()]
    assert len(lines) > 40 and {len(values) for values in lines} == {289}


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("range=5m", "instance is missing: /dashboard/history?instance=NAME&range=1h"),
        ("instance=a&range=2y", "range '2y' is not one of 5m, 15m, 1h, 6h, 24h, 7d"),
        (f"instance={'a' * 600}", "instance of 600 characters, limit 512"),
    ],
)
async def test_a_wrong_question_is_refused_with_its_reason(query: str, message: str) -> None:
    """400, and one sentence that says what is allowed."""
    async with hub() as (http, _):
        answer = await http.get(f"/dashboard/history?{query}")
    assert (answer.status_code, answer.json()) == (400, {"error": message})


async def test_history_requests_are_bounded() -> None:
    """Beyond the limit: 503 with a wait."""
    async with hub(config=Config(max_history_requests=0)) as (http, _):
        answer = await http.get("/dashboard/history?instance=atlas")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert answer.json() == {"error": "0 history requests running, limit 0"}


async def test_a_stream_begins_with_hello_and_brings_a_tick() -> None:
    """The first event says whether anything is missing; the first tick does not wait for news."""
    async with hub() as (http, _), http.stream("GET", LIVE) as response:
        assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert (response.headers["cache-control"], response.headers["x-accel-buffering"]) == ("no-store", "no")
        events = read_events(response)
        hello, tick = await anext(events), await anext(events)
        assert (hello.name, hello.data["resumed"]) == ("hello", False)
        assert (tick.name, tick.id) == ("tick", "b00t-1")


async def test_a_quiet_stream_has_a_heartbeat() -> None:
    """A page can tell a quiet hub from a dead one."""
    config = Config(heartbeat_s=0.02, max_quiet_s=3600)
    async with hub(config=config) as (http, _), http.stream("GET", LIVE) as response:
        with anyio.fail_after(5):
            async for found in read_events(response):
                if found.name == "ping":
                    assert set(found.data) == {"t"}
                    break


@pytest.mark.parametrize("how", ["header", "parameter"])
async def test_a_stream_resumes(how: str) -> None:
    """By the browser's own header, or by the parameter that a page can set."""
    clock, client = ManualClock(), FakeQueryClient()
    async with hub(client, clock) as (http, live):
        seen: list[Event] = []
        async with http.stream("GET", LIVE) as response:
            async for found in read_events(response):
                if found.name == "tick":
                    seen.append(found)
                    break
        await until_free(live)
        clock.advance(1)
        await live.tick()
        headers = {"last-event-id": seen[0].id} if how == "header" else {}
        suffix = "" if how == "header" else f"&last={seen[0].id}"
        async with http.stream("GET", LIVE + suffix, headers=headers) as response:
            events = read_events(response)
            hello, missed = await anext(events), await anext(events)
        assert hello.data["resumed"] is True
        assert missed.name == "tick" and missed.data["t"] > seen[0].data["t"]


async def test_streams_are_bounded_and_leaving_frees_a_place() -> None:
    """The client beyond the limit gets 503 and a wait; once one has left there is a place."""
    async with hub(config=Config(max_clients=1, min_tick_s=0.001)) as (http, live):
        async with http.stream("GET", LIVE) as response:
            await anext(read_events(response))
            refused = await http.get(LIVE)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
            assert refused.json() == {"error": "1 live streams open, limit 1"}
        await until_free(live)
        async with http.stream("GET", LIVE) as response:
            assert response.status_code == 200


async def test_a_client_that_leaves_in_silence_is_noticed() -> None:
    """Its place is free without waiting for the next heartbeat."""
    async with hub(config=Config(heartbeat_s=3600, max_quiet_s=3600)) as (http, live):
        async with http.stream("GET", LIVE) as response:
            await anext(read_events(response))
            assert live.client_count == 1
        await until_free(live)


async def test_a_hub_that_stops_ends_its_streams() -> None:
    """A page that is open does not hold up the stop."""
    clock = ManualClock()
    live = make_live(FakeQueryClient(), clock)
    with anyio.fail_after(5):
        async with httpx.AsyncClient(timeout=5, trust_env=False) as http:
            async with serve(live, clock) as url:
                response = await http.send(http.build_request("GET", url + LIVE), stream=True)
                events = read_events(response)
                await anext(events)
            rest = [found.name async for found in events]  # ends by itself, without an error
            await response.aclose()
    assert "hello" not in rest
    assert live.client_count == 0


async def test_a_head_request_opens_no_stream() -> None:
    """It tells the type and takes no place."""
    async with hub(config=Config(max_clients=0)) as (http, _):
        answer = await http.head(LIVE)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")


async def until_free(live: Live) -> None:
    """The server learns from its socket that a client has left; that takes a moment."""
    with anyio.fail_after(5):
        while live.client_count:  # noqa: ASYNC110 (the other end of a socket has no event to wait for)
            await anyio.sleep(0.002)
