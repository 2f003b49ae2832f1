"""Under which type a kind is stored."""

import re
import unicodedata
from functools import lru_cache

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


# Decoration of a type's name that says nothing about the kind.
_NO_NAMES = frozenset({"", "v1", "v1beta1", "v1alpha1", "core", "api"})
_ACCESS = frozenset({"role", "rolebinding", "clusterrole", "clusterrolebinding", "serviceaccount"})


# What agents write before and after the word: `corev1.Secret`, `k8s-secret`, `SecretV1`.
_SECRET = re.compile(
    r"(k8s|kube|kubernetes|core|api|v[0-9]+((alpha|beta)[0-9]+)?)*(bcs)?secrets?(list)?(v[0-9]+)?"
)


def words_of(resource_type: str) -> list[str]:
    """The words of a stored type in lower case, as agents spell types as they like: `Secret`, `secrets`, `v1.Secret`, `SECRET_LIST`."""
    text = unicodedata.normalize("NFKC", resource_type).casefold()
    return [word for word in re.split(r"[^0-9a-z]+", text) if word not in _NO_NAMES]


def _singular(word: str) -> str:
    return word.removesuffix("list").removesuffix("s")


@lru_cache(maxsize=4096)
def is_secret_type(resource_type: str) -> bool:
    """Whether a stored type means Kubernetes' Secrets or those of mesos, however spelled.

    A custom kind of that name (`Secret.example.com`) is none.
    """
    return _SECRET.fullmatch("".join(words_of(resource_type))) is not None


@lru_cache(maxsize=4096)
def is_access_type(resource_type: str) -> bool:
    """Whether a stored type says who may do what: roles, bindings and service accounts of any group, and groups called authorization."""
    head, *group = resource_type.split(".")
    return _singular("".join(words_of(head))) in _ACCESS or "authorization" in words_of(
        ".".join(group)
    )
