"""Signing in through an OpenID Connect provider, against one that answers over the wire."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from django.contrib.auth.models import User
from django.test import Client

from access import grants
from access.policy import Role

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.access.oidc_urls")]
KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
ISSUER = "https://id.example.com"


class Provider:
    """Gives everybody the token it was told to give."""

    def __init__(self) -> None:
        self.claims: dict[str, Any] = {}
        self.userinfo: dict[str, Any] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.answer(
                    {"keys": [provider.public_key()]} if self.path == "/jwks" else provider.userinfo
                )

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                token = jwt.encode(provider.claims, KEY, algorithm="RS256", headers={"kid": "k"})
                self.answer({"access_token": "a", "id_token": token})

            def answer(self, body: object) -> None:
                data = json.dumps(body).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    @staticmethod
    def public_key() -> dict[str, Any]:
        return {
            **json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEY.public_key())),
            "kid": "k",
            "alg": "RS256",
        }


@pytest.fixture
def provider(settings: Any) -> Iterator[Provider]:
    running = Provider()
    for name, value in {
        "OIDC_RP_CLIENT_ID": "kubegale",
        "OIDC_RP_CLIENT_SECRET": "shared",
        "OIDC_ISSUER": ISSUER,
        "OIDC_OP_AUTHORIZATION_ENDPOINT": f"{ISSUER}/authorize",
        "OIDC_OP_TOKEN_ENDPOINT": f"{running.url}/token",
        "OIDC_OP_USER_ENDPOINT": f"{running.url}/userinfo",
        "OIDC_OP_JWKS_ENDPOINT": f"{running.url}/jwks",
        "OIDC_RP_SIGN_ALGO": "RS256",
        "OIDC_RP_SCOPES": "openid profile email groups",
        "OIDC_USERNAME_CLAIM": "preferred_username",
        "OIDC_GROUPS_CLAIM": "groups",
        "OIDC_USE_PKCE": True,
        "OIDC_TIMEOUT": 10,
        "LOGIN_REDIRECT_URL": "/",
        "LOGIN_REDIRECT_URL_FAILURE": "/refused",
        "AUTHENTICATION_BACKENDS": [
            "django.contrib.auth.backends.ModelBackend",
            "access.oidc.Backend",
        ],
    }.items():
        setattr(settings, name, value)
    yield running
    running.server.shutdown()
    running.server.server_close()


def sign_in(provider: Provider, *, about: dict[str, Any] | None = None, **claims: Any) -> Client:
    """A browser that went through the whole dance; `claims` change the token, `about` the userinfo."""
    browser = Client()
    query = parse_qs(urlsplit(browser.get("/oidc/authenticate/")["Location"]).query)
    assert query["code_challenge_method"] == ["S256"]
    now = int(time.time())
    person = {
        "sub": "s-1",
        "preferred_username": "vera",
        "email": "vera@example.com",
        "groups": ["blue"],
    }
    provider.claims = {
        **person,
        "iss": ISSUER,
        "aud": "kubegale",
        "exp": now + 60,
        "iat": now,
        "nonce": query["nonce"][0],
        **claims,
    }
    provider.claims = {name: value for name, value in provider.claims.items() if value is not None}
    provider.userinfo = {
        **person,
        **{name: value for name, value in claims.items() if name in person},
        **(about or {}),
    }
    browser.get("/oidc/callback/", {"code": "c", "state": query["state"][0]})
    return browser


def signed_in(browser: Client) -> str:
    user = User.objects.filter(pk=browser.session.get("_auth_user_id")).first()
    return user.username if user else ""


def test_a_newcomer_is_made_with_the_providers_groups_and_their_grants(provider: Provider) -> None:
    assert signed_in(sign_in(provider)) == "vera"
    vera = User.objects.get(username="vera")
    assert not vera.has_usable_password()
    (group,) = vera.groups.all()
    assert group.name == "oidc:blue"
    grants.give(group=group, role=Role.VIEWER)
    assert grants.effective_grants(vera)
    assert signed_in(sign_in(provider, groups=["green"])) == "vera"
    assert [one.name for one in vera.groups.all()] == ["oidc:green"]
    assert not grants.effective_grants(vera)


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": "somebody-else"},
        {"aud": ["kubegale", "other"]},
        {"iss": "https://evil.example.com"},
        {"exp": 1},
        {"exp": None},
        {"nonce": "another"},
        {"sub": None},
        {"preferred_username": "system:admin"},
        {"about": {"sub": "s-2"}},
    ],
)
def test_a_token_that_is_not_for_us_lets_nobody_in(
    provider: Provider, claims: dict[str, Any]
) -> None:
    assert signed_in(sign_in(provider, **claims)) == ""
    assert not User.objects.exists()


def test_nobody_takes_over_a_user_of_the_same_name_or_address(provider: Provider) -> None:
    User.objects.create_superuser("vera", "vera@example.com", "a-long-Passphrase-7")
    assert signed_in(sign_in(provider)) == ""
    assert signed_in(sign_in(provider, preferred_username="other")) == "other"


def test_somebody_switched_off_here_stays_out(provider: Provider) -> None:
    sign_in(provider)
    User.objects.update(is_active=False)
    assert signed_in(sign_in(provider)) == ""


def test_it_is_off_unless_it_is_configured(settings: Any) -> None:
    assert settings.OIDC_ENABLED is False
    assert "access.oidc.Backend" not in settings.AUTHENTICATION_BACKENDS
