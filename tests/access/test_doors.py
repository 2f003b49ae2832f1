"""Every door and every kind of credential: what a token is cut down to, what a lost right closes, who acts later.

Who gets in by role is walked in test_rights.py; that nobody gets in without credentials, in
tests/core/test_routes.py. A door that stands in no table here fails its test.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin as admin_site
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from access import grants
from access.models import ApiToken
from access.policy import Role
from access.tokens import create_api_token
from clusters.models import Cluster
from kubegale import asgi
from kubegale.celery import app
from operations.models import Operation
from tests.access import routes
from tests.access.test_rights import KUBECONFIG, SECOND
from workloads.models import Recording

pytestmark = pytest.mark.django_db

# --- tokens: (scopes, clusters) of an administrator's tokens ----------------------------------------
TOKENS: Mapping[str, tuple[list[str], list[str]]] = {
    "read": (["read"], []),
    "logs": (["read", "logs"], []),
    "write": (["read", "write"], []),
    "terminal": (["read", "write", "terminal", "files"], []),
    "manage": (["admin"], []),
    "store-read": (["storage:read"], []),
    "store-write": (["storage:write"], []),
    "elsewhere": ([], ["second"]),
}
NONE: frozenset[str] = frozenset()
ALL = frozenset(TOKENS)
READ = frozenset({"read", "logs", "write", "terminal"})
WRITE = frozenset({"write", "terminal"})
NARROWED = frozenset({"elsewhere"})
MANAGE = frozenset({"manage"})

# (the tokens that get past the question of rights, methods, routes); the first line that fits decides.
# A new route needs a line, or fits one on purpose.
TABLE: list[tuple[frozenset[str], str, str]] = [
    # Public, or about the caller alone.
    (ALL, "*", "kubegale:login kubegale:refresh kubegale:logout kubegale:me"),
    (ALL, "*", "k8s_service:k8sservice-test walm:walm-live* walm:walm-readiness walm:walm-stats"),
    (ALL, "*", "vkube:vkube-regions vkube:vkube-images vkube:vkube-checkports"),
    # An order's secret opens these; no token does.
    (NONE, "*", "vkube:*"),
    # A token makes no tokens and changes no password.
    (ALL, "GET", "kubegale:preferences"),
    (NONE, "PUT", "kubegale:preferences"),
    (NONE, "*", "kubegale:password kubegale:tokens* kubegale:kubeconfig kubegale:*-kubeconfig"),
    # A root shell on a node needs two rights that no token here has together.
    (NONE, "*", "kubegale:nodes-terminal"),
    # Files need a scope of their own beside that to write.
    (frozenset({"terminal"}), "*", "kubegale:pods-files*"),
    # Lists over what the caller may see: the answer is narrowed to what the token may.
    (ALL, "GET", "kubegale:store kubegale:operations-list"),
    (READ | MANAGE | NARROWED, "*", "kubegale:watch kubegale:tickets-watch"),
    (
        READ | MANAGE | NARROWED,
        "GET",
        "kubegale:orders-list kubegale:orders-export kubegale:orders-detail kubegale:orders-usage "
        "kubegale:orders-ledger",
    ),
    # The right to read comes first; the right to write is asked once the old version is there (test_restoring.py).
    (READ, "POST", "kubegale:history-restore"),
    # One's own operations and recordings, where the token reaches them.
    (READ, "GET", "kubegale:operations-*"),
    (READ, "POST", "kubegale:operations-stream"),
    (
        READ | NARROWED,
        "GET",
        "kubegale:clusters-list kubegale:multicluster-* kubegale:plans "
        "kubegale:insights-what-changed",
    ),
    # What a token of one cluster finds, and which places it may name, is asked next
    # (tests/alerts/test_tokens.py); a rule reaches no further than the token that wrote it.
    (READ, "GET", "kubegale:alerts-list kubegale:alerts-history"),
    (READ | NARROWED, "GET", "kubegale:alerts-*"),
    (READ | NARROWED, "POST", "kubegale:alerts-ack"),
    (WRITE, "POST", "kubegale:alerts-silences kubegale:alerts-channels-list"),
    (WRITE, "POST", "kubegale:alerts-alertmanager"),
    (WRITE | NARROWED, "POST PUT DELETE", "kubegale:alerts-*"),
    # Which tasks a token finds, and what it may let them do, is asked next; a task reaches no
    # further than the token that saved it (tests/automation/test_tasks.py).
    (READ | NARROWED, "GET", "kubegale:tasks-* kubegale:task-runs-*"),
    (WRITE | NARROWED, "POST PUT DELETE", "kubegale:tasks-* kubegale:task-runs-*"),
    (READ | NARROWED, "GET", "kubegale:templates-* kubegale:template-deployments-*"),
    (READ | NARROWED, "GET", "kubegale:own-tenants"),
    (WRITE, "POST", "kubegale:templates-deploy"),
    (WRITE | NARROWED, "POST", "kubegale:template-deployments-*"),
    (READ | NARROWED, "POST", "kubegale:templates-render kubegale:templates-from-resources"),
    (MANAGE, "*", "kubegale:templates-*"),
    (MANAGE | NARROWED, "GET", "kubegale:audit* kubegale:grants"),
    # What is the platform's.
    (
        MANAGE,
        "*",
        "kubegale:users* kubegale:groups* kubegale:grants* kubegale:orders-plans kubegale:orders-pay "
        "kubegale:orders-refund kubegale:orders-secret",
    ),
    (MANAGE, "POST", "kubegale:orders-list"),
    (MANAGE, "POST PUT PATCH DELETE", "kubegale:clusters-* kubegale:plans* kubegale:tenants*"),
    (MANAGE, "POST PUT DELETE", "walm:walm-tenant"),
    (MANAGE, "*", "kubegale:*roles-* kubegale:*rolebindings-* kubegale:serviceaccounts-*"),
    (
        MANAGE,
        "*",
        "kubegale:bulk-*roles kubegale:bulk-*rolebindings kubegale:bulk-serviceaccounts "
        "kubegale:bulk-nodes kubegale:bulk-namespaces kubegale:bulk-persistentvolumes "
        "kubegale:bulk-storageclasses kubegale:bulk-customresourcedefinitions "
        "kubegale:bulk-resourcequotas kubegale:bulk-limitranges "
        "kubegale:nodes-schedule kubegale:nodes-drain",
    ),
    (
        MANAGE,
        "POST PUT PATCH DELETE",
        "kubegale:nodes-* kubegale:namespaces-list kubegale:namespaces-detail "
        "kubegale:persistentvolumes-* kubegale:storageclasses-* kubegale:resourcequotas-* "
        "kubegale:limitranges-* kubegale:customresourcedefinitions-*",
    ),
    # The store.
    (frozenset({"store-read"}), "GET", "bcs_storage:*"),
    (
        frozenset({"store-read"}),
        "POST",
        "bcs_storage:*/query/* bcs_storage:*/dynamic/watch/* bcs_storage:*/metric/watch/* "
        "bcs_storage:*/multicluster_resources/* "
        "bcs_storage:*/storage/events",
    ),
    (frozenset({"store-write"}), "*", "bcs_storage:*"),
    # Values of Secrets need a scope that no token here has.
    (NONE, "*", "kubegale:secrets-reveal"),
    # Logs, shells.
    (frozenset({"logs"}), "*", "kubegale:*-log-stream kubegale:*-logs-stream"),
    (frozenset({"logs"}), "*", "kubegale:pods-logs walm:walm-logs"),
    (frozenset({"terminal"}), "*", "kubegale:*terminal* kubegale:pods-debug kubegale:recordings-*"),
    # Everything else: GET reads, the rest writes.
    (READ, "GET", "kubegale:* k8s_service:* walm:*"),
    (WRITE, "POST PUT PATCH DELETE", "kubegale:* k8s_service:* walm:*"),
]
# What a route has to be told before it can ask for the right.
SENT: Mapping[str, dict[str, Any]] = {
    "kubegale:history-restore": {"kind": "configmaps", "name": "web", "seq": 1},
}
OWN = {
    "kubegale:operations-detail",
    "kubegale:operations-cancel",
    "kubegale:operations-stream",
    "kubegale:recordings-detail",
    "kubegale:recordings-replay",
}
# Open to everyone by their documents; what else needs no bearer token needs an order's secret.
PUBLIC = (
    "kubegale:login",
    "kubegale:refresh",
    "k8s_service:k8sservice-test",
    "walm:walm-live*",
    "walm:walm-readiness",
    "vkube:vkube-regions",
    "vkube:vkube-images",
    "vkube:vkube-checkports",
)
# Kinds that one table of routes binds alike: these stand for the others.
SAMPLE_KINDS = {
    "pods",
    "deployments",
    "secrets",
    "nodes",
    "namespaces",
    "roles",
    "rolebindings",
    "clusterroles",
    "serviceaccounts",
    "resourcequotas",
    "customresourcedefinitions",
    "resources",
}


BULK_NAMES = frozenset(
    route.name
    for route in routes.walk({"pk": "1", "cluster": "prod", "name": routes.SPACE})
    if route.name.startswith("kubegale:bulk-")
)


def expected(route: routes.Route, method: str) -> frozenset[str]:
    """The tokens that the table lets in."""
    name = route.name if not route.name.endswith(":None") else f"bcs_storage:{route.address}"
    for tokens, methods, patterns in TABLE:
        if methods != "*" and method not in methods.split():
            continue
        if any(fnmatch(name, pattern) for pattern in patterns.split()):
            return tokens
    raise AssertionError(f"{method} {name} ({route.address}) stands in no line of the table")


def walked(cluster: Cluster) -> Iterator[routes.Route]:
    """Every route once; of the kinds that are bound alike, the sample."""
    for route in routes.walk({"pk": str(cluster.pk), "cluster": "prod", "name": routes.SPACE}):
        if route.address.startswith(SECOND):
            continue
        kind, _, verb = route.name.removeprefix("kubegale:").partition("-")
        alike = verb in {"list", "detail"} and f"kubegale:bulk-{kind}" in BULK_NAMES
        if not alike or kind in SAMPLE_KINDS:
            yield route


@pytest.fixture
def cluster(settings: Any) -> Cluster:
    """A registered cluster that does not answer and is not asked twice, and a second one."""
    settings.CLUSTER_CONNECT_TIMEOUT = 0.3
    settings.CLUSTER_CIRCUIT_SECONDS = 3600.0
    silent = {"kubeconfig": KUBECONFIG, "server": "https://127.0.0.1:1", "status": "active"}
    Cluster.objects.create(name="second", **silent)
    return Cluster.objects.create(name="prod", is_default=True, **silent)


@pytest.fixture
def owner(db: None) -> User:
    """An administrator of everything."""
    user = User.objects.create_user("owner")
    grants.give(user=user, role=Role.ADMIN)
    return user


def where(cluster: Cluster) -> dict[str, Any]:
    """Cluster and namespace under every dialect's name."""
    return {
        "cluster_id": cluster.pk,
        "cluster": "prod",
        "namespace": routes.SPACE,
        "nameSpace": routes.SPACE,
    }


