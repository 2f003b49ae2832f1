"""Signing in, staying in and getting out."""

from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from rest_framework_simplejwt.token_blacklist.models import OutstandingToken
from rest_framework_simplejwt.tokens import AccessToken, RefreshToken

from access import attempts, tokens
from access.models import ApiToken
from core.errors import TooManyRequests
from tests.caller import Caller

pytestmark = pytest.mark.django_db
AUTH = "/api/v1/auth"
RIGHT = "right-password-1"


@pytest.fixture
def user() -> Any:
    """An administrator with a password."""
    cache.clear()
    return get_user_model().objects.create_superuser("ann", "ann@example.com", "right-password-1")


def login(password: str = RIGHT, username: str = "ann") -> dict[str, Any]:
    """The whole envelope."""
    return Caller()("POST", f"{AUTH}/login", {"username": username, "password": password})


def test_a_right_password_gives_a_pair_that_works(user: Any) -> None:
    data = login()["data"]
    assert set(data) == {"token", "refresh_token", "expires_in"}
    me = Caller(data["token"]).data("GET", f"{AUTH}/me")
    assert (me["username"], me["role"]) == ("ann", "admin")
    assert "grants" in me


@pytest.mark.parametrize(
    ("body", "code", "status"),
    [
        ({"username": "ann", "password": "wrong"}, 2001, 401),
        ({"username": "nobody", "password": "right-password-1"}, 2001, 401),
        ({"username": "ann\x00", "password": "x"}, 2001, 401),
        ({"username": "ann"}, 1001, 200),
        ({"username": ["ann"], "password": {"$ne": ""}}, 1001, 200),
        ("[]", 1001, 200),
        ("{", 1001, 200),
        ('{"username": NaN}', 1001, 200),
        ("[" * 100_000, 1001, 200),
    ],
)
def test_anything_else_is_refused(user: Any, body: Any, code: int, status: int) -> None:
    response = Caller().raw("POST", f"{AUTH}/login", body)
    assert (response.status_code, response.json()["code"]) == (status, code)


def test_bodies_are_read_whatever_the_content_type_says(user: Any) -> None:
    body = '{"username":"ann","password":"right-password-1"}'
    assert (
        Caller().raw("POST", f"{AUTH}/login/", body, content_type="text/plain").json()["code"] == 0
    )


def test_ten_failures_slow_a_guesser_down_and_nobody_else(user: Any) -> None:
    for _ in range(10):
        assert login("guess")["code"] == 2001
    response = Caller().raw(
        "POST", f"{AUTH}/login", {"username": "ann", "password": "right-password-1"}
    )
    assert response.status_code == 429
    assert int(response["Retry-After"]) >= 60
    assert login("x", username="other")["code"] == 2001
    elsewhere = Client().post(
        f"{AUTH}/login",
        {"username": "ann", "password": RIGHT},
        content_type="application/json",
        REMOTE_ADDR="192.0.2.9",
    )
    assert elsewhere.json()["code"] == 0


def test_failures_of_others_from_an_address_keep_no_right_password_out(user: Any) -> None:
    for number in range(attempts.FAILURES_FROM_ADDRESS):
        assert login("guess", username=f"somebody-{number}")["code"] == 2001
    sent = {"username": "one more", "password": "guess"}
    slowed = Caller().raw("POST", f"{AUTH}/login", sent)
    assert slowed.status_code == 429
    assert int(slowed["Retry-After"]) >= 60
    assert login()["code"] == 0
    form = {"username": "ann", "password": RIGHT}
    assert Client().post("/signin", form).status_code == 302


def test_a_host_with_a_network_of_its_own_counts_as_one() -> None:
    assert attempts.network_of("2001:db8::1") == attempts.network_of("2001:db8::ffff:1")
    assert attempts.network_of("2001:db8::1") != attempts.network_of("2001:db8:0:1::1")
    assert (
        attempts.network_of("::ffff:192.0.2.1") == attempts.network_of("192.0.2.1") == "192.0.2.1"
    )
    assert attempts.network_of("") == ""


@pytest.mark.parametrize(("waiting", "seconds"), [(0, 60.0), (1, 0.01)])
def test_the_line_of_passwords_to_hash_is_bounded_and_moves_on(
    waiting: int, seconds: float
) -> None:
    line = attempts.HashingQueue(1, waiting, seconds)
    with line.turn(), pytest.raises(TooManyRequests), line.turn():
        pytest.fail("hashed beside the other")
    with line.turn():
        pass


def test_a_refresh_token_works_once(user: Any) -> None:
    pair = login()["data"]
    fresh = Caller().data("POST", f"{AUTH}/refresh", {"refresh_token": pair["refresh_token"]})
    assert Caller(fresh["token"]).code("GET", f"{AUTH}/me") == 0
    again = Caller().raw("POST", f"{AUTH}/refresh", {"refresh_token": pair["refresh_token"]})
    assert (again.status_code, again.json()["code"]) == (401, 2001)


