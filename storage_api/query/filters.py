"""The typed queries of the bcs-storage document as tables: parameter, path in the stored document, how they compare.

Sections query-mesos and query-k8s of the document. Parameters that the published server knows beside the document's own are served too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType


class Op(Enum):
    """How a parameter compares: texts by comma list, one integer, one boolean, or a side of a time range [since, until)."""

    TEXT = "text"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    SINCE = "since"
    UNTIL = "until"


@dataclass(frozen=True, slots=True)
class Filter:
    """One parameter of a typed query; the path starts at the document's root."""

    param: str
    path: str
    op: Op = Op.TEXT


@dataclass(frozen=True, slots=True)
class TypedQuery:
    """One route of the typed queries: which stored types it reads (lower case), what it takes, what it always demands.

    `only` and `never` hold the application/process split: values of data.kind that are demanded or refused.
    """

    name: str
    types: tuple[str, ...]
    filters: tuple[Filter, ...] = ()
    kinds: tuple[str | None, ...] = ()


def _between(param: str, path: str) -> tuple[Filter, Filter]:
    return Filter(f"{param}Begin", path, Op.SINCE), Filter(f"{param}End", path, Op.UNTIL)


NAME = (Filter("name", "resourceName"),)
NAMESPACED = (*NAME, Filter("namespace", "namespace"))
API_VERSION = Filter("apiVersion", "data.apiVersion")
CREATION = _between("createTime", "data.metadata.creationTimestamp")
VERSION = Filter("resourceVersion", "data.metadata.resourceVersion")
UID = Filter("uid", "data.metadata.uid")
GENERATION = Filter("generation", "data.metadata.generation", Op.INTEGER)
UPDATE_STRATEGY = Filter("updateStrategyType", "data.spec.updateStrategy.type")
APPLICATION = (
    *NAMESPACED,
    Filter("instance", "data.instance", Op.INTEGER),
    Filter("buildedInstance", "data.buildedInstance", Op.INTEGER),
    Filter("runningInstance", "data.runningInstance", Op.INTEGER),
    Filter("status", "data.status"),
    Filter("lastStatus", "data.lastStatus"),
    Filter("podIp", "data.podIP"),
    *_between("createTime", "data.createTime"),
    *_between("lastUpdateTime", "data.lastUpdateTime"),
)

MESOS = (
    TypedQuery(
        "taskgroup",
        ("taskgroup",),
        (
            *NAMESPACED,
            Filter("rcName", "data.rcname"),
            Filter("status", "data.status"),
            Filter("lastStatus", "data.lastStatus"),
            Filter("hostIp", "data.hostIP"),
            Filter("hostName", "data.hostName"),
            Filter("podIp", "data.podIP"),
            *_between("startTime", "data.startTime"),
            *_between("lastUpdateTime", "data.lastUpdateTime"),
            *CREATION,
        ),
    ),
    TypedQuery("application", ("application",), APPLICATION, kinds=(None, "", "application")),
    TypedQuery("process", ("application",), APPLICATION, kinds=("process",)),
    TypedQuery(
        "deployment",
        ("deployment",),
        (
            *NAMESPACED,
            Filter("checkTime", "data.check_time", Op.INTEGER),
            Filter("status", "data.status"),
            Filter("applicationName", "data.application.name"),
            Filter("applicationExtName", "data.application_ext.name"),
            Filter("currRollingOperation", "data.curr_rolling_operation"),
            Filter("isInRolling", "data.is_in_rolling", Op.BOOLEAN),
            *_between("lastRollingTime", "data.last_rolling_time"),
        ),
    ),
    TypedQuery("service", ("service",), (*NAMESPACED, API_VERSION)),
    TypedQuery("configmap", ("configmap",), (*NAMESPACED, API_VERSION)),
    TypedQuery("secret", ("secret",), (*NAMESPACED, API_VERSION)),
    TypedQuery("endpoints", ("endpoint", "endpoints"), (*NAMESPACED, API_VERSION)),
    TypedQuery(
        "exportservice",
        ("exportservice",),
        (
            *NAMESPACED,
            Filter("serviceName", "data.serviceName"),
            Filter("sslCert", "data.sslcert", Op.BOOLEAN),
            Filter("balance", "data.balance"),
        ),
    ),
    TypedQuery("ippoolstatic", ("ippoolstatic",)),
    TypedQuery("ippoolstaticdetail", ("ippoolstaticdetail",)),
)

