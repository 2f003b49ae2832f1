"""Actions on workloads over the KubeGale routes: what they do to the cluster, and what they answer (contract 1.3)."""

from typing import Any

import pytest

from clusters.models import Cluster
from operations.models import Operation
from simcluster.testing import RunningCluster
from tests.caller import Caller
from tests.turning import finish
from tests.workloads.conftest import Put, pods_of, template, workload

pytestmark = pytest.mark.django_db


class Acting:
    """Calls actions in one namespace."""

    def __init__(
        self, admin: Caller, cluster: Cluster, space: str, apiserver: RunningCluster
    ) -> None:
        self.admin, self.cluster, self.space, self.apiserver = admin, cluster, space, apiserver

    def __call__(self, path: str, **body: Any) -> dict[str, Any]:
        """The envelope of a POST."""
        return self.admin(
            "POST", path, {"cluster_id": self.cluster.pk, "namespace": self.space, **body}
        )

    def data(self, path: str, **body: Any) -> dict[str, Any]:
        """The data of a POST that must be a success."""
        answer = self(path, **body)
        assert answer["code"] == 0, answer
        data: dict[str, Any] = answer["data"]
        return data

    def get(self, path: str, **query: Any) -> Any:
        """The data of a GET."""
        return self.admin.data(
            "GET", path, cluster_id=self.cluster.pk, namespace=self.space, **query
        )

    def stored(self, storage: str, name: str) -> dict[str, Any]:
        """The object as the API server has it."""
        item = self.apiserver.get(storage, name, self.space)
        assert item is not None
        return item

    def followed(self, answer: dict[str, Any]) -> Operation:
        """The operation of an answer, at its end."""
        return finish(answer["operation_id"])


@pytest.fixture
def act(admin: Caller, cluster: Cluster, space: str, apiserver: RunningCluster) -> Acting:
    """Calls actions in the fresh namespace."""
    return Acting(admin, cluster, space, apiserver)


# --- scale ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("plural", ["deployments", "statefulsets"])
def test_scaling_is_followed_until_the_pods_are_ready(act: Acting, put: Put, plural: str) -> None:
    put(plural, workload(replicas=1))
    answer = act.data(f"{plural}/web/scale", replicas=3)
    assert (answer["replicas"], answer["previous_replicas"], answer["changed"]) == (3, 1, True)
    row = act.followed(answer)
    assert (row.state, row.done, row.total) == ("succeeded", 3, 3)
    assert len(pods_of(act.apiserver, act.space)) == 3


def test_scaling_goes_through_the_subresource_and_only_once(act: Acting, put: Put) -> None:
    put("deployments", workload(replicas=1))
    act.apiserver.requests.clear()
    act.data("deployments/web/scale", replicas=2)
    writes = [request.path for request in act.apiserver.requests if request.method not in {"GET"}]
    assert writes == [f"/apis/apps/v1/namespaces/{act.space}/deployments/web/scale"]


def test_a_dry_run_changes_nothing(act: Acting, put: Put) -> None:
    before = put("deployments", workload(replicas=1))
    for verb in ("scale", "restart", "pause"):
        assert act.data(f"deployments/web/{verb}", replicas=4, dry_run=True)["operation_id"] is None
    assert act.stored("deployments.apps", "web")["spec"] == before["spec"]


def test_a_replica_count_that_is_not_the_expected_one_is_a_conflict(act: Acting, put: Put) -> None:
    put("deployments", workload(replicas=1))
    assert act("deployments/web/scale", replicas=2, current_replicas=5)["code"] == 1008
    assert act.data("deployments/web/scale", replicas=2, current_replicas=1)["replicas"] == 2


def test_replicas_must_be_a_count(act: Acting) -> None:
    for replicas in (-1, "x", 1.5, True, None, 2**31):
        assert act("deployments/web/scale", replicas=replicas)["code"] == 1001, replicas


def test_an_autoscaler_that_will_undo_it_is_named(act: Acting, put: Put) -> None:
    put("deployments", workload(replicas=1))
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    put(
        "horizontalpodautoscalers",
        {
            "metadata": {"name": "auto"},
            "spec": {"scaleTargetRef": reference, "minReplicas": 1, "maxReplicas": 5},
        },
    )
    warnings = act.data("deployments/web/scale", replicas=2)["warnings"]
    assert len(warnings) == 1
    assert "auto" in warnings[0]


def test_a_job_is_scaled_by_its_parallelism(act: Acting, put: Put) -> None:
    put(
        "jobs",
        {
            "metadata": {"name": "sum"},
            "spec": {"completions": 9, "template": template("busybox", restartPolicy="Never")},
        },
    )
    assert act.data("jobs/sum/scale", replicas=0)["operation_id"] is None
    assert act.stored("jobs.batch", "sum")["spec"]["parallelism"] == 0


