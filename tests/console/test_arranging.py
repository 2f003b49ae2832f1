"""What people arrange: namespaces that stick, saved views, columns, groups of the sidebar."""

from django.contrib.auth.models import User
from django.test import Client

from access.tokens import create_api_token
from clusters.models import Cluster
from simcluster.testing import RunningCluster
from tests.caller import Caller
from tests.console.conftest import Make

BACK = {"HTTP_REFERER": "http://testserver/"}


def test_chosen_namespaces_narrow_every_table_until_the_address_says_otherwise(
    visitor: Client, cluster: Cluster, apiserver: RunningCluster, make: Make
) -> None:
    other = f"{make.space}-b"
    make("namespaces", {"metadata": {"name": other}})
    for space in (make.space, other):
        apiserver.load("limitranges", [{"metadata": {"name": f"in-{space}", "namespace": space}}])
    base = f"/clusters/{cluster.pk}"
    choice = {"namespace": [make.space, other]}
    answer = visitor.post(
        f"{base}/-/namespaces/choose",
        choice,
        HTTP_REFERER=f"http://testserver{base}/limitranges?namespace=x&q=in",
    )
    assert answer["Location"] == f"{base}/limitranges?q=in"
    page = visitor.get(f"{base}/limitranges").content.decode()
    assert f"in-{make.space}" in page
    assert f"in-{other}" in page
    assert "1–2 of 2" in page
    # The other cluster's kind is the same; the address wins over the choice.
    assert f'<li><a href="{base}/limitranges" aria-current="true">' in page
    only = visitor.get(f"{base}/limitranges?namespace={other}").content.decode()
    assert f'data-row="{make.space}/' not in only
    visitor.post(f"{base}/-/namespaces/choose", {}, **BACK)
    assert f"namespaces-{cluster.pk}" not in {
        name for name, cookie in visitor.cookies.items() if cookie.value
    }


def test_views_and_columns_are_kept_for_the_person(
    visitor: Client, person: User, cluster: Cluster
) -> None:
    address = f"/clusters/{cluster.pk}/nodes?troubled=True"
    visitor.post("/preferences/views", {"name": "My <pods>", "address": address}, **BACK)
    columns = {"plural": "nodes", "known": ["Version", "CPU"], "column": ["CPU"]}
    visitor.post("/preferences/columns", columns, HTTP_REFERER=f"http://testserver{address}")
    # Another browser of the same person.
    elsewhere = Client()
    elsewhere.force_login(person)
    page = elsewhere.get(f"/clusters/{cluster.pk}/nodes").content.decode()
    assert f'<a href="{address}">My &lt;pods&gt;</a>' in page
    assert ">CPU</a></th>" in page
    assert ">Version</th>" not in page
    visitor.post("/preferences/views", {"remove": address}, **BACK)
    assert f'<a href="{address}">My' not in visitor.get("/").content.decode()


def test_the_api_keeps_only_what_it_understands(person: User) -> None:
    outside = {"name": "x", "address": "//evil.example/"}
    token = create_api_token(person, "all", scopes=[])[1]
    path = "/api/v1/auth/preferences"
    assert Caller(token).code("PUT", path, {"views": []}) == 1005
    assert Caller(token).data("GET", path) == {
        "views": [],
        "hidden_columns": {},
        "column_widths": {},
    }
    visitor = Client()
    visitor.force_login(person)
    answer = visitor.post("/preferences/views", outside, **BACK)
    assert answer.status_code == 400


def test_groups_of_the_sidebar_stay_as_left(visitor: Client, cluster: Cluster) -> None:
    visitor.cookies["groups"] = "1.3"
    page = visitor.get(f"/clusters/{cluster.pk}").content.decode()
    assert 'class="nav-group" data-group="0"' in page
    assert 'class="nav-group" open data-group="1"' in page
    assert 'class="nav-group" open data-group="3"' in page
