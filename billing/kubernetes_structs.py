"""Kubernetes objects as billing reads them: msgspec structs with only the fields that matter here.

Fields have Kubernetes' names (in camel case on the wire) and may be absent or null as there.
"""

import msgspec


class ObjectMeta(msgspec.Struct, rename="camel"):
    """Metadata of any object."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    labels: dict[str, str] | None = None
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None


class LabelledObject(msgspec.Struct):
    """Any object of which only the metadata matters."""

    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)


class Condition(msgspec.Struct):
    """A condition of a node or a pod; `status` is True, False or Unknown."""

    type: str = ""
    status: str = ""
    message: str = ""


# --- nodes ----------------------------------------------------------------------------------------
class NodeAddress(msgspec.Struct):
    """An address of a node, for example of the type InternalIP."""

    type: str = ""
    address: str = ""


class NodeSpec(msgspec.Struct):
    """`unschedulable` is what `kubectl cordon` sets."""

    unschedulable: bool = False


class NodeStatus(msgspec.Struct):
    """Conditions and addresses of a node."""

    conditions: list[Condition] | None = None
    addresses: list[NodeAddress] | None = None


class Node(msgspec.Struct):
    """A node."""

    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    spec: NodeSpec = msgspec.field(default_factory=NodeSpec)
    status: NodeStatus = msgspec.field(default_factory=NodeStatus)

    def is_usable(self) -> bool:
        """Whether it is ready and schedulable."""
        is_ready = any(
            condition.type == "Ready" and condition.status == "True"
            for condition in self.status.conditions or []
        )
        return is_ready and not self.spec.unschedulable


# --- pods -----------------------------------------------------------------------------------------
class ContainerPort(msgspec.Struct, rename="camel"):
    """A port of a container; `host_port` is 0 without one."""

    container_port: int = 0
    host_port: int = 0
    protocol: str = "TCP"


class ResourceRequirements(msgspec.Struct):
    """Limits of a container, as quantities."""

    limits: dict[str, str | int | float] | None = None


class Container(msgspec.Struct):
    """A container as specified."""

    name: str = ""
    ports: list[ContainerPort] | None = None
    resources: ResourceRequirements = msgspec.field(default_factory=ResourceRequirements)


class PodSpec(msgspec.Struct, rename="camel"):
    """Where a pod runs and which ports it uses."""

    node_name: str = ""
    host_network: bool = False
    node_selector: dict[str, str] | None = None
    containers: list[Container] = []
    init_containers: list[Container] | None = None


class ContainerStateRunning(msgspec.Struct, rename="camel"):
    """A running container; `started_at` is RFC 3339."""

    started_at: str = ""


class ContainerStateWaiting(msgspec.Struct):
    """Why a container does not run yet, for example ImagePullBackOff."""

    reason: str = ""
    message: str = ""


class ContainerState(msgspec.Struct):
    """The state of a container; at most one member is set."""

    running: ContainerStateRunning | None = None
    waiting: ContainerStateWaiting | None = None


class ContainerStatus(msgspec.Struct):
    """The status of a container."""

    name: str = ""
    state: ContainerState = msgspec.field(default_factory=ContainerState)


class PodStatus(msgspec.Struct, rename="camel"):
    """The status of a pod."""

    phase: str = ""
    conditions: list[Condition] | None = None
    container_statuses: list[ContainerStatus] | None = None


class Pod(msgspec.Struct):
    """A pod."""

    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    spec: PodSpec = msgspec.field(default_factory=PodSpec)
    status: PodStatus = msgspec.field(default_factory=PodStatus)


# --- services and Deployments ---------------------------------------------------------------------
class ServicePort(msgspec.Struct, rename="camel"):
    """A port of a Service; `node_port` is 0 without one."""

    node_port: int = 0


class ServiceSpec(msgspec.Struct, rename="camel"):
    """The ports that a Service opens on every node."""

    ports: list[ServicePort] | None = None
    health_check_node_port: int = 0


class Service(msgspec.Struct):
    """A Service."""

    spec: ServiceSpec = msgspec.field(default_factory=ServiceSpec)


class DeploymentStatus(msgspec.Struct, rename="camel"):
    """How far a Deployment is; Kubernetes omits counts that are 0."""

    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    available_replicas: int = 0


class KubernetesDeployment(msgspec.Struct):
    """A Deployment, as far as waiting for its rollout needs."""

    metadata: ObjectMeta = msgspec.field(default_factory=ObjectMeta)
    status: DeploymentStatus = msgspec.field(default_factory=DeploymentStatus)

    def is_rolled_out(self) -> bool:
        """What `kubectl rollout status` waits for, with one replica."""
        status = self.status
        # An older generation's status says nothing about the present specification.
        is_observed = status.observed_generation >= self.metadata.generation
        counts = (status.replicas, status.updated_replicas, status.available_replicas)
        return is_observed and counts == (1, 1, 1)
