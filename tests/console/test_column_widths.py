"""Widths of columns: dragged, moved by keys, reset, and kept for the person."""

from playwright.sync_api import Locator, expect

from clusters.models import Cluster
from tests.console.browser import Walk
from tests.console.conftest import Make
from tests.vkube import eventually


def width(edge: Locator) -> int:
    """What the edge says of its column."""
    return int(edge.get_attribute("aria-valuenow") or 0)


def test_columns_are_as_wide_as_the_person_makes_them(
    walk: Walk, cluster: Cluster, make: Make
) -> None:
    make("configmaps", {"metadata": {"name": "settings"}})
    address = f"/clusters/{cluster.pk}/configmaps?namespace={make.space}"
    page = walk.open(address)
    edge = page.locator("th[data-column=name]").get_by_role("separator", name="Column width")
    ready = page.locator("[data-widths-ready]")
    expect(ready).to_be_attached()
    assert walk.axe() == []
    start = width(edge)
    edge.focus()
    with page.expect_response("**/preferences/widths"):
        edge.press("ArrowRight")
    assert width(edge) == start + 16
    # Boxes are measured when fonts are there and two frames are the same.
    page.evaluate("document.fonts.ready")
    page.wait_for_function(
        """() => new Promise((done) => {
          const place = () => document.querySelector(".column-edge").getBoundingClientRect().x;
          const before = place();
          requestAnimationFrame(() => requestAnimationFrame(() => done(place() === before)));
        })"""
    )
    box = edge.bounding_box()
    assert box
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 3, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 63, middle, steps=4)
    with page.expect_response("**/preferences/widths"):
        page.mouse.up()
    eventually(lambda: abs(width(edge) - start - 76) <= 2)
    wide = width(edge)
    page = walk.open(address)
    expect(ready).to_be_attached()
    eventually(lambda: abs(width(edge) - wide) <= 1)
    # The fleet's table of the kind has the same widths.
    page = walk.open("/all/configmaps")
    expect(page.locator("#fleet[data-widths]")).to_have_attribute("data-kind", "configmaps")
    assert walk.axe() == []
    walk.picture("fleet")
    # The sidebar is that of every page.
    expect(page.get_by_role("link", name="StatefulSets")).to_be_visible()
    # And its columns are chosen there too.
    page.locator(".columns-menu summary").click()
    page.get_by_label("Age", exact=True).uncheck()
    page.locator(".columns-menu").get_by_role("button", name="Save").click()
    page.locator(".columns-menu summary").click()
    expect(page.get_by_label("Age", exact=True)).not_to_be_checked()
    page = walk.open(address)
    expect(ready).to_be_attached()
    with page.expect_response("**/preferences/widths"):
        edge.dblclick()
    assert page.evaluate("document.adoptedStyleSheets.every((sheet) => !sheet.cssRules.length)")
