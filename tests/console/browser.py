"""What people do in a real Chromium, and what went wrong in its pages."""

import json
import re
from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, TimeoutError

from tools.chromium import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
ARTIFACTS = ROOT / ".artifacts"
AXE = Path(__file__).resolve().parent / "vendor" / "axe-core-4.14.1" / "axe.min.js"
MISSING = (
    "NO BROWSER: the walks through the console were SKIPPED. "
    "Install chromium (Debian, Ubuntu: apt-get install chromium); make test does so as root."
)
DESK, PHONE = (1280, 800), (390, 844)


class Walk:
    """One person's browser: opens pages, takes pictures, remembers every fault that the pages reported."""

    def __init__(self, context: BrowserContext, base: str, name: str) -> None:
        self.context, self.base, self.name = context, base, re.sub(r"[^\w-]+", "-", name)
        self.faults: list[str] = []
        self.pictures = 0
        context.set_default_timeout(PATIENCE)
        self.page: Page = context.new_page()
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        self.page.on("console", self._heard)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.faults.append(f"console: {message.text}")

    def open(self, path: str) -> Page:
        """Go to a page of the console."""
        self.page.goto(self.base + path)
        return self.page

    def picture(self, name: str = "", *, full: bool = False) -> Path:
        """Keep what is seen now."""
        ARTIFACTS.mkdir(exist_ok=True)
        self.pictures += 1
        path = ARTIFACTS / f"{self.name}-{self.pictures}{f'-{name}' if name else ''}.png"
        self.page.screenshot(path=path, full_page=full)
        return path

    def axe(self) -> list[str]:
        """Serious and critical faults of accessibility, each with the elements that have it."""
        # Through the debugger, not as a script of the page: the page's policy forbids those.
        self.page.evaluate(AXE.read_text())
        found: dict[str, Any] = self.page.evaluate(
            "axe.run(document, {resultTypes: ['violations']})"
        )
        return [
            f"{fault['id']}: {json.dumps([node['html'][:160] for node in fault['nodes'][:4]])}"
            for fault in found["violations"]
            if fault["impact"] in {"serious", "critical"}
        ]

    def is_wider_than_the_window(self) -> bool:
        """Whether the page itself can be scrolled sideways, and stays so.

        Charts are drawn anew by script, some time after the window has another width.
        """
        root = "document.documentElement"
        try:
            self.page.wait_for_function(f"{root}.scrollWidth <= {root}.clientWidth + 1")
        except TimeoutError:
            return True
        return False