def client_of(bearer: str) -> Client:
    """A client with the token; each puts all middleware together, so that one serves a walk."""
    return Client(headers={"Authorization": f"Bearer {bearer}"})


def answer(client: Client, method: str, route: routes.Route, sent: Mapping[str, Any]) -> str:
    """What the route says to the client; whatever it did is undone."""
    client.cookies.clear()
    with transaction.atomic():
        response = routes.call(client, method, route, sent)
        verdict = routes.verdict(response)
        transaction.set_rollback(True)
    # One's own things that the token does not reach are missing to it, in the words for what is not there.
    is_json = response["Content-Type"].startswith("application/json")
    if route.name in OWN and is_json and response.json().get("code") == 1004:
        return "denied"
    return verdict


def addressed(route: routes.Route, operation: Operation, recording: Recording) -> routes.Route:
    """The route to what is the owner's own, where it leads to one such thing."""
    parts = route.address.split("/")
    for things, row in (("operations", operation), ("terminal-recordings", recording)):
        if things in parts and len(parts) > parts.index(things) + 1:
            parts[parts.index(things) + 1] = str(row.pk)
    return replace(route, address="/".join(parts))


@pytest.mark.parametrize("token", sorted(TOKENS))
def test_a_token_opens_what_it_was_cut_down_to(cluster: Cluster, owner: User, token: str) -> None:
    scopes, clusters = TOKENS[token]
    _, bearer = create_api_token(owner, token, scopes=scopes, clusters=clusters)
    operation = Operation.objects.create(
        kind="rollout",
        cluster=cluster,
        resource="deployments",
        namespace=routes.SPACE,
        name="web",
        requested_by=owner.username,
    )
    recording = Recording.objects.create(
        session="0" * 32,
        user=owner,
        username=owner.username,
        cluster=cluster,
        namespace=routes.SPACE,
        pod="web",
    )
    client = client_of(bearer)
    wrong = []
    for plain in walked(cluster):
        route = addressed(plain, operation, recording)
        for method in route.methods:
            sent = {**where(cluster), **SENT.get(route.name, {})}
            verdict = answer(client, method, route, sent)
            if (verdict == "allowed") is not (token in expected(route, method)):
                wrong.append(f"{method} {route.name} {route.address}: {verdict}")
    assert not wrong, "\n".join(wrong)


