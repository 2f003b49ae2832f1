"""The recipe of docs/operations.md: what pg_dump wrote comes back whole, and the log of changes goes on."""

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg2
import pytest
from django.contrib.auth import get_user_model

from access.tokens import create_api_token
from clusters.models import Cluster
from launcher.accounts import unprivileged_account
from launcher.binaries import choose_postgres
from launcher.programs import ROOT
from tests.caller import Caller
from tests.storeserver import PREFIX, running_store
from tests.workers import database_url

PATH = "/k8s/dynamic/namespace_resources/clusters/BCS-1/namespaces/shop/ConfigMap/kept"
DUMP = ("--format=custom", "--no-owner", "--file=kubegale.dump")
RESTORE = ("--no-owner", "--exit-on-error")


def program(name: str) -> str:
    """A program of the server's own release, else the system's; skips where there is none."""
    account = unprivileged_account()
    own = choose_postgres(os.environ, data_version=None, account=account).program(name)
    if own.exists():
        return str(own)
    if system := shutil.which(name):
        return system
    pytest.skip(f"{name} is not installed")


@pytest.fixture
def empty_database() -> Iterator[str]:
    """The address of a new database on the run's server."""
    name = f"restored_{uuid.uuid4().hex[:8]}"
    server = psycopg2.connect(os.environ["DATABASE_URL"])
    server.autocommit = True
    with server.cursor() as cursor:
        cursor.execute(f'CREATE DATABASE "{name}"')
        yield urlsplit(os.environ["DATABASE_URL"])._replace(path=f"/{name}").geturl()
        cursor.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    server.close()


def changes(address: str) -> list[tuple[int, str, str]]:
    """The log of changes: (sequence, name, object as JSON)."""
    database = psycopg2.connect(address)
    try:
        with database.cursor() as cursor:
            cursor.execute("SELECT seq, resource_name, data::text FROM storage_change ORDER BY seq")
            return list(cursor.fetchall())
    finally:
        database.close()


@pytest.mark.slow
def test_a_restored_backup_has_everything_and_its_log_goes_on(
    emptied: None, cluster: Cluster, tmp_path: Path, empty_database: str
) -> None:
    user = get_user_model().objects.create_superuser("admin", "admin@example.com", None)
    token = create_api_token(user, "backup")[1]
    caller = Caller(token)
    for value in ("first", "second"):
        caller.raw("PUT", f"{PREFIX}{PATH}", {"data": {"data": {"key": value}}})
    before = changes(database_url())
    assert len(before) == 2
    for name, options in (
        ("pg_dump", [*DUMP, f"--dbname={database_url()}"]),
        ("pg_restore", [*RESTORE, f"--dbname={empty_database}", "kubegale.dump"]),
    ):
        subprocess.run([program(name), *options], cwd=tmp_path, check=True, timeout=120)
        recipe = (ROOT / "docs" / "operations.md").read_text()
        assert " ".join((name, *(DUMP if name == "pg_dump" else RESTORE))) in recipe
    assert changes(empty_database) == before
    headers = {"Authorization": f"Bearer {token}"}
    with running_store(urlsplit(empty_database).path.strip("/")) as store:
        (kept,) = store.data("GET", PATH)
        assert kept["data"]["data"] == {"key": "second"}
        store("PUT", PATH, {"data": {"data": {"key": "third"}}})
        # The token and the sealed kubeconfig are good as well: the cluster itself answers.
        store.prefix = "/api/v1/kubernetes"
        answer = store.raw("GET", "/nodes", headers=headers, cluster_id=cluster.pk, fresh="true")
        assert answer.json["code"] == 0
    after = changes(empty_database)
    assert after[:2] == before
    assert len(after) == 3
    assert after[2][0] > before[-1][0]
