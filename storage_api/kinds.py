"""Under which type a kind is stored."""

from clusters.kinds import Kind

# Groups that the API server itself brings: their kinds have names of their own. Anyone may make a `Service` in a group of theirs.
BUILT_IN = frozenset(
    [
        *(
            "",
            "apps",
            "batch",
            "autoscaling",
            "policy",
            "extensions",
            "events.k8s.io",
            "networking.k8s.io",
            "storage.k8s.io",
        ),
        *(
            "rbac.authorization.k8s.io",
            "discovery.k8s.io",
            "coordination.k8s.io",
            "apiextensions.k8s.io",
            "apiregistration.k8s.io",
        ),
        *(
            "admissionregistration.k8s.io",
            "certificates.k8s.io",
            "scheduling.k8s.io",
            "node.k8s.io",
            "resource.k8s.io",
        ),
        *("flowcontrol.apiserver.k8s.io", "internal.apiserver.k8s.io", "storagemigration.k8s.io"),
    ]
)
EVENTS, SECRETS = ("", "events"), ("", "secrets")


def resource_type(kind: Kind) -> str:
    """`Pod` for the API server's own kinds, `Widget.example.com` for all others: a kind's name has no dot, so none can collide."""
    return kind.name if kind.group in BUILT_IN else f"{kind.name}.{kind.group}"
