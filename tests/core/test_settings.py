"""Starting from the environment alone, or refusing in one sentence."""

import os
import subprocess
import sys
from typing import Any

import pytest
from django.test import Client

from kubegale import env

GOOD = {
    "SECRET_KEY": "x" * 50,
    "FIELD_ENCRYPTION_KEYS": "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
    "DATABASE_URL": "postgres://user:p%40ss@127.0.0.1:1/name",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "KUBEGALE_DATA_DIR": "no-such-folder",
}

CERTIFIED = {"TRUSTED_PROXIES": "10.0.0.9", "CLIENT_CERT_HEADER": "X-Subject"}


def start(**changes: str | None) -> subprocess.CompletedProcess[str]:
    """`manage.py check` in an environment of its own."""
    environment = {key: value for key, value in {**GOOD, **changes}.items() if value is not None}
    command = [sys.executable, "manage.py", "check"]
    return subprocess.run(
        command,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"SECRET_KEY": None}, "SECRET_KEY"),
        ({"FIELD_ENCRYPTION_KEYS": None}, "FIELD_ENCRYPTION_KEYS"),
        ({"FIELD_ENCRYPTION_KEYS": "short"}, "FIELD_ENCRYPTION_KEYS"),
        ({"DATABASE_URL": None}, "DATABASE_URL"),
        ({"DATABASE_URL": "mysql://x/y"}, "DATABASE_URL"),
        ({"REDIS_URL": None}, "REDIS_URL"),
        ({"KUBEGALE_PORT": "http"}, "KUBEGALE_PORT"),
        ({"HTTP_STATUS_MODE": "sometimes"}, "HTTP_STATUS_MODE"),
        ({"VKUBE_RANDOM_PORTS": "3000-2000"}, "VKUBE_RANDOM_PORTS"),
        ({"VKUBE_CPU_PER_GI": "-1"}, "VKUBE_CPU_PER_GI"),
        ({"THROTTLE_BAD_SECRET": "often"}, "THROTTLE_BAD_SECRET"),
        ({"KUBEGALE_TUNING": '{"WEBHOOK_BACKOFF_SECONDS": "soon"}'}, "KUBEGALE_TUNING"),
        ({"KUBEGALE_TUNING": '{"DRAIN_SECONDS": 1}'}, "DRAIN_SECONDS"),
        ({"CLUSTER_ADDRESS_POLICY": "everything"}, "CLUSTER_ADDRESS_POLICY"),
        ({"OPEN_DIALECTS": "bcs,waln"}, "OPEN_DIALECTS"),
        ({"OPEN_DIALECTS": "walm@10.0.0.0/8,bcs@somewhere"}, "OPEN_DIALECTS"),
        ({"OPEN_DIALECTS": "walm@"}, "OPEN_DIALECTS"),
        ({**CERTIFIED, "OPEN_DIALECTS": "walm@cert:"}, "OPEN_DIALECTS"),
        ({**CERTIFIED, "OPEN_DIALECTS": "walm@cert:payments"}, "OPEN_DIALECTS"),
        ({**CERTIFIED, "OPEN_DIALECTS": "walm@cert:CN="}, "OPEN_DIALECTS"),
        ({**CERTIFIED, "OPEN_DIALECTS": "walm@cert:Name=x"}, "OPEN_DIALECTS"),
        ({**CERTIFIED, "OPEN_DIALECTS": "walm@cert:URI=spiffe://a"}, "CLIENT_CERT_FORMAT"),
        ({**CERTIFIED, "OPEN_DIALECTS": "walm@certificate:CN=x"}, "OPEN_DIALECTS"),
        ({**CERTIFIED, "OPEN_DIALECTS": "walm@here@cert:CN=x"}, "OPEN_DIALECTS"),
        ({**CERTIFIED, "OPEN_DIALECTS": "walm@CN=x"}, "OPEN_DIALECTS"),
        ({"OPEN_DIALECTS": "walm@cert:CN=x"}, "CLIENT_CERT_HEADER"),
        ({**CERTIFIED, "OPEN_DIALECTS": "walm@cert:*", "TRUSTED_PROXIES": ""}, "TRUSTED_PROXIES"),
        ({"CLIENT_CERT_HEADER": "X_SSL_Client_S_DN"}, "CLIENT_CERT_HEADER"),
        ({"CLIENT_CERT_HEADER": "X-Forwarded-For"}, "CLIENT_CERT_HEADER"),
        ({**CERTIFIED, "CLIENT_CERT_VERIFIED_HEADER": "x-subject"}, "CLIENT_CERT_VERIFIED_HEADER"),
        ({"CLIENT_CERT_FORMAT": "text"}, "CLIENT_CERT_FORMAT"),
    ],
)
def test_a_bad_setting_is_refused_in_one_sentence(
    changes: dict[str, str | None], named: str
) -> None:
    result = start(**changes)
    assert result.returncode != 0
    assert named in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_the_environment_alone_is_enough() -> None:
    assert start().returncode == 0


def test_an_ipv6_host_may_come_as_kubernetes_tells_a_pod_its_own(
    monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    monkeypatch.setenv("ALLOWED_HOSTS", "console.example.com,fd00::5,[fd00::6],10.0.0.7,localhost")
    settings.ALLOWED_HOSTS = env.hosts("ALLOWED_HOSTS")
    for host, status in (("[fd00::5]:8000", 200), ("[fd00::6]", 200), ("[fd00::7]", 400)):
        assert Client().get("/healthz", HTTP_HOST=host).status_code == status


def test_dialects_are_opened_by_network_by_certificate_and_by_both() -> None:
    opened = (
        "bcs,k8sservice@10.0.0.0/8,walm@cert:CN=a+O=Acme%2C%20Inc.,walm@10.0.0.0/8@cert:UID=a@b"
    )
    answer = start(**CERTIFIED, OPEN_DIALECTS=opened)
    assert (answer.returncode, answer.stderr) == (0, "")


@pytest.mark.parametrize(
    ("changes", "shown"),
    [
        ({}, "False False 0"),
        ({"BEHIND_TLS_PROXY": "true"}, "True True 31536000"),
        ({"SECURE_COOKIES": "true"}, "True True 31536000"),
        ({"BEHIND_TLS_PROXY": "true", "HSTS_SECONDS": "0"}, "True True 0"),
    ],
)
def test_tls_brings_secure_cookies_and_hsts(changes: dict[str, str], shown: str) -> None:
    script = (
        "from django.conf import settings as s;"
        "print(s.SESSION_COOKIE_SECURE, s.CSRF_COOKIE_SECURE, s.SECURE_HSTS_SECONDS)"
    )
    environment = {
        **GOOD,
        "PATH": os.environ["PATH"],
        "DJANGO_SETTINGS_MODULE": "kubegale.settings",
        **changes,
    }
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == shown, done.stderr
