"""Which cluster, namespace and object a request is about, by every name that its dialect allows."""

from typing import Any

from rest_framework.request import Request

from clusters import registry
from clusters.models import Cluster
from core.api.dialect import DialectView
from core.api.parsing import boolean, dry_run, integer, json_body
from core.api.schema import BOOLEAN, INTEGER, MANIFEST, TEXT, record
from core.errors import DomainError, Invalid
from workloads.objects.writes import VALIDATIONS

WRITE = record(
    required=("cluster_id", "content"),
    cluster_id=INTEGER,
    namespace=TEXT,
    content=MANIFEST,
    dry_run=BOOLEAN,
    # What the cluster does with unknown fields: Strict refuses them. Its own default is Warn.
    field_validation={"type": "string", "enum": list(VALIDATIONS)},
)


class RequestTarget:
    """The cluster and namespace of a request, and its other parameters, from query and body.

    Nothing is checked before `check`: rights come first, so that a caller without them learns
    nothing from error messages.
    """

    def __init__(self, view: DialectView, request: Request) -> None:
        self.body, self.problem = self._read_body(request)
        self._names = view.dialect.params
        self._query = request.query_params
        self._aliases = view.aliases
        # Parameters that may stand next to the members of a bare object.
        self._parameters = {
            *self._names,
            *WRITE["properties"],
            *view.aliases,
            *view.dialect.spoken,
        }
        # Every different value of each, under any of its names.
        self._values = {name: self._read_values(name) for name in ("cluster", "namespace")}
        self.cluster_text = next(iter(self._values["cluster"]), "")
        self.namespace = next(iter(self._values["namespace"]), "")

    @staticmethod
    def _read_body(
        request: Request,
    ) -> tuple[dict[str, Any], DomainError | None]:
        """The body and None, or {} and the error that `check` raises."""
        # The body of a patch is no set of parameters.
        if request.method == "PATCH":
            return {}, None
        try:
            return json_body(request), None
        except DomainError as error:
            return {}, error

    def _read_values(self, parameter: str) -> list[str]:
        """Every different value of cluster or namespace, under any of its names, as text."""
        names = [name for name, ours in self._names.items() if ours == parameter]
        values = [value for name in names for value in self._query.getlist(name)]
        values += [self.body[name] for name in names if self.body.get(name) is not None]
        return list(dict.fromkeys(str(value) for value in values if value != ""))

    def check(self) -> None:
        """Invalid when the body is no JSON object or a parameter has two different values."""
        if self.problem:
            raise self.problem
        for parameter, values in self._values.items():
            if len(values) > 1:
                raise Invalid(
                    f"{parameter} is given twice with different values",
                    field=parameter,
                )
        if "\x00" in self.namespace:
            # It goes into rows of operations, and PostgreSQL stores no NUL in text. For kinds
            # without namespaces no cluster would refuse it first.
            raise Invalid("namespace contains a NUL character", field="namespace")

    def cluster(self) -> Cluster:
        """The registered cluster; Invalid without an id, ClusterNotFound for an unknown one."""
        if not self.cluster_text:
            raise Invalid("cluster_id is required", field="cluster_id")
        return registry.find(integer(self.cluster_text, "cluster_id", minimum=0))

    def content(self) -> object:
        """The manifest: `content`, or the bare body when it looks like one; Invalid without."""
        if "content" in self.body:
            return self.body["content"]
        if "metadata" in self.body or "kind" in self.body:
            return {key: value for key, value in self.body.items() if key not in self._parameters}
        raise Invalid("content is required", field="content")

    def parameter(self, name: str) -> object:
        """A parameter's value from query or body, under this name or an alias; None without."""
        aliases = [alias for alias, ours in self._aliases.items() if ours == name]
        for spelling in [name, *aliases]:
            value = self._query.get(spelling, self.body.get(spelling))
            if value is not None:
                return value
        return None

    def flag(self, name: str, default: bool = False) -> bool:
        """A boolean parameter; for dry_run Kubernetes' `All` is true too."""
        value = self.parameter(name)
        if name == "dry_run" and value is not None:
            return dry_run(value)
        return default if value is None else boolean(value, name)

    def option(self, *names: str) -> str:
        """The first of these parameters that is not empty, as text; "" without any."""
        for name in names:
            if value := self.parameter(name):
                return str(value)
        return ""
