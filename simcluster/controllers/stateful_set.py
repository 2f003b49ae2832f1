"""StatefulSet: numbered pods with claims of their own, one after the other."""

import copy

from simcluster.client import Client
from simcluster.cluster import Cluster
from simcluster.controllers import pods, revisions
from simcluster.errors import ApiError
from simcluster.objects import is_finished, is_terminating
from simcluster.resources import Object

_SETS = "statefulsets.apps"
_LABEL = "controller.kubernetes.io/hash"


def reconcile(cluster: Cluster, obj: Object) -> float | None:
    """One step: create, delete or update at most one pod unless the policy is Parallel."""
    client = Client(cluster, "statefulset-controller")
    if is_terminating(obj):
        return None
    revision = revisions.current(client, obj, label=_LABEL)
    try:
        _step(client, obj, revision["metadata"]["name"])
    except ApiError as error:
        client.event(
            obj,
            "FailedCreate",
            f"create Pod in StatefulSet {obj['metadata']['name']} failed error: {error}",
            warning=True,
        )
        _report(cluster, client, obj, revision["metadata"]["name"])
        return 5.0
    return _report(cluster, client, obj, revision["metadata"]["name"])


def ordinal(pod: Object) -> int:
    """The number of a pod."""
    return int(pod["metadata"]["name"].rpartition("-")[2])


def _members(client: Client, obj: Object) -> dict[int, Object]:
    return {ordinal(pod): pod for pod in client.owned("pods", obj)}


def _step(client: Client, obj: Object, revision: str) -> None:
    spec = obj["spec"]
    first = (spec.get("ordinals") or {}).get("start", 0)
    ordinals = range(first, first + spec.get("replicas", 1))
    parallel = spec["podManagementPolicy"] == "Parallel"
    members = _members(client, obj)
    for number in ordinals:
        pod = members.get(number)
        if pod is None:
            _create(client, obj, number, _revision_for(obj, number, revision))
        elif is_finished(pod) and not is_terminating(pod):
            client.delete("pods", pod)
        # OrderedReady: the next pod waits until this one is ready.
        if not parallel and (pod is None or not pods.is_ready(pod) or is_terminating(pod)):
            return
    # The highest numbers go first.
    extra = sorted((number for number in members if number not in ordinals), reverse=True)
    for number in extra:
        if not members[number]["metadata"].get("deletionTimestamp"):
            client.delete("pods", members[number])
            client.event(
                obj,
                "SuccessfulDelete",
                f"delete Pod {members[number]['metadata']['name']} "
                f"in StatefulSet {obj['metadata']['name']} successful",
            )
        if not parallel:
            return
    if not extra and spec["updateStrategy"]["type"] == "RollingUpdate":
        _update(client, obj, members, revision)


def _revision_for(obj: Object, number: int, revision: str) -> str:
    partition = (obj["spec"]["updateStrategy"].get("rollingUpdate") or {}).get("partition", 0)
    old = obj.get("status", {}).get("currentRevision")
    # Below the partition pods keep the revision from before the update.
    return old if number < partition and old else revision


def _update(client: Client, obj: Object, members: dict[int, Object], revision: str) -> None:
    partition = (obj["spec"]["updateStrategy"].get("rollingUpdate") or {}).get("partition", 0)
    # Updates go from the highest number down, one pod at a time.
    for number in sorted(members, reverse=True):
        pod = members[number]
        if is_terminating(pod):
            return
        if (
            number >= partition
            and pod["metadata"]["labels"].get("controller-revision-hash") != revision
        ):
            client.delete("pods", pod)
            client.event(
                obj,
                "SuccessfulDelete",
                f"delete Pod {pod['metadata']['name']} "
                f"in StatefulSet {obj['metadata']['name']} successful",
            )
            return
        if not pods.is_ready(pod):
            return


def _create(client: Client, obj: Object, number: int, revision: str) -> None:
    set_name = obj["metadata"]["name"]
    name = f"{set_name}-{number}"
    labels = {
        "apps.kubernetes.io/pod-index": str(number),
        "controller-revision-hash": revision,
        "statefulset.kubernetes.io/pod-name": name,
    }
    pod = pods.from_template(obj, obj["spec"]["template"], name=name, labels=labels)
    pod["spec"] |= {
        "hostname": name,
        "subdomain": obj["spec"].get("serviceName", ""),
    }
    for claim in obj["spec"].get("volumeClaimTemplates") or ():
        claim_name = f"{claim['metadata']['name']}-{name}"
        _claim(client, obj, claim, claim_name)
        volume = {
            "name": claim["metadata"]["name"],
            "persistentVolumeClaim": {"claimName": claim_name},
        }
        pod["spec"]["volumes"] = [
            other for other in pod["spec"].get("volumes") or () if other["name"] != volume["name"]
        ] + [volume]
    client.create("pods", pod)
    client.event(
        obj,
        "SuccessfulCreate",
        f"create Pod {name} in StatefulSet {set_name} successful",
    )


def _claim(client: Client, obj: Object, template: Object, name: str) -> None:
    namespace = obj["metadata"]["namespace"]
    # Claims outlive their pods: a pod of the same number finds its data again.
    if client.get("persistentvolumeclaims", namespace, name) is not None:
        return
    labels = {
        **(template["metadata"].get("labels") or {}),
        **(obj["spec"]["selector"].get("matchLabels") or {}),
    }
    meta = {"name": name, "namespace": namespace, "labels": labels}
    client.create(
        "persistentvolumeclaims",
        {"metadata": meta, "spec": copy.deepcopy(template["spec"])},
    )
    message = (
        f"create Claim {name} Pod {name.partition('-')[2]} "
        f"in StatefulSet {obj['metadata']['name']} success"
    )
    client.event(obj, "SuccessfulCreate", message)


def _report(cluster: Cluster, client: Client, obj: Object, revision: str) -> float | None:
    members = [pod for pod in client.owned("pods", obj) if not is_terminating(pod)]
    ready = [pod for pod in members if pods.is_ready(pod)]
    available = [
        pod
        for pod in ready
        if pods.is_available(pod, obj["spec"].get("minReadySeconds", 0), cluster.clock)
    ]
    updated = [
        pod
        for pod in members
        if pod["metadata"]["labels"].get("controller-revision-hash") == revision
    ]
    old = obj.get("status", {}).get("currentRevision") or revision
    done = len(updated) == len(members) == len(ready)
    counts = {
        "readyReplicas": len(ready),
        "currentReplicas": len(updated if done or old == revision else members)
        - (0 if done or old == revision else len(updated)),
        "updatedReplicas": len(updated),
    }
    status: Object = {
        "observedGeneration": obj["metadata"].get("generation", 1),
        "replicas": len(members),
    }
    status |= {key: value for key, value in counts.items() if value}
    status |= {
        "currentRevision": revision if done else old,
        "updateRevision": revision,
        "collisionCount": 0,
        "availableReplicas": len(available),
    }
    if status != obj.get("status"):
        client.update_status(_SETS, {**obj, "status": status})
    return 1.0 if len(available) < len(ready) else None
