"""Keys, menus of rows and the command palette, in a real browser."""

import re

from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import expect

from access import grants
from access.policy import Role
from clusters.models import Cluster
from tests.console.browser import Walk
from tests.console.conftest import Make


def test_rows_have_menus_and_keys_and_the_palette_goes_anywhere(
    walk: Walk, cluster: Cluster, make: Make
) -> None:
    container = {"name": "main", "image": "nginx:1"}
    make("pods", {"metadata": {"name": "web"}, "spec": {"containers": [container]}}, running=True)
    base = f"/clusters/{cluster.pk}"
    page = walk.open(f"{base}/pods?namespace={make.space}")
    page.keyboard.press("j")
    expect(page.get_by_role("link", name="web", exact=True)).to_be_focused()
    page.keyboard.press("m")
    menu = page.locator("#row-menu")
    expect(menu.get_by_role("link", name="Delete")).to_be_visible()
    assert walk.axe() == []
    page.keyboard.press("l")
    page.wait_for_url(re.compile(rf"{base}/pods/{make.space}/web/logs"))
    walk.open(f"{base}/pods?namespace={make.space}")
    page.keyboard.press("?")
    expect(page.get_by_role("heading", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    page.keyboard.type("daemonsets")
    page.keyboard.press("Escape")
    expect(page.locator("#palette")).to_be_hidden()
    page.keyboard.press("Control+k")
    page.keyboard.type("daemonsets")
    expect(page.locator("#palette-hits [aria-selected=true]")).to_contain_text("DaemonSets")
    assert walk.axe() == []
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(rf"{base}/daemonsets"))


def test_a_menu_offers_only_what_its_reader_may_do(cluster: Cluster, make: Make) -> None:
    make("configmaps", {"metadata": {"name": "text"}, "data": {"a": "b"}})
    reader = User.objects.create_user("reader")
    grants.give(user=reader, role=Role.VIEWER, cluster=str(cluster.pk), namespace=make.space)
    client = Client()
    client.force_login(reader)
    menu = client.get(f"/clusters/{cluster.pk}/configmaps/{make.space}/text/menu")
    assert "/yaml" in menu.content.decode()
    assert "/edit" not in menu.content.decode()
    assert "/act/delete" not in menu.content.decode()


def test_a_shell_in_the_dock_goes_on_on_the_next_page(
    walk: Walk, cluster: Cluster, make: Make
) -> None:
    container = {"name": "main", "image": "nginx:1"}
    make("pods", {"metadata": {"name": "web"}, "spec": {"containers": [container]}}, running=True)
    base = f"/clusters/{cluster.pk}"
    page = walk.open(f"{base}/pods/{make.space}/web/terminal")
    expect(page.locator("#terminal-state")).to_have_text("Connected")
    page.get_by_role("button", name="Dock").click()
    shell = page.frame_locator("#dock-frames iframe")
    expect(shell.locator("#terminal-state")).to_have_text("Connected")
    shell.locator("textarea").focus()
    page.keyboard.type("export DOCKED=yes\n")
    expect(shell.locator(".xterm-rows")).to_contain_text("DOCKED=yes")
    walk.open(f"{base}/configmaps")
    expect(shell.locator("#terminal-state")).to_contain_text("Connected again")
    # What was typed before is shown again, and the shell still knows it.
    expect(shell.locator(".xterm-rows")).to_contain_text("DOCKED=yes")
    shell.locator("textarea").focus()
    page.keyboard.type("echo is-$DOCKED\n")
    expect(shell.locator(".xterm-rows")).to_contain_text("is-yes")
    assert walk.axe() == []
    # The log of the same pod beside it: the arrows go from tab to tab, Delete closes one.
    page = walk.open(f"{base}/pods/{make.space}/web/logs")
    page.get_by_role("button", name="Dock").click()
    logs = page.get_by_role("tab", name="Logs web")
    terminal = page.get_by_role("tab", name="Terminal web")
    expect(logs).to_have_attribute("aria-selected", "true")
    logs.focus()
    page.keyboard.press("ArrowRight")
    expect(terminal).to_be_focused()
    expect(terminal).to_have_attribute("aria-selected", "true")
    expect(page.locator("#dock-frames iframe:visible")).to_have_attribute("title", "Terminal web")
    assert walk.axe() == []
    page.keyboard.press("Delete")
    expect(terminal).to_have_count(0)
    page.get_by_role("button", name="Close Logs web").click()
    expect(page.locator("#dock")).to_be_hidden()


def test_only_pages_of_the_dock_may_stand_in_a_frame(visitor: Client, cluster: Cluster) -> None:
    base = f"/clusters/{cluster.pk}"
    for address in (f"{base}/pods?dock=1", f"{base}?dock=1", "/?dock=1"):
        answer = visitor.get(address)
        assert "frame-ancestors 'none'" in answer["Content-Security-Policy"]
        assert answer["X-Frame-Options"] == "DENY"
