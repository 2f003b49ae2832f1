"""CronJob: a Job whenever its schedule says, on the cluster's own (scaled) time."""

import copy
from datetime import datetime, timedelta

from simcluster import clock, cron
from simcluster.client import Client
from simcluster.cluster import Cluster
from simcluster.controllers import job as jobs
from simcluster.controllers import pods
from simcluster.objects import has_condition, is_terminating
from simcluster.resources import Object

_AGAIN = 10.0
_INSTANTIATED = "batch.kubernetes.io/cronjob-scheduled-timestamp"


def reconcile(cluster: Cluster, obj: Object) -> float | None:
    """Start the run that is due, tidy the history, report."""
    if is_terminating(obj):
        return None
    client = Client(cluster, "cronjob-controller")
    owned = client.owned("jobs.batch", obj)
    running = [job for job in owned if not jobs.finished(job)]
    now = cluster.clock.simulated()
    due = None if obj["spec"].get("suspend") else _due(cluster, obj, now)
    if due is not None:
        running = _run(cluster, client, obj, running, due)
    _tidy(client, obj, owned)
    _report(client, obj, running, owned, due)
    return _AGAIN


def _due(cluster: Cluster, obj: Object, now: datetime) -> datetime | None:
    last = cluster.cron_runs.setdefault(obj["metadata"]["uid"], now - timedelta(seconds=1))
    due_time = cron.parse(obj["spec"]["schedule"]).due(last, now)
    if due_time is not None:
        cluster.cron_runs[obj["metadata"]["uid"]] = now
    return due_time


def _run(
    cluster: Cluster,
    client: Client,
    obj: Object,
    running: list[Object],
    due: datetime,
) -> list[Object]:
    policy = obj["spec"].get("concurrencyPolicy", "Allow")
    if running and policy == "Forbid":
        client.event(
            obj,
            "JobAlreadyActive",
            "Not starting job because prior execution is running and concurrency policy is Forbid",
        )
        return running
    # Replace ends the run that is still going.
    if running and policy == "Replace":
        for job in running:
            client.delete("jobs.batch", job, propagationPolicy="Background")
        running = []
    # The name holds the scheduled minute: the same run is never started twice.
    name = f"{obj['metadata']['name']}-{int(due.timestamp() // 60)}"
    if client.get("jobs.batch", obj["metadata"]["namespace"], name) is not None:
        return running
    template = copy.deepcopy(obj["spec"]["jobTemplate"])
    meta = template.get("metadata") or {}
    job_meta: Object = {
        "name": name,
        "namespace": obj["metadata"]["namespace"],
        "ownerReferences": [pods.owner_reference(obj)],
    }
    job_meta["annotations"] = {
        **(meta.get("annotations") or {}),
        _INSTANTIATED: clock.timestamp(due),
    }
    job_meta |= {"labels": meta["labels"]} if meta.get("labels") else {}
    created = client.create("jobs.batch", {"metadata": job_meta, "spec": template["spec"]})
    client.event(obj, "SuccessfulCreate", f"Created job {name}")
    return [*running, created]


def _tidy(client: Client, obj: Object, owned: list[Object]) -> None:
    for kind, limit in (
        ("Complete", "successfulJobsHistoryLimit"),
        ("Failed", "failedJobsHistoryLimit"),
    ):
        ended = [job for job in owned if has_condition(job, kind)]
        for job in ended[: max(len(ended) - obj["spec"].get(limit, 1), 0)]:
            client.delete("jobs.batch", job, propagationPolicy="Background")
            client.event(obj, "SuccessfulDelete", f"Deleted job {job['metadata']['name']}")


def _report(
    client: Client,
    obj: Object,
    running: list[Object],
    owned: list[Object],
    due: datetime | None,
) -> None:
    status: Object = {key: value for key, value in obj.get("status", {}).items() if key != "active"}
    if running:
        status["active"] = [
            {
                "kind": "Job",
                "namespace": job["metadata"]["namespace"],
                "name": job["metadata"]["name"],
                "uid": job["metadata"]["uid"],
                "apiVersion": "batch/v1",
            }
            for job in running
        ]
    if due is not None:
        status["lastScheduleTime"] = clock.timestamp()
    done = [
        job["status"]["completionTime"]
        for job in owned
        if job.get("status", {}).get("completionTime")
    ]
    if done:
        status["lastSuccessfulTime"] = max(done)
    if status != obj.get("status"):
        client.update_status("cronjobs.batch", {**obj, "status": status})
