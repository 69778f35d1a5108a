"""The page in a real, headless Chromium, against a hub with moving data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.dashboard.chromium import MARKS, WAIT_MS, Heard, hub, tab

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PANELS = ["cpu", "load", "memory", "network", "disk_io", "tcp", "disk", "swap", "age"]

# How many different colours a panel's canvas has: an empty one has one.
COLOURS = """id => {
  const canvas = document.querySelector(`[data-panel=${id}] canvas`);
  const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return new Set(new Uint32Array(data.buffer)).size;
}"""
PIXELS = "id => document.querySelector(`[data-panel=${id}] canvas`).toDataURL()"
LAST = "id => Number(document.querySelector(`[data-panel=${id}]`).dataset.last)"
DRAWN = "id => Number(document.querySelector(`[data-panel=${id}]`)?.dataset.points) > 50"

pytestmark = MARKS


@contextmanager
def opened(
    browser: Browser, url: str, *, width: int = 1440, height: int = 960, scheme: str = "light", path: str = "/"
) -> Iterator[tuple[Page, Heard]]:
    """A page in a context of its own, once its first chart has its history."""
    with tab(browser, width=width, height=height, scheme=scheme) as (page, heard):
        page.goto(url + path)
        page.wait_for_function(DRAWN, arg="cpu", timeout=WAIT_MS)
        yield page, heard


def test_every_chart_is_drawn(browser: Browser, url: str) -> None:
    """Nine charts with data on their canvas, a live stream, and nothing to complain about."""
    with opened(browser, url) as (page, heard):
        page.get_by_role("status").get_by_text("live", exact=True).wait_for(timeout=WAIT_MS)
        panels = page.eval_on_selector_all("[data-panel]", "all => all.map(one => one.dataset.panel)")
        assert panels == PANELS
        few = {panel: page.evaluate(COLOURS, panel) for panel in PANELS}
        assert all(colours >= 4 for colours in few.values()), few
        assert heard.complaints == []


def test_the_page_asks_nobody_but_its_hub(browser: Browser, url: str) -> None:
    """No font, script, image or count of visitors comes from or goes to another host."""
    with opened(browser, url) as (_, heard):
        assert len(heard.addresses) >= 5
        assert [address for address in heard.addresses if not address.startswith(url + "/")] == []


def test_a_chart_moves_as_data_comes(browser: Browser, url: str) -> None:
    """New samples arrive by themselves: the newest time grows and the picture changes."""
    with opened(browser, url, path="/?range=5m") as (page, _):
        last, pixels = page.evaluate(LAST, "cpu"), page.evaluate(PIXELS, "cpu")
        page.wait_for_function(f"before => ({LAST})('cpu') > before + 1", arg=last, timeout=WAIT_MS)
        page.wait_for_function(f"before => ({PIXELS})('cpu') !== before", arg=pixels, timeout=WAIT_MS)


@pytest.mark.parametrize("width", [360, 768, 1180, 1440])
def test_nothing_scrolls_sideways(browser: Browser, url: str, width: int) -> None:
    """From a phone to a desktop the page is as wide as the screen, and so are its charts at most."""
    with opened(browser, url, width=width, height=780) as (page, heard):
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        widths = page.eval_on_selector_all("[data-panel] canvas", "all => all.map(one => one.clientWidth)")
        assert len(widths) == 9 and all(200 < found <= width for found in widths)
        assert heard.complaints == []


def test_a_theme_follows_the_system_until_chosen_and_is_kept(browser: Browser, url: str) -> None:
    """Dark when the system is; a choice holds over a reload, from the first paint on."""
    ground = "getComputedStyle(document.body).backgroundColor"
    with opened(browser, url, scheme="dark") as (page, _):
        dark = page.evaluate(ground)
        button = page.get_by_role("button", name="Theme")
        button.click()
        light = page.evaluate(ground)
        assert (dark, light) == ("rgb(13, 16, 21)", "rgb(244, 245, 248)")
        page.reload(wait_until="commit")
        page.wait_for_selector("html[data-theme=light]", state="attached", timeout=WAIT_MS)
        assert page.get_by_role("button", name="Theme: light").count() <= 1
        page.wait_for_function(DRAWN, arg="cpu", timeout=WAIT_MS)
        assert page.evaluate(ground) == light


def test_the_cursor_of_one_chart_is_the_cursor_of_all(browser: Browser, url: str) -> None:
    """Pointing at a moment in one chart shows that moment's time in the others."""
    with opened(browser, url) as (page, _):
        page.hover("[data-panel=cpu] .u-over", position={"x": 120, "y": 60})
        page.wait_for_function("/^[0-9:]{8}$/.test(document.querySelector('[data-panel=tcp] .time').textContent)")
        times = page.eval_on_selector_all("[data-panel] .time", "all => all.map(one => one.textContent)")
        assert len(set(times)) == 1


