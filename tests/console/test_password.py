"""A person's own password, changed in the console."""

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client

pytestmark = pytest.mark.django_db
OLD, NEW = "a-long-Passphrase-7", "another-Passphrase-8"


@pytest.fixture
def vera() -> Client:
    """Somebody who signed in with a password."""
    cache.clear()
    User.objects.create_user("vera", "", OLD)
    client = Client()
    assert client.login(username="vera", password=OLD)
    return client


@pytest.mark.parametrize(
    ("old", "new", "again", "said"),
    [
        ("wrong", NEW, NEW, "the password is wrong"),
        (OLD, "12345", "12345", "too short"),
        (OLD, NEW, "something else", "The two new passwords differ"),
    ],
)
def test_what_is_no_new_password_changes_nothing(
    vera: Client, old: str, new: str, again: str, said: str
) -> None:
    answer = vera.post("/password", {"password": old, "new_password": new, "again": again})
    assert answer.status_code == 400
    page = answer.content.decode()
    assert said in page
    assert new not in page
    assert User.objects.get().check_password(OLD)
    assert vera.get("/password").status_code == 200


def test_a_new_password_ends_every_session(vera: Client) -> None:
    other = Client()
    assert other.login(username="vera", password=OLD)
    answer = vera.post(
        "/password", {"password": OLD, "new_password": NEW, "again": NEW}, follow=True
    )
    assert "Sign in with the new one." in answer.content.decode()
    for client in (vera, other):
        assert client.get("/").status_code == 302
    assert Client().post("/signin", {"username": "vera", "password": NEW}).status_code == 302
