"""Files in pods: listing, reading, editing, and small changes.

Up- and downloads stand in `workloads.api.file_downloads` and `file_uploads`.
"""

from typing import Any, ClassVar, TypeVar

from rest_framework.request import Request

from core.api.audit import record as record_act
from core.api.auth import AccessAttributes, authorise, find_scope
from core.api.parsing import boolean
from core.api.schema import (
    BOOLEAN,
    CLUSTER,
    INTEGER,
    NAMESPACE,
    TEXT,
    OperationSchema,
    QueryParameter,
    array,
    nullable,
    record,
)
from core.errors import Invalid
from workloads.api.actions import optional_integer
from workloads.api.pods import PodView
from workloads.api.request_target import RequestTarget
from workloads.files import changes, contents, listing
from workloads.files.blocking import DebugNeeded, Work, call_container
from workloads.files.containers import Container
from workloads.files.paths import normalise
from workloads.files.uploads import check_mode
from workloads.objects.object_ref import ObjectRef
from workloads.streams.exec import is_node_terminal

T = TypeVar("T")
READ = "files.read"
WRITE = "files.write"
DELETE = "files.delete"
PATH = QueryParameter("path", TEXT, required=True, description="Absolute, in the container.")
CONTAINER = QueryParameter(
    "container", TEXT, description="Needed when the pod has several containers."
)
PLACE = (CLUSTER, NAMESPACE, CONTAINER, PATH)
VIA = {"type": "string", "enum": ["tar", "shell", "debug"]}
ENTRY = record(
    required=("name", "path", "type", "size", "mode", "uid", "gid", "mtime"),
    name=TEXT,
    path=TEXT,
    type={"type": "string", "enum": ["file", "dir", "link", "other"]},
    size=INTEGER,
    mode=TEXT,
    uid=INTEGER,
    gid=INTEGER,
    mtime=TEXT,
    target=TEXT,
)
ENCODING = {"type": "string", "enum": [contents.UTF_8, contents.BASE64]}


# Members that a body cannot do without.
_REQUIRED = frozenset({"path", "content", "from", "to"})


def place_members(**members: Any) -> dict[str, Any]:
    """The schema of a body that names a container besides these members."""
    return record(
        required=("cluster_id", "namespace", *(name for name in members if name in _REQUIRED)),
        cluster_id=INTEGER,
        namespace=TEXT,
        container=TEXT,
        **members,
    )


def answer_schema(**members: Any) -> dict[str, Any]:
    """The schema of an answer with its container and way besides these members."""
    return record(**members, container=TEXT, via=VIA)


class FileView(PodView):
    """What the routes of files share: the right, the pod, the container, the audit's details."""

    rights_text: ClassVar[str] = (
        "Needs the right to files in the namespace (an operator has it by default), and that to "
        "terminals where only a debug container reaches them. It is in the audit trail."
    )

    def act(self, verb: str, target: RequestTarget, name: str) -> AccessAttributes:
        """The act of this request, as the policy and the audit trail know it."""
        return AccessAttributes(
            verb, self.kind.plural, self.kind.group, target.cluster_text, target.namespace, name
        )

    def object_ref(self, request: Request, verb: str, name: str) -> tuple[RequestTarget, ObjectRef]:
        """As for any workload; in the debug pod of a node's terminal the files are the node's."""
        target, ref = super().object_ref(request, verb, name)
        if is_node_terminal(ref.namespace, ref.name):
            # The audit trail has one line, of what was done.
            find_scope(self, request, AccessAttributes("exec", "nodes", "", target.cluster_text))
        return target, ref

    def note(self, request: Request, act: AccessAttributes, **details: Any) -> None:
        """Add details to the audit entry of the act."""
        event = record_act(request, act)
        event.facts.setdefault("details", {}).update(details)

    def call(
        self,
        request: Request,
        act: AccessAttributes,
        target: RequestTarget,
        ref: ObjectRef,
        work: Work[T],
    ) -> tuple[Container, T]:
        """(container, what the work returns); a debug container needs the right `debug`."""
        pod = ref.read()
        name = target.option("container")
        try:
            container, result = call_container(ref.cluster, pod, name, work, may_debug=False)
        except DebugNeeded:
            authorise(self, request, self.act("debug", target, ref.name))
            container, result = call_container(ref.cluster, pod, name, work, may_debug=True)
        self.note(request, act, container=container.name, via=container.via)
        return container, result


