"""The typed queries of the bcs-storage document as tables.

Each row has a parameter, the path in the stored document, and how the two compare. Sections
query-mesos and query-k8s of the document; parameters that only the published server knows are
served too.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType


class Op(Enum):
    """How a parameter compares.

    TEXT is a comma list of strings, INTEGER and BOOLEAN are one value, SINCE and UNTIL the sides of
    a time range [since, until).
    """

    TEXT = "text"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    SINCE = "since"
    UNTIL = "until"


@dataclass(frozen=True, slots=True)
class ParameterFilter:
    """One parameter of a typed query; the path starts at the document's root."""

    param: str
    path: str
    op: Op = Op.TEXT


@dataclass(frozen=True, slots=True)
class TypedQuery:
    """One route of the typed queries.

    `types` are the stored types that it reads (lower case). `kinds` are the values of data.kind
    that a document must have (None: absent; empty: any), which tell applications and processes
    apart.
    """

    name: str
    types: tuple[str, ...]
    filters: tuple[ParameterFilter, ...] = ()
    kinds: tuple[str | None, ...] = ()


def _range_filters(param: str, path: str) -> tuple[ParameterFilter, ParameterFilter]:
    return ParameterFilter(f"{param}Begin", path, Op.SINCE), ParameterFilter(
        f"{param}End", path, Op.UNTIL
    )


NAME = (ParameterFilter("name", "resourceName"),)
NAMESPACED = (*NAME, ParameterFilter("namespace", "namespace"))
API_VERSION = ParameterFilter("apiVersion", "data.apiVersion")
CREATION = _range_filters("createTime", "data.metadata.creationTimestamp")
VERSION = ParameterFilter("resourceVersion", "data.metadata.resourceVersion")
UID = ParameterFilter("uid", "data.metadata.uid")
GENERATION = ParameterFilter("generation", "data.metadata.generation", Op.INTEGER)
UPDATE_STRATEGY = ParameterFilter("updateStrategyType", "data.spec.updateStrategy.type")
APPLICATION = (
    *NAMESPACED,
    ParameterFilter("instance", "data.instance", Op.INTEGER),
    ParameterFilter("buildedInstance", "data.buildedInstance", Op.INTEGER),
    ParameterFilter("runningInstance", "data.runningInstance", Op.INTEGER),
    ParameterFilter("status", "data.status"),
    ParameterFilter("lastStatus", "data.lastStatus"),
    ParameterFilter("podIp", "data.podIP"),
    *_range_filters("createTime", "data.createTime"),
    *_range_filters("lastUpdateTime", "data.lastUpdateTime"),
)