# --- what a kind cannot do ------------------------------------------------------------------------------------------
IMPOSSIBLE = [
    *(("daemonsets", verb) for verb in ("scale", "pause", "resume", "suspend", "trigger", "rerun")),
    *(("jobs", verb) for verb in ("rollback", "trigger")),
    *(("cronjobs", verb) for verb in ("scale", "rollback", "restart", "rerun")),
    *(
        (plural, verb)
        for plural in ("deployments", "statefulsets")
        for verb in ("suspend", "trigger", "rerun")
    ),
]


def test_what_a_kind_cannot_do_is_routed_and_refused_with_the_reason(act: Acting) -> None:
    for plural, verb in IMPOSSIBLE:
        answer = act(f"{plural}/any/{verb}", replicas=1)
        assert (answer["code"], answer["data"]["reason"]) == (1001, "ActionNotSupported"), (
            plural,
            verb,
            answer,
        )
        assert len(answer["msg"]) > 20


# --- revisions and rollback -----------------------------------------------------------------------------------------
def change_image(act: Acting, plural: str, image: str) -> None:
    """A new template, and its rollout."""
    body = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}}
    query = {"cluster_id": act.cluster.pk, "namespace": act.space}
    act.admin.data(
        "PATCH",
        f"{plural}/web",
        body,
        content_type="application/strategic-merge-patch+json",
        **query,
    )
    assert act.apiserver.wait(lambda: images(act) == {image}, seconds=30)


def images(act: Acting) -> set[str]:
    """The images of every pod that is ready."""
    return {pod["spec"]["containers"][0]["image"] for pod in pods_of(act.apiserver, act.space)}


@pytest.mark.parametrize("plural", ["deployments", "statefulsets", "daemonsets"])
def test_rolling_back_brings_the_earlier_template_back(act: Acting, put: Put, plural: str) -> None:
    put(plural, workload(replicas=None if plural == "daemonsets" else 2))
    act.apiserver.wait(lambda: images(act) == {"nginx:1"})
    change_image(act, plural, "nginx:2")
    shown = act.get(f"{plural}/web/revisions")
    assert [(item["revision"], item["images"], item["current"]) for item in shown["items"]] == [
        (2, ["nginx:2"], True),
        (1, ["nginx:1"], False),
    ]
    answer = act.data(f"{plural}/web/rollback", revision=1)
    assert (answer["changed"], answer["no_op"], answer["revision"]) == (True, False, 1)
    assert act.followed(answer).state == "succeeded"
    assert images(act) == {"nginx:1"}
    assert act.get(f"{plural}/web/revisions")["items"][0]["revision"] == 3


def test_rolling_back_without_a_revision_takes_the_previous_one(act: Acting, put: Put) -> None:
    put("deployments", workload())
    act.apiserver.wait(lambda: images(act) == {"nginx:1"})
    assert act("deployments/web/rollback")["code"] == 1004
    change_image(act, "deployments", "nginx:2")
    assert act.data("deployments/web/rollback", revision=0)["revision"] == 1


def test_rolling_back_to_the_current_template_changes_nothing(act: Acting, put: Put) -> None:
    put("deployments", workload())
    act.apiserver.wait(lambda: images(act) == {"nginx:1"})
    before = act.stored("deployments.apps", "web")["metadata"]["generation"]
    answer = act.data("deployments/web/rollback", revision=1)
    assert (answer["changed"], answer["no_op"], answer["operation_id"]) == (False, True, None)
    assert act.stored("deployments.apps", "web")["metadata"]["generation"] == before


def test_a_pruned_revision_is_not_found(act: Acting, put: Put) -> None:
    put("deployments", workload(revisionHistoryLimit=0))
    act.apiserver.wait(lambda: images(act) == {"nginx:1"})
    change_image(act, "deployments", "nginx:2")
    act.apiserver.wait(lambda: len(act.get("deployments/web/revisions")["items"]) == 1)
    answer = act("deployments/web/rollback", revision=1)
    assert answer["code"] == 1004
    assert "revision 1" in answer["msg"]


def test_two_revisions_are_compared(act: Acting, put: Put) -> None:
    put("deployments", workload())
    act.apiserver.wait(lambda: images(act) == {"nginx:1"})
    change_image(act, "deployments", "nginx:2")
    answer = act.get("deployments/web/revisions/1", diff_to=2)
    assert (answer["revision"], answer["diff_to"]) == (1, 2)
    assert "-  - image: nginx:1" in answer["diff"]
    assert "+  - image: nginx:2" in answer["diff"]
    assert (
        act.admin.code(
            "GET", "deployments/web/revisions/7", cluster_id=act.cluster.pk, namespace=act.space
        )
        == 1004
    )


