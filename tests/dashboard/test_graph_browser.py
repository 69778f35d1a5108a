"""The expression browser in a real, headless Chromium, against the real query API over two hours of samples."""

from __future__ import annotations

import json
import re
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from tests.dashboard.chromium import MARKS, WAIT_MS, Heard, tab
from tests.dashboard.query_source import MANY

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = MARKS

# How many different colours the graph's canvas has: an empty one has a few for its axes.
COLOURS = """() => {
  const canvas = document.querySelector("[data-query='1'] canvas");
  const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return new Set(new Uint32Array(data.buffer)).size;
}"""
REQUESTS = 'sum by (instance) (rate(http_requests_total{code="200"}[5m]))'


def graph(**fields: str) -> str:
    """A link to one panel."""
    return "/graph?" + urllib.parse.urlencode({f"g0.{name}": value for name, value in fields.items()})


def ask(url: str, path: str, **form: str) -> Any:
    """What the API says."""
    with urllib.request.urlopen(f"{url}/api/v1/{path}?{urllib.parse.urlencode(form)}", timeout=20) as answer:
        return json.load(answer)["data"]


@contextmanager
def opened(browser: Browser, url: str, path: str = "/graph", **look: Any) -> Iterator[tuple[Page, Heard]]:
    """The page, once its editor is there."""
    with tab(browser, **look) as (page, heard):
        page.goto(url + path)
        page.wait_for_selector(".cm-content", timeout=WAIT_MS)
        yield page, heard


def editor(page: Page, number: int = 1) -> Locator:
    return page.get_by_role("region", name=f"Query {number}").get_by_role("textbox", name="Expression")


def write(page: Page, text: str) -> None:
    """Put `text` into the first editor, as fast as a paste."""
    editor(page).click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text)


def run(page: Page, text: str) -> None:
    write(page, text)
    page.keyboard.press("Enter")


def table(page: Page, count: int) -> list[tuple[str, str]]:
    """(series, value) of each row, once there are `count`."""
    page.wait_for_function(f"() => document.querySelectorAll('tbody tr').length === {count}", timeout=WAIT_MS)
    rows = "all => all.map(row => [...row.cells].map(cell => cell.innerText.trim()))"
    return [(series.split("\n")[0], value) for series, value in page.eval_on_selector_all("tbody tr", rows)]


def drawn(page: Page) -> Locator:
    """The graph, once it has lines."""
    page.wait_for_selector("[data-lines] canvas", timeout=WAIT_MS)
    return page.locator("[data-lines]")


def test_a_query_is_typed_with_completion_and_answered(browser: Browser, url: str) -> None:
    """Names, labels and values come from the hub; the table shows the very values of the API."""
    with opened(browser, url) as (page, heard):
        editor(page).click()
        for typed, offered in (("node_l", "node_load1"), ("{inst", "instance"), ('="bor', "borealis:9100")):
            page.keyboard.type(typed)
            page.locator(".cm-tooltip-autocomplete li", has_text=offered).first.wait_for(timeout=WAIT_MS)
            page.keyboard.press("Tab")
        assert editor(page).inner_text() == 'node_load1{instance="borealis:9100"}'
        page.keyboard.press("Enter")
        found = ask(url, "query", query='node_load1{instance="borealis:9100"}')["result"]
        shown = ('node_load1{instance="borealis:9100", job="node"}', found[0]["value"][1])
        assert table(page, 1) == [shown]
        assert heard.complaints == []


def test_completion_says_what_a_metric_means(browser: Browser, url: str) -> None:
    """Type and help come from the metadata."""
    with opened(browser, url) as (page, _):
        editor(page).click()
        page.keyboard.type("http_req")
        offered = page.locator(".cm-tooltip-autocomplete li", has_text="http_requests_total")
        offered.get_by_text("counter").wait_for(timeout=WAIT_MS)
        page.keyboard.press("ArrowDown")
        page.get_by_text("Requests answered, by status.").wait_for(timeout=WAIT_MS)


