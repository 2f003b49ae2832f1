"""The OpenAPI document as those read it who generate clients from it."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import Client
from jsonschema import Draft4Validator
from jsonschema.exceptions import best_match

LARGEST = 1_200_000


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    answer = Client().get("/api/schema", headers={"Accept": "application/json"})
    assert answer.status_code == 200
    assert len(answer.content) < LARGEST
    found: dict[str, Any] = json.loads(answer.content)
    return found


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        operation["operationId"]: {**operation, "path": path, "method": method}
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def resolved(document: dict[str, Any], node: Any) -> Any:
    """The node, or what it refers to."""
    while isinstance(node, dict) and "$ref" in node:
        target: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


def nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for inner in node.values():
            yield from nodes(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from nodes(inner)


def with_null(node: Any) -> Any:
    """The same schema in the words of JSON Schema, where null is one of the types."""
    if isinstance(node, list):
        return [with_null(inner) for inner in node]
    if not isinstance(node, dict):
        return node
    schema = {key: with_null(inner) for key, inner in node.items() if key != "nullable"}
    return {"anyOf": [schema, {"type": "null"}]} if node.get("nullable") is True else schema


def test_operations_are_called_by_verb_and_noun(document: dict[str, Any]) -> None:
    names = [
        operation["operationId"]
        for methods in document["paths"].values()
        for operation in methods.values()
    ]
    assert [name for name, uses in Counter(names).items() if uses > 1] == []
    assert [
        name for name in names if not re.fullmatch(r"[a-z]+[A-Z][A-Za-z0-9]*|sign(In|Out)", name)
    ] == []
    assert {
        *("listPods", "getPod", "createPod", "replacePod", "patchPod", "deletePod", "restartPod"),
        *("scaleDeployment", "restartDeployment", "rollbackDeployment", "listDeploymentRevisions"),
        *("triggerCronJob", "drainNode", "getOperation", "cancelOperation", "listNetworkPolicies"),
        *("signIn", "signOut", "listClusters", "registerCluster", "getOrder", "payOrder"),
        *(
            "listBcsResources",
            "putBcsNamespaceResource",
            "listBcsMesosResources",
            "listBcsEventsV4",
        ),
        *("listWalmTenants", "deployVKubeOrder", "scaleK8sServiceDeployment", "listIngresses"),
    } <= set(names)


def test_only_the_verbs_that_a_kind_has_are_there(document: dict[str, Any]) -> None:
    names = set(operations(document))
    assert {
        "triggerDeployment",
        "scaleDaemonSet",
        "rerunStatefulSet",
        "restartCronJob",
        "listJobRevisions",
    } & names == set()
    assert {"suspendJob", "rerunJob", "pauseCronJob", "resumeStatefulSet"} <= names


def test_every_operation_and_parameter_is_explained(document: dict[str, Any]) -> None:
    topics = {tag["name"] for tag in document["tags"] if tag["description"]}
    for name, operation in operations(document).items():
        assert operation["summary"], name
        assert len(operation["description"]) > 20, name
        assert set(operation["tags"]) <= topics, name
        for parameter in operation["parameters"]:
            assert resolved(document, parameter)["description"], f"{name} {parameter}"
    assert document["servers"]


def test_bodies_have_examples(document: dict[str, Any]) -> None:
    for name, operation in operations(document).items():
        if not operation["path"].startswith(("/api/v1/kubernetes", "/api/v1/auth")):
            continue
        for content in operation.get("requestBody", {}).get("content", {}).values():
            schema = resolved(document, content["schema"])
            assert content.get("example") or not schema.get("required"), name
            assert set(schema.get("required", ())) <= set(content.get("example", ())), name


def test_every_operation_has_examples_that_fit_its_schemas(document: dict[str, Any]) -> None:
    pairs = []
    for name, operation in operations(document).items():
        answers = [resolved(document, answer) for answer in operation["responses"].values()]
        for content in (
            *operation.get("requestBody", {}).get("content", {}).values(),
            *(content for answer in answers for content in answer["content"].values()),
        ):
            shown = [
                resolved(document, example) for example in content.get("examples", {}).values()
            ]
            values = [example["value"] for example in shown]
            values += [content["example"]] if "example" in content else []
            pairs += [(name, content["schema"], value) for value in values]
        assert operation["responses"]["200"]["content"], name
        assert any(owner == name for owner, *_ in pairs), name
        for parameter in (resolved(document, item) for item in operation["parameters"]):
            if parameter["required"]:
                pairs.append((name, parameter["schema"], parameter["example"]))
    whole = with_null(document)
    for name, schema, value in {json.dumps(pair, sort_keys=True): pair for pair in pairs}.values():
        checked = {**with_null(schema), "components": whole["components"]}
        error = best_match(Draft4Validator(checked).iter_errors(value))
        assert error is None, f"{name}: {error and error.message}"


def test_what_may_have_to_be_confirmed_takes_a_confirmation(document: dict[str, Any]) -> None:
    for name in ("deletePod", "drainNode", "bulkChangePods", "unregisterCluster", "refundOrder"):
        operation = operations(document)[name]
        names = {resolved(document, item)["name"] for item in operation["parameters"]}
        assert {"confirm", "confirm_token"} <= names, name
        assert "1010" in operation["description"]


def test_answers_that_are_no_json_have_no_envelope(document: dict[str, Any]) -> None:
    answer = operations(document)["exportAuditEntries"]["responses"]["200"]["content"]
    assert answer["application/x-ndjson"]["schema"]["type"] == "string"
    failure = {"$ref": "#/components/schemas/Failure"}
    assert answer["application/json"]["schema"] == failure


def test_objects_with_members_are_components_with_names(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert {"Pod", "PodPage", "Deployment", "Operation", "Cluster", "Tenant", "Failure"} <= set(
        schemas
    )
    # A number would say that two different things have one name.
    assert [name for name in schemas if re.search(r"(\d|Details)$", name)] == []
    inline = [node for node in nodes(document["paths"]) if isinstance(node.get("properties"), dict)]
    assert inline == []
    assert [node for node in nodes(document) if node.get("nullable") and "type" not in node] == []
    assert schemas["Pod"]["allOf"][0] == {"$ref": "#/components/schemas/KubernetesObject"}


def test_code_tells_success_from_failure(document: dict[str, Any]) -> None:
    answer = operations(document)["listPods"]["responses"]["200"]["content"]["application/json"]
    good, bad = (resolved(document, choice) for choice in answer["schema"]["anyOf"])
    assert good["properties"]["code"]["enum"] == [0]
    assert bad["properties"]["code"]["enum"] == [*range(1001, 1011), 2001, 2002, 5001]
    page = resolved(document, good["properties"]["data"])
    assert page["properties"]["items"]["items"] == {"$ref": "#/components/schemas/Pod"}


def test_patches_are_objects_and_a_merge_patch_comes_first(document: dict[str, Any]) -> None:
    patch = operations(document)["patchDeployment"]
    assert list(patch["requestBody"]["content"]) == [
        "application/merge-patch+json",
        "application/strategic-merge-patch+json",
        "application/apply-patch+yaml",
    ]
    for content in patch["requestBody"]["content"].values():
        assert resolved(document, content["schema"])["type"] == "object"
    assert "application/json-patch+json" in patch["description"]


def test_callers_learn_how_to_say_who_they_are(document: dict[str, Any]) -> None:
    schemes, found = document["components"]["securitySchemes"], operations(document)
    assert (schemes["orderSecret"]["in"], schemes["orderSecret"]["name"]) == ("header", "secret")
    assert found["deployVKubeOrder"]["security"] == [{"orderSecret": []}]
    assert {"bcsToken": []} in found["listBcsEvents"]["security"]
    assert schemes["bcsToken"]["name"] == "X-Bcs-User-Token"
    assert found["listVKubeRegions"]["security"] == found["signIn"]["security"] == []
    assert found["listPods"]["security"] == [{"bearer": []}]