def revoke(user: User, token: ApiToken) -> None:
    """The token is revoked."""
    ApiToken.objects.filter(pk=token.pk).update(revoked_at=timezone.now())


def expire(user: User, token: ApiToken) -> None:
    """The token's time is over."""
    expired = timezone.now() - timedelta(seconds=1)
    ApiToken.objects.filter(pk=token.pk).update(expires_at=expired)


def deactivate(user: User, token: ApiToken) -> None:
    """The person is switched off."""
    User.objects.filter(pk=user.pk).update(is_active=False)


@pytest.mark.parametrize("loss", [revoke, expire, deactivate])
def test_a_lost_token_opens_no_route(
    cluster: Cluster, owner: User, loss: Callable[[User, ApiToken], None]
) -> None:
    row, bearer = create_api_token(owner, "lost")
    loss(owner, row)
    client = client_of(bearer)
    opened = [
        f"{route.name} {route.address}"
        for route in walked(cluster)
        if not any(fnmatch(route.name, pattern) for pattern in PUBLIC)
        and answer(client, route.methods[0], route, where(cluster)) != "unknown"
    ]
    assert not opened, "\n".join(opened)


# --- sockets --------------------------------------------------------------------------------------
# Sockets whose test takes the right away while they are open: tests/workloads/streams/test_lost_rights.py,
# and for the watch tests/storage_api/test_watch.py.
SOCKETS = {"logs", "terminal", "operations", "watch"}


