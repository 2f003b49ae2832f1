"""Many decisions at once: what single decisions give, for any grants, tokens and acts."""

import random
from typing import Any

import pytest
from django.contrib.auth.models import User

from access import authorization
from access.models import ApiToken
from access.policy import RIGHTS, RULES, VERBS, EffectiveGrant, Right, Role
from access.tokens import create_api_token
from clusters.models import Cluster
from core.api.attributes import AccessAttributes, Scope
from core.errors import Forbidden
from tests.access.conftest import new_space
from tests.caller import Caller

ROUNDS = 25
CUSTOM = [
    ("example.com", "widgets"),
    ("iam.example.com", "policies"),
    ("apps.k8s.io", "things"),
    ("", "secrets"),
    ("", "namespaces"),
]
STORED_TYPES = ["Pod", "RoleBinding", "rolebindings.rbac.authorization.k8s.io"]


def decide_alone(
    effective: list[EffectiveGrant], token: ApiToken | None, act: AccessAttributes
) -> Scope | None:
    try:
        return authorization.decide(effective, token, act)
    except Forbidden:
        return None


def random_acts(
    dice: random.Random, clusters: list[str], namespaces: list[str]
) -> list[AccessAttributes]:
    """Searches of all kinds, and other acts anywhere."""
    searches = [
        AccessAttributes("search", plural, group, cluster_scoped=dice.random() < 0.3)
        for group, plural in [*RULES, *CUSTOM]
    ]
    others = []
    for group, plural in dice.choices([*RULES, *CUSTOM], k=80):
        others.append(
            AccessAttributes(
                dice.choice([*VERBS, "list", "get", "unheard-of"]),
                plural,
                group,
                cluster=dice.choice(["", *clusters]),
                namespace=dice.choice(["", "", *namespaces]),
                name=dice.choice(["", *namespaces]),
                cluster_scoped=dice.random() < 0.3,
                stored_type=dice.choice(STORED_TYPES) if plural == "storage" else "",
            )
        )
    acts = [*searches, *others]
    dice.shuffle(acts)
    return acts


@pytest.mark.django_db
@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_batch_gives_what_single_decisions_give(seed: int) -> None:
    dice = random.Random(seed)
    rows = [
        Cluster.objects.create(name=f"far-{number}", server="https://10.0.0.1", status="active")
        for number in range(4)
    ]
    namespaces = ["shop", "bank"]
    names = [*(row.name for row in rows), *(str(row.pk) for row in rows), "unheard-of"]
    effective = [
        EffectiveGrant(
            dice.choice([*RIGHTS.values(), frozenset(dice.sample(list(Right), 3))]),
            dice.choice([None, *(row.pk for row in rows), *(row.pk for row in rows)]),
            None,
            source=number,
        )
        for number in range(dice.randrange(4))
    ]
    user = User.objects.create(username=f"person-{seed}")
    limits: dict[str, Any] = {
        "scopes": dice.sample(list(Right), dice.randrange(1, 5)) if dice.random() < 0.5 else (),
        "clusters": dice.sample(names[:4], 2) if dice.random() < 0.5 else (),
    }
    token = create_api_token(user, "script", **limits)[0] if dice.random() < 0.8 else None
    acts = random_acts(dice, names, namespaces)
    alone = [decide_alone(effective, token, act) for act in acts]
    assert authorization.decide_each(effective, token, acts) == alone


@pytest.mark.django_db
def test_a_batch_looks_at_namespaces_as_single_decisions_do(
    admin: Caller, cluster: Cluster
) -> None:
    current = new_space(admin, cluster)
    stale = new_space(admin, cluster)
    uid = admin.data("GET", f"namespaces/{current}", cluster_id=cluster.pk)["metadata"]["uid"]
    viewer = RIGHTS[Role.VIEWER]
    effective = [
        EffectiveGrant(viewer, cluster.pk, current, uid, source=1),
        EffectiveGrant(RIGHTS[Role.ADMIN], cluster.pk, stale, "of-one-that-is-gone", source=2),
    ]
    acts = random_acts(random.Random(7), ["", str(cluster.pk)], [current, stale])
    batch = authorization.decide_each(effective, None, acts)
    assert batch == [decide_alone(effective, None, act) for act in acts]
    searches = dict(zip(acts, batch, strict=True))
    scope = searches[next(act for act in acts if (act.verb, act.kind) == ("search", "pods"))]
    assert scope is not None
    assert scope.clusters == {cluster.pk: frozenset({current})}
    secret = next(act for act in acts if (act.verb, act.kind) == ("search", "roles"))
    assert searches[secret] is None