def test_no_token_of_a_sign_in_stands_in_the_database(user: Any, client: Client) -> None:
    pair = login()["data"]
    fresh = Caller().data("POST", f"{AUTH}/refresh", {"refresh_token": pair["refresh_token"]})
    Caller(fresh["token"]).data("POST", f"{AUTH}/logout", fresh)
    assert OutstandingToken.objects.count() == 3, "two refresh tokens and a signed-out access token"
    assert set(OutstandingToken.objects.values_list("token", flat=True)) == {""}
    assert Caller(fresh["token"]).code("GET", f"{AUTH}/me") == 2001
    again = {"refresh_token": fresh["refresh_token"]}
    assert Caller().code("POST", f"{AUTH}/refresh", again) == 2001
    client.force_login(user)
    assert client.get("/admin/token_blacklist/outstandingtoken/").status_code == 404


def test_an_access_token_is_no_refresh_token(user: Any) -> None:
    assert (
        Caller().code("POST", f"{AUTH}/refresh", {"refresh_token": login()["data"]["token"]})
        == 2001
    )


def test_signing_out_ends_both_tokens(user: Any) -> None:
    pair = login()["data"]
    caller = Caller(pair["token"])
    assert caller.data("POST", f"{AUTH}/logout") == {}
    assert caller.code("GET", f"{AUTH}/me") == 2001
    assert (
        Caller().code("POST", f"{AUTH}/refresh", {"refresh_token": pair["refresh_token"]}) == 2001
    )


def test_expired_tokens_say_so(user: Any) -> None:
    access, refresh = AccessToken.for_user(user), RefreshToken.for_user(user)
    access.set_exp(lifetime=timedelta(seconds=-1))
    refresh.set_exp(lifetime=timedelta(seconds=-1))
    response = Caller(str(access)).raw("GET", f"{AUTH}/me")
    assert (response.status_code, response.json()["code"]) == (401, 2002)
    assert Caller().code("POST", f"{AUTH}/refresh", {"refresh_token": str(refresh)}) == 2002


@pytest.mark.parametrize(
    "header",
    [
        "Bearer",
        "Bearer x.y.z",
        "Basic YTpi",
        "Bearer kgt_unknown",
        "Bearer é",
        "bearer  ",
        "x" * 9000,
    ],
)
def test_garbled_credentials_are_2001(user: Any, header: str) -> None:
    response = Caller().client.get(f"{AUTH}/me", headers={"Authorization": header})
    assert (response.status_code, response.json()["code"]) == (401, 2001)
    assert response["WWW-Authenticate"] == "Bearer"


def test_a_new_password_or_a_switched_off_user_ends_every_jwt(user: Any) -> None:
    caller = Caller(login()["data"]["token"])
    user.set_password("another-password-2")
    user.save()
    assert caller.code("GET", f"{AUTH}/me") == 2001
    caller = Caller(login("another-password-2")["data"]["token"])
    user.is_active = False
    user.save()
    assert caller.code("GET", f"{AUTH}/me") == 2001


def test_an_api_token_is_shown_once_and_kept_as_a_hash(user: Any) -> None:
    out = StringIO()
    call_command("create_token", "ann", stdout=out)
    raw = out.getvalue().strip()
    row = ApiToken.objects.get()
    assert Caller(raw).data("GET", f"{AUTH}/me")["username"] == "ann"
    assert raw not in str(ApiToken.objects.values().get())
    assert ApiToken.objects.get(pk=row.pk).last_used_at is not None


def test_api_tokens_expire_and_can_be_revoked(user: Any) -> None:
    row, raw = tokens.create_api_token(user, "agent", lifetime=timedelta(days=1))
    ApiToken.objects.filter(pk=row.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    assert Caller(raw).code("GET", f"{AUTH}/me") == 2002
    ApiToken.objects.filter(pk=row.pk).update(expires_at=None, revoked_at=timezone.now())
    assert Caller(raw).code("GET", f"{AUTH}/me") == 2001


def test_api_tokens_end_unless_they_are_told_not_to(user: Any, settings: Any) -> None:
    session = Caller(login()["data"]["token"])

    def days(body: dict[str, Any]) -> float | None:
        made = session.data("POST", f"{AUTH}/tokens", {"name": "t", **body})
        row = ApiToken.objects.get(pk=made["id"])
        assert (made["expires_at"] is None) == (row.expires_at is None)
        return row.expires_at and round((row.expires_at - timezone.now()) / timedelta(days=1))

    assert [days({}), days({"expires_in_days": 7}), days({"expires_in_days": None})] == [
        90,
        7,
        None,
    ]
    settings.API_TOKEN_DAYS = 0
    assert days({}) is None
    for wrong in (0, -1, 36501, "soon", True):
        assert (
            session.code("POST", f"{AUTH}/tokens", {"name": "t", "expires_in_days": wrong}) == 1001
        )


@pytest.mark.parametrize(
    ("options", "end"), [((), "expires at 20"), (("--days", "0"), "never expires")]
)
def test_the_command_says_when_its_token_ends(
    user: Any, options: tuple[str, ...], end: str
) -> None:
    out, error = StringIO(), StringIO()
    call_command("create_token", "ann", *options, stdout=out, stderr=error)
    assert out.getvalue().strip().startswith("kgt_")
    assert end in error.getvalue()
    assert out.getvalue().strip() not in error.getvalue()


def test_a_token_for_nobody_is_refused() -> None:
    with pytest.raises(CommandError, match="no active user"):
        call_command("create_token", "nobody")