def test_every_socket_has_a_test_that_takes_the_right_away_meanwhile() -> None:
    names = {pattern.pattern.split("/")[2] for pattern, _handler in asgi.ROUTES}
    assert names == set(SOCKETS)


# --- what acts later --------------------------------------------------------------------------------
PLATFORM = "the platform's own housekeeping, which shows nobody anything"
OWNER = "looks where the owner of each rule may see at that moment (tests/alerts)"
REQUESTER = "asks the policy as the requester, at each step"
TASKS: Mapping[str, str] = {
    "operations.run_operation": REQUESTER,
    "operations.resume_operations": PLATFORM,
    "operations.purge_operations": PLATFORM,
    "clusters.check_cluster": PLATFORM,
    "clusters.check_clusters": PLATFORM,
    "workloads.sample_cluster": PLATFORM,
    "workloads.sample_clusters": PLATFORM,
    "workloads.forget_recordings": PLATFORM,
    "workloads.remove_debug_pods": PLATFORM,
    "workloads.remove_debug_pods_of": PLATFORM,
    "storage_api.keep_retention": PLATFORM,
    "tenants.sample_usage": PLATFORM,
    "tenants.sample_cluster": PLATFORM,
    "access.expire_audit": PLATFORM,
    "access.forget_expired_tokens": PLATFORM,
    "billing.expire_orders": PLATFORM,
    "billing.sample_usage": PLATFORM,
    "billing.sample_cluster": PLATFORM,
    "billing.deliver_webhooks": PLATFORM,
    "alerts.evaluate": OWNER,
    "alerts.query_prometheus": OWNER,
    "alerts.query_cluster": OWNER,
    "alerts.dispatch": PLATFORM,
    "alerts.deliver": PLATFORM,
    "alerts.forget_alerts": PLATFORM,
    "alerts.forget_deliveries": PLATFORM,
    # What it starts is an operation, with the rights of the task's owner.
    "automation.tick": PLATFORM,
    "automation.forget_runs": PLATFORM,
}


def test_every_background_task_is_known_to_act_for_the_platform_or_as_its_requester() -> None:
    app.loader.import_default_modules()
    tasks = {name for name in app.tasks if not name.startswith("celery.")}
    assert tasks == set(TASKS)


# --- the admin site ---------------------------------------------------------------------------------
def test_the_admin_site_opens_for_nobody_without_its_own_permission(cluster: Cluster) -> None:
    """An administrator of a cluster is not for that a member of the staff, nor the staff for that an administrator."""
    administrator = User.objects.create_user("administrator")
    grants.give(user=administrator, role=Role.ADMIN, cluster="prod")
    clerk = User.objects.create_user("clerk", is_staff=True)
    opened = []
    # The pages are registered with the first address that is looked up.
    assert reverse("admin:index")
    assert admin_site.site._registry
    for user in (administrator, clerk):
        client = Client()
        client.force_login(user)
        for model in admin_site.site._registry:
            name = f"{model._meta.app_label}_{model._meta.model_name}"
            address = reverse(f"admin:{name}_changelist")
            if client.get(address).status_code not in {302, 403}:
                opened.append(f"{user} {address}")
    assert not opened, "\n".join(opened)


# --- the documents ----------------------------------------------------------------------------------
def test_every_promise_names_tests_that_exist() -> None:
    tests = Path(__file__).parents[1]
    text = (tests.parent / "docs" / "security.md").read_text()
    names = set(re.findall(r"`([a-z_]+(?:/[a-z_]+)*/test_[a-z_]+\.py)`", text))
    assert len(names) > 20
    assert not [name for name in names if not (tests / name).is_file()]
