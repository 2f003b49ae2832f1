"""How the OpenAPI document calls its operations: verb and noun for code (`listPods`), a topic for people (`Pods`).

Most names follow from method and address; `SPECIAL` has those that would not say what the call
does.
"""

import re
from collections.abc import Mapping

# Beginnings of addresses that say nothing about what a call is for. The second address of a
# document is marked in its names.
PREFIXES: Mapping[str, str] = {
    "/api/v1/kubernetes": "",
    "/api/v1/k8s": "",
    "/bcsapi/v4/storage": "V4",
    "/bcsstorage/v1": "",
    "/v1/k8sservice": "",
    "/k8s": "AtRoot",
    "/api/v1": "",
}

# What the rules would call by its address rather than by what it does: "dialect method address" ->
# operation id.
SPECIAL: Mapping[str, str] = {
    "kubegale POST /auth/login": "signIn",
    "kubegale POST /auth/logout": "signOut",
    "kubegale GET /auth/me": "getCurrentUser",
    "kubegale POST /auth/password": "changePassword",
    "kubegale POST /auth/refresh": "refreshToken",
    "kubegale GET /auth/tokens": "listApiTokens",
    "kubegale POST /auth/tokens": "createApiToken",
    "kubegale DELETE /auth/tokens/{id}": "revokeApiToken",
    "kubegale GET /audit": "listAuditEntries",
    "kubegale GET /audit/export": "exportAuditEntries",
    "kubegale POST /clusters": "registerCluster",
    "kubegale PUT /clusters/{id}": "updateCluster",
    "kubegale DELETE /clusters/{id}": "unregisterCluster",
    "kubegale GET /clusters/{id}/namespaces": "listClusterNamespaces",
    "kubegale GET /history": "listHistory",
    "kubegale GET /history/diff": "compareHistory",
    "kubegale POST /history/restore": "restoreObject",
    "kubegale GET /metrics/cluster": "getClusterMetrics",
    "kubegale GET /metrics/nodes": "listNodeMetrics",
    "kubegale GET /metrics/pods": "listPodMetrics",
    "kubegale GET /metrics/stats": "getUsageOverTime",
    "kubegale GET /pods/metrics": "getRawPodMetrics",
    "kubegale GET /pods/logs/stream": "getLogTicket",
    "kubegale POST /pods/logs/stream": "createLogTicket",
    "kubegale GET /nodes/metrics": "getRawNodeMetrics",
    "kubegale GET /multicluster/overview": "getOverview",
    "kubegale GET /multicluster/resources/{kind}": "listObjectsInClusters",
    "kubegale GET /multicluster/search": "searchObjects",
    "kubegale POST /nodes/{name}/schedule": "setNodeSchedulable",
    "kubegale GET /orders/export": "exportOrders",
    "kubegale GET /orders/{id}/ledger": "listOrderLedger",
    "kubegale POST /orders/{id}/secret": "renewOrderSecret",
    "kubegale GET /pods/{name}/events": "listPodEvents",
    "kubegale GET /pods/{name}/logs": "getPodLog",
    "kubegale GET /schemas": "getKindSchema",
    "kubegale GET /store": "getStoreContents",
    "kubegale GET /terminal-recordings/{id}/replay": "replayTerminalRecording",
    "kubegale POST /tenants/{name}/members": "setTenantMember",
    "kubegale DELETE /tenants/{name}/members/{username}": "removeTenantMember",
    "kubegale PUT /tenants/{name}": "updateTenant",
    "kubegale PUT /users/{name}": "updateUser",
    "kubegale GET /watch": "watchObjects",
    "kubegale GET /watch/stream": "getWatchTicket",
    "kubegale POST /watch/stream": "createWatchTicket",
    "kubegale GET /resources/{group}/{version}/{plural}": "listCustomObjects",
    "kubegale POST /resources/{group}/{version}/{plural}": "createCustomObject",
    "kubegale GET /resources/{group}/{version}/{plural}/{name}": "getCustomObject",
    "kubegale PUT /resources/{group}/{version}/{plural}/{name}": "replaceCustomObject",
    "kubegale PATCH /resources/{group}/{version}/{plural}/{name}": "patchCustomObject",
    "kubegale DELETE /resources/{group}/{version}/{plural}/{name}": "deleteCustomObject",
    "bcs_storage GET /events": "listBcsEvents",
    "bcs_storage PUT /events": "reportBcsEvent",
    "bcs_storage POST /events": "searchBcsEvents",
    "bcs_storage GET /alarms": "listBcsAlarms",
    "bcs_storage POST /alarms": "reportBcsAlarm",
    "bcs_storage GET /metric/clusters": "listBcsMetricClusters",
    "bcs_storage GET /metric/clusters/{cluster}": "listBcsMetrics",
    "bcs_storage GET /host/clusters/{cluster}": "listBcsHosts",
    "bcs_storage POST /host/clusters/{cluster}": "addBcsHosts",
    "bcs_storage PUT /host/clusters/{cluster}": "replaceBcsHosts",
    "bcs_storage GET /dynamic/watch/{cluster}/{type}": "watchBcsResources",
    "bcs_storage POST /dynamic/watch/{cluster}/{type}": "watchBcsResourcesByBody",
    "bcs_storage GET /dynamic/watch/containers/{cluster}": "watchBcsContainers",
    "bcs_storage POST /dynamic/watch/containers/{cluster}": "watchBcsContainersByBody",
    "bcs_storage GET /metric/watch/{cluster}/{type}": "watchBcsMetrics",
    "bcs_storage POST /metric/watch/{cluster}/{type}": "watchBcsMetricsByBody",
    "bcs_storage GET /dynamic/customresources/{type}": "listBcsCustomResources",
    "bcs_storage PUT /dynamic/customresources/{type}": "replaceBcsCustomResource",
    "bcs_storage DELETE /dynamic/customresources/{type}": "deleteBcsCustomResources",
    "bcs_storage PUT /dynamic/customresources/{type}/index/{name}": "createBcsCustomResourceIndex",
    "bcs_storage DELETE /dynamic/customresources/{type}/index/{name}": "deleteBcsCustomResourceIndex",
    "bcs_storage PUT /clusters/{cluster}": "replaceBcsClusterInfo",
    "bcs_storage DELETE /clusters/{cluster}": "deleteBcsClusterInfo",
    "bcs_storage POST /k8s/dynamic/multicluster_resources/{type}": "listBcsResourcesInClusters",
    "k8s_service GET /test": "testK8sService",
    "k8s_service GET /getPod": "listK8sServicePods",
    "k8s_service POST /updatePodReplicas": "scaleK8sServiceDeployment",
    "vkube GET /regions": "listVKubeRegions",
    "vkube GET /images": "getVKubeImage",
    "vkube POST /checkports": "checkVKubePorts",
    "vkube GET /order": "getVKubeOrder",
    "vkube POST /deploy": "deployVKubeOrder",
    "vkube POST /deployment": "createVKubeDeployment",
    "vkube POST /deployment/update": "updateVKubeDeployment",
    "vkube GET /userService": "getVKubeUserService",
    "vkube GET /pod/log": "getVKubePodLog",
    "vkube GET /pod/logs": "followVKubePodLog",
    "vkube GET /pod/status": "getVKubePodStatus",
    "vkube POST /pod/restart": "restartVKubePod",
    "vkube POST /pod/stop": "stopVKubePod",
    "vkube POST /pod/start": "startVKubePod",
    "walm GET /pod/{namespace}/name/{pod}/events": "listWalmPodEvents",
    "walm GET /pod/{namespace}/name/{pod}/logs": "getWalmPodLog",
    "walm POST /pod/{namespace}/name/{pod}/restart": "restartWalmPod",
    "walm GET /pvc/{namespace}": "listWalmClaims",
    "walm DELETE /pvc/{namespace}": "deleteWalmClaims",
    "walm GET /pvc/{namespace}/name/{name}": "getWalmClaim",
    "walm DELETE /pvc/{namespace}/name/{name}": "deleteWalmClaim",
    "walm GET /secret/{namespace}": "listWalmSecrets",
    "walm POST /secret/{namespace}": "createWalmSecret",
    "walm PUT /secret/{namespace}": "replaceWalmSecret",
    "walm DELETE /secret/{namespace}": "deleteWalmSecretByQuery",
    "walm GET /secret/{namespace}/name/{name}": "getWalmSecret",
    "walm DELETE /secret/{namespace}/name/{name}": "deleteWalmSecret",
    "walm GET /storageclass": "listWalmStorageClasses",
    "walm GET /storageclass/{name}": "getWalmStorageClass",
    "walm GET /tenant": "listWalmTenants",
    "walm POST /tenant/{name}": "createWalmTenant",
    "walm PUT /tenant/{name}": "updateWalmTenant",
}
# The last part of an address under which one thing can be done or asked: what it adds to the name.
# `{}` is the noun before it.
ENDINGS: Mapping[str, str] = {
    "GET logs/stream": "get{}LogTicket",
    "POST logs/stream": "create{}LogTicket",
    "GET terminal": "get{}TerminalTicket",
    "POST terminal": "create{}TerminalTicket",
    "GET stream": "get{}StreamTicket",
    "POST stream": "create{}StreamTicket",
}
METHODS = {"GET": "get", "POST": "create", "PUT": "replace", "PATCH": "patch", "DELETE": "delete"}
# Documents of bcs-storage by the last parts of their addresses, where `{}` is "Bcs" or "BcsMesos".
BCS_COLLECTIONS = {
    "all_resources": "{}Resource",
    "cluster_resources": "{}ClusterResource",
    "namespace_resources": "{}NamespaceResource",
    "watch": "{}WatchedObject",
    "metric": "BcsMetric",
    "host": "BcsHost",
}
# Nouns that are their own plural.
SAME_IN_PLURAL = frozenset({"Endpoints", "Metrics"})


