"""Requests are read as Kubernetes' own RequestInfo reads them; the table is k8s.io/apiserver's."""

import pytest

from gateway.request_info import BadPath, decode_path, decode_query, read_request_info

# method, path, verb, prefix, group, version, namespace, resource, subresource, name
RESOURCES = """
GET /api/v1/namespaces list api - v1 - namespaces - -
GET /api/v1/namespaces/other get api - v1 other namespaces - other
GET /api/v1/namespaces/other/pods list api - v1 other pods - -
GET /api/v1/namespaces/other/pods/foo get api - v1 other pods - foo
HEAD /api/v1/namespaces/other/pods/foo get api - v1 other pods - foo
GET /api/v1/pods list api - v1 - pods - -
HEAD /api/v1/pods list api - v1 - pods - -
POST /api/v1/namespaces/other/pods create api - v1 other pods - -
GET /api/v1/proxy/namespaces/other/pods/foo proxy api - v1 other pods - foo
GET /api/v1/proxy/namespaces/other/pods/foo/subpath/x proxy api - v1 other pods - foo
GET /api/v1/proxy/redirect/namespaces/other/pods/foo/subpath/x proxy api - v1 - redirect - namespaces
GET /api/v1/watch/pods watch api - v1 - pods - -
GET /api/v1/pods?watch=true watch api - v1 - pods - -
GET /api/v1/pods?watch watch api - v1 - pods - -
GET /api/v1/pods?watch= watch api - v1 - pods - -
GET /api/v1/pods?watch=TRUE&watch=false watch api - v1 - pods - -
GET /api/v1/pods?watch=false list api - v1 - pods - -
GET /api/v1/pods?watch=0 list api - v1 - pods - -
GET /api/v1/pods?Watch=1 list api - v1 - pods - -
GET /api/v1/watch/namespaces/other/pods watch api - v1 other pods - -
GET /api/v1/namespaces/other/pods?watch=1 watch api - v1 other pods - -
GET /api/v1/namespaces/other/pods?fieldSelector=metadata.name%3Dfoo list api - v1 other pods - foo
GET /api/v1/namespaces/other/pods?fieldSelector=metadata.name%3D..%2Ffoo list api - v1 other pods - -
GET /api/v1/namespaces?fieldSelector=metadata.name=a,spec.x!=b&watch=1 watch api - v1 - namespaces - a
GET /api/v1/namespaces?fieldSelector=metadata.name!=a list api - v1 - namespaces - -
GET /api/v1/namespaces/other/pods/foo/status get api - v1 other pods status foo
GET /api/v1/namespaces/other/pods/foo/proxy/subpath/x get api - v1 other pods proxy foo
GET /api/v1/namespaces/other/status get api - v1 other namespaces status other
PUT /api/v1/namespaces/other/finalize update api - v1 other namespaces finalize other
PUT /api/v1/namespaces/other/pods/foo update api - v1 other pods - foo
PATCH /api/v1/namespaces/other/pods/foo patch api - v1 other pods - foo
DELETE /api/v1/namespaces/other/pods/foo delete api - v1 other pods - foo
DELETE /api/v1/nodes deletecollection api - v1 - nodes - -
DELETE /api/v1/namespaces/other/pods deletecollection api - v1 other pods - -
DELETE /api/v1/namespaces/other/pods?fieldSelector=metadata.name%3Dfoo deletecollection api - v1 other pods - -
GET /apis/apps/v1/namespaces/other/deployments/web/scale get apis apps v1 other deployments scale web
GET /apis/example.com/v1/widgets list apis example.com v1 - widgets - -
POST /api/v1/namespaces/other/pods/foo/exec create api - v1 other pods exec foo
"""
PATHS = """
GET /
GET /api
GET /api/
GET /api/v1
GET /api/v1/
GET /apis
GET /apis/apps
GET /apis/apps/v1
GET /apis/apps/v1/
POST /version
GET /metrics
GET /openapi/v3/apis/apps/v1
GET /proxy/namespaces/default/pods
"""


@pytest.mark.parametrize("line", RESOURCES.strip().splitlines())
def test_resource_requests(line: str) -> None:
    method, target, *expected = line.split(" ")
    path, _, query = target.partition("?")
    info = read_request_info(method, decode_path(path), decode_query(query))
    assert info.is_resource
    read = [info.verb, info.api_prefix, info.group, info.version]
    read += [info.namespace, info.resource, info.subresource, info.name]
    assert [word or "-" for word in read] == expected


@pytest.mark.parametrize("line", PATHS.strip().splitlines())
def test_non_resource_requests(line: str) -> None:
    method, path = line.split(" ")
    info = read_request_info(method, decode_path(path))
    assert (info.is_resource, info.verb, info.path) == (False, method.lower(), path)


@pytest.mark.parametrize(
    "path",
    [
        "api",
        "/api//v1/pods",
        "//api/v1/pods",
        "/api/v1/namespaces/x/pods/../../y/secrets",
        "/api/v1/./pods",
        "/api/v1/%2e%2e/secrets",
        "/api/v1/.%2E/secrets",
        "/api/v1/namespaces/x%2Fsecrets",
        "/api/v1/namespaces/x%5csecrets",
        "/api/v1/pods/%252e%252e",
        "/api/v1/pods/a%00b",
        "/api/v1/pods/a%0d%0ab",
        "/api/v1/pods/%ff",
        "/api/v1/pods/%zz",
        "/api/v1/pods/a%3Fwatch",
        "/api/v1/pods/a#b",
        "/api" + "/a" * 80,
    ],
)
def test_paths_that_can_be_read_in_two_ways_are_refused(path: str) -> None:
    with pytest.raises(BadPath):
        decode_path(path)


@pytest.mark.parametrize("query", ["watch=1;limit=2", "watch=%zz", "a=%ff"])
def test_queries_that_go_would_drop_are_refused(query: str) -> None:
    with pytest.raises(BadPath):
        decode_query(query)
