"""Uploads and downloads: on the event loop, whole or not at all, within limits."""

import gzip
import hashlib
import io
import tarfile
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from django.contrib.auth import get_user_model

from access.models import ApiToken, AuditEntry
from access.tokens import create_api_token
from tests.caller import Caller
from tests.workloads.files.conftest import Files, MakePod

BIG = bytes(range(256)) * 12_000


def archive(*members: tuple[str, bytes | None], links: dict[str, str] | None = None) -> bytes:
    """A tar archive; None as the content is a directory."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content or b"")
            info.type = tarfile.DIRTYPE if content is None else tarfile.REGTYPE
            tar.addfile(info, io.BytesIO(content or b""))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type = tarfile.SYMTYPE
            info.linkname = target
            tar.addfile(info)
    return output.getvalue()


def members_of(response: httpx.Response) -> dict[str, bytes | None]:
    """The members of a downloaded archive: content by name, None for what is no file."""
    with tarfile.open(fileobj=io.BytesIO(response.content), mode="r:*") as tar:
        return {
            member.name: (tar.extractfile(member) or io.BytesIO()).read()
            if member.isfile()
            else None
            for member in tar
        }


def eventually(condition: Callable[[], Any]) -> Any:
    """What the condition gives once it is true."""
    deadline = time.monotonic() + 20
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return value


def test_a_file_goes_up_and_comes_down_again(files: Files) -> None:
    digest = hashlib.sha256(BIG).hexdigest()
    answer = files.upload("/tmp", body=BIG, name="big ☃.bin", mode="0640")
    assert answer["code"] == 0, answer
    assert answer["data"]["items"] == [
        {"path": "/tmp/big ☃.bin", "size": len(BIG), "sha256": digest}
    ]
    assert (answer["data"]["container"], answer["data"]["via"]) == ("main", "tar")
    response = files.download("/tmp/big ☃.bin")
    assert response.content == BIG
    headers = response.headers
    assert (response.status_code, headers["content-length"]) == (200, str(len(BIG)))
    assert headers["content-type"] == "application/octet-stream"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-content-sha256"] == digest
    assert "filename*=UTF-8''big%20%E2%98%83.bin" in headers["content-disposition"]
    assert files.read("/tmp/big ☃.bin", max_bytes=0)["mode"] == "0640"
    entries = AuditEntry.objects.filter(verb__startswith="files", details__bytes=len(BIG))
    verbs = eventually(lambda: len(entries.all()) == 3 and {entry.verb for entry in entries.all()})
    assert verbs == {"files.write", "files.read"}
    for entry in entries.all():
        assert entry.details["sha256"] == digest


def test_a_download_is_resumed(files: Files) -> None:
    files.upload("/tmp", body=BIG, name="big")
    part = files.download("/tmp/big", headers={"Range": "bytes=1000-"})
    assert (part.status_code, part.content) == (206, BIG[1000:])
    assert part.headers["content-range"] == f"bytes 1000-{len(BIG) - 1}/{len(BIG)}"
    some = files.download("/tmp/big", headers={"Range": "bytes=5-9"})
    assert (some.status_code, some.content) == (206, BIG[5:10])
    none = files.download("/tmp/big", headers={"Range": f"bytes={len(BIG)}-"})
    assert (none.status_code, none.json()["code"]) == (416, 1001)
    assert none.headers["content-range"] == f"bytes */{len(BIG)}"
    changed = files.download("/tmp/big", headers={"Range": "bytes=5-", "If-Range": '"other"'})
    assert (changed.status_code, len(changed.content)) == (200, len(BIG))


def test_many_files_of_a_form_and_what_is_there_already(files: Files) -> None:
    parts = [("file", ("a.txt", b"one")), ("file", ("b c.txt", BIG[:70_000])), ("file", ("e", b""))]
    answer = files.upload("/tmp", files=parts)
    assert [item["path"] for item in answer["data"]["items"]] == [
        "/tmp/a.txt",
        "/tmp/b c.txt",
        "/tmp/e",
    ]
    assert files.download("/tmp/b c.txt").content == BIG[:70_000]
    again = files.upload("/tmp", files=[("file", ("a.txt", b"two"))])
    assert (again["code"], again["data"]["reason"]) == (1007, "Conflict")
    files.upload("/tmp", files=[("file", ("a.txt", b"two"))], overwrite="true")
    assert files.read("/tmp/a.txt")["content"] == "two"
    for bad in (("other", ("x", b"")), ("file", ("../x", b"")), ("file", ("a/b", b""))):
        assert files.upload("/tmp", files=[bad])["code"] == 1001
    assert files.upload("/tmp", body=b"x")["data"]["field"] == "name"
    assert files.upload("/none", body=b"x", name="a")["code"] == 1004
    assert files.upload("/tmp", body=b"x", name="a", unknown="1")["data"]["field"] == "unknown"
    assert sorted(files.names("/tmp")) == ["a.txt", "b c.txt", "e"]


def test_a_directory_comes_as_an_archive_without_denied_paths(files: Files) -> None:
    files.data("POST", "/mkdir", {"path": "/tmp/d/e", "parents": True})
    files.write("/tmp/d/e/-f", "deep")
    response = files.download("/tmp/d")
    assert response.headers["content-type"] == "application/gzip"
    assert "d.tar.gz" in response.headers["content-disposition"]
    assert members_of(response) == {"d": None, "d/e": None, "d/e/-f": b"deep"}
    plain = files.download("/tmp/d", format="tar")
    assert gzip.decompress(response.content) == plain.content
    names = members_of(files.download("/", format="tar"))
    assert "root/tmp/d/e/-f" in names
    assert not [name for name in names if name.startswith(("root/proc/", "root/var/run/secrets/k"))]


def test_without_tar_a_directory_is_read_file_by_file(make_pod: MakePod) -> None:
    files = make_pod(traits="no-tar")
    files.data("POST", "/mkdir", {"path": "/tmp/d/e", "parents": True})
    files.write("/tmp/d/e/f", "deep")
    assert members_of(files.download("/tmp/d")) == {"d": None, "d/e": None, "d/e/f": b"deep"}


def test_an_archive_is_unpacked_inside_the_directory_only(files: Files) -> None:
    good = archive(("d", None), ("d/a", b"A"), ("x/y/z", b"Z"), links={"d/l": "../x"})
    answer = files.upload("/tmp", body=gzip.compress(good), extract="tar.gz")
    assert answer["code"] == 0, answer
    assert files.read("/tmp/x/y/z")["content"] == "Z"
    assert files.read("/tmp/d/l/y/z")["content"] == "Z"
    again = files.upload("/tmp", body=good, extract="tar")
    assert (again["code"], again["data"]["reason"]) == (1007, "Conflict")
    assert (
        files.upload("/tmp", body=archive(("d/a", b"B")), extract="tar", overwrite="true")["code"]
        == 0
    )
    assert files.read("/tmp/d/a")["content"] == "B"
    for bad in (
        archive(("../evil", b"x")),
        archive(("/etc/evil", b"x")),
        archive(("two\nlines", b"x")),
        archive(links={"l": "/etc"}),
        archive(links={"l": "../../etc"}),
        archive(links={"l": "x/../../etc"}),
        archive(links={"m": "x"})[:512] + archive(("m/evil", b"x")),
        good[:700],
        b"no archive at all" * 100,
    ):
        assert files.upload("/tmp", body=bad, extract="tar", overwrite="true")["code"] == 1001
    # Over a link that was there before nothing is written either.
    over = files.upload("/tmp/d", body=archive(("l/evil", b"x")), extract="tar")
    assert (over["code"], over["data"]["reason"]) == (1007, "Link")
    assert files.names("/etc") == files.names("/etc/")
    assert "evil" not in files.names("/tmp") + files.names("/etc") + files.names("/tmp/x")


def test_sizes_are_limited(files: Files, settings: Any) -> None:
    settings.FILES_UPLOAD_BYTES = 1000
    settings.FILES_DOWNLOAD_BYTES = 500
    assert files.upload("/tmp", body=b"x" * 1000, name="fits")["code"] == 0
    assert files.upload("/tmp", body=b"x" * 1001, name="large")["code"] == 1001

    def chunks() -> Any:
        yield from (b"x" * 400,) * 5

    assert files.upload("/tmp", body=chunks(), name="chunks")["code"] == 1001
    bomb = gzip.compress(archive(("bomb", bytes(2_000_000))))
    assert files.upload("/tmp", body=bomb[:999], extract="tar.gz")["code"] == 1001
    assert files.download("/tmp/fits").json()["data"]["reason"] == "TooLarge"
    assert files.names("/tmp") == ["fits"]


def test_an_upload_that_breaks_leaves_no_half_file(files: Files) -> None:
    def broken() -> Any:
        yield b"x" * 2_000_000
        raise ConnectionError

    try:
        files.upload("/tmp", body=broken(), name="half")
    except (ConnectionError, httpx.HTTPError):
        pass
    eventually(lambda: files.names("/tmp") == [])
    eventually(lambda: AuditEntry.objects.filter(details__cancelled=True).exists())


@pytest.mark.parametrize(
    ("image", "scopes"),
    [
        ("nginx:1", ["read"]),
        # Without a shell it needs the right to terminals, too.
        ("distroless/base:1", ["read", "write", "files"]),
    ],
)
def test_an_upload_whose_right_is_lost_at_its_end_writes_nothing(
    make_pod: MakePod,
    image: str,
    scopes: list[str],
    settings: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    files = make_pod(image)

    def upload(content: bytes, **query: Any) -> Any:
        boss = get_user_model().objects.get(username="boss")
        token = create_api_token(boss, "lost", scopes=["read", "write", "files", "terminal"])[1]
        files.client.headers["Authorization"] = f"Bearer {token}"
        place = urlencode({**files.place, "path": "/tmp"})

        def body() -> Any:
            yield content
            # Not before the upload was allowed, which the head alone does not say.
            eventually(lambda: ".kubegale-" in "".join(files.names("/tmp")))
            ApiToken.objects.filter(name="lost").update(scopes=scopes)
            # What a token may do is remembered for a moment.
            eventually(lambda: Caller(token).code("GET", f"{files.url()}?{place}") == 1005)

        return files.upload("/tmp", body=body(), **query)

    settings.STREAM_REAUTHORISE_SECONDS = 600.0
    answer = upload(b"x", name="late")
    assert answer["code"] == 1005
    assert answer["msg"].startswith("you may no longer ")
    assert "late" not in files.names("/tmp")
    # No fault of ours, so nothing that looks like one is logged.
    assert not [record for record in caplog.records if record.exc_info]


def test_transfers_of_a_person_and_of_a_process_are_limited(files: Files, settings: Any) -> None:
    settings.FILES_TRANSFERS_PER_USER = 0
    response = files.download("/etc/hosts")
    assert (response.status_code, response.json()["code"]) == (429, 1001)
    assert response.headers["retry-after"]
    settings.FILES_TRANSFERS_PER_USER = 2
    settings.FILES_TRANSFERS = 0
    assert files.download("/etc/hosts").status_code == 429
    assert files.names("/etc")


def test_rights_are_those_of_every_other_route(files: Files) -> None:
    user = get_user_model().objects.create_user("stranger", "stranger@example.com", None)
    files.client.headers["Authorization"] = f"Bearer {create_api_token(user, 'none')[1]}"
    assert files.download("/etc/hosts").json()["code"] == 1005
    assert files.upload("/tmp", body=b"x", name="a")["code"] == 1005
    files.client.headers["Authorization"] = "Bearer kg_wrong"
    assert files.download("/etc/hosts").status_code == 401
    del files.client.headers["Authorization"]
    refused = files.download("/etc/hosts")
    assert (refused.status_code, refused.json()["code"]) == (401, 2001)


def test_the_debug_way_needs_the_scope_terminal(make_pod: MakePod) -> None:
    files = make_pod("distroless/base:1")
    user = get_user_model().objects.get(username="boss")
    token = create_api_token(user, "files only", scopes=["read", "write", "files"])[1]
    files.client.headers["Authorization"] = f"Bearer {token}"
    assert files.download("/etc/hosts").json()["code"] == 1005
    pod = files.caller.data("GET", f"pods/{files.pod}", **files.place)
    assert not pod["spec"].get("ephemeralContainers")


def test_a_hostile_container_changes_nothing_here(make_pod: MakePod, settings: Any) -> None:
    lying = make_pod(traits="lying-tar")
    lying.data("POST", "/mkdir", {"path": "/tmp/data"})
    names = members_of(lying.download("/tmp/data", format="tar"))
    assert set(names) == {"data/link", "data/good", "data/.kubegale-errors.txt"}
    settings.FILES_DOWNLOAD_BYTES = 1_000_000
    endless = make_pod(traits="endless-tar,endless-output")
    endless.data("POST", "/mkdir", {"path": "/tmp/data"})
    assert endless.download("/tmp/data", format="tar").json()["data"]["reason"] == "TooLarge"
    endless.write("/tmp/a", "0123")
    assert len(endless.download("/tmp/a").content) == 4
    assert len(endless.read("/tmp/a", max_bytes=100)["content"]) > 0
    settings.FILES_IDLE_SECONDS = 1.0
    complaining = make_pod(traits="endless-complaint")
    complaining.write("/tmp/a", "0123")
    assert complaining.envelope("GET", "/content", path="/tmp/a")["code"] == 1006
    nonsense = make_pod(traits="nonsense")
    answer = nonsense.envelope("GET", "/content", path="/etc/hosts")
    assert (answer["code"], answer["data"]["reason"]) == (1001, "BadAnswer")