def relative(path: str) -> tuple[str, str]:
    """The address without what all addresses of its document begin with, and the mark of a second address."""
    for prefix, mark in PREFIXES.items():
        if path.startswith(f"{prefix}/"):
            return path.removeprefix(prefix), mark
    return path, ""


def pascal(text: str) -> str:
    """`terminal-recordings` -> `TerminalRecordings`."""
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[^A-Za-z0-9]+", text))


def plural(noun: str) -> str:
    """`Ingress` -> `Ingresses`."""
    if noun in SAME_IN_PLURAL or (noun.endswith("s") and not noun.endswith("ss")):
        return noun
    if noun.endswith("y"):
        return f"{noun[:-1]}ies"
    return f"{noun}es" if noun.endswith("ss") else f"{noun}s"


def singular(noun: str) -> str:
    """`Policies` -> `Policy`; the inverse of `plural`."""
    if noun in SAME_IN_PLURAL or noun.endswith("ss"):
        return noun
    if noun.endswith("ies"):
        return f"{noun[:-3]}y"
    return noun.removesuffix("es") if noun.endswith("sses") else noun.removesuffix("s")


def operation_id(
    dialect: str, method: str, path: str, *, kinds: Mapping[str, str], prefix: str, paged: bool
) -> str:
    """Verb and noun. `kinds` are the names of kinds by their plurals, `prefix` the mark of the dialect's own nouns."""
    address, mark = relative(path)
    if special := SPECIAL.get(f"{dialect} {method} {address}"):
        return special + mark
    if dialect == "bcs_storage" and (name := _bcs_name(method, address)):
        return name + mark
    return _ruled(method, address, kinds, prefix, paged) + mark


