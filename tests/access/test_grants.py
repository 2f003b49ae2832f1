"""Users and their grants, given and taken by command, seen over the API."""

from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core.cache import cache
from django.core.management import CommandError, call_command

from tests.caller import Caller

pytestmark = pytest.mark.django_db
PASSWORD = "a-long-Passphrase-7"
AUTH = "/api/v1/auth"


@pytest.fixture(autouse=True)
def _no_failures() -> None:
    cache.clear()


def run(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def signed_in(name: str) -> Caller:
    pair = Caller().data("POST", f"{AUTH}/login", {"username": name, "password": PASSWORD})
    return Caller(pair["token"])


def me(name: str) -> dict[str, Any]:
    found: dict[str, Any] = signed_in(name).data("GET", f"{AUTH}/me")
    return found


def test_a_user_made_by_command_signs_in_with_the_role() -> None:
    run("create_user", "vera", "--role", "viewer", "--password", PASSWORD)
    seen = me("vera")
    assert (seen["username"], seen["role"]) == ("vera", "viewer")
    assert [
        (grant["role"], grant["cluster_id"], grant["namespace"]) for grant in seen["grants"]
    ] == [("viewer", None, None)]


def test_an_admin_of_everything_enters_the_admin_site_until_the_grant_is_taken() -> None:
    run("create_user", "ada", "--role", "admin", "--password", PASSWORD)
    assert User.objects.get(username="ada").is_superuser
    run("grant", "ada", "--role", "viewer")
    assert User.objects.get(username="ada").is_superuser
    run("revoke", "ada", "--role", "admin")
    assert not User.objects.get(username="ada").is_staff
    assert me("ada")["role"] == "viewer"


def test_a_group_lends_its_role_to_its_members() -> None:
    run("create_user", "gil", "--role", "viewer", "--password", PASSWORD)
    run("grant", "platform", "--group", "--role", "operator")
    assert me("gil")["role"] == "viewer"
    User.objects.get(username="gil").groups.add(Group.objects.get(name="platform"))
    assert me("gil")["role"] == "operator"
    run("revoke", "platform", "--group")
    assert me("gil")["role"] == "viewer"


@pytest.mark.parametrize(
    "arguments",
    [
        ("create_user", "u", "--role", "god", "--password", PASSWORD),
        ("create_user", "u", "--role", "viewer", "--password", "12345678"),
        ("create_user", "u", "--role", "viewer", "--password", "u"),
        ("create_user", "system:admin", "--role", "viewer", "--password", PASSWORD),
        ("create_user", "", "--role", "viewer", "--password", PASSWORD),
        ("create_user", "u", "--role", "viewer", "--namespace", "n", "--password", PASSWORD),
        ("create_user", "u", "--role", "viewer", "--cluster", "nowhere", "--password", PASSWORD),
        ("grant", "nobody", "--role", "viewer"),
        ("grant", "system:masters", "--group", "--role", "viewer"),
        ("revoke", "nobody"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_made(arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        run(*arguments)
    assert not User.objects.exists()
    assert not Group.objects.exists()


def test_a_taken_name_is_refused_and_the_user_is_left_alone() -> None:
    run("create_user", "vera", "--role", "viewer", "--password", PASSWORD)
    with pytest.raises(CommandError, match="exists already"):
        run("create_user", "vera", "--role", "admin", "--password", "another-Passphrase-8")
    assert me("vera")["role"] == "viewer"


def test_without_a_grant_nothing_is_allowed() -> None:
    run("create_user", "vera", "--role", "viewer", "--password", PASSWORD)
    caller = signed_in("vera")
    assert caller.code("GET", "clusters") == 0
    run("revoke", "vera")
    assert caller.code("GET", "clusters") == 1005
    assert caller.code("GET", "pods", cluster_id=1) == 1005