def test_jobs_have_no_revisions_and_cronjobs_show_their_runs(act: Acting, put: Put) -> None:
    put(
        "jobs",
        {
            "metadata": {"name": "sum"},
            "spec": {"template": template("busybox", restartPolicy="Never")},
        },
    )
    assert act.get("jobs/sum/revisions")["items"] == []
    put("cronjobs", cron_job())
    created = act.data("cronjobs/nightly/trigger")
    runs = act.get("cronjobs/nightly/revisions")["items"]
    assert [(run["revision"], run["name"]) for run in runs] == [(1, created["job"])]


# --- restart, pause, resume -----------------------------------------------------------------------------------------
@pytest.mark.parametrize("plural", ["deployments", "statefulsets", "daemonsets"])
def test_restarting_replaces_every_pod(act: Acting, put: Put, plural: str) -> None:
    put(plural, workload(replicas=None if plural == "daemonsets" else 2))
    count = 3 if plural == "daemonsets" else 2
    before = {pod["metadata"]["uid"] for pod in act.apiserver.wait(lambda: _all_ready(act, count))}
    row = act.followed(act.data(f"{plural}/web/restart"))
    assert row.state == "succeeded", row.error
    assert not before & {pod["metadata"]["uid"] for pod in pods_of(act.apiserver, act.space)}


def _all_ready(act: Acting, count: int) -> list[dict[str, Any]]:
    pods = pods_of(act.apiserver, act.space)
    return pods if len(pods) == count else []


def test_a_paused_deployment_is_neither_restarted_nor_rolled_back(act: Acting, put: Put) -> None:
    put("deployments", workload())
    assert [act.data("deployments/web/pause")["changed"] for _ in range(2)] == [True, False]
    assert act.stored("deployments.apps", "web")["spec"]["paused"] is True
    assert act("deployments/web/restart")["code"] == 1008
    assert act("deployments/web/rollback")["code"] == 1008
    act.data("deployments/web/resume")
    assert not act.stored("deployments.apps", "web")["spec"].get("paused")


def test_pausing_a_statefulset_holds_its_partition_and_resuming_puts_it_back(
    act: Acting, put: Put
) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    put("statefulsets", workload(updateStrategy=strategy))
    act.data("statefulsets/web/pause")
    paused = act.stored("statefulsets.apps", "web")
    assert paused["spec"]["updateStrategy"]["rollingUpdate"]["partition"] > 10**6
    act.data("statefulsets/web/resume")
    resumed = act.stored("statefulsets.apps", "web")
    assert resumed["spec"]["updateStrategy"]["rollingUpdate"]["partition"] == 1
    assert "kubegale.io/paused-partition" not in (resumed["metadata"].get("annotations") or {})


def test_annotations_that_are_no_numbers_are_no_revision_and_no_partition(
    act: Acting, put: Put
) -> None:
    """`²` is a digit to Python, and more digits than an int has are one to everybody."""
    note = {"kubegale.io/paused-partition": "²"}
    put("statefulsets", {**workload(), "metadata": {"name": "web", "annotations": note}})
    act.data("statefulsets/web/resume")
    resumed = act.stored("statefulsets.apps", "web")
    assert resumed["spec"]["updateStrategy"]["rollingUpdate"]["partition"] == 0
    created = put("deployments", workload())
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "controller": True}
    for number, text in enumerate(("²", "9" * 5000)):
        metadata = {
            "name": f"odd-{number}",
            "labels": {"app": "web"},
            "annotations": {"deployment.kubernetes.io/revision": text},
            "ownerReferences": [{**owner, "uid": created["metadata"]["uid"]}],
        }
        put("replicasets", {**workload(replicas=0), "metadata": metadata})
    answer = act.get("deployments/web/revisions")["items"]
    assert all(revision["revision"] < 10 for revision in answer)


def test_a_rollout_that_cannot_become_ready_fails_at_its_deadline(act: Acting, put: Put) -> None:
    put("deployments", workload(replicas=1))
    act.apiserver.wait(lambda: images(act) == {"nginx:1"})
    # More than any node has, so that the new pod is never placed.
    body = {
        "spec": {
            "template": {
                "spec": {
                    "containers": [{"name": "main", "resources": {"requests": {"cpu": "9000"}}}]
                }
            }
        }
    }
    query = {"cluster_id": act.cluster.pk, "namespace": act.space}
    act.admin.data(
        "PATCH",
        "deployments/web",
        body,
        content_type="application/strategic-merge-patch+json",
        **query,
    )
    row = act.followed(act.data("deployments/web/restart", deadline_seconds=1))
    assert (row.state, row.reason) == ("failed", "ProgressDeadlineExceeded")


