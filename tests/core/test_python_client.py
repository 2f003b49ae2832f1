"""The Python client as its users get it: installed, and with its generated half."""

import importlib
import json
import re
import runpy
import shutil
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.test import Client
from django.utils.timezone import timedelta
from rest_framework_simplejwt.tokens import AccessToken

from access.tokens import create_api_token
from clusters.models import Cluster
from operations.models import Operation
from tests.turning import take_turn

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "clients" / "python"
PASSWORD = "of-the-python-client"


def install(package: Path, target: Path) -> Path:
    """The folder into which pip installed the package, with neither network nor build tool."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-compile"]
    result = subprocess.run(
        [*command, "--target", target, package], capture_output=True, text=True, timeout=100
    )
    assert result.returncode == 0, result.stderr
    return target


def fresh_checkout(folder: Path) -> Path:
    """The client as a fresh checkout has it: without what is generated."""
    ignored = shutil.ignore_patterns("generated", "dist", "__pycache__")
    shutil.copy(ROOT / "LICENSE", folder)
    shutil.copytree(SOURCE, folder / "clients" / "python", ignore=ignored)
    return folder / "clients" / "python"


@pytest.fixture(scope="module")
def thin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a fresh checkout is installed."""
    package = fresh_checkout(tmp_path_factory.mktemp("checkout"))
    return install(package, tmp_path_factory.mktemp("thin"))


@contextmanager
def importing(place: Path) -> Iterator[None]:
    """The package is the one in that folder or wheel, and forgotten afterwards."""
    sys.path.insert(0, str(place))
    yield
    sys.path.remove(str(place))
    for name in [name for name in sys.modules if name.partition(".")[0] == "kubegale_client"]:
        del sys.modules[name]


@pytest.fixture
def client_module(thin: Path) -> Iterator[Any]:
    """The package as it is installed from a checkout."""
    with importing(thin):
        yield importlib.import_module("kubegale_client")


@pytest.fixture
def document(tmp_path: Path) -> Path:
    """The OpenAPI document as a file."""
    path = tmp_path / "openapi.json"
    path.write_bytes(Client().get("/api/schema?format=json").content)
    return path


