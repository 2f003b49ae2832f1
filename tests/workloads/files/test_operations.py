"""Transfers as operations: sums of downloads, uploads that get their names from a worker."""

import hashlib
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from django.contrib.auth import get_user_model

from access.models import ApiToken, AuditEntry
from access.tokens import create_api_token
from core.errors import Forbidden
from operations import lifecycle
from operations.models import Operation
from tests.turning import finish, take_turn
from tests.workloads.files.conftest import Files, MakePod
from tests.workloads.files.test_transfers import eventually

BIG = bytes(range(256)) * 12_000
DIGEST = hashlib.sha256(BIG).hexdigest()
ASYNC = {"async": "true"}


def start_upload(files: Files, body: Any = BIG, **query: Any) -> int:
    """The id of the operation that ends an upload to /tmp/big."""
    answer = files.upload("/tmp", body=body, name="big", **ASYNC, **query)
    assert answer["code"] == 0, answer
    return int(answer["data"]["operation_id"])


@pytest.mark.parametrize("image", ["nginx:1", "distroless/base:1"])
def test_a_sum_is_told_and_a_download_in_parts_agrees(make_pod: MakePod, image: str) -> None:
    files = make_pod(image)
    assert files.upload("/tmp", body=BIG, name="big ☃")["code"] == 0
    answer = files.download("/tmp/big ☃", **ASYNC).json()
    row = finish(answer["data"]["operation_id"])
    assert (row.kind, row.state, row.done, row.total) == (
        "file_digest",
        "succeeded",
        len(BIG),
        len(BIG),
    )
    result = row.result
    assert (result["path"], result["size"], result["sha256"]) == ("/tmp/big ☃", len(BIG), DIGEST)
    middle = len(BIG) // 2
    halves = [
        files.client.get(result["download"], headers={"Range": span, "If-Range": result["etag"]})
        for span in (f"bytes=0-{middle - 1}", f"bytes={middle}-")
    ]
    assert [half.status_code for half in halves] == [206, 206]
    assert hashlib.sha256(halves[0].content + halves[1].content).hexdigest() == DIGEST
    entry = AuditEntry.objects.filter(details__operation_id=row.pk).get()
    assert (entry.details["path"], entry.details["bytes"]) == ("/tmp/big ☃", len(BIG))


def test_without_sha256sum_the_file_is_read(make_pod: MakePod) -> None:
    files = make_pod(traits="no-sha256sum")
    assert files.upload("/tmp", body=BIG, name="big")["code"] == 0
    row = finish(files.download("/tmp/big", **ASYNC).json()["data"]["operation_id"])
    assert (row.state, row.result["sha256"]) == ("succeeded", DIGEST)


def test_what_cannot_be_an_operation_is_refused(files: Files, settings: Any) -> None:
    files.write("/tmp/a", "0123456789")

    def refusal(response: httpx.Response) -> tuple[int, str]:
        answer = response.json()
        return answer["code"], answer["data"].get("field") or answer["data"].get("reason")

    assert refusal(files.download("/tmp/a", **{"async": "later"})) == (1001, "async")
    assert refusal(files.download("/tmp", **ASYNC)) == (1001, "async")
    assert refusal(files.download("/tmp/a", format="tar", **ASYNC)) == (1001, "async")
    assert files.download("/tmp/none", **ASYNC).json()["code"] == 1004
    assert files.download("/proc/1/environ", **ASYNC).json()["code"] == 1005
    settings.FILES_DOWNLOAD_BYTES = 5
    assert refusal(files.download("/tmp/a", **ASYNC)) == (1001, "TooLarge")
    for query in ({"async": "2", "name": "b"}, {"extract": "tar", **ASYNC}):
        assert files.upload("/tmp", body=b"x", **query)["data"]["field"] == "async"
    assert files.upload("/tmp", body=b"x", name="a", **ASYNC)["code"] == 1007
    assert files.upload("/proc", body=b"x", name="a", **ASYNC)["code"] == 1005
    assert not Operation.objects.exists()
    assert files.names("/tmp") == ["a"]


def test_an_upload_gets_its_names_from_its_operation(files: Files) -> None:
    parts = [("file", ("a b", BIG)), ("file", ("c", b""))]
    pk = files.upload("/tmp", files=parts, mode="0600", **ASYNC)["data"]["operation_id"]
    assert [name[:10] for name in files.names("/tmp")] == [".kubegale-"] * 2
    row = finish(pk)
    assert (row.kind, row.state) == ("file_upload", "succeeded")
    assert row.result["items"] == [
        {"path": "/tmp/a b", "size": len(BIG), "sha256": DIGEST},
        {"path": "/tmp/c", "size": 0, "sha256": hashlib.sha256(b"").hexdigest()},
    ]
    listed = files.data("GET", "", path="/tmp")["items"]
    assert [(item["name"], item["mode"][-3:]) for item in listed] == [("a b", "600"), ("c", "600")]
    details = AuditEntry.objects.filter(details__operation_id=pk).get().details
    assert details["items"][0] == {"path": "/tmp/a b", "sha256": DIGEST}
    assert details["bytes"] == len(BIG)


def test_an_upload_goes_on_after_its_worker_died(files: Files) -> None:
    pk = start_upload(files)
    step = lifecycle.steps(Operation.objects.get(pk=pk))[0]
    # As a worker leaves it that dies between the renaming and its note.
    lifecycle.move(step, "running", "verified", is_verified=True)
    files.data("POST", "/move", {"from": step.data["temporary"], "to": "/tmp/big"})
    row = finish(pk)
    assert (row.state, row.result["items"][0]["sha256"]) == ("succeeded", DIGEST)
    assert files.names("/tmp") == ["big"]


def cancel(files: Files, pk: int) -> None:
    files.caller.data("POST", f"operations/{pk}/cancel")


def spoil(files: Files, pk: int) -> None:
    temporary = lifecycle.steps(Operation.objects.get(pk=pk))[0].data["temporary"]
    files.write(temporary, "y" * len(BIG))


def occupy(files: Files, pk: int) -> None:
    files.write("/tmp/big", "quicker")


def revoke(files: Files, pk: int) -> None:
    ApiToken.objects.filter(name="short").update(scopes=["read"])

    def is_lost() -> bool:
        try:
            lifecycle.require_right(Operation.objects.get(pk=pk))
        except Forbidden:
            return True
        return False

    # What a token may do is remembered for a moment.
    eventually(is_lost)


@pytest.mark.parametrize(
    ("meddle", "state", "reason"),
    [
        (cancel, "cancelled", "cancelled"),
        (spoil, "failed", "Incomplete"),
        (occupy, "failed", "Conflict"),
        (revoke, "failed", "RightLost"),
    ],
)
def test_an_upload_that_does_not_succeed_leaves_nothing(
    files: Files, meddle: Callable[[Files, int], None], state: str, reason: str
) -> None:
    boss = get_user_model().objects.get(username="boss")
    token = create_api_token(boss, "short", scopes=["read", "write", "files"])[1]
    files.client.headers["Authorization"] = f"Bearer {token}"
    pk = start_upload(files)
    meddle(files, pk)
    row = take_turn(pk)
    assert (row.state, row.reason) == (state, reason)
    assert files.names("/tmp") == (["big"] if meddle is occupy else [])
