"""Each preset sees the failure that it is for, and nothing while all is well.

The objects are as Kubernetes' own controllers and kubelets leave them.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.utils import timezone

from alerts.models import Rule
from alerts.presets import PRESETS
from clusters.models import Cluster
from storage_api.services import events
from tenants.models import Tenant
from tests.alerts.conftest import beat, pod, turn, write
from tests.alerts.test_exchange import Answers, ask, asked, series
from tests.automation.test_inspection import certificate
from tests.caller import Caller

__all__ = ["asked"]

Document = dict[str, Any]


class Failure(NamedTuple):
    """An object while all is well, and when what the preset is for has happened to it."""

    healthy: Document
    failing: Document


def document(kind: str, status: Document, **more: Any) -> Document:
    """An object called `it` of the kind, in the namespace shop unless it is a Node."""
    place = {} if kind == "Node" else {"namespace": "shop"}
    return {"kind": kind, "metadata": {"name": "it", "uid": "u-it", **place}, **more} | {
        "status": status
    }


def conditions(**states: str) -> Document:
    """A status with conditions; `Type="status reason"`."""
    rows = []
    for name, text in states.items():
        status, _, reason = text.partition(" ")
        rows.append({"type": name, "status": status, "reason": reason})
    return {"conditions": rows}


def waiting(reason: str, member: str = "containerStatuses") -> Document:
    """A pod one of whose containers waits for a reason."""
    body = pod("it")
    status = {"name": "c", "ready": False, "restartCount": 4, "state": {}}
    status["state"] = {"waiting": {"reason": reason}}
    body["status"] = {**body["status"], "phase": "Pending", member: [status]}
    return body


def restarted(count: int, reason: str = "Error") -> Document:
    """A pod whose container was ended so many times."""
    body = pod("it", restarts=count)
    ended = {"terminated": {"reason": reason, "exitCode": 137}}
    body["status"]["containerStatuses"][0]["lastState"] = ended if count else {}
    return body


HEALTHY_NODE = document(
    "Node",
    conditions(Ready="True", MemoryPressure="False", DiskPressure="False", PIDPressure="False"),
)
PROGRESSING = "True NewReplicaSetAvailable"
FAILURES = {
    "crash-looping": Failure(pod("it"), waiting("CrashLoopBackOff")),
    "image-pull-failing": Failure(pod("it"), waiting("ImagePullBackOff")),
    "init-container-failing": Failure(
        waiting("PodInitializing"), waiting("CrashLoopBackOff", "initContainerStatuses")
    ),
    "pending-too-long": Failure(pod("it"), pod("it", phase="Pending")),
    "oom-killed": Failure(restarted(0), restarted(1, "OOMKilled")),
    "restarts-rate": Failure(restarted(1), restarted(7)),
    "node-not-ready": Failure(HEALTHY_NODE, document("Node", conditions(Ready="Unknown"))),
    "node-pressure": Failure(
        HEALTHY_NODE, document("Node", conditions(Ready="True", DiskPressure="True"))
    ),
    "deployment-short-of-replicas": Failure(
        document("Deployment", {"replicas": 2, "readyReplicas": 2}),
        document("Deployment", {"replicas": 2, "readyReplicas": 1, "unavailableReplicas": 1}),
    ),
    "rollout-stuck": Failure(
        document("Deployment", conditions(Available="True", Progressing=PROGRESSING)),
        document("Deployment", conditions(Progressing="False ProgressDeadlineExceeded")),
    ),
    "job-failed": Failure(
        document("Job", conditions(Complete="True")),
        document("Job", conditions(Failed="True BackoffLimitExceeded")),
    ),
    "pvc-pending": Failure(
        document("PersistentVolumeClaim", {"phase": "Bound"}),
        document("PersistentVolumeClaim", {"phase": "Pending"}),
    ),
    "hpa-at-maximum": Failure(
        document("HorizontalPodAutoscaler", conditions(ScalingLimited="False DesiredWithinRange")),
        document("HorizontalPodAutoscaler", conditions(ScalingLimited="True TooManyReplicas")),
    ),
    "pdb-blocking": Failure(
        document("PodDisruptionBudget", {"disruptionsAllowed": 1, "expectedPods": 2}),
        document("PodDisruptionBudget", {"disruptionsAllowed": 0, "expectedPods": 2}),
    ),
    "quota-over-90": Failure(
        document("ResourceQuota", {"hard": {"pods": "10"}, "used": {"pods": "9"}}),
        document("ResourceQuota", {"hard": {"pods": "10"}, "used": {"pods": "10"}}),
    ),
}


def take(admin: Caller, preset: str) -> None:
    """A rule of the preset that waits for nothing."""
    admin.data("POST", "alerts/rules", {"preset": preset, "for": "0s"})


def look(admin: Caller) -> list[str]:
    """The names of what rules fire about, looked at anew."""
    Rule.objects.update(evaluate_at=None)
    turn()
    rows = admin.data("GET", "alerts", state="firing")["items"]
    return [str(row["target"]["name"]) for row in rows]


@pytest.mark.parametrize("preset", sorted(FAILURES))
def test_a_preset_sees_its_failure_only(admin: Caller, fleet: Cluster, preset: str) -> None:
    failure = FAILURES[preset]
    write(failure.healthy)
    take(admin, preset)
    assert look(admin) == []
    write(failure.failing)
    assert look(admin) == ["it"]


def test_every_preset_over_objects_is_tried() -> None:
    assert {each["id"] for each in PRESETS if each["source"] == "state"} <= FAILURES.keys()


def warn(number: int) -> None:
    """A warning about a pod."""
    events.add_event(
        events.EventReport(
            event_id=f"w{number}/1",
            env="k8s",
            kind="Pod",
            level="Warning",
            component="",
            type="BackOff",
            describe="",
            cluster_id="east",
            event_time=timezone.now(),
            extra_info="{}",
            data=(
                f'{{"kind":"Event","type":"Warning","reason":"BackOff","metadata":{{"name":'
                f'"w{number}"}},"involvedObject":{{"kind":"Pod","namespace":"shop","name":"web"}}}}'
            ),
        )
    )


def test_a_burst_of_warnings(admin: Caller, fleet: Cluster) -> None:
    take(admin, "warning-events-burst")
    turn()
    for number in range(50):
        warn(number)
    assert look(admin) == []
    warn(50)
    assert len(look(admin)) == 1


def test_clusters_that_are_away_or_behind(admin: Caller, fleet: Cluster) -> None:
    for preset in ("cluster-unreachable", "collector-behind", "kubeconfig-expiring"):
        take(admin, preset)
    now = timezone.now()
    Cluster.objects.update(status="active", credentials_expire_at=now + timedelta(days=90))
    assert look(admin) == []
    Cluster.objects.update(status="unreachable", credentials_expire_at=now + timedelta(days=20))
    beat(fleet, seconds=120)
    assert len(look(admin)) == 3


def tls_secret(days: float) -> Document:
    """A Secret whose certificate ends so many days from now."""
    return {
        "kind": "Secret",
        "metadata": {"name": "it", "namespace": "shop", "uid": "u-it"},
        "type": "kubernetes.io/tls",
        "data": {"tls.crt": certificate(days), "tls.key": "aGlkZGVu"},
    }


def test_a_certificate_that_ends_soon(admin: Caller, fleet: Cluster) -> None:
    take(admin, "certificate-expiring")
    write(tls_secret(22))
    assert look(admin) == []
    write(tls_secret(20))
    assert look(admin) == ["it"]


def test_a_tenant_that_uses_all_of_its_quota(admin: Caller, fleet: Cluster) -> None:
    take(admin, "tenant-over-quota")
    tenant = Tenant.objects.create(cluster=fleet, namespace="shop", uid="u-shop")
    moment = timezone.now() - timedelta(minutes=2)
    for used, names in ((9, []), (10, ["shop"])):
        moment += timedelta(minutes=1)
        tenant.samples.create(at=moment, used={"pods": used, "cpu": 1}, hard={"pods": 10, "cpu": 4})
        assert look(admin) == names


def test_a_volume_that_is_almost_full(admin: Caller, asked: Cluster) -> None:
    rule = admin.data("POST", "alerts/rules", {"preset": "pvc-full", "for": "0s"})
    assert "kubelet_volume_stats_used_bytes" in rule["condition"]["query"]
    ask(asked)
    assert look(admin) == []
    Rule.objects.update(evaluate_at=None)
    Answers.vector = [series("0.93", persistentvolumeclaim="it", namespace="shop")]
    ask(asked)
    (alert,) = admin.data("GET", "alerts", state="firing")["items"]
    assert (alert["target"]["kind"], alert["target"]["name"]) == ("PersistentVolumeClaim", "it")
    assert alert["annotations"]["summary"] == "Volume shop/it is over 90 % full"


def test_every_preset_is_tried() -> None:
    text = Path(__file__).with_name("test_evaluation.py").read_text() + Path(__file__).read_text()
    assert [each["id"] for each in PRESETS if f'"{each["id"]}"' not in text] == []
