"""The store in the admin: readable, narrowed, read-only, cheap."""

import json

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from storage_api.models import Event, Resource
from storage_api.services import bulk, resources
from storage_api.services.bulk import WriteRecord
from storage_api.services.resources import Key

MODELS = ["resource", "change", "event", "alarm", "metric", "host", "watchnode"]
MODELS += ["freedocument", "freeindex"]


@pytest.fixture
def people(admin_client: Client) -> Client:
    """A signed-in administrator, and two clusters with a pod each."""
    for cluster in ("c-1", "c-2"):
        resources.put(
            Key(cluster, "Pod", "ns", f"web-{cluster}"),
            json.dumps({"note": "<script>alert(1)</script>"}),
        )
    now = timezone.now()
    Event.objects.create(
        object_id="0" * 24,
        cluster_id="c-1",
        event_time=now,
        create_time=now,
        extra_info={"name": "web"},
        data={"a": 1},
    )
    return admin_client


def test_every_family_has_a_list(people: Client) -> None:
    assert {
        people.get(reverse(f"admin:storage_api_{model}_changelist")).status_code for model in MODELS
    } == {200}


def test_lists_narrow_by_cluster_and_type(people: Client) -> None:
    address = reverse("admin:storage_api_resource_changelist")
    page = people.get(address, {"cluster_id": "c-1", "resource_type": "Pod"}).content.decode()
    assert "web-c-1" in page
    assert "web-c-2" not in page
    assert 'name="resource_type" value="Pod"' in page
    assert (
        "web-c-1"
        not in people.get(address, {"cluster_id": "c-1", "resource_type": "Node"}).content.decode()
    )


def test_a_document_is_readable_and_harmless(people: Client) -> None:
    resource = Resource.objects.get(cluster_id="c-1")
    page = people.get(
        reverse("admin:storage_api_resource_change", args=[resource.pk])
    ).content.decode()
    assert "&quot;note&quot;: &quot;&lt;script&gt;alert(1)&lt;/script&gt;&quot;" in page
    assert "<script>alert(1)" not in page
    change = people.get(reverse("admin:storage_api_change_changelist")).content.decode()
    assert "web-c-2" in change
    event = Event.objects.get()
    assert (
        "&quot;name&quot;: &quot;web&quot;"
        in people.get(reverse("admin:storage_api_event_change", args=[event.pk])).content.decode()
    )


def test_nothing_is_written_by_hand(people: Client) -> None:
    resource = Resource.objects.get(cluster_id="c-1")
    for name, arguments in (("add", []), ("delete", [resource.pk])):
        assert (
            people.post(reverse(f"admin:storage_api_resource_{name}", args=arguments)).status_code
            == 403
        )
    people.post(
        reverse("admin:storage_api_resource_change", args=[resource.pk]), {"resource_name": "other"}
    )
    assert Resource.objects.get(pk=resource.pk).resource_name == "web-c-1"


def test_a_list_reads_no_documents_and_counts_no_table(people: Client) -> None:
    bulk.write(WriteRecord(Key("c-3", "Pod", "ns", f"web-{n}"), b"{}") for n in range(60))
    with CaptureQueriesContext(connection) as queries:
        people.get(reverse("admin:storage_api_resource_changelist"))
    about = [query["sql"] for query in queries if 'FROM "storage_resource"' in query["sql"]]
    assert about
    assert [statement for statement in about if '"storage_resource"."data"' in statement] == []
    assert [statement for statement in about if "LIMIT" not in statement] == []
