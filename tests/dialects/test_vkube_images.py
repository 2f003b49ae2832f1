"""V-Kube: does an image exist? Asked over the wire of a small registry (document: GET /k8s/images)."""

import base64
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import cache
from django.test import Client
from pytest_django import Settings

from tests.registry_server import Registry, running_registry

OK = b'{"status":"OK"}'
MISSING = b'{"error":{"code":404,"message":"image does not exist."}}'
BAD_FORMAT = b'{"error":{"code":400,"message":"image format not allow.Format: image:tag"}}'
BROKEN = b'{"error":{"code":500,"message":"server errror"}}'


@pytest.fixture
def registry(settings: Settings) -> Iterator[Registry]:
    """The configured registry; nothing is remembered of earlier tests."""
    cache.clear()
    with running_registry() as server:
        settings.IMAGE_REGISTRY_URL = server.url
        yield server


def ask(image: str, tag: str, prefix: str = "/k8s", **headers: str) -> tuple[int, bytes]:
    answer = Client().get(
        f"{prefix}/images", query_params={"image": image, "tag": tag}, headers=headers
    )
    return answer.status_code, answer.content


@pytest.mark.parametrize("prefix", ["/k8s", "/api/v1/k8s"])
def test_an_image_that_the_registry_has(registry: Registry, prefix: str) -> None:
    assert ask("nginx", "stable", prefix) == (200, OK)
    token, manifest = registry.requests[1], registry.requests[2]
    assert token[:2] == (
        "GET",
        "/token?service=registry.test&scope=repository%3Alibrary%2Fnginx%3Apull",
    )
    assert manifest[:2] == ("HEAD", "/v2/library/nginx/manifests/stable")
    assert "application/vnd.oci.image.index.v1+json" in manifest[2]["Accept"]
    assert "application/vnd.docker.distribution.manifest.list.v2+json" in manifest[2]["Accept"]


@pytest.mark.parametrize(
    ("image", "tag"),
    [("nginx", "no-such-tag"), ("nobody/nothing", "latest"), ("docker.io/library/nginx", "nope")],
)
def test_an_image_that_it_has_not(registry: Registry, image: str, tag: str) -> None:
    assert ask(image, tag) == (404, MISSING)


@pytest.mark.parametrize(
    ("image", "tag"),
    [
        ("", "stable"),
        ("nginx", ""),
        (" ", "stable"),
        ("nginx:stable", "stable"),
        ("nginx@sha256:" + "a" * 64, "stable"),
        ("Nginx", "stable"),
        ("nginx/", "stable"),
        ("../nginx", "stable"),
        ("nginx", "-stable"),
        ("nginx", "sta/ble"),
        ("nginx", "a" * 129),
    ],
)
def test_what_is_no_image_or_no_tag(registry: Registry, image: str, tag: str) -> None:
    assert ask(image, tag) == (400, BAD_FORMAT)
    assert registry.requests == []


def test_missing_parameters_are_a_bad_format(registry: Registry) -> None:
    assert Client().get("/k8s/images?image=nginx").content == BAD_FORMAT
    assert Client().get("/k8s/images/").content == BAD_FORMAT


def test_a_registry_that_is_not_on_the_list_has_nothing_and_is_not_asked(
    registry: Registry, settings: Settings
) -> None:
    host = registry.url.removeprefix("http://")
    settings.IMAGE_REGISTRY_URL = "https://registry.invalid"
    assert ask(f"{host}/library/nginx", "stable") == (404, MISSING)
    assert ask("169.254.169.254/latest/meta-data", "stable") == (404, MISSING)
    assert registry.requests == []
    settings.IMAGE_REGISTRIES = [registry.url]
    assert ask(f"{host}/library/nginx", "stable") == (200, OK)


def test_credentials_open_private_repositories(registry: Registry) -> None:
    registry.images.add("acme/secret:1")
    registry.private["acme/secret"] = ("jürgen", "pässword")
    headers = {
        "Username": base64.b64encode("jürgen".encode()).decode(),
        "Password": base64.b64encode("pässword".encode()).decode(),
    }
    assert ask("acme/secret", "1") == (404, MISSING)
    assert ask("acme/secret", "1", **headers) == (200, OK)
    assert ask("acme/secret", "1") == (404, MISSING), (
        "what one caller may see is not remembered for others"
    )
    registry.scheme = "Basic"
    cache.clear()
    assert ask("acme/secret", "1", **headers) == (200, OK)
    assert ask("acme/secret", "1", Username="*", Password="*")[0] == 400


@pytest.mark.parametrize(
    "trouble",
    [
        {"failure": 429},
        {"failure": 503},
        {"token_failure": 500},
        {"realm": "http://169.254.169.254/token"},
    ],
)
def test_a_registry_in_trouble_is_a_server_error_and_not_remembered(
    registry: Registry, trouble: dict[str, Any]
) -> None:
    for name, value in trouble.items():
        setattr(registry, name, value)
    assert ask("nginx", "stable") == (500, BROKEN)
    for name in trouble:
        setattr(registry, name, type(trouble[name])())
    assert ask("nginx", "stable") == (200, OK)


def test_a_token_service_elsewhere_must_be_trusted_by_name(
    registry: Registry, settings: Settings
) -> None:
    with running_registry() as elsewhere:
        registry.realm = elsewhere.url.replace("127.0.0.1", "localhost") + "/token"
        assert ask("nginx", "stable") == (500, BROKEN)
        assert elsewhere.requests == []
        settings.IMAGE_TOKEN_HOSTS = frozenset({"localhost"})
        assert ask("nginx", "stable") == (200, OK)


def test_a_registry_that_is_down_is_a_server_error(settings: Settings, registry: Registry) -> None:
    settings.IMAGE_REGISTRY_URL = "http://127.0.0.1:9"
    assert ask("nginx", "stable") == (500, BROKEN)
    settings.VKUBE_BARE_ERRORS = True
    answer = Client().get("/k8s/images?image=nginx&tag=stable")
    assert (answer.status_code, answer.content, answer["Content-Type"]) == (
        500,
        b"server errror",
        "text/plain; charset=utf-8",
    )


def test_answers_are_remembered_for_a_while(registry: Registry) -> None:
    assert [ask("nginx", "stable"), ask("nginx", "stable"), ask("docker.io/nginx", "stable")] == [
        (200, OK)
    ] * 3
    assert len(registry.paths()) == 2


def test_the_public_calls_are_throttled_by_address(registry: Registry, settings: Settings) -> None:
    settings.THROTTLE_PUBLIC = "2/min"
    answers = [
        Client().get("/k8s/images?image=nginx&tag=stable", REMOTE_ADDR="192.0.2.1")
        for _ in range(3)
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[2].json()["error"]["code"] == 429
    assert int(answers[2]["Retry-After"]) > 0
    assert (
        Client().get("/k8s/images?image=nginx&tag=stable", REMOTE_ADDR="192.0.2.2").status_code
        == 200
    )
