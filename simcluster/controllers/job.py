"""Job: pods until enough of them have succeeded, or too many failed."""

from typing import Any

from simcluster import clock
from simcluster.client import Client
from simcluster.cluster import Cluster
from simcluster.controllers import pods
from simcluster.objects import (
    get_annotations,
    get_phase,
    has_condition,
    is_finished,
    is_terminating,
)
from simcluster.resources import Object

_JOBS = "jobs.batch"
TRACKING = "batch.kubernetes.io/job-tracking"


def reconcile(cluster: Cluster, obj: Object) -> float | None:
    """Start what is missing, count what has ended, end the job when it is decided."""
    client = Client(cluster, "job-controller")
    if is_terminating(obj):
        return None
    if finished(obj):
        _untrack(client, client.owned("pods", obj))
        return _expire(cluster, client, obj)
    _untrack(client, client.owned("pods", obj))
    owned = client.owned("pods", obj)
    status: Object = {
        key: value
        for key, value in obj.get("status", {}).items()
        if key in ("startTime", "conditions")
    }
    if obj["spec"].get("suspend"):
        _suspend(client, obj, status, owned)
        return None
    status.setdefault("startTime", clock.timestamp())
    running = pods.active(owned)
    succeeded = [pod for pod in owned if get_phase(pod) == "Succeeded"]
    failed = [pod for pod in owned if get_phase(pod) == "Failed"]
    # Restarts in place count as failures, as new pods do.
    failures = len(failed) + sum(_restarts(pod) for pod in running)
    again: float | None = None
    deadline = obj["spec"].get("activeDeadlineSeconds")
    late = deadline is not None and cluster.clock.since(status["startTime"]) >= deadline
    if failures > obj["spec"].get("backoffLimit", 6) or late:
        reason, message = (
            ("DeadlineExceeded", "Job was active longer than specified deadline")
            if late
            else (
                "BackoffLimitExceeded",
                "Job has reached the specified backoff limit",
            )
        )
        _stop(client, running)
        running = []
        _finish(client, obj, status, "Failed", reason, message)
    elif _complete(obj, succeeded, running):
        _finish(
            client,
            obj,
            status,
            "Complete",
            "CompletionsReached",
            "Reached expected number of succeeded pods",
        )
        status["completionTime"] = clock.timestamp()
    else:
        again = _start(cluster, client, obj, running, succeeded, failed)
        running = pods.active(client.owned("pods", obj))
        if deadline is not None:
            again = min(
                again or 1e9,
                deadline - cluster.clock.since(status["startTime"]) + 0.1,
            )
    _write(client, obj, status, running, succeeded, failed)
    return again


def _untrack(client: Client, owned: list[Object]) -> None:
    """Take the tracking finalizer off ended pods: they are counted and may be deleted."""
    for pod in owned:
        finalizers = pod["metadata"].get("finalizers") or []
        ended = is_finished(pod) or is_terminating(pod)
        if ended and TRACKING in finalizers:
            pod["metadata"]["finalizers"] = [
                finalizer for finalizer in finalizers if finalizer != TRACKING
            ]
            client.update("pods", pod)


def finished(job: Object) -> bool:
    """Whether the job is over."""
    return has_condition(job, "Complete") or has_condition(job, "Failed")


def _restarts(pod: Object) -> int:
    if pod["spec"].get("restartPolicy") != "OnFailure":
        return 0
    return sum(
        status.get("restartCount", 0)
        for status in pod.get("status", {}).get("containerStatuses") or ()
    )


def _complete(obj: Object, succeeded: list[Object], running: list[Object]) -> bool:
    completions = obj["spec"].get("completions")
    if completions is None:
        return bool(succeeded) and not running
    return len(_done(obj, succeeded)) >= int(completions)


def _done(obj: Object, succeeded: list[Object]) -> set[str]:
    if obj["spec"].get("completionMode") == "Indexed":
        return {_index(pod) for pod in succeeded}
    return {pod["metadata"]["name"] for pod in succeeded}


def _index(pod: Object) -> str:
    return str(get_annotations(pod).get("batch.kubernetes.io/job-completion-index", ""))


