"""Times of the store on its pages: in the viewer's zone, like everywhere else."""

from django.test import Client

from clusters.models import Cluster
from tests.caller import Caller


def test_the_store_shows_times_in_the_zone_of_the_viewer(
    visitor: Client, admin: Caller, cluster: Cluster
) -> None:
    path = "/bcsapi/v4/storage/events"
    body = {"clusterId": "BCS-K8S-1", "env": "k8s", "kind": "Event", "component": "scheduler"}
    body |= {"level": "Normal", "type": "Scheduled", "describe": "d", "eventTime": 1700000000}
    answer = admin.raw("PUT", path, {**body, "extraInfo": {}, "data": {}})
    assert answer.json()["code"] == 0, answer.content
    visitor.cookies["zone"] = "Europe/Berlin"
    page = visitor.get("/store/-/events?cluster=BCS-K8S-1").content.decode()
    assert '<time datetime="2023-11-14T22:13:20Z" data-moment>2023-11-14 23:13:20</time>' in page
