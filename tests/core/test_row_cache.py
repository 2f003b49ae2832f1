"""What processes keep of users, tokens, grants and clusters: never longer than it is true."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from access import grants, users
from access.models import ApiToken, Grant
from access.sign_in import pair_for, sign_out
from access.tokens import create_api_token
from clusters import registry
from clusters.models import Cluster
from core import row_cache
from core.errors import ClusterNotFound
from tests.caller import Caller
from tests.storeserver import Store, database, running_store
from tests.vkube import eventually

pytestmark = pytest.mark.django_db(transaction=True)
# Shorter than the time limit of entries, so that it cannot be what ended them.
SOON = row_cache.LONGEST_SECONDS / 2
CLUSTERS = "/api/v1/kubernetes/clusters"
ALLOWED = 0
SIGNED_OUT = 2001
EXPIRED = 2002
FORBIDDEN = 1005


@pytest.fixture
def user() -> User:
    """A viewer of everything by membership of a group."""
    user = User.objects.create_user("agent", password=None)
    group = Group.objects.create(name="readers")
    user.groups.add(group)
    Grant.objects.create(group=group, role="viewer")
    return user


def _statements(call: Callable[[], Any]) -> int:
    with CaptureQueriesContext(connection) as queries:
        call()
    return len(queries)


def _revoke(user: User) -> None:
    ApiToken.objects.filter(user=user).update(revoked_at=timezone.now())


def _revoke_by_sql(user: User) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE access_apitoken SET revoked_at = now()")


def _expire(user: User) -> None:
    row = ApiToken.objects.get(user=user)
    row.expires_at = timezone.now()
    row.save()


def _narrow(user: User) -> None:
    ApiToken.objects.filter(user=user).update(scopes=["logs"])


def _deactivate(user: User) -> None:
    users.change(user, is_active=False)


def _leave_group(user: User) -> None:
    user.groups.clear()


def _withdraw(user: User) -> None:
    grants.withdraw(Grant.objects.get())


def _delete_group(user: User) -> None:
    Group.objects.all().delete()


def _delete_user(user: User) -> None:
    User.objects.filter(pk=user.pk).delete()


def _truncate(user: User) -> None:
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE access_grant")


def _in_transaction(user: User) -> None:
    with transaction.atomic():
        Grant.objects.all().delete()
        # Nobody else sees it yet, but this transaction itself does.
        assert grants.effective_grants(user) == []


CHANGES: list[tuple[Callable[[User], None], int]] = [
    (_revoke, SIGNED_OUT),
    (_revoke_by_sql, SIGNED_OUT),
    (_expire, EXPIRED),
    (_narrow, FORBIDDEN),
    (_deactivate, SIGNED_OUT),
    (_leave_group, FORBIDDEN),
    (_withdraw, FORBIDDEN),
    (_delete_group, FORBIDDEN),
    (_delete_user, SIGNED_OUT),
    (_truncate, FORBIDDEN),
    (_in_transaction, FORBIDDEN),
]


@pytest.mark.parametrize(
    ("change", "code"), CHANGES, ids=lambda value: getattr(value, "__name__", "")
)
def test_the_process_that_takes_a_right_away_refuses_at_once(
    change: Callable[[User], None], code: int, user: User
) -> None:
    """By whichever way the row is changed."""
    caller = Caller(create_api_token(user, "t")[1])
    eventually(lambda: _statements(lambda: grants.effective_grants(user)) == 0)
    assert caller.code("GET", CLUSTERS) == ALLOWED
    change(user)
    assert caller.code("GET", CLUSTERS) == code


def test_a_jwt_is_dead_at_once_after_signing_out_and_after_a_new_password(user: User) -> None:
    """Its signature and its blacklist are looked at once, not for every request."""
    pair = pair_for(user)
    caller = Caller(pair.token)
    eventually(lambda: _statements(lambda: caller("GET", "/api/v1/auth/tokens")) <= 1)
    assert caller.code("GET", "/api/v1/auth/me") == ALLOWED
    sign_out(pair.token)
    assert caller.code("GET", "/api/v1/auth/me") == SIGNED_OUT
    other = Caller(pair_for(user).token)
    assert other.code("GET", "/api/v1/auth/me") == ALLOWED
    user.set_password("quite-another-1")
    user.save()
    assert other.code("GET", "/api/v1/auth/me") == SIGNED_OUT


def test_a_warm_read_of_an_object_asks_the_database_once_at_most(
    admin: Caller, cluster: Cluster, apiserver: Any
) -> None:
    """Who asks, what they may and which cluster it is are known; a removed cluster is not.

    The one statement asks the store for the object.
    """

    def read() -> Any:
        return admin("GET", "namespaces/default", cluster_id=cluster.pk)

    eventually(lambda: _statements(read) <= 1)
    assert read()["code"] == 0
    registry.update(Cluster.objects.get(pk=cluster.pk), {"name": "renamed"})
    assert registry.find("renamed").pk == cluster.pk
    with pytest.raises(ClusterNotFound):
        registry.find("simulated")
    assert read()["code"] == 0
    registry.remove(cluster)
    assert read()["code"] != 0


def test_rows_out_of_the_cache_are_each_callers_own(cluster: Cluster) -> None:
    """A change that is not saved, or fails, is nobody else's."""
    eventually(lambda: _statements(lambda: registry.find(cluster.pk)) == 0)
    mine = registry.find(cluster.pk)
    mine.name = "changed"
    mine.labels["a"] = "b"
    assert registry.find(cluster.pk).name == cluster.name
    assert registry.find(cluster.pk).labels == {}