def with_way(container: Container, **members: Any) -> dict[str, Any]:
    """The members of an answer, with its container and the way that was used."""
    return {**members, "container": container.name, "via": container.via}


def path_of(target: RequestTarget, name: str = "path") -> str:
    """A path parameter in its normal form; Invalid without it."""
    value = target.parameter(name)
    if value is not None and not isinstance(value, str):
        raise Invalid(f"{name} must be text", field=name)
    return normalise(value or "", name)


LIST_SCHEMA = OperationSchema(
    "The entries of a directory in a container",
    answer_schema(path=TEXT, items=array(ENTRY), truncated=BOOLEAN),
    query=PLACE,
)
DELETE_SCHEMA = OperationSchema(
    "Remove a file, a link or a directory in a container",
    answer_schema(path=TEXT, removed=INTEGER),
    query=(
        *PLACE,
        QueryParameter("recursive", BOOLEAN, description="Directories with all that is in them."),
    ),
)


def list_files(view: FileView, request: Request, name: str) -> Any:
    """{"path","container","via","items","truncated"}."""
    target, ref = view.object_ref(request, READ, name)
    act = view.act(READ, target, name)
    path = path_of(target)
    view.note(request, act, path=path)
    container, data = view.call(
        request, act, target, ref, lambda container: listing.list_directory(container, path)
    )
    return with_way(container, **data)


def delete_file(view: FileView, request: Request, name: str) -> Any:
    """{"path","removed","container","via"}."""
    target, ref = view.object_ref(request, DELETE, name)
    act = view.act(DELETE, target, name)
    path = path_of(target)
    recursive = target.flag("recursive")
    follow = str(target.parameter("path")).endswith("/")
    view.note(request, act, path=path, recursive=recursive)
    container, count = view.call(
        request,
        act,
        target,
        ref,
        lambda container: changes.remove(container, path, recursive=recursive, follow=follow),
    )
    view.note(request, act, removed=count)
    return with_way(container, path=path, removed=count)


