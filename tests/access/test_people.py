"""People and groups over the API: made, changed and switched off by admins of everything."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache

from access import grants
from access.models import AuditEntry
from access.policy import Role
from access.sign_in import pair_for
from tests.access.conftest import PASSWORD, Person
from tests.caller import Caller

pytestmark = pytest.mark.django_db
AUTH = "/api/v1/auth"


@pytest.fixture
def root() -> Caller:
    """An admin of everything who signed in with a password."""
    cache.clear()
    user = User.objects.create(username="root")
    grants.give(user=user, role=Role.ADMIN)
    return Caller(pair_for(user).token)


def sign_in(name: str, password: str = PASSWORD) -> dict[str, Any]:
    return Caller()("POST", f"{AUTH}/login", {"username": name, "password": password})


def test_an_admin_makes_a_user_who_signs_in_with_the_role(root: Caller) -> None:
    made = root.data(
        "POST",
        "users",
        {"username": "vera", "password": PASSWORD, "role": "viewer", "email": "v@example.com"},
    )
    assert (made["username"], made["role"], made["is_active"], made["email"]) == (
        "vera",
        "viewer",
        True,
        "v@example.com",
    )
    assert PASSWORD not in str(made)
    assert sign_in("vera")["code"] == 0
    assert [row["username"] for row in root.data("GET", "users", keyword="VER")["items"]] == [
        "vera"
    ]
    assert root.data("GET", "users/vera")["grants"][0]["role"] == "viewer"


@pytest.mark.parametrize(
    "body",
    [
        {"username": "w", "password": "1", "role": "viewer"},
        {"username": "root", "password": PASSWORD, "role": "viewer"},
        {"username": "w", "password": PASSWORD, "role": "king"},
        {"username": "w\0", "password": PASSWORD, "role": "viewer"},
        {"username": "w", "password": PASSWORD, "role": "viewer", "cluster": "nowhere"},
        {"password": PASSWORD, "role": "viewer"},
    ],
)
def test_what_makes_no_user_leaves_nothing_behind(root: Caller, body: dict[str, Any]) -> None:
    assert root("POST", "users", body)["code"] in (1001, 1002, 1005, 1007)
    assert list(User.objects.values_list("username", flat=True)) == ["root"]


def test_switching_somebody_off_ends_their_tokens_and_says_so_in_the_audit_trail(
    root: Caller,
) -> None:
    root.data("POST", "users", {"username": "vera", "password": PASSWORD, "role": "viewer"})
    vera = Caller(sign_in("vera")["data"]["token"])
    assert vera.data("GET", f"{AUTH}/me")["username"] == "vera"
    assert root.data("PUT", "users/vera", {"is_active": False})["is_active"] is False
    assert vera("GET", f"{AUTH}/me")["code"] == 2001
    assert sign_in("vera")["code"] == 2001
    assert AuditEntry.objects.get(verb="update", kind="users").details == {"changed": ["is_active"]}
    assert root.code("PUT", "users/root", {"is_active": False}) == 1001


def test_a_group_lends_its_role_to_those_who_are_put_into_it(root: Caller) -> None:
    root.data("POST", "users", {"username": "gil", "password": PASSWORD, "role": "viewer"})
    root.data("POST", "groups", {"name": "platform"})
    root.data("POST", "grants", {"group": "platform", "role": "operator"})
    assert root.data("PUT", "users/gil", {"groups": ["platform"]})["role"] == "operator"
    (group,) = root.data("GET", "groups")["items"]
    assert (group["name"], group["members"], group["grants"][0]["role"]) == (
        "platform",
        1,
        "operator",
    )
    assert root.data("PUT", "users/gil", {"groups": []})["role"] == "viewer"
    assert root.code("PUT", "users/gil", {"groups": ["system:masters"]}) == 1001


def test_a_new_password_is_checked_and_ends_what_was_signed_in(root: Caller) -> None:
    root.data("POST", "users", {"username": "vera", "password": PASSWORD, "role": "viewer"})
    vera = Caller(sign_in("vera")["data"]["token"])
    assert root.code("PUT", "users/vera", {"password": "12345", "email": "x@example.com"}) == 1001
    assert (User.objects.get(username="vera").email, sign_in("vera")["code"]) == ("", 0)
    root.data("PUT", "users/vera", {"password": PASSWORD + "-new"})
    assert vera("GET", f"{AUTH}/me")["code"] == 2001
    assert sign_in("vera", PASSWORD + "-new")["code"] == 0


def test_an_api_token_changes_nobody_and_makes_nobody_mightier_than_itself(
    root: Caller, person: Person
) -> None:
    wide, narrow = (
        person("admin", name="ada"),
        person("admin", name="ada", scopes=["read", "admin"]),
    )
    assert wide.code("PUT", "users/ada", {"password": PASSWORD}) == 1005
    assert wide.code("POST", "users", {"username": "a", "password": PASSWORD, "role": "admin"}) == 0
    assert (
        narrow.code("POST", "users", {"username": "b", "password": PASSWORD, "role": "admin"})
        == 1005
    )
    assert not User.objects.filter(username="b").exists()


def test_a_group_has_its_members_and_takes_its_role_with_it(root: Caller) -> None:
    root.data("POST", "users", {"username": "gil", "password": PASSWORD, "role": "viewer"})
    group = root.data("POST", "groups", {"name": "oidc:/platform"})
    root.data("POST", "grants", {"group": "oidc:/platform", "role": "operator"})
    place = f"groups/{group['id']}"
    root.data("POST", f"{place}/members", {"username": "gil"})
    root.data("POST", f"{place}/members", {"username": "gil"})
    assert root.code("POST", f"{place}/members", {"username": "nobody"}) == 1004
    (member,) = root.data("GET", f"{place}/members", keyword="GI")["items"]
    assert (member["username"], member["is_active"]) == ("gil", True)
    detail = root.data("GET", place)
    assert (detail["members"], detail["grants"][0]["group_id"]) == (1, group["id"])
    assert root.data("GET", "users/gil")["role"] == "operator"
    root.data("DELETE", f"{place}/members/gil")
    assert root.code("DELETE", f"{place}/members/gil") == 1004
    assert root.data("GET", "users/gil")["role"] == "viewer"
    root.data("POST", f"{place}/members", {"username": "gil"})
    root.data("DELETE", place)
    assert root.code("GET", place) == 1004
    assert root.data("GET", "users/gil")["role"] == "viewer"
    entry = AuditEntry.objects.get(verb="delete", kind="groups", result="success")
    assert (entry.name, entry.details) == ("oidc:/platform", {"members": 1, "grants": ["operator"]})


def test_groups_are_changed_by_people_who_signed_in_with_a_password(
    root: Caller, person: Person
) -> None:
    place = f"groups/{root.data('POST', 'groups', {'name': 'platform'})['id']}"
    token = person("admin", name="ada", scopes=["read", "admin"])
    assert token.code("POST", "groups", {"name": "other"}) == 1005
    assert token.code("POST", f"{place}/members", {"username": "ada"}) == 1005
    assert token.code("DELETE", f"{place}/members/ada") == 1005
    assert token.code("DELETE", place) == 1005
    assert token.data("GET", place)["members"] == 0
    assert [row["name"] for row in token.data("GET", "groups")["items"]] == ["platform"]
