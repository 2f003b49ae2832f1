"""Names of operations in the OpenAPI document: `listPods` for code, the topic `Pods` for people.

Most names follow from method and address; SPECIAL has those that would not say what the call does.
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

# Operations that the rules would name by their address rather than by what they do:
# dialect -> method and address -> operation id.
SPECIAL: Mapping[str, Mapping[str, str]] = {
    "kubegale": {
        "POST /clusters/{id}/port-links": "createPortLink",
        "POST /auth/login": "signIn",
        "POST /auth/logout": "signOut",
        "GET /auth/me": "getCurrentUser",
        "POST /auth/password": "changePassword",
        "POST /auth/refresh": "refreshToken",
        "GET /auth/tenants": "listOwnTenants",
        "GET /auth/tokens": "listApiTokens",
        "POST /auth/tokens": "createApiToken",
        "DELETE /auth/tokens/{id}": "revokeApiToken",
        "GET /audit": "listAuditEntries",
        "GET /audit/export": "exportAuditEntries",
        "POST /clusters": "registerCluster",
        "PUT /clusters/{id}": "updateCluster",
        "DELETE /clusters/{id}": "unregisterCluster",
        "GET /clusters/{id}/namespaces": "listClusterNamespaces",
        "GET /groups/{id}/members": "listGroupMembers",
        "POST /groups/{id}/members": "addGroupMember",
        "DELETE /groups/{id}/members/{username}": "removeGroupMember",
        "GET /history": "listHistory",
        "GET /history/diff": "compareHistory",
        "POST /history/restore": "restoreObject",
        "GET /metrics/cluster": "getClusterMetrics",
        "GET /metrics/nodes": "listNodeMetrics",
        "GET /metrics/pods": "listPodMetrics",
        "GET /metrics/stats": "getUsageOverTime",
        "GET /pods/metrics": "getRawPodMetrics",
        "GET /pods/logs/stream": "getLogTicket",
        "POST /pods/logs/stream": "createLogTicket",
        "GET /nodes/metrics": "getRawNodeMetrics",
        "GET /multicluster/overview": "getOverview",
        "GET /multicluster/resources/{kind}": "listObjectsInClusters",
        "GET /multicluster/search": "searchObjects",
        "POST /nodes/{name}/schedule": "setNodeSchedulable",
        "GET /orders/export": "exportOrders",
        "GET /orders/{id}/ledger": "listOrderLedger",
        "POST /orders/{id}/secret": "renewOrderSecret",
        "GET /pods/{name}/events": "listPodEvents",
        "GET /pods/{name}/logs": "getPodLog",
        "GET /schemas": "getKindSchema",
        "GET /store": "getStoreContents",
        "POST /templates/{id}/deploy": "deployTemplate",
        "GET /templates/{id}/deployments": "listDeploymentsOfTemplate",
        "GET /template-deployments": "listTemplateDeployments",
        "GET /template-deployments/{id}": "getTemplateDeployment",
        "POST /template-deployments/{id}/upgrade": "upgradeTemplateDeployment",
        "POST /template-deployments/{id}/rollback": "rollbackTemplateDeployment",
        "POST /template-deployments/{id}/undeploy": "undeployTemplateDeployment",
        "PUT /templates/{id}": "updateTemplate",
        "GET /tasks/{id}/runs": "listRunsOfTask",
        "PUT /tasks/{id}": "updateTask",
        "GET /task-runs": "listTaskRuns",
        "GET /tasks/types": "listTaskTypes",
        "GET /tasks/calendar": "listTaskMoments",
        "GET /tasks/moments": "listDueMoments",
        "POST /tasks/preview": "previewTask",
        "GET /templates/{id}/versions": "listTemplateVersions",
        "POST /templates/{id}/versions": "createTemplateVersion",
        "GET /templates/{id}/versions/{version}": "getTemplateVersion",
        "POST /templates/{id}/render": "renderTemplate",
        "GET /templates/{id}/export": "exportTemplate",
        "POST /templates/import": "importTemplate",
        "POST /templates/from-resources": "createTemplateFromObjects",
        "GET /terminal-recordings/{id}/replay": "replayTerminalRecording",
        "POST /tenants/{name}/members": "setTenantMember",
        "DELETE /tenants/{name}/members/{username}": "removeTenantMember",
        "PUT /tenants/{name}": "updateTenant",
        "PUT /users/{name}": "updateUser",
        "GET /watch": "watchObjects",
        "GET /watch/stream": "getWatchTicket",
        "POST /watch/stream": "createWatchTicket",
        "GET /resources/{group}/{version}/{plural}": "listCustomObjects",
        "POST /resources/{group}/{version}/{plural}": "createCustomObject",
        "GET /resources/{group}/{version}/{plural}/{name}": "getCustomObject",
        "PUT /resources/{group}/{version}/{plural}/{name}": "replaceCustomObject",
        "PATCH /resources/{group}/{version}/{plural}/{name}": "patchCustomObject",
        "DELETE /resources/{group}/{version}/{plural}/{name}": "deleteCustomObject",
    },
    "bcs_storage": {
        "GET /events": "listBcsEvents",
        "PUT /events": "reportBcsEvent",
        "POST /events": "searchBcsEvents",
        "GET /alarms": "listBcsAlarms",
        "POST /alarms": "reportBcsAlarm",
        "GET /metric/clusters": "listBcsMetricClusters",
        "GET /metric/clusters/{cluster}": "listBcsMetrics",
        "GET /host/clusters/{cluster}": "listBcsHosts",
        "POST /host/clusters/{cluster}": "addBcsHosts",
        "PUT /host/clusters/{cluster}": "replaceBcsHosts",
        "GET /dynamic/watch/{cluster}/{type}": "watchBcsResources",
        "POST /dynamic/watch/{cluster}/{type}": "watchBcsResourcesByBody",
        "GET /dynamic/watch/containers/{cluster}": "watchBcsContainers",
        "POST /dynamic/watch/containers/{cluster}": "watchBcsContainersByBody",
        "GET /metric/watch/{cluster}/{type}": "watchBcsMetrics",
        "POST /metric/watch/{cluster}/{type}": "watchBcsMetricsByBody",
        "GET /dynamic/customresources/{type}": "listBcsCustomResources",
        "PUT /dynamic/customresources/{type}": "replaceBcsCustomResource",
        "DELETE /dynamic/customresources/{type}": "deleteBcsCustomResources",
        "PUT /dynamic/customresources/{type}/index/{name}": ("createBcsCustomResourceIndex"),
        "DELETE /dynamic/customresources/{type}/index/{name}": ("deleteBcsCustomResourceIndex"),
        "PUT /clusters/{cluster}": "replaceBcsClusterInfo",
        "DELETE /clusters/{cluster}": "deleteBcsClusterInfo",
        "POST /k8s/dynamic/multicluster_resources/{type}": "listBcsResourcesInClusters",
    },
    "k8s_service": {
        "GET /test": "testK8sService",
        "GET /getPod": "listK8sServicePods",
        "POST /updatePodReplicas": "scaleK8sServiceDeployment",
    },
    "vkube": {
        "GET /regions": "listVKubeRegions",
        "GET /images": "getVKubeImage",
        "POST /checkports": "checkVKubePorts",
        "GET /order": "getVKubeOrder",
        "POST /deploy": "deployVKubeOrder",
        "POST /deployment": "createVKubeDeployment",
        "POST /deployment/update": "updateVKubeDeployment",
        "GET /userService": "getVKubeUserService",
        "GET /pod/log": "getVKubePodLog",
        "GET /pod/logs": "followVKubePodLog",
        "GET /pod/status": "getVKubePodStatus",
        "POST /pod/restart": "restartVKubePod",
        "POST /pod/stop": "stopVKubePod",
        "POST /pod/start": "startVKubePod",
    },
    "walm": {
        "GET /pod/{namespace}/name/{pod}/events": "listWalmPodEvents",
        "GET /pod/{namespace}/name/{pod}/logs": "getWalmPodLog",
        "POST /pod/{namespace}/name/{pod}/restart": "restartWalmPod",
        "GET /pvc/{namespace}": "listWalmClaims",
        "DELETE /pvc/{namespace}": "deleteWalmClaims",
        "GET /pvc/{namespace}/name/{name}": "getWalmClaim",
        "DELETE /pvc/{namespace}/name/{name}": "deleteWalmClaim",
        "GET /secret/{namespace}": "listWalmSecrets",
        "POST /secret/{namespace}": "createWalmSecret",
        "PUT /secret/{namespace}": "replaceWalmSecret",
        "DELETE /secret/{namespace}": "deleteWalmSecretByQuery",
        "GET /secret/{namespace}/name/{name}": "getWalmSecret",
        "DELETE /secret/{namespace}/name/{name}": "deleteWalmSecret",
        "GET /storageclass": "listWalmStorageClasses",
        "GET /storageclass/{name}": "getWalmStorageClass",
        "GET /tenant": "listWalmTenants",
        "POST /tenant/{name}": "createWalmTenant",
        "PUT /tenant/{name}": "updateWalmTenant",
    },
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
METHODS = {
    "GET": "get",
    "POST": "create",
    "PUT": "replace",
    "PATCH": "patch",
    "DELETE": "delete",
}
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
    """(address without its document's prefix, mark of a second address of the document or "")."""
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
    dialect: str,
    method: str,
    path: str,
    *,
    kinds: Mapping[str, str],
    prefix: str,
    paged: bool,
) -> str:
    """The operation's name: a verb and a noun.

    `kinds` are the names of kinds by their plurals, `prefix` begins the dialect's own nouns,
    `paged` says that the answer is a list.
    """
    address, mark = relative(path)
    if special := SPECIAL.get(dialect, {}).get(f"{method} {address}"):
        return special + mark
    if dialect == "bcs_storage" and (name := _bcs_name(method, address)):
        return name + mark
    return _name_by_rule(method, address, kinds, prefix, paged) + mark