@pytest.fixture
def generated(document: Path, tmp_path: Path) -> Iterator[Any]:
    """Imports a module of the generated half, out of the wheel that `make client` builds."""
    package = fresh_checkout(tmp_path)
    result = subprocess.run(
        [sys.executable, package / "generate.py", document],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    left_out = [line for line in result.stdout.splitlines() if "will not be generated" in line]
    # Batches of bcs-storage are lines of JSON, a type that this generator does not know.
    assert [line for line in left_out if "/batch " not in line] == []
    assert "duplicate" not in result.stdout
    build = f"import build_backend; print(build_backend.build_wheel({str(tmp_path)!r}))"
    built = subprocess.run(
        [sys.executable, "-c", build], cwd=package, capture_output=True, text=True, timeout=60
    )
    assert built.returncode == 0, built.stderr
    # Python imports from a wheel as it is.
    with importing(tmp_path / built.stdout.strip()):
        yield lambda name: importlib.import_module(f"kubegale_client.generated.{name}")


@pytest.fixture
def worker(transactional_db: None) -> Iterator[None]:
    """Takes the turns of operations, as a worker does."""
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(0.05):
            for pk in Operation.objects.values_list("pk", flat=True):
                if not Operation.objects.get(pk=pk).is_final:
                    take_turn(pk)
        connections.close_all()

    thread = threading.Thread(target=work)
    thread.start()
    yield
    ended.set()
    thread.join()


@pytest.fixture
def token(transactional_db: None) -> str:
    """An API token of an administrator."""
    user = User.objects.create_superuser("admin", "admin@example.com", PASSWORD)
    return create_api_token(user, "tests")[1]


def readme_lines(path: Path) -> str:
    """The first block of Python."""
    match = re.search(r"^```python\n(.*?)^```$", path.read_text(), re.DOTALL | re.MULTILINE)
    assert match, path
    return match.group(1)


def test_the_table_of_calls_is_that_of_the_document(document: Path) -> None:
    made = runpy.run_path(str(SOURCE / "generate.py"))["table"](json.loads(document.read_text()))
    committed = (SOURCE / "src" / "kubegale_client" / "operations.json").read_text()
    assert made == committed, "run `make client` and commit what it changes"


@pytest.mark.django_db(transaction=True)
def test_the_lines_in_readme_run_on_python_alone(
    thin: Path, live_server: Any, cluster: Cluster, token: str, worker: None, apiserver: Any
) -> None:
    Cluster.objects.filter(pk=cluster.pk).update(name="demo")
    lines = readme_lines(ROOT / "README.md")
    assert lines == readme_lines(SOURCE / "README.md")
    assert len([line for line in lines.splitlines() if line]) <= 10
    assert "http://127.0.0.1:8000" in lines
    program = lines.replace("http://127.0.0.1:8000", live_server.url)
    # -S leaves out every package that is installed here.
    result = subprocess.run(
        [sys.executable, "-S", "-c", f"PASSWORD = {PASSWORD!r}\n{program}"],
        capture_output=True,
        text=True,
        timeout=100,
        env={"PYTHONPATH": str(thin), "NO_PROXY": "*"},
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("hi-") == 3, result.stdout
    left = [item["metadata"]["name"] for item in apiserver.list("deployments.apps", "default")]
    assert "hi" not in left


@pytest.mark.django_db(transaction=True)
def test_a_cluster_is_worked_with_and_failures_are_exceptions(
    client_module: Any, live_server: Any, cluster: Cluster, token: str, worker: None
) -> None:
    space = f"t-{uuid.uuid4().hex[:8]}"
    kg = client_module.KubeGale(live_server.url, token, cluster=cluster.name)
    assert [row["name"] for row in kg.clusters.list()] == [cluster.name]
    kg.namespaces.create({"metadata": {"name": space}})
    kg.namespace = space
    for number in range(5):
        content = {"metadata": {"name": f"settings-{number}"}, "data": {"colour": "red"}}
        kg.configmaps.create(content)
    page = kg.configmaps.list(page_size=2, keyword="settings")
    assert (len(page), page.total) == (2, 5)
    names = {item["metadata"]["name"] for item in kg.configmaps.iterate(page_size=2)}
    assert {f"settings-{number}" for number in range(5)} <= names
    kg.configmaps.patch("settings-1", {"data": {"colour": "blue"}})
    kg.configmaps.patch("settings-2", [{"op": "remove", "path": "/data/colour"}], strategy="json")
    assert kg.configmaps.get("settings-1")["data"] == {"colour": "blue"}
    assert not kg.configmaps.get("settings-2").get("data")
    kg.configmaps.replace("settings-3", "metadata: {name: settings-3}\ndata: {size: '3'}\n")
    assert kg.configmaps.get("settings-3")["data"] == {"size": "3"}
    kg.configmaps.delete("settings-4")

    labels = {"app": "web"}
    pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": pod}
    kg.deployments.create({"metadata": {"name": "web"}, "spec": spec})
    operation = kg.wait(kg.deployments.scale("web", 2), timeout=60)
    assert (operation["state"], operation["target"]["name"]) == ("succeeded", "web")
    pods = kg.deployments.read("web", "pods")
    assert pods["total"] == 2
    assert kg.call("listDeploymentRevisions", "web")["total"] == 1

    with pytest.raises(client_module.NotFound) as missing:
        kg.configmaps.get("settings-4")
    assert (missing.value.code, missing.value.status) == (1004, 200)
    assert missing.value.request_id
    with pytest.raises(client_module.InvalidRequest):
        kg.deployments.scale("web", -1)
    with pytest.raises(client_module.NotFound, match="nowhere"):
        kg.pods.list(cluster="nowhere")
    kg.configmaps.create({"metadata": {"name": space}}, namespace="default")
    with pytest.raises(client_module.ConfirmationRequired) as asked:
        kg.configmaps.delete(space, namespace="default")
    assert kg.configmaps.get(space, namespace="default")["metadata"]["name"] == space
    kg.configmaps.delete(space, namespace="default", confirm=asked.value.token)
    with pytest.raises(client_module.NotSignedIn):
        client_module.KubeGale(live_server.url, "wrong").pods.list(cluster=cluster.pk)
    with pytest.raises(TypeError, match="colour"):
        kg.pods.list(colour="red")
    with pytest.raises(TypeError, match="trigger"):
        kg.deployments.act("trigger", "web")
    with pytest.raises(AttributeError, match="pds"):
        _ = kg.pds


@pytest.mark.django_db(transaction=True)
def test_waiting_ends_with_the_operation_or_with_patience(
    client_module: Any, live_server: Any, cluster: Cluster, token: str
) -> None:
    kg = client_module.KubeGale(live_server.url, token)
    row = Operation.objects.create(kind="scale", cluster=cluster, state="running")
    with pytest.raises(client_module.WaitTimeout) as tired:
        kg.wait(row.pk, timeout=0.2)
    assert tired.value.details["state"] == "running"
    Operation.objects.filter(pk=row.pk).update(state="failed", error="no room left")
    with pytest.raises(client_module.OperationFailed, match="no room left"):
        kg.wait({"operation_id": row.pk})
    assert kg.wait({"operation_id": None, "changed": False}) == {
        "operation_id": None,
        "changed": False,
    }


@pytest.mark.django_db(transaction=True)
def test_a_client_with_a_password_renews_its_token(
    client_module: Any, live_server: Any, token: str
) -> None:
    kg = client_module.KubeGale.sign_in(live_server.url, "admin", PASSWORD)
    expired = AccessToken.for_user(User.objects.get(username="admin"))
    expired.set_exp(lifetime=-timedelta(minutes=5))
    kg.token = str(expired)
    assert kg.call("getCurrentUser")["username"] == "admin"
    assert kg.token != str(expired)


def test_a_server_that_is_not_there_or_is_another_is_told(client_module: Any) -> None:
    with pytest.raises(client_module.NotReachable, match="refused"):
        client_module.KubeGale("http://127.0.0.1:1").pods.list(cluster=1)
    with pytest.raises(ValueError, match="file:"):
        client_module.KubeGale("file:///etc/passwd")


@pytest.fixture
def sessions() -> Iterator[ExitStack]:
    """Closes what it is given."""
    with ExitStack() as stack:
        yield stack


@pytest.mark.django_db(transaction=True)
def test_a_generated_client_works_with_a_cluster(
    generated: Any, live_server: Any, apiserver: Any, sessions: ExitStack
) -> None:
    User.objects.create_superuser("root", "root@example.com", "of-the-python-client")
    models = generated("models")

    def call(topic: str, name: str, client: Any, *path: Any, **options: Any) -> Any:
        return generated(f"api.{topic}.{name}").sync(*path, client=client, **options)

    # Each is closed before the test ends: the server keeps a session of the database for every open connection.
    anonymous = sessions.enter_context(generated("client").Client(live_server.url))
    typed = importlib.import_module("kubegale_client.typed")
    body = models.SignInBody(username="root", password="of-the-python-client")
    signed_in = call("authentication", "sign_in", anonymous, body=body)
    assert signed_in.code == 0, signed_in
    kg = importlib.import_module("kubegale_client").KubeGale(live_server.url, signed_in.data.token)
    client = sessions.enter_context(typed.typed_client(kg))

    registration = models.RegisterClusterBody(name="real", kubeconfig=apiserver.kubeconfig_yaml)
    registered = call("clusters", "register_cluster", client, body=registration)
    assert isinstance(registered, models.ClusterAnswer), registered
    listed = call("clusters", "list_clusters", client)
    assert [row.name for row in listed.data.items] == ["real"]

    space = f"t-{uuid.uuid4().hex[:8]}"
    where = {"cluster_id": registered.data.id, "namespace": space}

    def write(content: dict[str, Any], **place: Any) -> Any:
        return models.ObjectToWrite.from_dict({**place, "content": content})

    made = call(
        *("configuration", "create_namespace", client),
        body=write({"metadata": {"name": space}}, cluster_id=registered.data.id),
    )
    assert made.data.metadata.name == space
    made = call(
        *("configuration", "create_config_map", client),
        body=write({"metadata": {"name": "settings"}, "data": {"colour": "red"}}, **where),
    )
    assert isinstance(made, models.ConfigMapAnswer), made
    page = call("configuration", "list_config_maps", client, **where, keyword="settings")
    assert (page.data.total, page.data.items[0].metadata.name) == (1, "settings")
    patch = models.MergePatch.from_dict({"data": {"colour": "blue"}})
    patched = call("configuration", "patch_config_map", client, "settings", **where, body=patch)
    assert patched.data.data["colour"] == "blue"
    read = call("configuration", "get_config_map", client, "settings", **where)
    assert read.data.data["colour"] == "blue"

    pod = {
        "metadata": {"labels": {"app": "web"}},
        "spec": {"containers": [{"name": "web", "image": "nginx"}]},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": pod}
    call(
        *("workloads", "create_deployment", client),
        body=write({"metadata": {"name": "web"}, "spec": spec}, **where),
    )
    options = models.ActionOptions(**where, replicas=2)
    scaled = call("workloads", "scale_deployment", client, "web", body=options)
    assert (scaled.data.changed, scaled.data.replicas) == (True, 2)
    assert call("workloads", "get_deployment", client, "web", **where).data.spec["replicas"] == 2
    operation = call("operations", "get_operation", client, str(scaled.data.operation_id))
    assert operation.data.target.name == "web"
    deleted = call("configuration", "delete_config_map", client, "settings", **where)
    assert deleted.code == 0
    # What is in `default` is guarded: a generated client can confirm it.
    guarded = {**where, "namespace": "default"}
    call(
        *("configuration", "create_config_map", client),
        body=write({"metadata": {"name": space}}, **guarded),
    )
    asked = call("configuration", "delete_config_map", client, space, **guarded)
    assert asked.code == 1010
    token = asked.data["confirm_token"]
    deleted = call(
        *("configuration", "delete_config_map", client, space), **guarded, confirm_token=token
    )
    assert deleted.code == 0
    missing = call("configuration", "get_config_map", client, "settings", **where)
    assert isinstance(missing, models.Failure)
    assert missing.code == 1004
