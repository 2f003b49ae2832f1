"""What a call does not understand is refused where it would change, limit or select something: every route of every dialect."""

import json
from fnmatch import fnmatch
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.test import Client
from django.urls import resolve
from django.utils import timezone

from access import grants
from access.policy import Role
from access.sign_in import pair_for
from alerts.models import Alert
from clusters.models import Cluster
from core.api.schema import OperationSchema
from manifest_templates.models import Template, TemplateDeployment
from operations import lifecycle
from operations.lifecycle import OperationTarget
from tests.access import routes
from tests.caller import Caller
from tests.vkube import Buyer, container

pytestmark = pytest.mark.django_db
CHANGING = {"POST", "PUT", "PATCH", "DELETE"}
# The store's own documents are free; its filters are tested with it.
FREE = {"bcs_storage"}
# Another program's document, whose later members are left alone.
FOREIGN = {"kubegale:alerts-alertmanager"}
# Patches are Kubernetes' own bodies.
FREE_BODIES = {"PATCH"}
NEEDED = "msgId=1&nameSpace=team-a&deploymentName=x&replicas=1"
# Rows that every call may add: who asked for what.
LOGS = {"AuditEntry"}


@pytest.fixture
def walked(vkube: Any, cluster: Cluster) -> list[tuple[routes.Route, Client]]:
    """Every route but the store's, and a client that may do everything; where a route looks for its object first, at one that exists."""
    root = User.objects.create_superuser("root", "root@example.com", None)
    grant = grants.give(user=User.objects.create_user("somebody"), role=Role.VIEWER)
    operation = lifecycle.create(
        "bulk", OperationTarget(cluster, "pods", routes.SPACE), requested_by="root", parameters={}
    )
    template = Template.objects.all()[0]
    deployment = TemplateDeployment.objects.create(name="x", template=template, label="x")
    deployment.targets.create(cluster=cluster, namespace=routes.SPACE)
    alert = Alert.objects.create(
        cluster=cluster, state="firing", fingerprint="x", started_at=timezone.now()
    )
    headers = {
        "Authorization": f"Bearer {pair_for(root).token}",
        "secret": Buyer().secret or "",
    }
    arguments = {"pk": str(cluster.pk), "cluster": str(cluster.pk), "name": "x"}
    special = {
        "kubegale:alerts-ack": {"pk": str(alert.pk)},
        "kubegale:grants-detail": {"pk": str(grant.pk)},
        "kubegale:operations-cancel": {"pk": str(operation.pk)},
        "kubegale:operations-stream": {"name": str(operation.pk)},
        "kubegale:template-deployments-*": {"pk": str(deployment.pk)},
        "kubegale:templates-*": {"pk": str(template.pk)},
    }
    names = {route.address: route for route in routes.walk(arguments)}
    found = []
    for route in names.values():
        if route.name.partition(":")[0] in FREE:
            continue
        exact = next((special[name] for name in special if fnmatch(route.name, name)), None)
        if exact:
            (route,) = [
                one for one in routes.walk({**arguments, **exact}) if one.name == route.name
            ]
        found.append((route, Client(headers=headers)))
    vkube.requests.clear()
    return found


def refusal(response: Any, dialect: str) -> str:
    """What is said in the dialect's own shape of bad input; the whole answer when it is another."""
    answer = json.loads(response.content) if response.content else {}
    match dialect, response.status_code, answer:
        case "kubegale", 200, {"code": 1001, "msg": text}:
            return str(text)
        case "walm", 500, {"errCode": -1, "errMessage": text}:
            return str(text)
        case "vkube", 400, {"error": {"code": 400, "message": text}}:
            return str(text)
        case "k8s_service", 200, {"code": 201, "message": text}:
            return str(text)
    return f"another answer: {response.status_code} {answer}"


def rows() -> dict[str, int]:
    """How many rows each table has."""
    return {
        model.__name__: model.objects.count()  # type: ignore[attr-defined]
        for model in apps.get_models()
        if model.__name__ not in LOGS
    }


