"""A Python client generated from the OpenAPI document, used against the running system."""

import importlib
import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

PACKAGE = "kubegale_client_of_the_test"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Imports a module of the generated package."""
    folder: Path = tmp_path_factory.mktemp("generated")
    document = Client().get("/api/schema?format=json").content
    (folder / "openapi.json").write_bytes(document)
    # Nothing is formatted afterwards: the code is for this run alone.
    (folder / "config.json").write_text(json.dumps({"post_hooks": []}))
    command = [
        *(sys.executable, "-m", "openapi_python_client", "generate", "--meta", "none"),
        *("--path", "openapi.json", "--config", "config.json", "--output-path", PACKAGE),
    ]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=180)
    assert result.returncode == 0, result.stdout + result.stderr
    left_out = [line for line in result.stdout.splitlines() if "will not be generated" in line]
    # Batches of bcs-storage are lines of JSON, a type that this generator does not know.
    assert [line for line in left_out if "/batch " not in line] == []
    assert "duplicate" not in result.stdout
    sys.path.insert(0, str(folder))
    yield lambda name: importlib.import_module(f"{PACKAGE}.{name}")
    sys.path.remove(str(folder))


@pytest.fixture
def sessions() -> Iterator[ExitStack]:
    """Closes what it is given."""
    with ExitStack() as stack:
        yield stack


@pytest.mark.django_db(transaction=True)
def test_a_generated_client_works_with_a_cluster(
    generated: Any, live_server: Any, apiserver: Any, sessions: ExitStack
) -> None:
    User.objects.create_superuser("root", "root@example.com", "of-the-generated-client")
    models = generated("models")

    def call(topic: str, name: str, client: Any, *path: Any, **options: Any) -> Any:
        return generated(f"api.{topic}.{name}").sync(*path, client=client, **options)

    # Each is closed before the test ends: the server keeps a session of the database for every open connection.
    anonymous = sessions.enter_context(generated("client").Client(live_server.url))
    body = models.SignInBody(username="root", password="of-the-generated-client")
    signed_in = call("authentication", "sign_in", anonymous, body=body)
    assert signed_in.code == 0, signed_in
    client = sessions.enter_context(
        generated("client").AuthenticatedClient(live_server.url, signed_in.data.token)
    )

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
    missing = call("configuration", "get_config_map", client, "settings", **where)
    assert isinstance(missing, models.Failure)
    assert missing.code == 1004