def _bcs_name(method: str, address: str) -> str:
    """The name of a call on documents, or nothing."""
    parts = address.strip("/").split("/")
    family = "BcsMesos" if "mesos" in parts[:2] else "Bcs"
    if parts[0] == "query":
        return f"query{family}{pascal(plural(parts[-1]))}{'ByBody' if method == 'POST' else ''}"
    if parts[-1] == "batch":
        return f"write{family}Batch"
    collection = next((part for part in parts if part in BCS_COLLECTIONS), "")
    if not collection or method not in {"GET", "PUT", "DELETE"}:
        return ""
    noun = BCS_COLLECTIONS[collection].format(family)
    single = parts[-1] in {"{name}", "{ip}"}
    verb = {"GET": "get" if single else "list", "PUT": "put", "DELETE": "delete"}[method]
    return f"{verb}{noun if single else plural(noun)}"


def _ruled(method: str, address: str, kinds: Mapping[str, str], prefix: str, paged: bool) -> str:
    parts = address.strip("/").split("/")
    words = [part for part in parts if not part.startswith("{")]
    nouns = [prefix + (kinds.get(word) or singular(pascal(word))) for word in words]
    if words[0] == "bulk" and len(words) == 2:
        return f"bulkChange{plural(nouns[1])}"
    for ending, pattern in ENDINGS.items():
        verb, _, end = ending.partition(" ")
        if verb == method and address.endswith(f"/{end}"):
            return pattern.format("".join(nouns[: len(words) - end.count("/") - 1]))
    if parts[-1].startswith("{"):
        return f"{METHODS[method]}{_joined(address, nouns)}"
    if method == "POST" and len(parts) > 1 and parts[-2].startswith("{"):
        # Something done to one object: /pods/{name}/restart.
        return f"{words[-1]}{''.join(nouns[:-1])}"
    if method == "GET" and paged:
        return f"list{''.join(nouns[:-1])}{plural(nouns[-1])}"
    if method == "GET":
        return f"get{''.join([*nouns[:-1], prefix * (not nouns[:-1]) + pascal(words[-1])])}"
    return f"{METHODS[method]}{''.join(nouns)}"


