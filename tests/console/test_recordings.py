"""Recorded terminals: the list, the player, and who sees them."""

from django.contrib.auth.models import User
from django.test import Client
from playwright.sync_api import expect

from access import grants
from access.policy import Role
from clusters.models import Cluster
from tests.console.browser import Walk
from tests.console.conftest import Make
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