def _bcs_name(method: str, address: str) -> str:
    """The name of a call on documents of bcs-storage, or ""."""
    parts = address.strip("/").split("/")
    family = "BcsMesos" if "mesos" in parts[:2] else "Bcs"
    if parts[0] == "query":
        suffix = "ByBody" if method == "POST" else ""
        return f"query{family}{pascal(plural(parts[-1]))}{suffix}"
    if parts[-1] == "batch":
        return f"write{family}Batch"
    collection = next((part for part in parts if part in BCS_COLLECTIONS), "")
    if not collection or method not in {"GET", "PUT", "DELETE"}:
        return ""
    noun = BCS_COLLECTIONS[collection].format(family)
    verb = {"GET": "get", "PUT": "put", "DELETE": "delete"}[method]
    if parts[-1] in {"{name}", "{ip}"}:
        return f"{verb}{noun}"
    # Without a name the call is about all of them.
    verb = "list" if method == "GET" else verb
    return f"{verb}{plural(noun)}"


def _name_by_rule(
    method: str,
    address: str,
    kinds: Mapping[str, str],
    prefix: str,
    paged: bool,
) -> str:
    """The name that follows from method and address."""
    parts = address.strip("/").split("/")
    words = [part for part in parts if not part.startswith("{")]
    nouns = [prefix + (kinds.get(word) or singular(pascal(word))) for word in words]
    owner = "".join(nouns[:-1])
    if words[0] == "bulk" and len(words) == 2:
        return f"bulkChange{plural(nouns[1])}"
    for ending, pattern in ENDINGS.items():
        verb, _, end = ending.partition(" ")
        if verb == method and address.endswith(f"/{end}"):
            ending_words = end.count("/") + 1
            return pattern.format("".join(nouns[: len(words) - ending_words]))
    if parts[-1].startswith("{"):
        return f"{METHODS[method]}{_object_noun(address, nouns)}"
    if method == "POST" and len(parts) > 1 and parts[-2].startswith("{"):
        # Something done to one object: /pods/{name}/restart.
        return f"{words[-1]}{owner}"
    if method == "GET" and paged:
        return f"list{owner}{plural(nouns[-1])}"
    if method == "GET":
        # One thing without a name, such as /cluster/summary: its word is no plural.
        noun = pascal(words[-1])
        return f"get{owner}{noun}" if owner else f"get{prefix}{noun}"
    return f"{METHODS[method]}{''.join(nouns)}"


