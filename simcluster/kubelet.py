"""The kubelet: pods go through Pending, Running, restarts and Terminating."""

import zlib
from datetime import UTC, datetime
from typing import Any

from simcluster import clock, deletion, programs
from simcluster.client import Client
from simcluster.cluster import Cluster
from simcluster.nodes import address
from simcluster.objects import get_annotations, has_condition, is_terminating
from simcluster.programs import Program
from simcluster.resources import Object

_MAX_BACKOFF = 300.0
_STOPPING = 1.0
# Fields of `env` and `envFrom` that name an object, and its kind.
_REFERENCES = {
    "configMapRef": "ConfigMap",
    "configMapKeyRef": "ConfigMap",
    "secretRef": "Secret",
    "secretKeyRef": "Secret",
}


_STATUSES = ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")


def reconcile(cluster: Cluster, pod: Object) -> float | None:
    """Move a pod of any node one step on; returns when its next step is due."""
    if not pod["spec"].get("nodeName"):
        return None
    if is_terminating(pod):
        return _terminate(cluster, pod)
    if pod["status"].get("phase") in ("Succeeded", "Failed"):
        return None
    node = cluster.object("nodes", "", pod["spec"]["nodeName"])
    if node is None or not _is_ready(node):
        return None
    return PodWorker(cluster, pod, node).step()


def _began(statuses: list[Object]) -> bool:
    """Whether a container runs or has run."""
    return any("running" in status["state"] or status.get("lastState") for status in statuses)


def _is_ready(node: Object) -> bool:
    return has_condition(node, "Ready")


def _terminate(cluster: Cluster, pod: Object) -> float | None:
    meta = pod["metadata"]
    grace = float(meta.get("deletionGracePeriodSeconds", 0))
    began = clock.parse(meta["deletionTimestamp"]).timestamp() - float(grace)
    waited = (datetime.now(UTC).timestamp() - began) * cluster.clock.scale
    # A program takes that long to stop, unless a shorter grace period ends it earlier.
    due = min(float(grace), _STOPPING)
    if waited < due:
        Client(cluster, "kubelet").event(
            pod,
            "Killing",
            f"Stopping container {pod['spec']['containers'][0]['name']}",
            host=pod["spec"]["nodeName"],
        )
        return due - waited + 0.01
    # What is zero tells the API server that the containers have stopped.
    meta["deletionGracePeriodSeconds"] = 0
    resource = cluster.table.of_storage("pods")
    # The object stays until the last finalizer is taken off.
    if meta.get("finalizers"):
        cluster.store.put("pods", pod)
    else:
        deletion.finish(cluster.store, resource.storage, pod)
    return None


