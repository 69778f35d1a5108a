"""The expression browser in a real, headless Chromium: table, graph, and words where there is neither."""

from __future__ import annotations

import re
import urllib.parse
from typing import TYPE_CHECKING

import pytest

from tests.dashboard.chromium import MARKS, WAIT_MS
from tests.dashboard.graph_page import REQUESTS, ask, drawn, graph, opened, run, table, write
from tests.dashboard.query_source import MANY

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = MARKS

# How many different colours the graph's canvas has: an empty one has a few for its axes.
COLOURS = """() => {
  const canvas = document.querySelector("[data-query='1'] canvas");
  const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return new Set(new Uint32Array(data.buffer)).size;
}"""


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


def test_a_native_histogram_is_a_picture(browser: Browser, url: str) -> None:
    """A bar per bucket, which says its bounds; count and sum beside it."""
    with opened(browser, url, graph(expr="rate(request_seconds[5m])")) as (page, heard):
        picture = page.get_by_role("img", name="3 buckets from 0.125 to 1")
        picture.wait_for(timeout=WAIT_MS)
        heights = picture.locator("rect.bar").evaluate_all("all => all.map(bar => Number(bar.getAttribute('height')))")
        assert heights == [22, 44, 22]
        assert (picture.locator("title").first.text_content() or "").startswith("(0.125, 0.25]: 0.")
        assert re.search(r"count 0\.\d+, sum 0\.\d+", page.locator("figcaption").inner_text())
        assert heard.complaints == []


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