def _start(
    cluster: Cluster,
    client: Client,
    obj: Object,
    running: list[Object],
    succeeded: list[Object],
    failed: list[Object],
) -> float | None:
    spec = obj["spec"]
    done = _done(obj, succeeded)
    if spec.get("completions") is not None:
        left = spec["completions"] - len(done)
    elif succeeded:
        # A job without a count is done with its first success; no new pods from then on.
        left = 0
    else:
        left = spec["parallelism"]
    missing = min(spec.get("parallelism", 1), left) - len(running)
    # Parallelism was lowered: the surplus is stopped.
    if missing < 0:
        _stop(client, sorted(running, key=pods.deletion_order)[:-missing])
    if missing <= 0:
        return None
    if failed:
        last = max(_ended_at(pod) for pod in failed)
        # Ten seconds, doubled with each failure up to six minutes.
        wait = min(10.0 * 2 ** (len(failed) - 1), 360.0) - cluster.clock.since(last)
        if wait > 0:
            return float(wait) + 0.05
    used_indexes = {_index(pod) for pod in running} | done
    free = (
        str(number)
        for number in range(spec.get("completions") or 0)
        if str(number) not in used_indexes
    )
    for _ in range(missing):
        _create(
            client,
            obj,
            next(free, "") if spec.get("completionMode") == "Indexed" else "",
        )
    return None


def _ended_at(pod: Object) -> str:
    ends = [
        ((status.get("state") or {}).get("terminated") or {}).get("finishedAt")
        for status in pod["status"].get("containerStatuses") or ()
    ]
    return str(
        max(
            (end for end in ends if end),
            # A pod may fail before any container of it has run.
            default=pod["metadata"]["creationTimestamp"],
        )
    )


def _create(client: Client, obj: Object, index: str) -> None:
    pod = pods.from_template(obj, obj["spec"]["template"])
    pod["metadata"]["finalizers"] = [
        *(pod["metadata"].get("finalizers") or ()),
        # The finalizer keeps a finished pod until it is counted.
        TRACKING,
    ]
    if index:
        pod["metadata"].setdefault("annotations", {})[
            "batch.kubernetes.io/job-completion-index"
        ] = index
        pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"] = index
        pod["metadata"]["generateName"] = f"{obj['metadata']['name']}-{index}-"
    created = client.create("pods", pod)
    client.event(obj, "SuccessfulCreate", f"Created pod: {created['metadata']['name']}")


def _stop(client: Client, running: list[Object]) -> None:
    for pod in running:
        client.delete("pods", pod)


def _finish(
    client: Client,
    obj: Object,
    status: Object,
    kind: str,
    reason: str,
    message: str,
) -> None:
    pods.set_condition(
        status,
        # Since 1.31 an interim condition comes first, the final one when all pods have ended.
        "SuccessCriteriaMet" if kind == "Complete" else "FailureTarget",
        "True",
        reason=reason,
        message=message,
    )
    pods.set_condition(status, kind, "True", reason=reason, message=message)
    for condition in status["conditions"]:
        # The Job controller sets a condition's probe time to that of the transition.
        condition["lastProbeTime"] = condition["lastTransitionTime"]
    if kind == "Complete":
        client.event(obj, "Completed", "Job completed")
    else:
        client.event(obj, reason, message, warning=True)


def _suspend(client: Client, obj: Object, status: Object, owned: list[Object]) -> None:
    _stop(client, pods.active(owned))
    # The active deadline starts again when the job is resumed.
    status.pop("startTime", None)
    if not any(
        condition["type"] == "Suspended" and condition["status"] == "True"
        for condition in status.get("conditions") or ()
    ):
        pods.set_condition(
            status,
            "Suspended",
            "True",
            reason="JobSuspended",
            message="Job suspended",
        )
        client.event(obj, "Suspended", "Job suspended")
    _write(client, obj, status, [], [], [])


def _write(
    client: Client,
    obj: Object,
    status: Object,
    running: list[Object],
    succeeded: list[Object],
    failed: list[Object],
) -> None:
    counts: dict[str, Any] = {
        "active": len(running),
        "succeeded": len(succeeded),
        "failed": len(failed),
    }
    status |= {key: value for key, value in counts.items() if value}
    status |= {
        "terminating": 0,
        "uncountedTerminatedPods": {},
        "ready": sum(pods.is_ready(pod) for pod in running),
    }
    if status != obj.get("status"):
        client.update_status(_JOBS, {**obj, "status": status})


def _expire(cluster: Cluster, client: Client, obj: Object) -> float | None:
    limit = obj["spec"].get("ttlSecondsAfterFinished")
    # Without a limit a finished Job stays for its user, or its CronJob, to delete.
    if limit is None:
        return None
    ended = max(condition["lastTransitionTime"] for condition in obj["status"]["conditions"])
    left = float(limit) - cluster.clock.since(ended)
    if left > 0:
        return left + 0.05
    client.delete(_JOBS, obj, propagationPolicy="Background")
    return None