def test_what_a_changing_call_does_not_read_is_refused_and_nothing_is_changed(
    walked: list[tuple[routes.Route, Client]], vkube: Any
) -> None:
    before, wrong, count = rows(), [], 0
    for route, client in walked:
        dialect = route.name.partition(":")[0]
        needed = NEEDED if dialect == "k8s_service" else ""
        for method in CHANGING & set(route.methods):
            probes = [("query", f"{needed}&zzz=1", "")]
            if method not in FREE_BODIES and route.name not in FOREIGN:
                probes.append(("body", needed, json.dumps({"zzz": {"a": 1}})))
            for where, query, body in probes:
                count += 1
                response = client.generic(
                    method,
                    route.address,
                    body,
                    content_type="application/merge-patch+json"
                    if method == "PATCH"
                    else "application/json",
                    QUERY_STRING=query,
                )
                said = refusal(response, dialect)
                if "unknown" not in said or "zzz" not in said:
                    wrong.append(f"{method} {route.name} {route.address} ({where}): {said}"[:300])
    assert not wrong, "\n".join(wrong)
    assert count > 400
    assert [one for one in vkube.requests if one.method != "GET"] == []
    assert rows() == before


def test_a_list_refuses_what_was_meant_to_select_and_ignores_what_nobody_knows(
    walked: list[tuple[routes.Route, Client]],
) -> None:
    wrong, count = [], 0
    for route, client in walked:
        described = _described(route)
        if "GET" not in route.methods or described is None or not described.paged:
            continue
        dialect, names = route.name.partition(":")[0], [query.name for query in described.query]
        misspelt = [
            name.upper() if len(name) < 4 else f"{name}s"
            for name in names
            if name not in {"page", "pageSize"}
        ]
        for name in {*misspelt, "phase"} - set(names):
            count += 1
            said = refusal(client.get(route.address, {name: "a"}), dialect)
            if "unknown" not in said or name not in said:
                wrong.append(f"{route.name} {route.address}?{name}=: {said}"[:300])
        for name in {"cluster_id", "namespace"} - set(names):
            # Sent with every call by clients that know where they are; a list of users has neither.
            said = refusal(client.get(route.address, {name: "1"}), dialect)
            if "no such filter" in said:
                wrong.append(f"{route.name} {route.address}?{name}=: {said}"[:300])
        harmless = client.get(route.address, {"_": "1", "zzz": "1"})
        if not harmless.streaming and b"zzz" in harmless.content:
            wrong.append(f"{route.name}: {harmless.content[:200]!r}")
    assert not wrong, "\n".join(wrong)
    assert count > 150


def _described(route: routes.Route) -> OperationSchema | None:
    callback: Any = resolve(route.address).func
    view = getattr(callback, "view_class", None) or callback.cls
    action = (getattr(callback, "actions", None) or {}).get("get", "get")
    found: OperationSchema | None = view.operations.get(action)
    return found


def test_members_inside_a_deploy_are_known_or_refused(vkube: Any, cluster: Cluster) -> None:
    buyer = Buyer()
    published = {
        **{"mountPath": "", "resourceUnit": 1, "configMap": {}, "exposedPorts": []},
        **{"envs": [{"name": "A", "value": "b"}], "command": [], "args": []},
    }
    for where, wrong in (
        ("containers[0].privileged", {"privileged": True}),
        ("containers[0].resource.cpu", {"resource": {"memory": "100Mi", "cpu": "9"}}),
        ("containers[0].ports[0].hostIP", {"ports": [{"containerPort": 80, "hostIP": "10.0.0.1"}]}),
    ):
        vkube.requests.clear()
        status, answer = buyer.deploy(container(**{**published, **wrong}))
        assert (status, where in answer["error"]["message"]) == (400, True), answer
        assert [one for one in vkube.requests if one.method != "GET"] == []
    beside = {"nodeSelector": {"region": "ausrine"}, "containers": [container(**published)]}
    answer = buyer.raw("POST", "/deploy", {**beside, "configMap": {"a": "b"}})
    assert (answer.status_code, b"configMap" in answer.content) == (400, True)
    for also in ({}, {"resourceUnit": 1, "configMap": {}, "exposedPorts": [], "mountPath": ""}):
        assert buyer.raw("POST", "/deploy", {**beside, **also}).status_code == 200


def test_a_right_that_is_lacking_is_said_before_what_was_not_understood(
    cluster: Cluster,
) -> None:
    user = User.objects.create_user("looker")
    grants.give(user=user, role=Role.VIEWER, cluster=str(cluster.pk))
    looker = Caller(pair_for(user).token)
    where = {"cluster_id": cluster.pk, "namespace": "default"}
    assert looker.code("DELETE", "configmaps/x", **where, zzz=1) == 1005
    assert looker.code("POST", "configmaps", {**where, "content": {}, "zzz": 1}) == 1005
    assert Caller().code("DELETE", "configmaps/x", **where, zzz=1) == 2001
