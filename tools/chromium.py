"""A real Chromium, for the tests of the console and for the pictures of the documentation."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, expect, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SWITCHES = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# Milliseconds. A busy machine is slow, not wrong; what fails waits this long once.
PATIENCE = 20_000


def executable() -> str | None:
    """Where Chromium is, or None."""
    paths = (shutil.which(name) for name in NAMES)
    return next((path for path in paths if path), None)


@contextmanager
def open_browser() -> Iterator[Browser]:
    """One browser for the length of the block; RuntimeError without Chromium."""
    path = executable()
    if path is None:
        raise RuntimeError("there is no Chromium")
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(SWITCHES))
        try:
            yield browser
        finally:
            browser.close()
