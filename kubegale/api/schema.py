"""OpenAPI: what each route takes and answers, inside its dialect's envelope."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drf_spectacular.openapi import AutoSchema

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
BOOLEAN: Schema = {"type": "boolean"}
ANYTHING: Schema = {}
OBJECT: Schema = {"type": "object", "additionalProperties": True}
KUBERNETES_OBJECT: Schema = {
    "type": "object",
    "description": "A Kubernetes object exactly as the API server gives it.",
    "properties": {"apiVersion": TEXT, "kind": TEXT, "metadata": OBJECT},
    "required": ["metadata"],
    "additionalProperties": True,
}
MANIFEST: Schema = {"oneOf": [OBJECT, {"type": "string", "description": "The same as YAML text."}]}


def record(*, required: tuple[str, ...] | Schema | None = None, **properties: Schema) -> Schema:
    """An object schema; every property is required unless some are named. A schema given as `required` is a property of that name."""
    if isinstance(required, dict):
        properties, required = {**properties, "required": required}, None
    names = list(properties if required is None else required)
    return {"type": "object", "properties": properties, **({"required": names} if names else {})}


def array(items: Schema) -> Schema:
    """A list schema."""
    return {"type": "array", "items": items}


def nullable(schema: Schema) -> Schema:
    """The schema or null."""
    return {**schema, "nullable": True}


@dataclass(frozen=True, slots=True)
class Query:
    """One query parameter."""

    name: str
    schema: Mapping[str, Any]
    required: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class Described:
    """What one operation takes and answers: `answer` is the data inside the envelope, `paged` its items."""

    summary: str
    answer: Mapping[str, Any]
    query: tuple[Query, ...] = ()
    body: Mapping[str, Any] | None = None
    body_types: tuple[str, ...] = ("application/json",)
    paged: bool = False
    answer_types: tuple[str, ...] = ("application/json",)
    # What is read besides: other spellings, and members of a representation that is sent back whole.
    also_query: tuple[str, ...] = ()
    also_body: tuple[str, ...] = ()
    # Whether the body may be the object itself instead of a member `content`.
    bare: bool = False


CLUSTER = Query("cluster_id", INTEGER, required=True, description="The registered cluster.")
NAMESPACE = Query(
    "namespace",
    TEXT,
    description="Required for one object of a namespaced kind; in lists empty means all.",
)
PAGING = (
    Query("page", {"type": "integer", "minimum": 1, "default": 1}),
    Query("pageSize", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 20}),
    Query("keyword", TEXT, description="Part of a name, whatever its case."),
)
SELECTORS = (Query("labelSelector", TEXT), Query("fieldSelector", TEXT))
DRY_RUN = Query("dry_run", BOOLEAN, description="Check everything, change nothing.")


def dialect_routes(
    endpoints: list[tuple[str, str, str, Any]], **_: Any
) -> list[tuple[str, str, str, Any]]:
    """Only what speaks a dialect: the schema's own pages stay out of the schema."""
    return [endpoint for endpoint in endpoints if hasattr(endpoint[3].cls, "dialect")]


class DialectSchema(AutoSchema):
    """Describes a DialectView by its table `operations`: action or method -> Described."""

    view: Any

    def get_operation(
        self, path: str, path_regex: str, path_prefix: str, method: str, registry: Any
    ) -> Any:
        """One OpenAPI operation."""
        action = getattr(self.view, "action", None) or method.lower()
        described = getattr(self.view, "operations", {}).get(action) or Described(action, ANYTHING)
        operation: Schema = {
            "operationId": _operation_id(path, method),
            "summary": described.summary,
            "tags": [_tag(path)],
            "parameters": [
                *_path_parameters(path),
                *(_parameter(query) for query in described.query),
            ],
            "responses": self._responses(described),
            "security": [] if self.view.is_open() else [{"bearer": []}],
        }
        if described.body is not None:
            operation["requestBody"] = {
                "content": {
                    kind: {"schema": dict(described.body)} for kind in described.body_types
                },
                "required": True,
            }
        return operation

    def _responses(self, described: Described) -> Schema:
        dialect = self.view.dialect
        answer = dialect.envelope(dict(described.answer), described.paged)
        good = answer if dialect.error_status != 200 else {"anyOf": [answer, dialect.error_schema]}
        failure = {
            "description": "Refused or failed.",
            "content": {"application/json": {"schema": dialect.error_schema}},
        }
        success = {
            "description": "Done, or a failure in the document's envelope.",
            "content": {kind: {"schema": good} for kind in described.answer_types},
        }
        return {"200": success, "4XX": failure, "5XX": failure}


def _operation_id(path: str, method: str) -> str:
    words = [word for word in re.split(r"[^A-Za-z0-9]+", path) if word not in {"", "api", "v1"}]
    return "_".join([method.lower(), *words])


def _tag(path: str) -> str:
    words = [
        word
        for word in path.split("/")
        if word and not word.startswith("{") and word not in {"api", "v1", "v4", "kubernetes"}
    ]
    return words[0] if words else "root"


def _path_parameters(path: str) -> list[Schema]:
    return [
        {"name": name, "in": "path", "required": True, "schema": TEXT}
        for name in re.findall(r"{(\w+)}", path)
    ]


def _parameter(query: Query) -> Schema:
    parameter: Schema = {
        "name": query.name,
        "in": "query",
        "schema": dict(query.schema),
        "required": query.required,
    }
    return {**parameter, "description": query.description} if query.description else parameter
