"""Quantities come back as a real API server writes them, and what is none is refused in its words."""

import random
from decimal import Decimal
from typing import Any

import pytest

from simcluster import quantity
from simcluster.tests.conftest import DEPLOYMENT, Api

CANONICAL = {
    "0": "0",
    "00": "0",
    "-0": "0",
    ".": "0",
    "0Ki": "0",
    "0.5": "500m",
    ".5": "500m",
    "1.0": "1",
    "1.5": "1500m",
    "1.2345": "1235m",
    "0.0001": "1m",
    "1n": "1m",
    "100m": "100m",
    "1000m": "1",
    "1500000000n": "1500m",
    "1000": "1k",
    "1024": "1024",
    "134217728": "134217728",
    "1000k": "1M",
    "1000E": "1e21",
    # Go keeps the exponent of numbers that were written with one.
    "1e3": "1e3",
    "1E3": "1E3",
    "10E2": "1e3",
    "1000e3": "1e6",
    # Go keeps the text of numbers that look canonical.
    "+5": "+5",
    "1.500": "1.500",
    "1.5000": "1500m",
    "1Gi": "1Gi",
    "1024Mi": "1Gi",
    "1000Mi": "1000Mi",
    "1025Ki": "1025Ki",
    "512Ki": "512Ki",
    "1.5Gi": "1536Mi",
    "2.0Gi": "2Gi",
    "0.5Ki": "512",
    "0.1Gi": "107374182400m",
    "8Ei": "9223372036854775807",
    " 7 ": "7",
}
FORM = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
SUFFIX = "unable to parse quantity's suffix"


def test_amounts_are_written_back_in_canonical_form(api: Api, namespace: str) -> None:
    hard = {f"requests.example.com/n{at}": text for at, text in enumerate(CANONICAL)}
    body = {"metadata": {"name": "many"}, "spec": {"hard": hard}}
    made = api.post(f"/api/v1/namespaces/{namespace}/resourcequotas", body)
    assert made.status == 201, made.raw
    answered = made.body["spec"]["hard"]
    assert {text: answered[name] for name, text in hard.items()} == CANONICAL


@pytest.mark.parametrize(
    ("literal", "text"),
    [("0.5", "500m"), ("2", "2"), ("1e3", "1e3"), ("1000", "1k"), ("null", "0"), ("2.0", "2")],
)
def test_a_number_is_read_as_it_was_written(
    api: Api, namespace: str, literal: str, text: str
) -> None:
    raw = f'{{"metadata": {{"name": "n"}}, "spec": {{"hard": {{"cpu": {literal}}}}}}}'
    made = api.post(f"/api/v1/namespaces/{namespace}/resourcequotas", raw.encode())
    assert made.body["spec"]["hard"] == {"cpu": text}


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("", FORM),
        ("half", FORM),
        ("1 Gi", FORM),
        ("1Mb", FORM),
        ("1.2.3", FORM),
        (True, FORM),
        ({}, FORM),
        ("1K", SUFFIX),
        ("10mi", SUFFIX),
        ("1e", SUFFIX),
        ("1e1000000000", SUFFIX),
    ],
)
def test_what_is_no_quantity_is_refused(api: Api, namespace: str, value: object, why: str) -> None:
    container = {"name": "c", "image": "nginx", "resources": {"requests": {"cpu": value}}}
    body = {"metadata": {"name": "bad"}, "spec": {"containers": [container]}}
    refused = api.post(f"/api/v1/namespaces/{namespace}/pods", body)
    assert refused.status == 400
    assert refused.body["reason"] == "BadRequest"
    assert refused.body["message"] == f'Pod in version "v1" cannot be handled as a Pod: {why}'
    assert api.get(f"/api/v1/namespaces/{namespace}/pods/bad").status == 404


@pytest.mark.parametrize(
    ("resource", "amount", "why"),
    [
        ("cpu", "-1", "must be greater than or equal to 0"),
        ("example.com/gpu", "500m", "must be an integer"),
    ],
)
def test_amounts_that_make_no_sense_are_invalid(
    api: Api, namespace: str, resource: str, amount: str, why: str
) -> None:
    resources = {"limits": {resource: amount}}
    container = {"name": "c", "image": "nginx", "resources": resources}
    body = {"metadata": {"name": "bad"}, "spec": {"containers": [container]}}
    refused = api.post(f"/api/v1/namespaces/{namespace}/pods", body)
    assert refused.status == 422
    place = f"spec.containers[0].resources.limits[{resource}]"
    assert f'{place}: Invalid value: "{amount}": {why}' in refused.body["message"]


