"""The tenants that a caller sees in all clusters, for the forms that offer them."""

import pytest

from clusters.models import Cluster
from tenants.models import Tenant
from tests.access.conftest import Person

pytestmark = pytest.mark.django_db
OWN = "/api/v1/auth/tenants"


def test_tenants_are_listed_by_what_one_may_do_there(
    cluster: Cluster, space: str, person: Person
) -> None:
    seen = Tenant.objects.create(cluster=cluster, namespace=space, uid="a")
    Tenant.objects.create(cluster=cluster, namespace="elsewhere", uid="b")
    vera = person("viewer", name="vera", cluster=cluster, namespace=space)
    (row,) = vera.data("GET", OWN)["items"]
    assert row == {
        "id": seen.pk,
        "cluster_id": cluster.pk,
        "cluster": cluster.name,
        "name": space,
        "writable": False,
    }
    assert vera.data("GET", OWN, writable="true")["total"] == 0
    omar = person("operator", name="omar", cluster=cluster, namespace=space)
    assert [item["writable"] for item in omar.data("GET", OWN, writable="true")["items"]] == [True]
    # A token cut down to reading writes nowhere, whoever its person is.
    reader = person("admin", name="ada", scopes=["read"])
    assert {item["writable"] for item in reader.data("GET", OWN)["items"]} == {False}
    admin = person("admin", name="eva")
    assert admin.data("GET", OWN, keyword="ELSE")["total"] == 1
    assert admin.data("GET", OWN, cluster_id=cluster.pk + 1)["total"] == 0
    assert admin.code("GET", OWN, writable="perhaps") == 1001
