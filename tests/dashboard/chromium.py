"""What tests in a real, headless Chromium share: the hub that they look at, and a tab that listens to itself."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request

ROOT = Path(__file__).parents[2]
CHROMIUM = os.environ.get("PEERWATCH_TEST_CHROMIUM") or shutil.which("chromium")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
WAIT_MS = 20_000
MARKS = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium on PATH, or its path in PEERWATCH_TEST_CHROMIUM"),
]


def build_page() -> None:
    """The page as its sources are now."""
    subprocess.run([sys.executable, "web/build.py", "--strict"], cwd=ROOT, check=True, timeout=900)


@contextmanager
def hub(port: int = 0, *instances: str) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A process that serves synthetic data; its URL and the process."""
    command = [sys.executable, "-m", "tests.dashboard.fake_server", str(port), *instances]
    env = os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip(), process
        finally:
            process.terminate()


@dataclass(slots=True)
class Heard:
    """What went wrong on a page, and where it asked."""

    complaints: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)


@contextmanager
def tab(
    browser: Browser, *, width: int = 1440, height: int = 960, scheme: str = "light"
) -> Iterator[tuple[Page, Heard]]:
    """An empty page in a context of its own, and what is heard from it."""
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
    page, heard = context.new_page(), Heard()

    def console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            heard.complaints.append(message.text)

    def request(asked: Request) -> None:
        heard.addresses.append(asked.url)

    page.on("console", console)
    page.on("pageerror", lambda error: heard.complaints.append(str(error)))
    page.on("request", request)
    try:
        yield page, heard
    finally:
        context.close()