class PodWorker:
    """Works out what one pod's containers do now."""

    def __init__(self, cluster: Cluster, pod: Object, node: Object) -> None:
        self.cluster = cluster
        self.pod = pod
        self.node = node
        self.client = Client(cluster, "kubelet")
        self.host = node["metadata"]["name"]
        self.next: float | None = None
        self.status: Object = {
            key: value for key, value in pod["status"].items() if key not in _STATUSES
        }

    def step(self) -> float | None:
        """Bring the status to what it is by now; returns the seconds until it changes."""
        self.status.setdefault("startTime", clock.timestamp())
        self.status["hostIP"] = address(self.node)
        self.status["hostIPs"] = [{"ip": self.status["hostIP"]}]
        initial = self._containers("initContainers", "initContainerStatuses", started=True)
        initialized = all(
            (status["state"].get("terminated") or {}).get("exitCode") == 0 for status in initial
        )
        # The API has no empty list here for pods without init containers.
        if initial:
            self.status["initContainerStatuses"] = initial
        statuses = self._containers("containers", "containerStatuses", started=initialized)
        self.status["containerStatuses"] = statuses
        if ephemeral := self._containers(
            "ephemeralContainers", "ephemeralContainerStatuses", started=initialized
        ):
            self.status["ephemeralContainerStatuses"] = ephemeral
        self.status["phase"] = self._phase(statuses, initial)
        self._address_of(statuses)
        self._conditions(statuses, initialized=initialized)
        self.status["observedGeneration"] = self.pod["metadata"].get("generation", 1)
        # A write without a change would wake every watcher of pods.
        if self.status != self.pod["status"]:
            self.cluster.store.put("pods", {**self.pod, "status": self.status})
        return self.next

    def _containers(self, part: str, statuses: str, *, started: bool) -> list[Object]:
        previous = {status["name"]: status for status in self.pod["status"].get(statuses) or ()}
        initial = part == "initContainers"
        result: list[Object] = []
        for spec in self.pod["spec"].get(part) or ():
            before = previous.get(spec["name"])
            # Init containers run one after the other, containers all at once.
            is_next = not initial or all(
                (status["state"].get("terminated") or {}).get("exitCode") == 0 for status in result
            )
            if started and is_next:
                result.append(self._container(spec, before, initial=initial))
            else:
                result.append(before or _waiting(spec, "PodInitializing"))
        return result

    def _wake(self, seconds: float) -> None:
        self.next = seconds if self.next is None else min(self.next, seconds)

    def _since(self, stamp: str) -> float:
        return self.cluster.clock.since(stamp)

    def _event(self, spec: Object, reason: str, message: str, *, warning: bool = False) -> None:
        """An event of the pod about one of its containers."""
        self.client.event(
            self.pod,
            reason,
            message,
            warning=warning,
            field=_field(spec),
            host=self.host,
        )

    def _container(self, spec: Object, before: Object | None, *, initial: bool) -> Object:
        missing = self._missing_reference(spec)
        if missing:
            self._event(spec, "Failed", f"Error: {missing}", warning=True)
            # The missing ConfigMap or Secret may be created later.
            self._wake(10.0)
            return _waiting(spec, "CreateContainerConfigError", missing)
        if programs.missing(spec.get("image", ""), self.pod):
            return self._pull_failure(spec, before)
        # A missing status and a waiting one are the same: nothing runs yet.
        if before is None or "waiting" in before["state"]:
            return self._start(spec, before)
        # Of a running pod only images may change, and the kubelet restarts the container.
        if before["image"] != spec.get("image") and "running" in before["state"]:
            return self._restarted(spec, before, Program(0.0, 0, "Completed"), changed=True)
        if "running" in before["state"]:
            return self._run(spec, before, initial=initial)
        return before

    def _missing_reference(self, spec: Object) -> str:
        sources = list(spec.get("envFrom") or ())
        sources += [variable.get("valueFrom") or {} for variable in spec.get("env") or ()]
        for source in sources:
            for field, kind in _REFERENCES.items():
                reference = source.get(field)
                if reference and not reference.get("optional"):
                    problem = self._reference_problem(reference, kind)
                    if problem:
                        return problem
        return ""

    def _reference_problem(self, reference: Object, kind: str) -> str:
        """Why a reference to a ConfigMap or Secret cannot be met, in the kubelet's words."""
        namespace = self.pod["metadata"]["namespace"]
        name = reference.get("name", "")
        obj = self.cluster.object(f"{kind.lower()}s", namespace, name)
        if obj is None:
            return f'{kind.lower()} "{name}" not found'
        keys = {*(obj.get("data") or ()), *(obj.get("binaryData") or ())}
        if "key" in reference and reference["key"] not in keys:
            return f"couldn't find key {reference['key']} in {kind} {namespace}/{name}"
        return ""

    def _pull_failure(self, spec: Object, before: Object | None) -> Object:
        image = spec.get("image", "")
        waited = self._since(self.status["startTime"])
        self._wake(15.0)
        error = (
            f'rpc error: code = NotFound desc = failed to pull and unpack image "{image}": '
            f'failed to resolve reference "{image}": {image}: not found'
        )
        self._event(spec, "Pulling", f'Pulling image "{image}"')
        self._event(
            spec,
            "Failed",
            f'Failed to pull image "{image}": {error}',
            warning=True,
        )
        # The first look says that the pull failed, later ones that it is tried less often.
        if waited < 5 and before is None:
            self._wake(6.0)
            return _waiting(spec, "ErrImagePull", error)
        self._event(spec, "BackOff", f'Back-off pulling image "{image}"')
        return _waiting(
            spec,
            "ImagePullBackOff",
            f'Back-off pulling image "{image}": ErrImagePull: {error}',
        )

    def _start(self, spec: Object, before: Object | None) -> Object:
        state = ((before or {}).get("state") or {}).get("waiting") or {}
        if state.get("reason") == "CrashLoopBackOff" and before is not None:
            return self._back_off(spec, before)
        delay = programs.start_delay(self.pod, spec)
        waited = self._since(self.status["startTime"])
        if waited < delay:
            self._wake(delay - waited + 0.01)
            return before or _waiting(spec, "ContainerCreating")
        image = spec.get("image", "")
        took = f"{int(delay * 1000)}ms"
        pulled = (
            f'Successfully pulled image "{image}" in {took} ({took} including waiting). '
            f"Image size: {_size(image)} bytes."
        )
        self._event(spec, "Pulled", pulled)
        return self._started(spec, before, restarts=(before or {}).get("restartCount", 0))

    def _started(self, spec: Object, before: Object | None, *, restarts: int) -> Object:
        self._event(spec, "Created", f"Container created: {spec['name']}")
        self._event(spec, "Started", f"Container started: {spec['name']}")
        image = spec.get("image", "")
        container_key = self.pod["metadata"]["uid"] + spec["name"] + str(restarts)
        started = {
            "name": spec["name"],
            "state": {"running": {"startedAt": clock.timestamp()}},
            "lastState": (before or {}).get("lastState") or {},
            "ready": False,
            "restartCount": restarts,
            "image": image,
            "imageID": f"{image.partition(':')[0]}@sha256:{_digest(image)}",
            "containerID": f"containerd://{_digest(container_key)}",
            "started": True,
        }
        return self._run(spec, started, initial=False)

    def _run(self, spec: Object, now: Object, *, initial: bool) -> Object:
        program = programs.program_of(self.pod, spec)
        ran = self._since(now["state"]["running"]["startedAt"])
        if program.seconds is not None and ran >= program.seconds:
            return self._ended(spec, now, program, initial=initial)
        if program.seconds is not None:
            self._wake(program.seconds - ran + 0.01)
        delay = float((spec.get("readinessProbe") or {}).get("initialDelaySeconds", 0))
        # The demo marks pods that fail their probe for ever.
        never = get_annotations(self.pod).get("simcluster.dev/never-ready") == "true"
        ready = ran >= delay and not never
        if not ready and not never:
            self._wake(delay - ran + 0.01)
        if never:
            self._event(
                spec,
                "Unhealthy",
                "Readiness probe failed: HTTP probe failed with statuscode: 503",
                warning=True,
            )
            self._wake(30.0)
        return {**now, "ready": ready}

    def _ended(self, spec: Object, now: Object, program: Program, *, initial: bool) -> Object:
        policy = self.pod["spec"].get("restartPolicy", "Always")
        failed = program.exit_code != 0
        if policy == "Never":
            again = False
        elif initial or policy == "OnFailure":
            # An init container that has succeeded is done, also under `Always`.
            again = failed
        else:
            again = True
        if again:
            return self._restarted(spec, now, program)
        return {
            **now,
            "state": {"terminated": self._terminated(now, program)},
            "ready": False,
            "started": False,
        }

    def _terminated(self, now: Object, program: Program) -> Object:
        reason = program.reason or ("Completed" if program.exit_code == 0 else "Error")
        return {
            "exitCode": program.exit_code,
            "reason": reason,
            "startedAt": now["state"]["running"]["startedAt"],
            "finishedAt": clock.timestamp(),
            "containerID": now.get("containerID", ""),
        }

    def _restarted(
        self,
        spec: Object,
        now: Object,
        program: Program,
        *,
        changed: bool = False,
    ) -> Object:
        ended = {
            **now,
            "lastState": {"terminated": self._terminated(now, program)},
            "ready": False,
            "started": False,
        }
        if changed:
            self._event(
                spec,
                "Killing",
                f"Container {spec['name']} definition changed, will be restarted",
            )
            return self._started(spec, ended, restarts=now["restartCount"] + 1)
        # The first restart is immediate; from the second one on the kubelet backs off.
        if now["restartCount"] == 0:
            return self._started(spec, ended, restarts=1)
        return self._back_off(spec, ended)

    def _back_off(self, spec: Object, ended: Object) -> Object:
        name = spec["name"]
        meta = self.pod["metadata"]
        # 10 s, 20 s, 40 s and so on up to five minutes.
        delay = min(10.0 * 2 ** (ended["restartCount"] - 1), _MAX_BACKOFF)
        waited = self._since(ended["lastState"]["terminated"]["finishedAt"])
        if waited >= delay:
            return self._started(spec, ended, restarts=ended["restartCount"] + 1)
        self._wake(delay - waited + 0.01)
        pod_name = f"{meta['name']}_{meta['namespace']}({meta['uid']})"
        self._event(
            spec,
            "BackOff",
            f"Back-off restarting failed container {name} in pod {pod_name}",
            warning=True,
        )
        message = f"back-off {_span(delay)} restarting failed container={name} pod={pod_name}"
        return {
            **ended,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": message}},
            "ready": False,
            "started": False,
        }

    def _phase(self, statuses: list[Object], initial: list[Object]) -> str:
        states = [status["state"] for status in statuses]
        exit_codes = [state["terminated"]["exitCode"] for state in states if "terminated" in state]
        # An init container that failed for good keeps the containers from ever starting.
        if any((status["state"].get("terminated") or {}).get("exitCode") for status in initial):
            return "Failed"
        if statuses and len(exit_codes) == len(statuses):
            return "Failed" if any(exit_codes) else "Succeeded"
        # Also between two runs: a pod that waits for a restart is Running.
        if exit_codes or _began(statuses):
            return "Running"
        return "Pending"

    def _address_of(self, statuses: list[Object]) -> None:
        if self.status.get("podIP") or not any("running" in status["state"] for status in statuses):
            return
        if self.pod["spec"].get("hostNetwork"):
            # A pod in the host's network has no address of its own.
            self.status["podIP"] = self.status["hostIP"]
        else:
            self.status["podIP"] = self.cluster.addresses.take(self.host)
        self.status["podIPs"] = [{"ip": self.status["podIP"]}]

    def _conditions(self, statuses: list[Object], *, initialized: bool) -> None:
        unready = [status["name"] for status in statuses if not status["ready"]]
        ready = not unready
        why = {"reason": "PodCompleted"}
        if self.status["phase"] != "Succeeded":
            why = {
                "reason": "ContainersNotReady",
                "message": f"containers with unready status: [{' '.join(unready)}]",
            }
        self._condition("PodReadyToStartContainers", _began(statuses))
        self._condition(
            "Initialized",
            initialized or not self.pod["spec"].get("initContainers"),
            why={"reason": "ContainersNotInitialized"},
        )
        self._condition("Ready", ready, why=why)
        self._condition("ContainersReady", ready, why=why)

    def _condition(self, kind: str, value: bool, why: Object | None = None) -> None:
        conditions: list[Object] = list(self.status.get("conditions") or ())
        old = next(
            (condition for condition in conditions if condition["type"] == kind),
            None,
        )
        status = "True" if value else "False"
        stamp = clock.timestamp()
        if old is not None and old["status"] == status:
            stamp = old["lastTransitionTime"]
        body: dict[str, Any] = {
            "type": kind,
            "status": status,
            "lastProbeTime": None,
            "lastTransitionTime": stamp,
            **({} if value else why or {}),
        }
        if old is None:
            conditions.append(body)
        else:
            conditions[conditions.index(old)] = body
        self.status["conditions"] = conditions


def _waiting(spec: Object, reason: str, message: str = "") -> Object:
    state = {"reason": reason, **({"message": message} if message else {})}
    return {
        "name": spec["name"],
        "state": {"waiting": state},
        "lastState": {},
        "ready": False,
        "restartCount": 0,
        "image": spec.get("image", ""),
        "imageID": "",
        "started": False,
    }


def _field(spec: Object) -> str:
    return f"spec.containers{{{spec['name']}}}"


def _digest(text: str) -> str:
    return "".join(f"{zlib.crc32(f'{text}/{number}'.encode()):08x}" for number in range(8))


def _size(image: str) -> int:
    return 20_000_000 + zlib.crc32(image.encode()) % 180_000_000


def _span(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
