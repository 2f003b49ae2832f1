"""What stands on the wire is what is meant: encoded slashes, bodies without a length."""

import http.client
import io
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection

from clusters.models import Cluster
from kubegale.wsgi import UnmeasuredRequest
from tests.caller import Caller
from tests.storeserver import running_store

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def port(django_db_setup: None) -> Iterator[int]:
    """The system behind gunicorn."""
    with running_store(str(connection.settings_dict["NAME"])) as running:
        yield running.port


@pytest.mark.parametrize("tail", ["%2F", "%2f", "%2Fmore", "%2F/"])
def test_an_encoded_slash_is_no_slash(
    admin: Caller, cluster: Cluster, apiserver: Any, tail: str
) -> None:
    space = f"t-{uuid.uuid4().hex[:8]}"
    namespace = {"metadata": {"name": space}}
    admin.data("POST", "namespaces", {"cluster_id": cluster.pk, "content": namespace})
    where = {"cluster_id": cluster.pk, "namespace": space}
    content = {"metadata": {"name": "victim"}}
    admin.data("POST", "configmaps", {**where, "content": content})
    walm = f"/api/v1/secret/{space}/name/victim{tail}"
    secret = {"name": "victim", "data": {}}
    assert admin.raw("POST", f"/api/v1/secret/{space}", secret).status_code == 200
    for raw in (f"/api/v1/kubernetes/configmaps/victim{tail}", walm):
        path = raw.replace("%2F", "/").replace("%2f", "/")
        address = f"{path}?cluster_id={cluster.pk}&namespace={space}"
        answer = admin.client.generic("DELETE", address, RAW_URI=raw)
        assert answer.status_code == 404
    assert apiserver.get("configmaps", "victim", space) is not None
    assert apiserver.get("secrets", "victim", space) is not None


def test_an_encoded_slash_is_none_behind_the_server_either(port: int) -> None:
    for path in ("/api/v1/auth/me%2F", "/api/v1/auth%2Fme", "/console%2Fsignin"):
        server = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        server.request("GET", path)
        answer = server.getresponse()
        assert answer.status == 404, path
        server.close()


def test_a_body_without_a_length_is_read(port: int) -> None:
    server = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    pieces = [b'{"username": "a", "pass', b'word": "b", "zzz": 1}']
    server.request("POST", "/api/v1/auth/login", iter(pieces), encode_chunked=True)
    answer = json.loads(server.getresponse().read())
    assert (answer["code"], "unknown member 'zzz'" in answer["msg"]) == (1001, True)
    server.close()


def unmeasured(body: bytes, **more: Any) -> UnmeasuredRequest:
    """A request as a server gives it, of a body that came in pieces."""
    return UnmeasuredRequest(
        {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/",
            "HTTP_TRANSFER_ENCODING": "chunked",
            "wsgi.input": io.BytesIO(body),
            **more,
        }
    )


def test_a_body_without_a_length_has_the_limit_of_every_other(settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    assert unmeasured(b"0123456789", **{"wsgi.input_terminated": True}).body == b"0123456789"
    source = io.BytesIO(b"0" * 1000)
    with pytest.raises(Exception, match="exceeded"):
        unmeasured(b"", **{"wsgi.input_terminated": True, "wsgi.input": source}).body  # noqa: B018
    assert source.tell() == django_settings.DATA_UPLOAD_MAX_MEMORY_SIZE + 1
    with pytest.raises(Exception, match="cannot be known"):
        unmeasured(b"{}").body  # noqa: B018
