"""The type under which a kind is stored, and what a stored type means."""

import re
import unicodedata
from functools import lru_cache

from clusters.kinds import Kind

# Groups that the API server itself serves: the names of their kinds are unique. Anybody may define
# a `Service` in a group of their own.
BUILT_IN = frozenset(
    [
        "",
        "admissionregistration.k8s.io",
        "apiextensions.k8s.io",
        "apiregistration.k8s.io",
        "apps",
        "autoscaling",
        "batch",
        "certificates.k8s.io",
        "coordination.k8s.io",
        "discovery.k8s.io",
        "events.k8s.io",
        "extensions",
        "flowcontrol.apiserver.k8s.io",
        "internal.apiserver.k8s.io",
        "networking.k8s.io",
        "node.k8s.io",
        "policy",
        "rbac.authorization.k8s.io",
        "resource.k8s.io",
        "scheduling.k8s.io",
        "storage.k8s.io",
        "storagemigration.k8s.io",
    ]
)
# (group, plural) of two kinds that are treated differently from all others.
EVENTS = ("", "events")
SECRETS = ("", "secrets")


def resource_type(kind: Kind) -> str:
    """`Pod` for the API server's own kinds, `Widget.example.com` for all others.

    The name of a kind has no dot, so two types cannot collide.
    """
    return kind.name if kind.group in BUILT_IN else f"{kind.name}.{kind.group}"


# Words of a stored type that say nothing about the kind.
_NOISE_WORDS = frozenset({"", "v1", "v1beta1", "v1alpha1", "core", "api"})
_ACCESS = frozenset({"role", "rolebinding", "clusterrole", "clusterrolebinding", "serviceaccount"})


# What agents write before and after the word: `corev1.Secret`, `k8s-secret`, `SecretV1`.
_SECRET = re.compile(
    r"(k8s|kube|kubernetes|core|api|v[0-9]+((alpha|beta)[0-9]+)?)*(bcs)?secrets?(list)?(v[0-9]+)?"
)


def words_of(resource_type: str) -> list[str]:
    """The words of a stored type in lower case, without versions and the like.

    Agents spell types as they like: `Secret`, `secrets`, `v1.Secret`, `SECRET_LIST`.
    """
    text = unicodedata.normalize("NFKC", resource_type).casefold()
    return [word for word in re.split(r"[^0-9a-z]+", text) if word not in _NOISE_WORDS]


def _singular(word: str) -> str:
    return word.removesuffix("list").removesuffix("s")


@lru_cache(maxsize=4096)
def is_secret_type(resource_type: str) -> bool:
    """Whether a stored type means the Secrets of Kubernetes or mesos, in any spelling.

    A custom kind of that name (`Secret.example.com`) is something else.
    """
    return _SECRET.fullmatch("".join(words_of(resource_type))) is not None


@lru_cache(maxsize=4096)
def is_access_type(resource_type: str) -> bool:
    """Whether objects of a stored type give rights.

    That are roles, bindings and service accounts of any API group, and every kind of a group with
    the word authorization.
    """
    name, _, group = resource_type.partition(".")
    if "authorization" in words_of(group):
        return True
    return _singular("".join(words_of(name))) in _ACCESS
