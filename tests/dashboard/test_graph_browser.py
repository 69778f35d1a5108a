"""The expression browser in a real, headless Chromium: how it is asked, and what the address holds."""

from __future__ import annotations

import re
import urllib.parse
from typing import TYPE_CHECKING

import pytest

from tests.dashboard.chromium import MARKS, WAIT_MS, tab
from tests.dashboard.graph_page import REQUESTS, ask, editor, graph, opened, run, table, write

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = MARKS


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