K8S = (
    TypedQuery(
        "pod",
        ("pod",),
        (
            *NAMESPACED,
            Filter("status", "data.status.phase"),
            Filter("hostIp", "data.status.hostIP"),
            Filter("podIp", "data.status.podIP"),
            *_between("startTime", "data.status.startTime"),
            *CREATION,
        ),
    ),
    TypedQuery(
        "replicaset",
        ("replicaset",),
        (
            *NAMESPACED,
            Filter("replicas", "data.status.replicas", Op.INTEGER),
            Filter("availableReplicas", "data.status.availableReplicas", Op.INTEGER),
            Filter("readyReplicas", "data.status.readyReplicas", Op.INTEGER),
            *CREATION,
        ),
    ),
    TypedQuery(
        "deployment",
        ("deployment",),
        (
            *NAMESPACED,
            Filter("replicas", "data.status.replicas", Op.INTEGER),
            Filter("availableReplicas", "data.status.availableReplicas", Op.INTEGER),
            Filter("updatedReplicas", "data.status.updatedReplicas", Op.INTEGER),
            Filter("strategyType", "data.spec.strategy.type"),
            Filter("dnsPolicy", "data.spec.template.spec.dnsPolicy"),
            Filter("restartPolicy", "data.spec.template.spec.restartPolicy"),
            *CREATION,
        ),
    ),
    TypedQuery(
        "service",
        ("service",),
        (
            *NAMESPACED,
            Filter("clusterIp", "data.spec.clusterIP"),
            Filter("type", "data.spec.type"),
            *CREATION,
        ),
    ),
    TypedQuery("configmap", ("configmap",), (*NAMESPACED, *CREATION)),
    TypedQuery("secret", ("secret",), (*NAMESPACED, *CREATION)),
    TypedQuery("ingress", ("ingress",), (*NAMESPACED, *CREATION)),
    TypedQuery("endpoints", ("endpoints",), (*NAMESPACED, *CREATION)),
    TypedQuery(
        "namespace", ("namespace",), (*NAME, Filter("status", "data.status.phase"), *CREATION)
    ),
    TypedQuery("node", ("node",), (*NAME, Filter("externalID", "data.spec.externalID"), *CREATION)),
    TypedQuery(
        "daemonset",
        ("daemonset",),
        (
            *NAMESPACED,
            VERSION,
            UID,
            GENERATION,
            Filter("templateGeneration", "data.spec.templateGeneration", Op.INTEGER),
            UPDATE_STRATEGY,
            *CREATION,
        ),
    ),
    TypedQuery("job", ("job",), (*NAMESPACED, VERSION, UID, *CREATION)),
    TypedQuery(
        "statefulset",
        ("statefulset",),
        (
            *NAMESPACED,
            VERSION,
            UID,
            GENERATION,
            Filter("podManagementPolicy", "data.spec.podManagementPolicy"),
            UPDATE_STRATEGY,
            Filter("serviceName", "data.spec.serviceName"),
            *CREATION,
        ),
    ),
    TypedQuery("ippoolstatic", ("ippoolstatic",)),
    TypedQuery("ippoolstaticdetail", ("ippoolstaticdetail",)),
)

QUERIES: Mapping[str, tuple[TypedQuery, ...]] = MappingProxyType({"mesos": MESOS, "k8s": K8S})

# Whose namespaces make up a cluster's namespace list (lower case).
NAMESPACE_SOURCES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "mesos": ("application", "configmap", "deployment", "secret", "service"),
        "k8s": (
            "configmap",
            "daemonset",
            "deployment",
            "ingress",
            "job",
            "replicaset",
            "secret",
            "service",
            "statefulset",
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Stored:
    """A path that has a stored column of its own for some types; `but` names types where another path stands in that column."""

    path: str
    column: str
    types: frozenset[str] = field(default_factory=frozenset)
    but: frozenset[str] = field(default_factory=frozenset)


_TASKGROUP = frozenset({"taskgroup"})
_TASKGROUP_OR_APPLICATION = frozenset({"taskgroup", "application"})
STORED = (
    Stored("data.status", "status", types=_TASKGROUP_OR_APPLICATION),
    Stored("data.status.phase", "status", but=_TASKGROUP_OR_APPLICATION),
    Stored("data.hostIP", "host_ip", types=_TASKGROUP),
    Stored("data.status.hostIP", "host_ip", but=_TASKGROUP),
    Stored("data.podIP", "pod_ip", types=_TASKGROUP_OR_APPLICATION),
    Stored("data.status.podIP", "pod_ip", but=_TASKGROUP_OR_APPLICATION),
    Stored("data.rcname", "rc_name"),
    Stored("data.createTime", "created", types=frozenset({"application"})),
    Stored("data.metadata.creationTimestamp", "created", but=frozenset({"application"})),
)
STORED_TEXT_BYTES = 256


def stored_column(path: str, types: tuple[str, ...]) -> str | None:
    """The stored column that holds a path for all of the types, if there is one."""
    for stored in STORED:
        if (
            stored.path == path
            and (not stored.types or stored.types.issuperset(types))
            and stored.but.isdisjoint(types)
        ):
            return stored.column
    return None
