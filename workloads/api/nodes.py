"""Nodes: cordon, uncordon and drain (contract 1.8)."""

import time
from typing import Any

from rest_framework.request import Request

from clusters.kinds import KINDS
from core.api.audit import annotate
from core.api.parsing import boolean, integer
from core.api.schema import (
    BOOLEAN,
    INTEGER,
    KUBERNETES_OBJECT,
    TEXT,
    OperationSchema,
    array,
    record,
    with_title,
)
from core.errors import Invalid
from operations import lifecycle, tasks
from operations.models import Operation
from workloads.actions import drain, nodes, protection
from workloads.actions.drain_filters import DrainFlags
from workloads.api.actions import (
    WorkloadView,
    caller,
    optional_integer,
    record_change,
)
from workloads.api.confirmations import confirm_object_action
from workloads.api.pods import parse_duration
from workloads.api.request_target import RequestTarget

# Seconds; shorter than what a web server gives a request.
MAX_WAIT = 25
DAY = 86_400
DRAINED_POD = with_title(
    "DrainedPod",
    {**record(name=TEXT), "description": "A pod that has to go."},
)


class NodeView(WorkloadView):
    """What the routes of one node share."""

    refused_as = "PUT"
    kind = KINDS["nodes"]


class NodeSchedule(NodeView):
    """POST /nodes/{name}/schedule: false is kubectl cordon."""

    operations = {
        "post": OperationSchema(
            "Let pods be scheduled on a node, or not",
            KUBERNETES_OBJECT,
            body=record(
                required=("cluster_id", "schedulable"),
                cluster_id=INTEGER,
                schedulable=BOOLEAN,
                dry_run=BOOLEAN,
            ),
            also_body=("namespace",),
        )
    }

    def post(self, request: Request, name: str) -> Any:
        """The node."""
        target, ref = self.object_ref(request, "schedule", name)
        schedulable = target.parameter("schedulable")
        if schedulable is None:
            raise Invalid("schedulable is required", field="schedulable")
        dry_run = target.flag("dry_run")
        node = nodes.set_schedulable(
            ref,
            schedulable=boolean(schedulable, "schedulable"),
            dry_run=dry_run,
        )
        record_change(request, ref, dry_run=dry_run)
        return node


class NodeDrain(NodeView):
    """POST /nodes/{name}/drain: kubectl drain, flag for flag, as an operation."""

    operations = {
        "post": OperationSchema(
            "Drain a node",
            record(
                required=("status",),
                drain_id=INTEGER,
                operation_id=INTEGER,
                status=TEXT,
                warnings=array(TEXT),
                pods=array(DRAINED_POD),
            ),
            guarded=True,
            body=record(
                required=("cluster_id",),
                cluster_id=INTEGER,
                ignore_daemonsets=BOOLEAN,
                delete_emptydir_data=BOOLEAN,
                force=BOOLEAN,
                grace_period=INTEGER,
                timeout=INTEGER,
                pod_selector=TEXT,
                skip_wait_for_delete_timeout=INTEGER,
                disable_eviction=BOOLEAN,
                wait=INTEGER,
                dry_run=BOOLEAN,
            ),
            also_body=("namespace",),
        )
    }

    def post(self, request: Request, name: str) -> Any:
        """{"drain_id","operation_id","status","joined","warnings"}.

        With dry_run {"status","would_fail","pods","warnings","protected"}, and nothing is changed.
        """
        target, ref = self.object_ref(request, "drain", name)
        flags = read_flags(target)
        wait_seconds = optional_integer(target, "wait", maximum=MAX_WAIT) or 0
        overridden = "and PodDisruptionBudgets are overridden" if flags.disable_eviction else ""
        if target.flag("dry_run"):
            item = ref.read()
            reason = overridden or protection.protection_reason(ref, item)
            return {**drain.preview(ref, flags), "protected": reason or None}
        confirm_object_action(request, ref, "drain", protected=overridden)
        row, is_new = drain.request(ref, flags, requested_by=caller(request))
        annotate(
            request,
            details={
                "operation_id": row.pk,
                "warnings": drain.warnings(flags),
            },
        )
        # A drain that was joined is in its queue already.
        if is_new:
            tasks.enqueue(row)
        row = _wait_until_final(row, wait_seconds)
        answer = {
            "drain_id": row.pk,
            "operation_id": row.pk,
            "status": row.state,
            "joined": not is_new,
            "warnings": drain.warnings(flags),
        }
        return {**answer, "error": row.error or None} if row.is_final else answer


def _wait_until_final(row: Operation, wait_seconds: int) -> Operation:
    """The operation once it is final, or as it is after so many seconds."""
    end = time.monotonic() + wait_seconds
    while time.monotonic() < end and not row.is_final:
        # The worker is another process: its progress is only visible in the row.
        time.sleep(0.2)
        row = lifecycle.find(row.pk)
    return row


def _duration(target: RequestTarget, name: str, default: int) -> int:
    """Seconds, as a number or as kubectl writes them (`90s`, `5m`); 0 is no limit."""
    value = target.parameter(name)
    if value in (None, ""):
        return default
    if isinstance(value, str) and not value.isdecimal():
        return parse_duration(value, name)
    return integer(value, name, minimum=0, maximum=DAY)


def read_flags(target: RequestTarget) -> DrainFlags:
    """kubectl drain's flags out of the request; Invalid for values out of bounds."""
    grace_period = target.parameter("grace_period")
    # -1 is kubectl's word for "what the pod says".
    if grace_period in (None, ""):
        grace_period = -1
    return DrainFlags(
        ignore_daemonsets=target.flag("ignore_daemonsets", default=True),
        delete_emptydir_data=target.flag("delete_emptydir_data"),
        force=target.flag("force"),
        grace_period=integer(grace_period, "grace_period", minimum=-1, maximum=DAY),
        timeout=_duration(target, "timeout", DrainFlags().timeout),
        pod_selector=target.option("pod_selector"),
        skip_wait_for_delete_timeout=_duration(target, "skip_wait_for_delete_timeout", 0),
        disable_eviction=target.flag("disable_eviction"),
    )