def _object_noun(address: str, nouns: list[str]) -> str:
    """The noun of one object; a pod's second address says that its namespace stands in it."""
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
    "Operations": (
        "Work that takes time: its progress, its result, its end.",
        "operations",
    ),
    "Many clusters": (
        "Lists, search and overview over all clusters.",
        "multicluster topology",
    ),
    "Store": (
        "What is known of clusters without asking them: history, changes as they happen.",
        "store history watch",
    ),
    "Metrics": ("What clusters, nodes and pods use.", "metrics"),
    "Templates": (
        "Manifests with parameters, in versions that never change, and their deployments.",
        "templates template-deployments",
    ),
    "Automation": (
        "Tasks that run by themselves, and their runs.",
        "tasks task-runs",
    ),
    "Tenants": (
        "Namespaces with quotas and members, and templates of quotas.",
        "tenants plans",
    ),
    "Orders": (
        "Room that is sold: orders, payments, use and cost.",
        "orders",
    ),
    "Users": (
        "People, groups and what they may do.",
        "users groups grants",
    ),
    "Audit": (
        "Who did what, and recordings of terminals.",
        "audit terminal-recordings",
    ),
    "bcs-storage": (
        "The bcs-storage document: resources, watches, events, metrics, hosts.",
        "",
    ),
    "Walm": ("The Walm document.", ""),
    "V-Kube": (
        "The V-Kube document; most calls carry an order's secret in a header.",
        "",
    ),
    "K8s-service": ("The K8s-service document.", ""),
}
OWN_TOPICS = {
    "bcs_storage": "bcs-storage",
    "walm": "Walm",
    "vkube": "V-Kube",
    "k8s_service": "K8s-service",
}
_TOPIC_BY_WORD = {word: topic for topic, (_, words) in TOPICS.items() for word in words.split()}


def topic(dialect: str, path: str) -> str:
    """The topic that an operation belongs to."""
    address, _ = relative(path)
    first_word = address.strip("/").split("/")[0]
    return OWN_TOPICS.get(dialect) or _TOPIC_BY_WORD.get(first_word, "Clusters")


def sentence(name: str) -> str:
    """An operation id as text: `scaleDeployment` -> `Scale a Deployment`."""
    verb, noun = re.match(r"([a-z]+)(.*)", name).groups()  # type: ignore[union-attr]
    verb = verb.capitalize()
    if verb == "List" or noun in SAME_IN_PLURAL:
        return f"{verb} {noun}"
    if verb == "Bulk":
        return f"Do one thing to many {noun.removeprefix('Change')}"
    # "a User": a word that begins with U is spoken with a consonant here.
    article = "an" if noun[:1] in "AEIO" else "a"
    return f"{verb} {article} {noun}"