def test_enter_runs_also_while_names_are_offered(browser: Browser, url: str) -> None:
    """What was typed is run, and never something that came up at the last moment; Shift+Enter makes a line."""
    with opened(browser, url) as (page, _):
        editor(page).click()
        page.keyboard.type("up")
        page.locator(".cm-tooltip-autocomplete").wait_for(timeout=WAIT_MS)
        page.keyboard.press("Enter")
        assert len(table(page, 3)) == 3
        assert page.locator(".cm-tooltip-autocomplete").count() == 0
        page.keyboard.press("Shift+Enter")
        page.keyboard.type("> 0")
        assert editor(page).inner_text() == "up\n> 0"


def test_the_table_is_sorted_by_a_click(browser: Browser, url: str) -> None:
    """First the order of the API, then up, then down; assistive technology is told."""
    with opened(browser, url, graph(expr="sort_desc(node_load1)")) as (page, _):
        values = [float(value) for _, value in table(page, 3)]
        assert values == sorted(values, reverse=True)
        button = page.get_by_role("button", name="Value")
        header = page.get_by_role("columnheader", name="Value")
        button.click()
        assert [float(value) for _, value in table(page, 3)] == sorted(values)
        assert header.get_attribute("aria-sort") == "ascending"
        button.click()
        assert header.get_attribute("aria-sort") == "descending"
        button.click()
        assert header.get_attribute("aria-sort") == "none"


def test_a_graph_is_drawn_and_its_series_can_be_hidden(browser: Browser, url: str) -> None:
    """One line per series; the legend takes them away and brings them back."""
    with opened(browser, url, graph(expr=REQUESTS, tab="0")) as (page, heard):
        assert (drawn(page).get_attribute("data-lines"), drawn(page).get_attribute("data-points")) == ("3", "241")
        assert page.evaluate(COLOURS) >= 10
        entry = page.get_by_role("button", name='{instance="borealis:8080"}', exact=False).first
        entry.click()
        page.get_by_text("2 of 3 series shown").wait_for(timeout=WAIT_MS)
        assert entry.get_attribute("aria-pressed") == "false"
        page.get_by_role("button", name="None").click()
        page.get_by_text("0 of 3 series shown").wait_for(timeout=WAIT_MS)
        assert page.evaluate(COLOURS) < page.get_by_role("button", name="All").evaluate(
            f"button => {{ button.click(); return new Promise(done => setTimeout(() => done(({COLOURS})()), 300)) }}"
        )
        assert heard.complaints == []


def test_a_graph_can_be_read_with_the_keyboard(browser: Browser, url: str) -> None:
    """Arrow keys move through time, and what is there is said in words."""
    with opened(browser, url, graph(expr="up", tab="0")) as (page, _):
        plot = drawn(page)
        plot.focus()
        page.keyboard.press("Home")
        page.keyboard.press("ArrowRight")
        assert plot.get_attribute("aria-valuenow") == "1"
        assert '{instance="atlas:9100"} 1' in (plot.get_attribute("aria-valuetext") or "")


def test_too_many_series_are_cut_with_a_word(browser: Browser, url: str) -> None:
    """The page stays usable, and nobody takes a part for the whole."""
    with opened(browser, url, graph(expr="many", tab="0")) as (page, _):
        assert drawn(page).get_attribute("data-lines") == "200"
        page.get_by_text("Only the first 200 series are drawn; there are more.").wait_for(timeout=WAIT_MS)
        page.get_by_role("tab", name="Table").click()
        assert len(table(page, MANY)) == MANY
        run(page, " or ".join(f'label_replace(many, "copy", "{copy}", "", "")' for copy in range(4)))
        page.get_by_text("Only the first 1,000 series are shown; there are more.").wait_for(timeout=WAIT_MS)
        assert len(table(page, 1000)) == 1000


