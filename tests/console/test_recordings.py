"""Recorded terminals: the list, the player, and who sees them."""

from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from playwright.sync_api import expect

from access import grants
from access.policy import Role
from clusters.models import Cluster
from tests.console.browser import PHONE, Walk
from tests.console.conftest import Make, Walker
from workloads.models import Recording, RecordingChunk


def record(cluster: Cluster, namespace: str) -> Recording:
    """A short shell: two pieces of output with a long silence between them."""
    row = Recording.objects.create(
        session="a" * 32, username="ada", cluster=cluster, namespace=namespace, pod="web"
    )
    events = '[0.1, "o", "hello "]\n[3600.0, "o", "world"]\n'
    RecordingChunk.objects.create(recording=row, number=0, events=events)
    return row


def test_a_recording_is_played(walk: Walk, cluster: Cluster, make: Make) -> None:
    record(cluster, make.space)
    page = walk.open(f"/clusters/{cluster.pk}/-/recordings")
    row = page.get_by_role("row", name=f"{make.space}/web")
    row.get_by_role("link").click()
    # An hour of silence takes two seconds.
    expect(page.locator(".xterm-rows")).to_contain_text("hello world")
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    assert walk.axe() == []


def test_a_recording_is_searched_and_gone_through(
    walker: Walker, person: User, cluster: Cluster, make: Make
) -> None:
    row = record(cluster, make.space)
    events = """[10.0, "o", "root@web:/# ls -l\\r\\n"]\n[11.0, "o", "total 0\\r\\n"]
[3600.0, "o", "root@web:/# \\u001b[1mexit\\u001b[0m\\r\\n"]\n"""
    RecordingChunk.objects.filter(recording=row).update(events=events)
    Recording.objects.filter(pk=row.pk).update(size=len(events), finished_at=timezone.now())
    walk = walker(person, size=PHONE)
    page = walk.open(f"/clusters/{cluster.pk}/-/recordings?user=nobody")
    expect(page.get_by_text("Nothing fits the filter.")).to_be_visible()
    page.get_by_label("User", exact=True).fill("ada")
    page.get_by_label("Pod or node").fill("WE")
    page.get_by_label("Printed text").fill("# exit")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("1 recording", exact=True)).to_be_visible()
    assert walk.axe() == []
    assert not walk.is_wider_than_the_window()
    walk.picture("list")
    page.get_by_role("link", name="root@web:/# exit").click()
    # The match stands still: 10 s and an hour of silence are two each.
    screen = page.locator(".xterm-rows")
    expect(screen).to_contain_text("exit")
    time = page.locator("#recording-time")
    expect(time).to_have_text("0:05 / 0:05")
    page.get_by_label("Skip idle time").uncheck()
    expect(time).to_have_text("1:00:00 / 1:00:00")
    page.get_by_text("Commands", exact=True).click()
    page.get_by_role("button", name="ls -l").click()
    expect(time).to_have_text("0:10 / 1:00:00")
    expect(screen).not_to_contain_text("total 0")
    page.locator("h1").click()
    page.keyboard.press("ArrowRight")
    expect(time).to_have_text("0:15 / 1:00:00")
    expect(screen).to_contain_text("total 0")
    page.keyboard.press("Home")
    expect(screen).not_to_contain_text("ls")
    page.keyboard.press("ArrowUp")
    expect(page.get_by_label("Speed")).to_have_value("2")
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.keyboard.press("End")
    expect(screen).to_contain_text("exit")
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    assert walk.axe() == []
    assert not walk.is_wider_than_the_window()
    walk.picture("player")


def test_recordings_are_seen_by_who_may_open_terminals_there(cluster: Cluster, make: Make) -> None:
    row = record(cluster, make.space)
    reader = User.objects.create_user("reader")
    grants.give(user=reader, role=Role.VIEWER, cluster=str(cluster.pk), namespace=make.space)
    client = Client()
    client.force_login(reader)
    base = f"/clusters/{cluster.pk}/-/recordings"
    assert client.get(base).status_code == 403
    assert client.get(f"{base}/{row.pk}").status_code == 404
    assert client.get(f"{base}/{row.pk}/cast").status_code == 404
