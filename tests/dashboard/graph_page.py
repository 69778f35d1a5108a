"""What the tests of the expression browser do on its page."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tests.dashboard.chromium import WAIT_MS, Heard, tab

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

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