def test_range_step_and_ends_are_chosen(browser: Browser, url: str) -> None:
    """Presets, own ends and an own step ask for exactly those points."""
    with opened(browser, url, graph(expr="up", tab="0")) as (page, _):
        drawn(page)
        page.get_by_role("radio", name="5m", exact=True).click()
        page.wait_for_selector("[data-points='301']", timeout=WAIT_MS)
        page.get_by_label("Step").fill("1m")
        page.get_by_label("Step").press("Enter")
        page.wait_for_selector("[data-points='6']", timeout=WAIT_MS)
        page.get_by_role("button", name="Earlier").click()
        page.wait_for_url(re.compile("g0.end_input="), timeout=WAIT_MS)
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(page.url).query)
        assert (query["g0.range_input"], query["g0.step_input"]) == (["5m"], ["60"])
        page.get_by_label("Step").fill("soon")
        page.get_by_label("Step").press("Enter")
        page.get_by_text('"soon" is no duration').wait_for(timeout=WAIT_MS)


def test_a_drag_over_the_graph_looks_closer(browser: Browser, url: str) -> None:
    """The dragged span becomes the range; the way back is the back button."""
    with opened(browser, url, graph(expr="up", tab="0")) as (page, _):
        drawn(page)
        before, box = page.url, page.locator(".u-over").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] / 4, box["y"] + 40)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 60, steps=5)
        page.mouse.up()
        page.wait_for_url(re.compile("g0.range_input=1[45]m"), timeout=WAIT_MS)
        page.go_back()
        page.wait_for_url(before, timeout=WAIT_MS)
        page.wait_for_selector("[data-points='241']", timeout=WAIT_MS)


@pytest.mark.parametrize(
    ("expr", "marked", "message"),
    [
        ("sum(up) +\n  foo bar", "bar", '2:7: parse error: unexpected identifier "bar"'),
        ("rate(up)", "up", '1:6: parse error: expected type range vector in call to function "rate"'),
        ("sum(up", "p", "1:7: parse error: unclosed left parenthesis"),
    ],
)
def test_an_error_is_underlined_where_it_is(browser: Browser, url: str, expr: str, marked: str, message: str) -> None:
    """The API's message is shown as it is, and its place in the query is marked until the query is changed."""
    with opened(browser, url) as (page, _):
        run(page, expr)
        page.get_by_role("alert").get_by_text(message).wait_for(timeout=WAIT_MS)
        assert page.locator(".cm-wrong").all_inner_texts() == [marked]
        assert editor(page).get_attribute("aria-invalid") == "true"
        page.keyboard.press("End")
        page.keyboard.type(" ")
        assert page.locator(".cm-wrong").count() == 0
        assert editor(page).get_attribute("aria-invalid") == "false"


def test_what_the_engine_remarks_is_shown(browser: Browser, url: str) -> None:
    """Infos come with the result and do not hide it."""
    with opened(browser, url, graph(expr="sum(rate(node_load1[5m]))")) as (page, _):
        assert len(table(page, 1)) == 1
        page.get_by_text("PromQL info: metric might not be a counter").wait_for(timeout=WAIT_MS)


def test_nothing_is_explained(browser: Browser, url: str) -> None:
    """An empty result names the selector that matches nothing, or says that all match."""
    with opened(browser, url, graph(expr='node_load1 / up{job="nod"}')) as (page, heard):
        page.get_by_text('Nothing stored matches up{job="nod"}').wait_for(timeout=WAIT_MS)
        run(page, "up > 5")
        page.get_by_text("up has series, so it is the time or what is done with them").wait_for(timeout=WAIT_MS)
        assert heard.complaints == []


