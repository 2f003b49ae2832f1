"""Every route of every dialect, walked as each kind of caller and compared with the table below.

That nobody at all gets in is walked in tests/core/test_routes.py.
"""

from dataclasses import replace
from fnmatch import fnmatch
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client

from access import grants
from access.policy import Role
from access.sign_in import pair_for
from clusters.models import Cluster
from tests.access import routes

pytestmark = pytest.mark.django_db

# Who gets past the question of rights. A stranger is an admin of another namespace of the same cluster: lists over all namespaces are
# narrowed to what is theirs, so those let them in; one object of somebody else's never does.
EVERYBODY = {"stranger", "viewer", "operator", "admin"}
VIEWER, OPERATOR, ADMIN = {"viewer", "operator", "admin"}, {"operator", "admin"}, {"admin"}
SECRET: set[str] = set()

# (who, methods, routes): the first line that fits decides. A new route needs a line, or fits one on purpose.
TABLE: list[tuple[set[str], str, str]] = [
    # Public by their documents; V-Kube's others ask for an order's secret and for nothing else.
    (
        EVERYBODY,
        "*",
        "kubegale:login kubegale:refresh k8s_service:k8sservice-test walm:walm-live* walm:walm-livez walm:walm-readiness",
    ),
    (EVERYBODY, "*", "vkube:vkube-regions vkube:vkube-images vkube:vkube-checkports"),
    (SECRET, "*", "vkube:*"),
    # Selling, people and groups are the platform's.
    (
        ADMIN,
        "*",
        "kubegale:orders-plans kubegale:orders-pay kubegale:orders-refund kubegale:orders-secret kubegale:users* kubegale:groups*",
    ),
    (ADMIN, "POST", "kubegale:orders-list"),
    # One's own affairs; what belongs to others is not found.
    (
        EVERYBODY,
        "*",
        "kubegale:logout kubegale:me kubegale:password kubegale:preferences kubegale:tokens* kubegale:orders-* kubegale:operations-*",
    ),
    # Clusters, namespaces and tenants that hold something of one's own.
    (
        EVERYBODY,
        "GET",
        "kubegale:clusters-list kubegale:clusters-detail kubegale:clusters-namespaces kubegale:namespaces-list",
    ),
    # A kubeconfig gives no more than its owner may do.
    (EVERYBODY, "POST", "kubegale:clusters-kubeconfig kubegale:kubeconfig"),
    # Which objects a template makes is asked next.
    (EVERYBODY - {"viewer"}, "POST", "kubegale:templates-deploy"),
    # Templates for all are used by everybody and made by admins; of a tenant see tests/manifest_templates.
    (EVERYBODY, "POST", "kubegale:templates-render kubegale:templates-from-resources"),
    (EVERYBODY, "GET", "kubegale:templates-*"),
    (ADMIN, "*", "kubegale:templates-*"),
    # Which fields a kind of the cluster has is no secret to who is anything in it.
    (EVERYBODY, "GET", "kubegale:schemas"),
    (EVERYBODY, "GET", "kubegale:tenants walm:walm-tenants walm:walm-stats"),
    # Narrowed to what one may see, kind by kind, once the kind is named; somebody else's recording is not found.
    (
        EVERYBODY,
        "GET",
        "kubegale:multicluster-* kubegale:history* kubegale:clusters-sync kubegale:recordings-detail kubegale:recordings-replay "
        "kubegale:store kubegale:manifests-export kubegale:insights-*",
    ),
    (EVERYBODY, "POST", "kubegale:history-restore"),
    (OPERATOR, "GET", "kubegale:recordings-list"),
    # Roles, bindings and service accounts are an admin's, to read as well.
    (
        ADMIN,
        "*",
        "kubegale:roles-* kubegale:rolebindings-* kubegale:clusterroles-* kubegale:clusterrolebindings-* kubegale:serviceaccounts-*",
    ),
    (
        ADMIN,
        "*",
        "kubegale:bulk-roles kubegale:bulk-rolebindings kubegale:bulk-clusterroles kubegale:bulk-clusterrolebindings",
    ),
    (
        ADMIN,
        "*",
        "kubegale:bulk-serviceaccounts kubegale:bulk-nodes kubegale:bulk-namespaces kubegale:bulk-persistentvolumes",
    ),
    (ADMIN, "*", "kubegale:bulk-storageclasses kubegale:bulk-customresourcedefinitions"),
    (ADMIN, "*", "kubegale:bulk-resourcequotas kubegale:bulk-limitranges"),
    # An admin of a namespace sees the grants in it, as long as the cluster says that it is still the same namespace; this one is silent.
    (ADMIN, "*", "kubegale:audit* kubegale:grants*"),
    (VIEWER, "GET", "kubegale:own-tenants"),
    # Cluster-scoped kinds are seen with a grant on the whole cluster and changed by its admins; quotas and what is the platform's
    # are changed by admins.
    (
        VIEWER,
        "GET",
        "kubegale:nodes-list kubegale:nodes-detail kubegale:nodes-metrics kubegale:metrics-nodes kubegale:persistentvolumes-* "
        "kubegale:storageclasses-* kubegale:customresourcedefinitions-* walm:walm-storageclass*",
    ),
    (
        ADMIN,
        "*",
        "kubegale:nodes-* kubegale:persistentvolumes-* kubegale:storageclasses-* kubegale:customresourcedefinitions-*",
    ),
    (ADMIN, "*", "walm:walm-storageclass* kubegale:metrics-nodes"),
    (
        ADMIN,
        "POST PUT PATCH DELETE",
        "kubegale:clusters-* kubegale:namespaces-list kubegale:namespaces-detail",
    ),
    (
        ADMIN,
        "POST PUT PATCH DELETE",
        "kubegale:resourcequotas-* kubegale:limitranges-* kubegale:tenants* kubegale:plans* walm:walm-tenant",
    ),
    # The store: agents write with an admin's token, cut down to a cluster. A query by POST reads.
    (VIEWER, "GET", "bcs_storage:*"),
    (
        VIEWER,
        "POST",
        "bcs_storage:*/query/* bcs_storage:*/dynamic/watch/* bcs_storage:*/metric/watch/* "
        "bcs_storage:*/events bcs_storage:*/multicluster_resources/*",
    ),
    (ADMIN, "*", "bcs_storage:*"),
    # Rules, silences: open to who may write anything, as they reach no further than their owner's rights.
    # An alert that is not there is not found by whoever may see alerts.
    (VIEWER, "POST", "kubegale:alerts-ack"),
    (VIEWER, "GET", "kubegale:alerts-*"),
    (EVERYBODY - {"viewer"}, "POST PUT DELETE", "kubegale:alerts-*"),
    # Tasks are open to who may write anything: what each does, and where, is asked next.
    (EVERYBODY, "GET", "kubegale:tasks-* kubegale:task-runs-*"),
    (EVERYBODY - {"viewer"}, "POST PUT DELETE", "kubegale:tasks-* kubegale:task-runs-*"),
    # Which objects a text holds is asked next; that somebody may write something there comes first.
    (EVERYBODY - {"viewer"}, "POST", "kubegale:manifests-*"),
    # Terminals and files count as writes, whatever their method.
    (OPERATOR, "*", "kubegale:*terminal* kubegale:*-exec kubegale:*files*"),
    (VIEWER, "*", "kubegale:*-log-stream kubegale:*-logs-stream kubegale:*-watch"),
    # Everything else: reading is a viewer's, changing an operator's.
    (VIEWER, "GET", "kubegale:* k8s_service:* walm:*"),
    (OPERATOR, "POST PUT PATCH DELETE", "kubegale:* k8s_service:* walm:*"),
]
# The same tables of routes under a second prefix.
SECOND = ("/bcsstorage/v1/", "/api/v1/k8s/")
# Nothing listens there: who is let in learns that the cluster cannot be reached, and nothing is changed.
KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
users: [{name: u, user: {token: t}}]
"""


def expected(route: routes.Route, method: str) -> set[str]:
    """Who the table lets in."""
    name = route.name if not route.name.endswith(":None") else f"bcs_storage:{route.address}"
    for who, methods, names in TABLE:
        if (methods == "*" or method in methods.split()) and any(
            fnmatch(name, pattern) for pattern in names.split()
        ):
            return who
    raise AssertionError(f"{method} {name} ({route.address}) stands in no line of the table")


@pytest.fixture
def cluster(settings: Any) -> Cluster:
    """A registered cluster that does not answer, and is not asked twice."""
    settings.CLUSTER_CONNECT_TIMEOUT, settings.CLUSTER_CIRCUIT_SECONDS = 0.3, 3600.0
    return Cluster.objects.create(
        name="prod",
        kubeconfig=KUBECONFIG,
        server="https://127.0.0.1:1",
        status="active",
        is_default=True,
    )


def caller(who: str) -> User:
    user = User.objects.create_user(who)
    if who == "stranger":
        grants.give(user=user, role=Role.ADMIN, cluster="prod", namespace="team-b")
    else:
        grants.give(user=user, role=Role(who))
    return user


# Each asks several hundred routes, which takes minutes where the processor is shared.
@pytest.mark.timeout(600)
@pytest.mark.parametrize("who", sorted(EVERYBODY))
def test_every_route_lets_in_whom_the_table_lets_in(cluster: Cluster, who: str) -> None:
    foreign = grants.give(
        user=User.objects.create_user("somebody"), role=Role.VIEWER, cluster="prod"
    )
    user, sent = (
        caller(who),
        {
            "cluster_id": cluster.pk,
            "cluster": "prod",
            "namespace": routes.SPACE,
            "nameSpace": routes.SPACE,
        },
    )
    wrong, walked = [], 0
    # Each puts all middleware together.
    client = Client()
    for route in routes.walk({"pk": str(cluster.pk), "cluster": "prod", "name": routes.SPACE}):
        if route.address.startswith(SECOND):
            continue
        if route.name == "kubegale:grants-detail":
            route = replace(route, address=f"/api/v1/kubernetes/grants/{foreign.pk}")
        client.cookies.clear()
        client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {pair_for(user).token}"
        for method in route.methods:
            found, wanted = _verdict(client, method, route, sent), who in expected(route, method)
            walked += 1
            if (found == "allowed") is not wanted:
                wrong.append(f"{method} {route.name} {route.address}: {who} is {found}")
    assert not wrong, "\n".join(wrong)
    assert walked > 400


def _verdict(client: Client, method: str, route: routes.Route, sent: dict[str, Any]) -> str:
    """What is said, and then undone."""
    with transaction.atomic():
        found = routes.verdict(routes.call(client, method, route, sent))
        transaction.set_rollback(True)
    return found