def test_a_rollout_of_something_deleted_meanwhile_fails(act: Acting, put: Put) -> None:
    put("deployments", workload(replicas=1))
    answer = act.data("deployments/web/scale", replicas=2)
    act.admin.data("DELETE", "deployments/web", cluster_id=act.cluster.pk, namespace=act.space)
    row = act.followed(answer)
    assert (row.state, row.reason) == ("failed", "Deleted")


# --- jobs -----------------------------------------------------------------------------------------------------------
def cron_job() -> dict[str, Any]:
    """A CronJob that never runs by itself."""
    job = {"spec": {"template": template("busybox", restartPolicy="Never")}}
    return {"metadata": {"name": "nightly"}, "spec": {"schedule": "0 0 31 2 *", "jobTemplate": job}}


def test_triggering_makes_a_job_as_kubectl_does(act: Acting, put: Put) -> None:
    owner = put("cronjobs", cron_job())
    job = act.stored("jobs.batch", act.data("cronjobs/nightly/trigger")["job"])
    assert job["metadata"]["annotations"]["cronjob.kubernetes.io/instantiate"] == "manual"
    assert job["metadata"]["ownerReferences"][0]["uid"] == owner["metadata"]["uid"]
    assert act.data("cronjobs/nightly/trigger", name="by-hand")["job"] == "by-hand"
    assert act("cronjobs/nightly/trigger", name="Not A Name")["code"] == 1001


def test_cronjobs_are_suspended_and_resumed(act: Acting, put: Put) -> None:
    put("cronjobs", cron_job())
    act.data("cronjobs/nightly/suspend")
    assert act.stored("cronjobs.batch", "nightly")["spec"]["suspend"] is True
    act.data("cronjobs/nightly/resume")
    assert act.stored("cronjobs.batch", "nightly")["spec"]["suspend"] is False


def test_running_a_job_again_leaves_the_old_one(act: Acting, put: Put) -> None:
    put(
        "jobs",
        {
            "metadata": {"name": "sum", "labels": {"team": "a"}},
            "spec": {"template": template("busybox", restartPolicy="Never")},
        },
    )
    again = act.stored("jobs.batch", act.data("jobs/sum/rerun")["job"])
    first = act.stored("jobs.batch", "sum")
    assert again["metadata"]["labels"]["team"] == "a"
    assert again["spec"]["selector"] != first["spec"]["selector"]
    assert act.data("jobs/sum/restart")["job"].startswith("sum-rerun-")


# --- what belongs to a workload -------------------------------------------------------------------------------------
def test_pods_and_events_are_those_of_the_workload(act: Acting, put: Put) -> None:
    put("deployments", workload(replicas=2))
    put(
        "pods",
        {"metadata": {"name": "stray", "labels": {"app": "web"}}, "spec": template()["spec"]},
    )
    act.apiserver.wait(lambda: len(pods_of(act.apiserver, act.space)) == 3)
    answer = act.get("deployments/web/pods", pageSize=1)
    assert (answer["total"], len(answer["items"])) == (2, 1)
    events = act.get("deployments/web/events", pageSize=100)["items"]
    about = {event["involvedObject"]["kind"] for event in events}
    assert {"Deployment", "ReplicaSet", "Pod"} <= about
    assert "stray" not in {event["involvedObject"]["name"] for event in events}


def test_actions_on_what_is_not_there(act: Acting) -> None:
    assert act("deployments/none/scale", replicas=1)["code"] == 1004
    body = {"cluster_id": act.cluster.pk, "namespace": "no-such-space"}
    assert act.admin("POST", "deployments/none/restart", body)["code"] == 1003
    assert (
        act.admin("POST", "deployments/none/restart", {"cluster_id": 999_999, "namespace": "x"})[
            "code"
        ]
        == 1002
    )
    assert (
        act.admin("POST", "deployments/none/restart", {"cluster_id": act.cluster.pk})["code"]
        == 1001
    )


def test_the_audit_trail_says_what_an_action_changed(act: Acting, put: Put) -> None:
    put("deployments", workload(replicas=1))
    act.data("deployments/web/scale", replicas=3)
    act.data("deployments/web/pause")
    act.data("deployments/web/pause", dry_run=True)
    act.admin("DELETE", "deployments/web", cluster_id=act.cluster.pk, namespace=act.space)
    lines = {
        line["verb"]: line
        for line in act.admin.data(
            "GET", "audit", kind="deployments", namespace=act.space, pageSize=100
        )["items"][::-1]
    }
    assert {"path": "spec.replicas", "before": 1, "after": 3} in lines["scale"]["diff"]
    assert (
        lines["scale"]["details"]["replicas"],
        lines["scale"]["details"]["previous_replicas"],
    ) == (3, 1)
    assert lines["pause"]["details"]["dry_run"] is True
    assert lines["pause"]["diff"] == []
    assert {"path": "spec.paused", "before": True} in lines["delete"]["diff"]
