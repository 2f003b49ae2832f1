"""What a caller is about to do, and what they may see: the policy's question and its answer."""

from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class AccessAttributes:
    """What a caller is about to do, as in Kubernetes' SubjectAccessReview.

    `kind` is a plural, or a word of `access.policy` for what is no Kubernetes kind. `cluster` is a
    name or an id as text; an act on the default cluster names it. `cluster_scoped` says that a
    custom kind, once discovered, lives in no namespace. `stored_type` is the resource type of rows
    of the store. What no table of `access.policy` names needs an admin.
    """

    verb: str
    kind: str = ""
    group: str = ""
    cluster: str = ""
    namespace: str = ""
    name: str = ""
    cluster_scoped: bool = False
    stored_type: str = ""

    def without_name(self) -> "AccessAttributes":
        """The same on any object of its kind there, which needs the same right.

        A Namespace is the place that rights are given for, so its name stays.
        """
        if not self.name or (self.group, self.kind) == ("", "namespaces"):
            return self
        return replace(self, name="")

    def as_data(self) -> dict[str, str | bool]:
        """The act as JSON data; `dataclasses.asdict` takes ten times as long."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True)
class Scope:
    """What the caller may see.

    `namespaces` None is all of them. For acts that name no cluster, `clusters` gives the namespaces
    (None is all) by cluster id; None is every cluster. `reveals` says whether values of Secrets are
    shown. `unbounded` says that the caller administers the whole cluster, and so may give rights
    beyond those of a namespace's admin.
    """

    namespaces: frozenset[str] | None = None
    clusters: Mapping[int, frozenset[str] | None] | None = None
    reveals: bool = True
    unbounded: bool = False
