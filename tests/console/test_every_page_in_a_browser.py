"""Each page in a real browser: accessibility in light and dark, no sideways scroll on a phone."""

import json

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Page

from clusters.models import Cluster
from tests.alerts.conftest import emptied_store, live
from tests.caller import Caller
from tests.console.browser import AXE, DESK, PHONE
from tests.console.conftest import Make, Walker
from tests.console.page_examples import apiserver, make_examples

# Fixtures of the tests of alerts, used here as well.
__all__ = ["apiserver", "emptied_store", "live"]

# Each part has its own database and browser, so that they may run side by side.
PARTS = 4
# What is no page of its own: files, and fragments that pages load.
NO_PAGES = ("/export", "/data", ".csv", "/cast", "/bell", "/quick", "/why", "/menu", "/beside")
# The frame around the pages has tests of its own.
RUN = """async (rules) => {
  const options = {resultTypes: ["violations"], ...rules};
  const {violations} = await axe.run("main", options);
  const bad = violations.filter(({impact}) => ["serious", "critical"].includes(impact));
  return bad.map(({id, nodes}) => `${id}: ${nodes[0].html.slice(0, 200)}`);
}"""
NEXT_FRAMES = """() => new Promise((done) => requestAnimationFrame(() =>
  requestAnimationFrame(() => setTimeout(done))))"""
CONTRAST = {"runOnly": ["color-contrast"]}


def faults(page: Page) -> list[str]:
    """Serious and critical faults of accessibility, in light and in dark."""
    lines: list[str] = page.evaluate(RUN, {})
    # The other theme has the same elements in other colours.
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)
        # Editors and charts change their colours by script, when they hear of it.
        page.evaluate(NEXT_FRAMES)
        if scheme == "dark":
            lines += [f"dark: {line}" for line in page.evaluate(RUN, CONTRAST)]
    return lines


@pytest.mark.timeout(600)
@pytest.mark.parametrize("part", range(PARTS))
def test_every_page_is_accessible_and_fits_a_phone(
    walker: Walker,
    person: User,
    vkube: None,
    admin: Caller,
    emptied_store: None,
    live: Cluster,
    make: Make,
    part: int,
) -> None:
    examples = make_examples(person, admin, live, make)
    walk = walker(person, color_scheme="light")
    report: dict[str, list[str]] = {}
    opened = 0
    for _name, address in sorted(set(examples.pages()))[part::PARTS]:
        if address.partition("?")[0].endswith(NO_PAGES):
            continue
        walk.page.set_viewport_size({"width": DESK[0], "height": DESK[1]})
        page = walk.open(address)
        if not page.evaluate("document.documentElement.lang"):
            continue
        opened += 1
        page.evaluate(AXE.read_text())
        lines = faults(page)
        if lines:
            # A fragment may have been on its way in, for which a table is pale; what is wrong
            # stays wrong.
            page.wait_for_load_state("networkidle")
            page.wait_for_function("!document.querySelector('.htmx-request')")
            lines = faults(page)
        page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
        if walk.is_wider_than_the_window():
            lines.append("wider than a phone")
        if lines:
            report[address] = lines
    assert opened > 15
    assert not report, json.dumps(report, indent=1)