def test_an_address_holds_everything(browser: Browser, url: str) -> None:
    """Two panels with times, steps and odd characters: a reload shows the same, and so do back and forward."""
    fields = {
        "g0.expr": 'up{job=~"n.+"} # 100 %', "g0.tab": "1", "g0.moment_input": "2026-01-02 03:04:05",
        "g1.expr": REQUESTS, "g1.tab": "0", "g1.range_input": "1h30m", "g1.step_input": "30",
    }  # fmt: skip
    address = f"{url}/graph?{urllib.parse.urlencode(fields)}"
    with opened(browser, url) as (page, _):
        page.goto(address)
        page.wait_for_selector("[data-points='181'][data-lines='3']", timeout=WAIT_MS)
        assert [editor(page, number).inner_text() for number in (1, 2)] == [fields["g0.expr"], REQUESTS]
        page.get_by_text("No series at this time.").wait_for(timeout=WAIT_MS)
        page.get_by_role("region", name="Query 1").get_by_role("button", name="Now").click()
        assert len(table(page, 3)) == 3
        del fields["g0.moment_input"]
        assert dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(page.url).query)) == fields
        page.reload()
        assert len(table(page, 3)) == 3
        page.go_back()
        page.get_by_text("No series at this time.").wait_for(timeout=WAIT_MS)
        page.go_forward()
        assert len(table(page, 3)) == 3
        page.get_by_role("button", name="Remove query 1").click()
        page.wait_for_function("() => document.querySelectorAll('[data-query]').length === 1", timeout=WAIT_MS)
        assert editor(page).inner_text() == REQUESTS


@pytest.mark.parametrize("path", ["/graph", "/query"])
def test_links_of_alerts_open(browser: Browser, url: str, path: str) -> None:
    """Prometheus writes such links into alerts; they lead to the answer here."""
    with opened(browser, url, f"{path}?g0.expr=up%7Bjob%3D%22node%22%7D+%3D%3D+1&g0.tab=1") as (page, _):
        assert len(table(page, 3)) == 3
        assert editor(page).inner_text() == 'up{job="node"} == 1'


def test_queries_that_ran_are_remembered(browser: Browser, url: str) -> None:
    """Over a reload, newest first; a failed one is not."""
    with opened(browser, url) as (page, _):
        for expr, count in (("up", 3), ("node_load1", 3), ("vector(7)", 1)):
            run(page, expr)
            table(page, count)
            page.wait_for_url(re.compile(re.escape(urllib.parse.quote_plus(expr))), timeout=WAIT_MS)
        run(page, "up{")
        page.get_by_role("alert").get_by_text("parse error").wait_for(timeout=WAIT_MS)
        page.goto(f"{url}/graph")
        page.get_by_role("button", name="History").click()
        menu = page.get_by_role("dialog", name="Queries that were run")
        assert menu.locator("li").all_inner_texts() == ["vector(7)", "node_load1", "up"]
        menu.get_by_role("button", name="node_load1").click()
        assert len(table(page, 3)) == 3
        assert editor(page).inner_text() == "node_load1"


def test_a_query_is_laid_out_by_the_hub(browser: Browser, url: str) -> None:
    """The button puts in what the API's printer says; what is wrong is said as when it is run."""
    long = f"{REQUESTS}/ignoring(code) sum by(instance)(rate(http_requests_total[5m]))>0.1 and on(instance) up==1"
    with opened(browser, url) as (page, _):
        write(page, long)
        page.get_by_role("button", name="Format").click()
        wanted = ask(url, "format_query", query=long)
        page.locator(".host").evaluate(
            """(host, wanted) => new Promise((done) => {
              const look = () => host.shadowRoot.querySelectorAll(".cm-line").length === wanted.split("\\n").length
                ? done() : setTimeout(look, 50);
              look();
            })""",
            wanted,
        )
        assert editor(page).inner_text() == wanted
        write(page, "sum(")
        page.get_by_role("button", name="Format").click()
        page.get_by_role("alert").get_by_text("parse error").wait_for(timeout=WAIT_MS)


