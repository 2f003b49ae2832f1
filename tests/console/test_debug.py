"""A debug container, from the page of its pod to a terminal in it."""

from django.test import Client
from playwright.sync_api import expect

from clusters.models import Cluster
from tests.console.browser import PHONE, Walk
from tests.console.conftest import Make


def test_a_debug_container_is_started_and_its_terminal_opened(
    walk: Walk, visitor: Client, cluster: Cluster, make: Make
) -> None:
    container = {"name": "main", "image": "nginx:1"}
    make("pods", {"metadata": {"name": "web"}, "spec": {"containers": [container]}}, running=True)
    address = f"/clusters/{cluster.pk}/pods/{make.space}/web"
    assert f"{address}/debug" in visitor.get(f"{address}/menu").content.decode()
    page = walk.open(address)
    page.get_by_role("link", name="Debug", exact=True).click()
    assert walk.axe() == []
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    assert not walk.is_wider_than_the_window()
    walk.picture("form")
    page.locator('[name="command"]').fill("sleep 'unclosed")
    page.get_by_role("button", name="Start and open a terminal").click()
    expect(page.get_by_role("alert")).to_contain_text("a quotation mark is not closed")
    page.locator('[name="command"]').fill("sleep 3600")
    page.get_by_role("button", name="Start and open a terminal").click()
    expect(page.locator("#terminal-state")).to_have_text("Connected")
    assert page.locator("#terminal-container").input_value().startswith("debugger-")
    page.keyboard.type("echo it is $(echo here)\n")
    expect(page.locator("#terminal .xterm-rows")).to_contain_text("it is here")
