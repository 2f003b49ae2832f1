"""Encryption at rest and rotation of keys."""

from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.db import connection

from billing.models import Webhook
from clusters.models import Cluster
from core.crypto import decrypt, encrypt, rotate_all


@pytest.mark.django_db
def test_a_kubeconfig_is_encrypted_in_the_database_and_clear_in_python() -> None:
    made = Cluster.objects.create(name="one", kubeconfig="marker-text", server="https://x")
    with connection.cursor() as cursor:
        cursor.execute("SELECT kubeconfig FROM clusters_cluster WHERE id = %s", [made.pk])
        stored = cursor.fetchone()[0]
    assert "marker-text" not in stored
    assert Cluster.objects.get(pk=made.pk).kubeconfig == "marker-text"


@pytest.mark.django_db
def test_rotation_puts_everything_under_the_first_key(settings: Any) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()
    settings.FIELD_ENCRYPTION_KEYS = [old]
    Cluster.objects.create(name="one", kubeconfig="text", server="https://x")
    Webhook.objects.create(url="https://example.com/", key="whsec_marker")
    settings.FIELD_ENCRYPTION_KEYS = [new, old]
    assert rotate_all() == 2
    settings.FIELD_ENCRYPTION_KEYS = [new]
    assert Cluster.objects.get(name="one").kubeconfig == "text"
    assert Webhook.objects.get().key == "whsec_marker"


def test_a_token_of_an_unknown_key_is_an_error(settings: Any) -> None:
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    token = encrypt("x")
    settings.FIELD_ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    with pytest.raises(ValueError, match="no key"):
        decrypt(token)