@pytest.fixture(scope="module")
def processes(django_db_setup: None) -> Iterator[list[Store]]:
    """Two web servers over the database of this run."""
    name = str(connection.settings_dict["NAME"])
    with running_store(name) as first, running_store(name) as second:
        yield [Store(server.host, server.port, "") for server in (first, second)]


def _codes(servers: list[Store], token: str) -> set[int]:
    headers = {"Authorization": f"Bearer {token}"}
    return {server.raw("GET", CLUSTERS, headers=headers).json["code"] for server in servers}


def _follow(servers: list[Store], token: str) -> None:
    """Keep both servers busy until their listeners are there and their caches in use."""
    listening = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'kubegale row cache' AND datname = current_database()"
    with database() as cursor:

        def are_listening() -> bool:
            assert _codes(servers, token) == {ALLOWED}
            cursor.execute(listening)
            return int(cursor.fetchone()[0]) >= len(servers)

        eventually(are_listening)
    assert _codes(servers, token) == {ALLOWED}


def test_two_other_processes_refuse_within_a_moment(processes: list[Store], user: User) -> None:
    """A revoked token, a group left, a user switched off; also when the listeners were cut off."""
    token = create_api_token(user, "first")[1]
    _follow(processes, token)
    _revoke(user)
    eventually(lambda: _codes(processes, token) == {SIGNED_OUT}, seconds=SOON)

    token = create_api_token(user, "second")[1]
    _follow(processes, token)
    _leave_group(user)
    eventually(lambda: _codes(processes, token) == {FORBIDDEN}, seconds=SOON)
    user.groups.add(Group.objects.get())
    eventually(lambda: _codes(processes, token) == {ALLOWED}, seconds=SOON)

    _follow(processes, token)
    with database() as cursor:
        # Nothing is announced to anybody: this change has no triggers, and the listeners lose
        # their connections at the same time.
        cursor.execute("SET session_replication_role = replica")
        cursor.execute("UPDATE auth_user SET is_active = false")
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'kubegale row cache' AND datname = current_database()"
        )
    eventually(lambda: _codes(processes, token) == {SIGNED_OUT}, seconds=SOON)


def test_a_web_server_survives_the_loss_of_its_database_connections(
    processes: list[Store], user: User
) -> None:
    """No request fails: what the server ended is noticed before it is used."""
    token = create_api_token(user, "t")[1]
    for _ in range(3):
        _follow(processes, token)
        with database() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND datname = current_database()"
                " AND application_name <> 'tests'"
            )
        assert _codes(processes, token) == {ALLOWED}
    connection.close()