def test_a_slow_query_can_be_cancelled_and_is_by_the_next(browser: Browser, url: str) -> None:
    """While it runs the button cancels; a new query does not wait for the old one."""
    with opened(browser, url) as (page, _):
        run(page, "stalled")
        page.get_by_role("button", name="Cancel").click(timeout=WAIT_MS)
        page.get_by_text("Cancelled.").first.wait_for(timeout=WAIT_MS)
        assert page.get_by_role("button", name="Run").is_visible()
        with page.expect_event("requestfailed", timeout=WAIT_MS) as failed:
            run(page, "stalled")
            page.get_by_role("button", name="Cancel").wait_for(timeout=WAIT_MS)
            run(page, "vector(7)")
        assert failed.value.url == f"{url}/api/v1/query"
        assert table(page, 1) == [("{}", "7")]


def test_labels_of_a_series_can_be_copied(browser: Browser, url: str) -> None:
    """What is copied can be run as it is, odd names included."""
    with opened(browser, url, graph(expr='{"app.latency"}')) as (page, _):
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        table(page, 1)
        page.get_by_role("button", name="Copy the labels of").click()
        page.get_by_role("status").get_by_text("Copied").wait_for(state="attached", timeout=WAIT_MS)
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == '{"app.latency", "http.route"="/"}'
        assert len(ask(url, "query", query=copied)["result"]) == 1


@pytest.mark.parametrize("width", [360, 768, 1440])
def test_nothing_scrolls_sideways(browser: Browser, url: str, width: int) -> None:
    """From a phone to a desktop the page is as wide as the screen, with graph, table and completion open."""
    path = graph(expr=REQUESTS, tab="0") + "&g1.expr=http_requests_total&g1.tab=1"
    with opened(browser, url, path, width=width, height=780) as (page, heard):
        drawn(page)
        table(page, 9)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        canvas = page.locator("[data-lines] canvas").bounding_box()
        assert canvas is not None and 200 < canvas["width"] <= width
        write(page, "")
        page.keyboard.type("http")
        box = page.locator(".cm-tooltip-autocomplete").bounding_box(timeout=WAIT_MS)
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= width
        assert heard.complaints == []


def test_both_themes_colour_the_query(browser: Browser, url: str) -> None:
    """Functions, labels and strings differ from each other and between light and dark."""
    found = []
    for scheme in ("light", "dark"):
        with opened(browser, url, graph(expr='rate(up{job="node"}[5m])'), scheme=scheme) as (page, heard):
            script = "all => all.map(one => [one.innerText, getComputedStyle(one).color])"
            spans = dict(page.eval_on_selector_all(".cm-line span", script))
            found.append([spans["rate"], spans["job"], spans['"node"'], spans["5m"]])
            assert heard.complaints == []
    assert len({colour for colours in found for colour in colours}) == 8


def test_the_editor_is_loaded_here_only_and_nobody_else_is_asked(browser: Browser, url: str) -> None:
    """The live page stays small; no file comes from another host."""
    with opened(browser, url, graph(expr="up")) as (page, heard):
        table(page, 3)
        assert any("/assets/promql-" in address for address in heard.addresses)
        assert [address for address in heard.addresses if not address.startswith(url + "/")] == []
    with tab(browser) as (page, heard):
        page.goto(url + "/")
        page.wait_for_selector("[data-panel] canvas", timeout=WAIT_MS)
        assert [address for address in heard.addresses if re.search("promql|editor|graph", address)] == []
        page.get_by_role("link", name="Query").click()
        page.wait_for_selector(".cm-content", timeout=WAIT_MS)
        page.go_back()
        page.wait_for_selector("[data-panel] canvas", timeout=WAIT_MS)


def test_without_the_editor_a_plain_field_asks(browser: Browser, url: str) -> None:
    """When the editor's file cannot be had, the page still answers queries."""
    with tab(browser) as (page, _):
        page.route("**/assets/promql-*", lambda route: route.abort())
        page.goto(url + "/graph")
        editor(page).fill("up")
        page.keyboard.press("Enter")
        assert len(table(page, 3)) == 3