MESOS = (
    TypedQuery(
        "taskgroup",
        ("taskgroup",),
        (
            *NAMESPACED,
            ParameterFilter("rcName", "data.rcname"),
            ParameterFilter("status", "data.status"),
            ParameterFilter("lastStatus", "data.lastStatus"),
            ParameterFilter("hostIp", "data.hostIP"),
            ParameterFilter("hostName", "data.hostName"),
            ParameterFilter("podIp", "data.podIP"),
            *_range_filters("startTime", "data.startTime"),
            *_range_filters("lastUpdateTime", "data.lastUpdateTime"),
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
            ParameterFilter("checkTime", "data.check_time", Op.INTEGER),
            ParameterFilter("status", "data.status"),
            ParameterFilter("applicationName", "data.application.name"),
            ParameterFilter("applicationExtName", "data.application_ext.name"),
            ParameterFilter("currRollingOperation", "data.curr_rolling_operation"),
            ParameterFilter("isInRolling", "data.is_in_rolling", Op.BOOLEAN),
            *_range_filters("lastRollingTime", "data.last_rolling_time"),
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
            ParameterFilter("serviceName", "data.serviceName"),
            ParameterFilter("sslCert", "data.sslcert", Op.BOOLEAN),
            ParameterFilter("balance", "data.balance"),
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
            ParameterFilter("status", "data.status.phase"),
            ParameterFilter("hostIp", "data.status.hostIP"),
            ParameterFilter("podIp", "data.status.podIP"),
            *_range_filters("startTime", "data.status.startTime"),
            *CREATION,
        ),
    ),
    TypedQuery(
        "replicaset",
        ("replicaset",),
        (
            *NAMESPACED,
            ParameterFilter("replicas", "data.status.replicas", Op.INTEGER),
            ParameterFilter("availableReplicas", "data.status.availableReplicas", Op.INTEGER),
            ParameterFilter("readyReplicas", "data.status.readyReplicas", Op.INTEGER),
            *CREATION,
        ),
    ),
    TypedQuery(
        "deployment",
        ("deployment",),
        (
            *NAMESPACED,
            ParameterFilter("replicas", "data.status.replicas", Op.INTEGER),
            ParameterFilter("availableReplicas", "data.status.availableReplicas", Op.INTEGER),
            ParameterFilter("updatedReplicas", "data.status.updatedReplicas", Op.INTEGER),
            ParameterFilter("strategyType", "data.spec.strategy.type"),
            ParameterFilter("dnsPolicy", "data.spec.template.spec.dnsPolicy"),
            ParameterFilter("restartPolicy", "data.spec.template.spec.restartPolicy"),
            *CREATION,
        ),
    ),
    TypedQuery(
        "service",
        ("service",),
        (
            *NAMESPACED,
            ParameterFilter("clusterIp", "data.spec.clusterIP"),
            ParameterFilter("type", "data.spec.type"),
            *CREATION,
        ),
    ),
    TypedQuery("configmap", ("configmap",), (*NAMESPACED, *CREATION)),
    TypedQuery("secret", ("secret",), (*NAMESPACED, *CREATION)),
    TypedQuery("ingress", ("ingress",), (*NAMESPACED, *CREATION)),
    TypedQuery("endpoints", ("endpoints",), (*NAMESPACED, *CREATION)),
    TypedQuery(
        "namespace",
        ("namespace",),
        (*NAME, ParameterFilter("status", "data.status.phase"), *CREATION),
    ),
    TypedQuery(
        "node", ("node",), (*NAME, ParameterFilter("externalID", "data.spec.externalID"), *CREATION)
    ),
    TypedQuery(
        "daemonset",
        ("daemonset",),
        (
            *NAMESPACED,
            VERSION,
            UID,
            GENERATION,
            ParameterFilter("templateGeneration", "data.spec.templateGeneration", Op.INTEGER),
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
            ParameterFilter("podManagementPolicy", "data.spec.podManagementPolicy"),
            UPDATE_STRATEGY,
            ParameterFilter("serviceName", "data.spec.serviceName"),
            *CREATION,
        ),
    ),
    TypedQuery("ippoolstatic", ("ippoolstatic",)),
    TypedQuery("ippoolstaticdetail", ("ippoolstaticdetail",)),
)

QUERIES: Mapping[str, tuple[TypedQuery, ...]] = MappingProxyType({"mesos": MESOS, "k8s": K8S})

# The types whose namespaces are a cluster's namespaces in use, lower case.
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
class StoredPath:
    """A path that has a generated column.

    `types` are the types for which the column has this path (empty: all), `excluded` those for
    which it has another one.
    """

    path: str
    column: str
    types: frozenset[str] = field(default_factory=frozenset)
    excluded: frozenset[str] = field(default_factory=frozenset)


_TASKGROUP = frozenset({"taskgroup"})
_TASKGROUP_OR_APPLICATION = frozenset({"taskgroup", "application"})
STORED_PATHS = (
    StoredPath("data.status", "status", types=_TASKGROUP_OR_APPLICATION),
    StoredPath("data.status.phase", "status", excluded=_TASKGROUP_OR_APPLICATION),
    StoredPath("data.hostIP", "host_ip", types=_TASKGROUP),
    StoredPath("data.status.hostIP", "host_ip", excluded=_TASKGROUP),
    StoredPath("data.podIP", "pod_ip", types=_TASKGROUP_OR_APPLICATION),
    StoredPath("data.status.podIP", "pod_ip", excluded=_TASKGROUP_OR_APPLICATION),
    StoredPath("data.rcname", "rc_name"),
    StoredPath("data.createTime", "created", types=frozenset({"application"})),
    StoredPath("data.metadata.creationTimestamp", "created", excluded=frozenset({"application"})),
)
# Longer texts are not in the columns.
STORED_TEXT_BYTES = 256


def stored_column(path: str, types: tuple[str, ...]) -> str | None:
    """The generated column that has the path for all of the types; None without one."""
    for stored in STORED_PATHS:
        if (
            stored.path == path
            and (not stored.types or stored.types.issuperset(types))
            and stored.excluded.isdisjoint(types)
        ):
            return stored.column
    return None
