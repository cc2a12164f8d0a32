"""A real Chromium before a real `atelier up`; a test fails on any complaint of its page."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from playwright.async_api import async_playwright, expect

from tests.system.conftest import running
from tests.waiting import PATIENCE_SECONDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from playwright.async_api import Browser, ConsoleMessage, Page, Request

    from tests.system.instance import Instance

PATIENCE_MS = 1000 * PATIENCE_SECONDS
NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
ABSENT = f"no Chromium: install one of {', '.join(NAMES)}"


class Watch:
    """A page's console errors, and the addresses that it requested on other hosts."""

    def __init__(self, page: Page, url: str) -> None:
        self.errors: list[str] = []
        self.elsewhere: list[str] = []
        self._host = urlsplit(url).netloc
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.context.on("request", self._request)

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def _request(self, request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in {"blob", "data"} and parts.netloc != self._host:
            self.elsewhere.append(request.url)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Where Chromium is; skips without one, but fails under CI."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found:
        return found
    if os.environ.get("CI"):
        pytest.fail(ABSENT)
    pytest.skip(ABSENT)


@pytest.fixture(scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """A browser that the tests share."""
    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium)
        yield browser
        await browser.close()


@pytest.fixture(scope="module")
def instance(chromium: str) -> Iterator[Instance]:
    """A running instance that a module's tests share."""
    with running() as instance:
        yield instance


@pytest.fixture
async def page(browser: Browser, instance: Instance) -> AsyncIterator[Page]:
    """A page without cookies. No error may come to its console, nor a request go elsewhere."""
    async with await browser.new_context(base_url=instance.url) as context:
        context.set_default_timeout(PATIENCE_MS)
        page = await context.new_page()
        watch = Watch(page, instance.url)
        yield page
    assert watch.errors == []
    assert watch.elsewhere == []