class FileContent(FileView):
    """GET and PUT /pods/{name}/files/content."""

    operations = {
        "get": OperationSchema(
            "A file's content, or its beginning or end",
            answer_schema(
                path=TEXT,
                size=INTEGER,
                mode=TEXT,
                mtime=TEXT,
                sha256=nullable(TEXT),
                encoding=ENCODING,
                content=TEXT,
                truncated=BOOLEAN,
            ),
            query=(
                *PLACE,
                QueryParameter(
                    "max_bytes",
                    {
                        "type": "integer",
                        "minimum": 0,
                        "maximum": contents.MAX_BYTES,
                        "default": contents.DEFAULT_BYTES,
                    },
                ),
                QueryParameter("tail", BOOLEAN, description="The last bytes, not the first."),
            ),
            answer_name="FileContent",
        ),
        "put": OperationSchema(
            "Write a file's content",
            answer_schema(path=TEXT, size=INTEGER, sha256=TEXT),
            body=place_members(
                path=TEXT, content=TEXT, encoding=ENCODING, sha256=nullable(TEXT), mode=TEXT
            ),
            answer_name="WrittenFile",
            body_name="FileToWrite",
        ),
    }

    def get(self, request: Request, name: str) -> Any:
        """The content as text or base64, with the digest of the whole file."""
        target, ref = self.object_ref(request, READ, name)
        act = self.act(READ, target, name)
        path = path_of(target)
        size = optional_integer(target, "max_bytes", maximum=contents.MAX_BYTES)
        tail = target.flag("tail")
        self.note(request, act, path=path)
        limit = contents.DEFAULT_BYTES if size is None else size
        container, data = self.call(
            request,
            act,
            target,
            ref,
            lambda container: contents.read_content(container, path, max_bytes=limit, tail=tail),
        )
        self.note(request, act, bytes=data["size"], sha256=data["sha256"])
        return with_way(container, **data)

    def put(self, request: Request, name: str) -> Any:
        """{"path","size","sha256"}; Conflict when `sha256` is not that of what is there."""
        target, ref = self.object_ref(request, WRITE, name)
        act = self.act(WRITE, target, name)
        path = path_of(target)
        if "content" not in target.body:
            raise Invalid("content is required", field="content")
        encoding = target.body.get("encoding")
        data = contents.decode_content(
            target.body["content"], contents.UTF_8 if encoding is None else str(encoding)
        )
        mode = target.parameter("mode")
        if mode is not None and not isinstance(mode, str):
            # 420 is 0644 to Kubernetes and 0420 to a shell.
            raise Invalid("mode must be text such as 0644", field="mode")
        mode = check_mode(mode or "")
        sha256 = _digest(target.parameter("sha256"))
        self.note(request, act, path=path)

        async def write(container: Container) -> dict[str, Any]:
            return await contents.write_content(container, path, data, sha256=sha256, mode=mode)

        container, answer = self.call(request, act, target, ref, write)
        self.note(request, act, bytes=answer["size"], sha256=answer["sha256"])
        return with_way(container, **answer)


def _digest(value: object) -> str | None:
    """A precondition: a sha256 in hex, "" for a file that must not exist, None for none."""
    if value is None:
        return None
    is_hex = isinstance(value, str) and all(letter in "0123456789abcdefABCDEF" for letter in value)
    if not is_hex or len(str(value)) not in {0, 64}:
        raise Invalid("sha256 must be 64 hexadecimal digits, or empty", field="sha256")
    return str(value).lower()


class MakeDirectory(FileView):
    """POST /pods/{name}/files/mkdir."""

    refused_as = "POST"
    operations = {
        "post": OperationSchema(
            "Make a directory in a container",
            answer_schema(path=TEXT),
            body=place_members(path=TEXT, parents=BOOLEAN),
        )
    }

    def post(self, request: Request, name: str) -> Any:
        """{"path"}; Conflict when it exists."""
        target, ref = self.object_ref(request, WRITE, name)
        act = self.act(WRITE, target, name)
        path = path_of(target)
        parents = target.flag("parents")
        self.note(request, act, path=path, action="mkdir")
        container, _ = self.call(
            request,
            act,
            target,
            ref,
            lambda container: changes.make_directory(container, path, parents=parents),
        )
        return with_way(container, path=path)


class MoveFile(FileView):
    """POST /pods/{name}/files/move."""

    operations = {
        "post": OperationSchema(
            "Rename a file or directory in a container",
            answer_schema(**{"from": TEXT, "to": TEXT}),
            body=place_members(**{"from": TEXT, "to": TEXT, "overwrite": BOOLEAN}),
        )
    }

    def post(self, request: Request, name: str) -> Any:
        """{"from","to"}; Conflict when the target exists."""
        target, ref = self.object_ref(request, WRITE, name)
        act = self.act(WRITE, target, name)
        source = path_of(target, "from")
        destination = path_of(target, "to")
        overwrite = boolean(target.parameter("overwrite") or False, "overwrite")
        self.note(request, act, path=source, to=destination, action="move")
        container, _ = self.call(
            request,
            act,
            target,
            ref,
            lambda container: changes.move(container, source, destination, overwrite=overwrite),
        )
        return with_way(container, **{"from": source, "to": destination})
