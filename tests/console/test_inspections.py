"""The page of an inspection's report."""

from django.contrib.auth import get_user_model
from django.test import Client

from access import grants
from automation.models import Task
from clusters import registry
from clusters.kinds import KINDS
from clusters.models import Cluster
from tests.automation.running import run_task, save_task

SPEC = {"containers": [{"name": "app", "image": "web:latest"}]}


def test_a_report_links_its_objects_and_says_what_to_do(cluster: Cluster) -> None:
    body = {
        "metadata": {"name": "page-of-report"},
        "spec": {
            "selector": {"matchLabels": {"app": "page"}},
            "template": {"metadata": {"labels": {"app": "page"}}, "spec": SPEC},
        },
    }
    client = registry.client(cluster)
    client.create(KINDS["deployments"], body, namespace="default")
    try:
        owner = get_user_model().objects.create_user("owner", password="a-long-password-1")
        grants.give(user=owner, role=grants.role_of("admin"), cluster="", namespace="")
        task: Task = save_task(owner, type="inspect", params={})
        run = run_task(task)
        assert run.state == "succeeded", run.message
        browser = Client()
        browser.force_login(owner)
        page = browser.get(f"/automation/runs/{run.pk}/report").content.decode()
        assert f'href="/clusters/{cluster.pk}/deployments/default/page-of-report"' in page
        assert "Name a version or a digest" in page
        critical = browser.get(
            f"/automation/runs/{run.pk}/report?severity=critical"
        ).content.decode()
        assert "Name a version or a digest" not in critical
        gone = browser.get(f"/automation/runs/{run.pk}/report?state=gone").content.decode()
        assert "No findings here" in gone
        table = browser.get(f"/automation/runs/{run.pk}/report.csv")
        assert b"page-of-report" in b"".join(table.streaming_content)
        assert browser.get("/automation/runs/999999/report").status_code == 404
    finally:
        client.delete(KINDS["deployments"], "page-of-report", namespace="default")