def test_a_chart_can_be_read_with_the_keyboard(browser: Browser, url: str) -> None:
    """Arrow keys move through time, and what is there is said in words."""
    with opened(browser, url) as (page, _):
        plot = page.get_by_role("slider", name="Memory, moment")
        plot.focus()
        newest = plot.get_attribute("aria-valuenow")
        page.keyboard.press("PageUp")
        page.keyboard.press("ArrowLeft")
        assert int(plot.get_attribute("aria-valuenow") or 0) in (int(newest or 0) - 11, int(newest or 0) - 10)
        said = plot.get_attribute("aria-valuetext") or ""
        assert "used" in said and "GiB" in said


def test_range_and_instance_are_chosen_and_stay_in_the_address(browser: Browser, url: str) -> None:
    """A link to what is on the screen can be sent to somebody."""
    with opened(browser, url) as (page, _):
        page.get_by_role("radio", name="24 hours").click()
        page.get_by_role("combobox", name="Instance").select_option("cygnus")
        page.wait_for_function(DRAWN, arg="cpu", timeout=WAIT_MS)
        assert page.url == f"{url}/?instance=cygnus&range=24h"
        page.reload()
        page.wait_for_function(DRAWN, arg="cpu", timeout=WAIT_MS)
        assert page.get_by_role("radio", name="24 hours").get_attribute("aria-checked") == "true"


def test_an_instance_that_is_down_says_so(browser: Browser, url: str) -> None:
    """The status, the tiles and a notice say it, with what to do; no chart pretends to be alive."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(url + "/?instance=eridanus")
    page.get_by_role("status").get_by_text("down", exact=True).wait_for(timeout=WAIT_MS)
    page.get_by_text("eridanus has sent nothing for more than five minutes").wait_for(timeout=WAIT_MS)
    page.get_by_text("No memory samples in this range.").wait_for(timeout=WAIT_MS)
    context.close()


def test_without_any_instance_the_page_says_how_to_begin(browser: Browser) -> None:
    """An empty hub shows the two commands, and no empty charts."""
    with hub(0, "--nobody") as (url, _):
        context = browser.new_context()
        page = context.new_page()
        page.goto(url)
        page.get_by_role("heading", name="No machine reports yet").wait_for(timeout=WAIT_MS)
        assert page.get_by_text("peerwatch join TOKEN").is_visible()
        assert page.locator("[data-panel]").count() == 0
        context.close()


def test_a_page_survives_its_hub(browser: Browser) -> None:
    """While the hub is away the page says so and tries; when it is back the page goes on by itself."""
    with hub() as (url, process), opened(browser, url, path="/?range=5m") as (page, _):
        process.terminate()
        process.wait(timeout=10)
        page.get_by_role("status").get_by_text("reconnecting").wait_for(timeout=WAIT_MS)
        page.get_by_text("The hub does not answer.").wait_for(timeout=WAIT_MS)
        before = page.evaluate(LAST, "cpu")
        with hub(int(url.rsplit(":", 1)[1])):
            page.get_by_role("status").get_by_text("live", exact=True).wait_for(timeout=WAIT_MS)
            page.wait_for_function(f"before => ({LAST})('cpu') > before", arg=before, timeout=WAIT_MS)
            assert page.get_by_text("The hub does not answer.").count() == 0
