"""No sequence of calls gives anybody a right that none of the callers had."""

from collections.abc import Iterable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from access import grants
from access.models import ApiToken
from access.policy import EffectiveGrant, Right, Role
from access.sign_in import pair_for
from clusters.models import Cluster
from tests.access.conftest import new_space
from tests.caller import Caller

pytestmark = pytest.mark.django_db
PEOPLE: dict[str, tuple[Role, bool]] = {
    "viewer": (Role.VIEWER, False),
    "operator": (Role.OPERATOR, False),
    "tenant-admin": (Role.ADMIN, True),
    "cluster-admin": (Role.ADMIN, False),
    "nobody": (Role.VIEWER, True),
}
Atom = tuple[Right, int | None, str | None]

people, roles = st.sampled_from(sorted(PEOPLE)), st.sampled_from(list(Role))
places = st.sampled_from(["everything", "cluster", "own", "other"])
calls = st.one_of(
    st.tuples(st.just("grant"), people, roles, places),
    st.tuples(st.just("ungrant"), st.integers(0, 9)),
    st.tuples(st.just("member"), people, roles, places),
    st.tuples(st.just("dismiss"), people, places),
    st.tuples(st.just("token"), st.lists(st.sampled_from(list(Right)), max_size=3)),
    st.tuples(
        st.just("cluster"), st.sampled_from(["name", "impersonate", "kubeconfig", "is_default"])
    ),
    st.tuples(st.just("tenant"), people, roles),
    st.tuples(st.just("rbac"), places),
)


class World:
    """Two namespaces of a cluster and five people; every call goes over HTTP."""

    def __init__(self, cluster: Cluster, own: str, other: str) -> None:
        self.cluster, self.spaces = (
            cluster,
            {"own": own, "other": other, "cluster": "", "everything": ""},
        )
        self.users: dict[str, User] = {}
        for name, (role, inside) in PEOPLE.items():
            self.users[name] = User.objects.create_user(name)
            grants.give(
                user=self.users[name],
                role=role,
                cluster=str(cluster.pk),
                namespace=own if inside else "",
            )
        self.callers = {name: Caller(pair_for(user).token) for name, user in self.users.items()}

    def atoms(self, names: Iterable[str]) -> set[Atom]:
        """Every right and place that these people hold."""
        held: list[EffectiveGrant] = [
            holding
            for name in names
            for holding in grants.effective_grants(User.objects.get(username=name))
        ]
        return {
            (right, holding.cluster, holding.namespace)
            for holding in held
            for right in holding.rights
        }

    def where(self, place: str) -> dict[str, Any]:
        cluster = "" if place == "everything" else str(self.cluster.pk)
        return {"cluster": cluster, "namespace": self.spaces[place]}

    def call(self, who: str, call: tuple[Any, ...]) -> None:
        caller, at = self.callers[who], {"cluster_id": self.cluster.pk}
        match call:
            case ("grant", name, role, place):
                caller("POST", "grants", {"user": name, "role": role, **self.where(place)})
            case ("ungrant", index):
                found = caller("GET", "grants")["data"].get("items", [])
                if found:
                    caller("DELETE", f"grants/{found[index % len(found)]['id']}")
            case ("member", name, role, place):
                caller(
                    "POST",
                    f"tenants/{self.spaces[place] or 'default'}/members",
                    {**at, "username": name, "role": role},
                )
            case ("dismiss", name, place):
                caller("DELETE", f"tenants/{self.spaces[place] or 'default'}/members/{name}", **at)
            case ("token", scopes):
                made = caller(
                    "POST", "/api/v1/auth/tokens", {"name": "more", "scopes": scopes or None}
                )
                if made["code"] == 0:
                    self.callers[who] = Caller(made["data"]["token"])
            case ("cluster", field):
                value = {"name": "renamed", "kubeconfig": "{}"}.get(field, False)
                caller("PUT", f"clusters/{self.cluster.pk}", {field: value})
            case ("tenant", name, role):
                body = {**at, "name": "fresh-tenant", "members": [{"username": name, "role": role}]}
                if who != "cluster-admin":
                    assert caller.code("POST", "tenants", body) == 1005
            case ("rbac", place):
                role = {
                    "metadata": {"name": "more"},
                    "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}],
                }
                if place in {"own", "other"} and who in {"viewer", "operator", "nobody"}:
                    assert (
                        caller.code(
                            "POST",
                            "roles",
                            {**at, "namespace": self.spaces[place], "content": role},
                        )
                        == 1005
                    )


def covered(atom: Atom, before: set[Atom]) -> bool:
    """Whether a right in a place is part of what was held."""
    right, cluster, namespace = atom
    return any(
        place in before
        for place in {(right, None, None), (right, cluster, None), (right, cluster, namespace)}
    )


@pytest.fixture
def spaces(admin: Caller, cluster: Cluster) -> tuple[str, str]:
    """Two fresh namespaces."""
    return new_space(admin, cluster), new_space(admin, cluster)


def test_no_sequence_of_calls_raises_anybodys_rights(
    cluster: Cluster, spaces: tuple[str, str]
) -> None:
    @settings(
        max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
    )
    @given(st.lists(st.tuples(people, calls), min_size=1, max_size=8))
    def walk(sequence: list[tuple[str, tuple[Any, ...]]]) -> None:
        with transaction.atomic():
            world = World(cluster, *spaces)
            for who, call in sequence:
                mine, everyones = world.atoms([who]), world.atoms(PEOPLE)
                world.call(who, call)
                raised = [atom for atom in world.atoms([who]) if not covered(atom, mine)]
                assert not raised, f"{who} raised themselves by {call}: {raised}"
                # Whoever hands something out held it, and was an admin there.
                admins = {name for name in PEOPLE if PEOPLE[name][0] is Role.ADMIN} | {who}
                fresh = [atom for atom in world.atoms(PEOPLE) if not covered(atom, everyones)]
                assert not fresh, (
                    f"{who} of {sorted(admins)} made rights out of nothing by {call}: {fresh}"
                )
            assert not User.objects.filter(username__in=PEOPLE, is_superuser=True).exists()
            assert not ApiToken.objects.exclude(user__username__in=[*PEOPLE, "admin"]).exists()
            transaction.set_rollback(True)

    walk()
