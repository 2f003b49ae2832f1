"""POST /pods/{name}/debug: a debug container in a pod (`kubectl debug -it`)."""

from typing import Any, ClassVar

from rest_framework.request import Request

from clusters.kinds import KINDS, Kind
from core.api.auth import AccessAttributes, authorise, find_scope
from core.api.schema import BOOLEAN, INTEGER, TEXT, OperationSchema, array, record
from core.errors import Invalid
from core.stream_limits import StreamSlot
from workloads.api.actions import WorkloadView, record_change
from workloads.api.request_target import RequestTarget
from workloads.streams import debug_containers
from workloads.streams.debug_containers import DebugOptions
from workloads.streams.exec import is_node_terminal

PROFILE = {"type": "string", "enum": list(debug_containers.PROFILES)}


class DebugSlot(StreamSlot):
    """The place of a debug container while it starts, among the streams of this process."""

    process_full: ClassVar[str] = (
        "this process already waits for {limit} debug containers and streams: "
        "try again when one has started"
    )
    caller_full: ClassVar[str] = (
        "{limit} of your debug containers and streams are open or starting here: "
        "try again when one has started or ended"
    )


class PodDebug(WorkloadView):
    """POST /pods/{name}/debug."""

    kind: ClassVar[Kind] = KINDS["pods"]
    refused_as = "PUT"
    operations = {
        "post": OperationSchema(
            "Start a debug container in a pod; a terminal leads into it by its name",
            record(
                required=("name", "namespace", "container", "image", "target", "state", "dry_run"),
                name=TEXT,
                namespace=TEXT,
                container=TEXT,
                image=TEXT,
                target=TEXT,
                state=TEXT,
                dry_run=BOOLEAN,
            ),
            body=record(
                required=("cluster_id", "namespace", "image"),
                cluster_id=INTEGER,
                namespace=TEXT,
                image=TEXT,
                target=TEXT,
                command=array(TEXT),
                profile=PROFILE,
                dry_run=BOOLEAN,
            ),
            answer_name="DebugContainer",
            body_name="DebugContainerOptions",
        )
    }

    def post(self, request: Request, name: str) -> Any:
        """{"name","namespace","container","image","target","state","dry_run"}."""
        # As through the gateway: the container reaches as far as a shell does.
        target, ref = self.object_ref(request, "debug", name)
        self._require_shell(request, target, name)
        options = _read_options(target)
        debug_containers.check_options(options)
        if is_node_terminal(ref.namespace, name):
            # Beside the shell of a node's terminal it sees the node.
            node = str(ref.read()["spec"]["nodeName"])
            act = AccessAttributes("exec", "nodes", "", target.cluster_text, "", node)
            authorise(self, request, act)
        details = {
            "image": options.image,
            "target": options.target,
            "profile": options.profile,
            "command": " ".join(options.command)[:200],
        }
        # An image may take long to come: those who wait for one leave threads to the others.
        place = DebugSlot(f"user {request.user.pk}")
        try:
            answer = debug_containers.start(ref, options)
            details["container"] = answer["container"]
        finally:
            place.give_back()
            # One that was added and does not start stays in the pod, and in the audit trail.
            record_change(request, ref, dry_run=options.dry_run, **details)
        return answer

    def _require_shell(self, request: Request, target: RequestTarget, name: str) -> None:
        """Forbidden without the rights to change the pod and to open a shell in it."""
        for verb in ("update", "exec"):
            act = AccessAttributes(
                verb, "pods", cluster=target.cluster_text, namespace=target.namespace, name=name
            )
            # The audit trail has one line, of what was done.
            find_scope(self, request, act)


def _read_options(target: RequestTarget) -> DebugOptions:
    """The options out of the request; Invalid for what is no text or no list of texts."""
    command = target.parameter("command") or []
    if not isinstance(command, list) or not all(isinstance(part, str) for part in command):
        raise Invalid("command must be a list of texts", field="command")
    texts: dict[str, str] = {}
    for name in ("image", "target", "profile"):
        value = target.parameter(name)
        if value is not None and not isinstance(value, str):
            raise Invalid(f"{name} must be text", field=name)
        texts[name] = (value or "").strip()
    return DebugOptions(
        image=texts["image"],
        target=texts["target"],
        profile=texts["profile"] or "general",
        command=tuple(command),
        dry_run=target.flag("dry_run"),
    )