def at(obj: Any, path: str) -> Any:
    """The value at a dotted path; numbers are places in lists."""
    for part in path.split("."):
        obj = obj[int(part)] if part.isdigit() else obj[part]
    return obj


RESOURCES = {"requests": {"cpu": "0.25", "memory": "1024Mi"}, "limits": {"memory": "2048Mi"}}
CONTAINER = {"name": "c", "image": "nginx", "resources": RESOURCES}
DIVIDED = {
    "name": "CPUS",
    "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1000m"}},
}
TEMPLATE = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {
        "containers": [{**CONTAINER, "env": [DIVIDED]}],
        "initContainers": [{**CONTAINER, "name": "i"}],
        "volumes": [{"name": "v", "emptyDir": {"sizeLimit": "1024Mi"}}],
        "overhead": {"cpu": "0.1"},
    },
}
TEMPLATE_PLACES = {
    "spec.containers.0.resources.requests": {"cpu": "250m", "memory": "1Gi"},
    "spec.containers.0.resources.limits": {"memory": "2Gi"},
    "spec.containers.0.env.0.valueFrom.resourceFieldRef.divisor": "1",
    "spec.initContainers.0.resources.requests.memory": "1Gi",
    "spec.volumes.0.emptyDir.sizeLimit": "1Gi",
    "spec.overhead.cpu": "100m",
}
CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "apis/apps/v1/namespaces/NS/deployments",
        {"spec": {**DEPLOYMENT["spec"], "replicas": 0, "template": TEMPLATE}},
        {f"spec.template.{path}": value for path, value in TEMPLATE_PLACES.items()},
    ),
    (
        "api/v1/namespaces/NS/limitranges",
        {"spec": {"limits": [{"type": "Container", "max": {"cpu": "2.5"}, "min": {"cpu": 0.1}}]}},
        {"spec.limits.0.max.cpu": "2500m", "spec.limits.0.min.cpu": "100m"},
    ),
    (
        "api/v1/namespaces/NS/persistentvolumeclaims",
        {
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1.5Gi"}},
            }
        },
        {"spec.resources.requests.storage": "1536Mi"},
    ),
    (
        "apis/autoscaling/v2/namespaces/NS/horizontalpodautoscalers",
        {
            "spec": {
                "maxReplicas": 2,
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "x"},
                "metrics": [
                    {
                        "type": "Resource",
                        "resource": {
                            "name": "cpu",
                            "target": {"type": "AverageValue", "averageValue": "0.5"},
                        },
                    }
                ],
            }
        },
        {"spec.metrics.0.resource.target.averageValue": "500m"},
    ),
]


@pytest.mark.parametrize(("path", "body", "places"), CASES, ids=[one[0] for one in CASES])
def test_every_typed_field_is_canonical(
    api: Api, namespace: str, path: str, body: dict[str, Any], places: dict[str, Any]
) -> None:
    where = "/" + path.replace("NS", namespace)
    made = api.post(where, {**body, "metadata": {"name": "q"}})
    assert made.status == 201, made.raw
    read = api.get(f"{where}/q").body
    assert {place: at(read, place) for place in places} == places


def test_the_same_amount_in_other_words_is_no_change(api: Api, namespace: str) -> None:
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"
    container = {"name": "web", "image": "nginx", "resources": {"requests": {"cpu": "500m"}}}
    template = {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}}
    body = {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], "replicas": 0, "template": template}}
    assert api.post(path, body).status == 201
    container["resources"] = {"requests": {"cpu": "0.5"}}
    patched = api.call(
        "PATCH",
        f"{path}/web",
        {"spec": {"template": {"spec": {"containers": [container]}}}},
        content_type="application/strategic-merge-patch+json",
    )
    assert patched.status == 200
    assert patched.body["metadata"]["generation"] == 1


def test_writing_back_keeps_the_amount_and_settles_at_once() -> None:
    chance = random.Random(7)
    suffixes = ["", *"numkMGTPE", *(f"{letter}i" for letter in "KMGTPE"), "e3", "E-2", "e+1"]
    for _ in range(3000):
        places = chance.choice([0, 0, 1, 2, 3])
        number = f"{chance.randrange(10 ** chance.randrange(1, 6)) / 10**places:.{places}f}"
        text = chance.choice(["", "", "-"]) + number + chance.choice(suffixes)
        shown = quantity.canonical_text(text)
        assert quantity.canonical_text(shown) == shown
        if abs(quantity.parse(text)) >= Decimal("1e-9"):
            assert quantity.parse(shown) == quantity.parse(text), text