def _joined(address: str, nouns: list[str]) -> str:
    """The nouns of one object; a pod's second address says that its namespace stands in it."""
    if address == "/namespaces/{namespace}/pods/{name}":
        return "PodInNamespace"
    return "".join(nouns)


# --- topics ---------------------------------------------------------------------------------------
# Topic -> (what it is about, first parts of the addresses of the KubeGale document that belong to
# it).
TOPICS: Mapping[str, tuple[str, str]] = {
    "Authentication": ("Signing in, tokens and the caller.", "auth"),
    "Clusters": ("The registered clusters.", "clusters"),
    "Workloads": (
        "Deployments, StatefulSets, DaemonSets, Jobs and CronJobs, and what can be done to them.",
        "deployments statefulsets daemonsets replicasets jobs cronjobs controllerrevisions "
        "horizontalpodautoscalers poddisruptionbudgets",
    ),
    "Pods": ("Pods, their logs and terminals.", "pods"),
    "Nodes": ("Nodes, draining and scheduling.", "nodes"),
    "Network": (
        "Services, Ingresses and what leads traffic.",
        "services ingresses endpoints endpointslices networkpolicies",
    ),
    "Configuration": (
        "Namespaces, ConfigMaps, Secrets, quotas and Events.",
        "namespaces configmaps secrets resourcequotas limitranges leases events",
    ),
    "Volumes": (
        "Volumes, claims and storage classes.",
        "persistentvolumes persistentvolumeclaims storageclasses",
    ),
    "Access": (
        "Kubernetes' own roles, bindings and service accounts.",
        "roles rolebindings clusterroles clusterrolebindings serviceaccounts",
    ),
    "Custom kinds": (
        "Objects of any kind that a cluster serves, and the schemas of kinds.",
        "resources customresourcedefinitions schemas",
    ),
    "Bulk": ("One change to many objects.", "bulk"),
    "Operations": ("Work that takes time: its progress, its result, its end.", "operations"),
    "Many clusters": ("Lists, search and overview over all clusters.", "multicluster topology"),
    "Store": (
        "What is known of clusters without asking them: history, changes as they happen.",
        "store history watch",
    ),
    "Metrics": ("What clusters, nodes and pods use.", "metrics"),
    "Tenants": ("Namespaces with quotas and members, and templates of quotas.", "tenants plans"),
    "Orders": ("Room that is sold: orders, payments, use and cost.", "orders"),
    "Users": ("People, groups and what they may do.", "users groups grants"),
    "Audit": (
        "Who did what, and recordings of terminals.",
        "audit terminal-recordings",
    ),
    "bcs-storage": ("The bcs-storage document: resources, watches, events, metrics, hosts.", ""),
    "Walm": ("The Walm document.", ""),
    "V-Kube": ("The V-Kube document; most calls carry an order's secret in a header.", ""),
    "K8s-service": ("The K8s-service document.", ""),
}
OWN_TOPICS = {
    "bcs_storage": "bcs-storage",
    "walm": "Walm",
    "vkube": "V-Kube",
    "k8s_service": "K8s-service",
}
_BY_WORD = {word: topic for topic, (_, words) in TOPICS.items() for word in words.split()}


def topic(dialect: str, path: str) -> str:
    """Which topic an operation belongs to."""
    address, _ = relative(path)
    return OWN_TOPICS.get(dialect) or _BY_WORD.get(address.strip("/").split("/")[0], "Clusters")


def sentence(name: str) -> str:
    """An operation id as people read it: `scaleDeployment` -> `Scale a Deployment`, `listPods` -> `List Pods`."""
    verb, noun = re.match(r"([a-z]+)(.*)", name).groups()  # type: ignore[union-attr]
    verb = verb.capitalize()
    if verb == "List" or noun in SAME_IN_PLURAL:
        return f"{verb} {noun}"
    if verb == "Bulk":
        return f"Do one thing to many {noun.removeprefix('Change')}"
    return f"{verb} {'an' if noun[:1] in 'AEIO' else 'a'} {noun}"
