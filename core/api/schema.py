"""The OpenAPI document: what each route takes and answers, inside its dialect's envelope."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drf_spectacular.openapi import AutoSchema

from core.api import operation_names, parameter_texts

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
BOOLEAN: Schema = {"type": "boolean"}
ANYTHING: Schema = {}
OBJECT: Schema = {"type": "object", "additionalProperties": True}
TEXTS_BY_NAME: Schema = {"type": "object", "additionalProperties": TEXT}
METADATA: Schema = {
    "title": "ObjectMeta",
    "type": "object",
    "properties": {
        "name": TEXT,
        "namespace": TEXT,
        "uid": TEXT,
        "resourceVersion": TEXT,
        "creationTimestamp": TEXT,
        "labels": TEXTS_BY_NAME,
        "annotations": TEXTS_BY_NAME,
    },
    "additionalProperties": True,
}
KUBERNETES_OBJECT: Schema = {
    "title": "KubernetesObject",
    "type": "object",
    "description": "A Kubernetes object exactly as the API server gives it.",
    "properties": {
        "apiVersion": TEXT,
        "kind": TEXT,
        "metadata": METADATA,
    },
    "required": ["metadata"],
    "additionalProperties": True,
}
MANIFEST: Schema = {
    "oneOf": [
        OBJECT,
        {"type": "string", "description": "The same as YAML text."},
    ]
}


def record(
    *,
    required: tuple[str, ...] | Schema | None = None,
    **properties: Schema,
) -> Schema:
    """An object schema; every property is required unless `required` names some.

    A schema under `required` is a property of that name.
    """
    if isinstance(required, dict):
        properties = {**properties, "required": required}
        required = None
    names = list(properties if required is None else required)
    schema: Schema = {"type": "object", "properties": properties}
    if names:
        # OpenAPI forbids an empty list.
        schema["required"] = names
    return schema


def with_title(name: str, schema: Schema) -> Schema:
    """The schema under a name of its own; without one it is named after where it stands."""
    return {"title": name, **schema}


def array(items: Schema) -> Schema:
    """A list schema."""
    return {"type": "array", "items": items}


def nullable(schema: Schema) -> Schema:
    """The schema or null."""
    return {**schema, "nullable": True}


@dataclass(frozen=True, slots=True)
class QueryParameter:
    """One query parameter."""

    name: str
    schema: Mapping[str, Any]
    required: bool = False
    description: str = ""


@dataclass(frozen=True, slots=True)
class OperationSchema:
    """What one operation takes and answers.

    `answer` is the schema of the data inside the envelope; with `paged`, of the items of a page.
    """

    summary: str
    answer: Mapping[str, Any]
    query: tuple[QueryParameter, ...] = ()
    body: Mapping[str, Any] | None = None
    body_types: tuple[str, ...] = ("application/json",)
    paged: bool = False
    answer_types: tuple[str, ...] = ("application/json",)
    # What is read besides: other spellings, and members of a representation that is sent back
    # whole.
    also_query: tuple[str, ...] = ()
    also_body: tuple[str, ...] = ()
    # Whether the body may be the object itself instead of a member `content`.
    bare: bool = False
    # Whether the call may be refused until it is confirmed (1010).
    guarded: bool = False
    # Whether the summary speaks of objects in general, so that each kind's own name says more.
    generic: bool = False
    # What the data of the answer (of a page: its items) and the body are called where the
    # operation's own name says too little.
    answer_name: str = ""
    body_name: str = ""


CLUSTER = QueryParameter(
    "cluster_id",
    INTEGER,
    required=True,
    description="The registered cluster.",
)
NAMESPACE = QueryParameter(
    "namespace",
    TEXT,
    description="Required for one object of a namespaced kind; in lists empty means all.",
)
PAGING = (
    QueryParameter("page", {"type": "integer", "minimum": 1, "default": 1}),
    QueryParameter(
        "pageSize",
        {
            "type": "integer",
            "minimum": 1,
            "maximum": 1000,
            "default": 20,
        },
    ),
    QueryParameter(
        "keyword",
        TEXT,
        description="Part of a name, whatever its case.",
    ),
)
SELECTORS = (QueryParameter("labelSelector", TEXT), QueryParameter("fieldSelector", TEXT))
DRY_RUN = QueryParameter("dry_run", BOOLEAN, description="Check everything, change nothing.")
CONFIRMATION = (
    QueryParameter(
        "confirm",
        BOOLEAN,
        description="Do it without asking: for scripts.",
    ),
    QueryParameter(
        "confirm_token",
        TEXT,
        description=(
            "The token out of `data` of a refusal with code 1010: "
            "the same call goes through with it, once, for two minutes."
        ),
    ),
)


def dialect_routes(
    endpoints: list[tuple[str, str, str, Any]], **_: Any
) -> list[tuple[str, str, str, Any]]:
    """Preprocessing hook of drf-spectacular: the routes that speak a dialect and can succeed.

    Neither the schema's own pages, nor actions that a kind does not have.
    """
    return [
        endpoint
        for endpoint in endpoints
        if hasattr(endpoint[3].cls, "dialect")
        and endpoint[3].cls.is_offered(**getattr(endpoint[3], "initkwargs", {}))
    ]


class DialectSchema(AutoSchema):
    """Describes a DialectView by its table `operations` (action or method -> OperationSchema).

    Schemas carry titles here; `components` turns them into names.
    """

    view: Any

    def get_operation(
        self,
        path: str,
        path_regex: str,
        path_prefix: str,
        method: str,
        registry: Any,
    ) -> Any:
        """One OpenAPI operation."""
        dialect = self.view.dialect
        action = getattr(self.view, "action", None) or method.lower()
        operations = getattr(self.view, "operations", {})
        described = operations.get(action) or OperationSchema(action, ANYTHING)
        name = operation_names.operation_id(
            dialect.name,
            method,
            path,
            kinds=dialect.kinds,
            prefix=dialect.prefix,
            paged=described.paged,
        )
        summary = self._summary(name, described)
        queries = described.query
        if described.guarded and dialect.spoken:
            queries += CONFIRMATION
        operation: Schema = {
            "operationId": name,
            "summary": summary,
            "description": self._description(described, summary, method),
            "tags": [operation_names.topic(dialect.name, path)],
            "parameters": [
                *_path_parameters(path),
                *(_parameter(query) for query in queries),
            ],
            "responses": self._responses(described, name, path),
            "security": self._security(),
        }
        if described.body is not None:
            operation["requestBody"] = self._body(described, name)
        return operation

    # --- words ------------------------------------------------------------------------------------
    def _is_of_kind(self) -> bool:
        return getattr(self.view, "kind", None) is not None

    def _summary(self, name: str, described: OperationSchema) -> str:
        """The declaration's summary; where it serves every kind, the operation's name in words."""
        if described.generic and self._is_of_kind():
            return operation_names.sentence(name)
        return described.summary.rstrip(".")

    def _description(self, described: OperationSchema, summary: str, method: str) -> str:
        sentences = [f"{summary}."]
        if summary != described.summary.rstrip("."):
            # What a declaration for every kind says beyond the operation's own name.
            more = described.summary.partition("; ")[2]
            if more:
                sentences.append(f"{more[:1].upper()}{more[1:]}.")
        sentences.append(self._required_right(described, method))
        if described.guarded and self.view.dialect.spoken:
            sentences.append(
                "What is protected is refused first (code 1010) with what would happen and a "
                "`confirm_token`: send the same call again with it, or with `confirm=true`."
            )
        if PATCH_LIST in described.body_types:
            sentences.append(
                "A JSON patch (RFC 6902), which is a list of operations, is taken too, as "
                f"`{PATCH_LIST}`."
            )
        if self.view.dialect.error_status == 200:
            sentences.append("Failures come in the same envelope: look at `code` before `data`.")
        return " ".join(sentences)

    def _required_right(self, described: OperationSchema, method: str) -> str:
        """A sentence: what a caller needs for the call."""
        if self.view.is_open():
            if self.view.own_credentials:
                return "Needs the secret of an order."
            return "Answers without credentials."
        kind = getattr(self.view, "kind", None)
        if text := getattr(self.view, "rights_text", ""):
            return str(text)
        action = getattr(self.view, "action", None) or ""
        verb = VERBS.get(action) or getattr(self.view, "verb", "")
        if described.generic and kind is not None and verb:
            level = "namespace" if kind.namespaced else "cluster"
            return f"Needs the right to {verb} {kind.plural} in the {level}."
        if method == "GET":
            return "Needs the right to read what is asked for (a viewer has it by default)."
        return "Needs the right to change it; what it did is in the audit trail."

    def _security(self) -> list[Schema]:
        if self.view.is_open():
            return [{"orderSecret": []}] if self.view.own_credentials else []
        return [{scheme: []} for scheme in self.view.dialect.security]

    # --- bodies -----------------------------------------------------------------------------------
    def _body(self, described: OperationSchema, name: str) -> Schema:
        example = parameter_texts.example(
            described.body or {},
            manifest=self._manifest(),
            optional=parameter_texts.optional_members(getattr(self.view, "verb", "")),
        )
        content: Schema = {}
        for body_type in _ordered_body_types(described.body_types):
            schema: Schema = dict(described.body or PATCH_BODIES.get(body_type, ANYTHING))
            if described.body_name:
                schema["title"] = described.body_name
            if body_type == APPLY:
                body_example = self._manifest()
            elif body_type in PATCH_BODIES:
                body_example = PATCH_EXAMPLE
            else:
                body_example = example or {"namespace": "default"}
            content[body_type] = {
                "schema": schema,
                "example": body_example,
            }
        return {"content": content, "required": True}

    def _manifest(self) -> Schema:
        """The smallest object of the view's kind."""
        kind = getattr(self.view, "kind", None)
        metadata = {"name": "web", "labels": {"app": "web"}}
        if kind is None:
            return {
                "apiVersion": "example.com/v1",
                "kind": "Example",
                "metadata": metadata,
            }
        if kind.namespaced:
            metadata["namespace"] = "default"
        return {
            "apiVersion": kind.api_version,
            "kind": kind.name,
            "metadata": metadata,
        }

    # --- answers ----------------------------------------------------------------------------------
    def _responses(self, described: OperationSchema, name: str, path: str) -> Schema:
        dialect = self.view.dialect
        data, noun = self._answer(described, name, path)
        answer = _titled_answer(
            dialect.envelope(data, described.paged),
            data,
            noun,
            described,
        )
        fails_with_200 = dialect.error_status == 200
        schema = {"anyOf": [answer, dialect.error_schema]} if fails_with_200 else answer
        failure = {
            "description": "Refused or failed.",
            "content": {
                "application/json": {
                    "schema": dialect.error_schema,
                    "example": parameter_texts.example(dialect.error_schema),
                }
            },
        }
        content: Schema = {}
        for answer_type in described.answer_types:
            if answer_type == "application/json":
                example = self._example(data, answer)
                content[answer_type] = {
                    "schema": schema,
                    "example": example,
                }
            else:
                content[answer_type] = dict(TEXT_ANSWERS[answer_type])
        description = "Done."
        if fails_with_200:
            description = "Done, or a failure in the document's envelope."
            content.setdefault("application/json", {"schema": dialect.error_schema})
        success = {"description": description, "content": content}
        return {"200": success, "4XX": failure, "5XX": failure}

    def _example(self, data: Schema, answer: Schema) -> Any:
        """An example of an answer; an object of the view's own kind stands for its objects."""
        kind = getattr(self.view, "kind", None)
        own = kind is not None and data.get("title") == kind.name
        sample = parameter_texts.example(answer, manifest=self._manifest() if own else None)
        for member, word in SUCCESS_WORDS.items():
            if isinstance(sample, dict) and isinstance(sample.get(member), str):
                sample[member] = word
        return sample

    def _answer(self, described: OperationSchema, name: str, path: str) -> tuple[Schema, str]:
        """The data inside the envelope under its title, and the noun that names the envelope."""
        dialect = self.view.dialect
        answer = dict(described.answer)
        if answer == KUBERNETES_OBJECT and (kind := _kind_in_path(path, dialect.kinds)):
            return of_kind(kind), kind
        if described.answer_name:
            answer["title"] = described.answer_name
        if title := answer.get("title"):
            return answer, str(title)
        if answer.get("properties"):
            noun = _noun(name)
            return with_title(noun, answer), noun
        inner = answer.get("items") or {}
        if answer.get("type") == "array" and inner.get("properties"):
            noun = str(inner.get("title") or operation_names.singular(_noun(name)))
            return {
                **answer,
                "items": with_title(noun, inner),
            }, f"{noun}List"
        return answer, dialect.prefix + _plain_noun(answer)


VERBS: Mapping[str, str] = {
    "list": "list",
    "retrieve": "get",
    "create": "create",
    "update": "update",
    "partial_update": "patch",
    "destroy": "delete",
}
# Nouns for answers without a name of their own, by JSON type.
PLAIN = {
    "object": "Object",
    "string": "Text",
    "boolean": "Flag",
    "integer": "Count",
}
# What the envelopes say when all went well.
SUCCESS_WORDS = {"msg": "success", "message": "Success"}
# Answers that are no JSON have no envelope: a schema and an example of their own.
BINARY: Schema = {"type": "string", "format": "binary"}
TEXT_ANSWERS: Mapping[str, Schema] = {
    "application/octet-stream": {"schema": BINARY},
    "application/gzip": {"schema": BINARY},
    "application/x-tar": {"schema": BINARY},
    "text/event-stream": {
        "schema": {
            "type": "string",
            "description": "Server-sent events, as they happen.",
        },
        "example": 'id: 17\ndata: {"seq":17}\n\n',
    },
    "text/csv": {
        "schema": {
            "type": "string",
            "description": "A line of names, then a line for each row.",
        },
        "example": "id,state\n17,running\n",
    },
    "text/yaml": {
        "schema": {
            # Readers of YAML see the document itself where there is one.
            "oneOf": [{"type": "string"}, {"type": "object"}],
            "description": "YAML documents, each after a line `---`.",
        },
        "example": "---\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: settings\n",
    },
    "application/x-ndjson": {
        "schema": {
            "type": "string",
            "description": "One JSON object in each line.",
        },
        "example": '{"id":17,"verb":"delete"}\n',
    },
}
PATCH_LIST = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"
# Merge patch first: generators take the first type. A JSON patch is a list, which clients that are
# generated from a choice of list and object cannot send; it is described in words.
PATCH_BODIES: Mapping[str, Schema] = {
    "application/merge-patch+json": {
        "title": "MergePatch",
        **OBJECT,
        "description": "The members to change; null takes one away (RFC 7386).",
    },
    "application/strategic-merge-patch+json": {
        "title": "StrategicMergePatch",
        **OBJECT,
        "description": "As a merge patch, but lists of known kinds are merged by their keys.",
    },
    APPLY: {
        "title": "Apply",
        **OBJECT,
        "description": "Server-side apply: the fields that `fieldManager` wants, as YAML or JSON.",
    },
}
PATCH_EXAMPLE: Schema = {"metadata": {"labels": {"app": "web"}}}


def _ordered_body_types(body_types: tuple[str, ...]) -> list[str]:
    """The types of a body that have a schema, a merge patch first."""
    if PATCH_LIST not in body_types:
        return list(body_types)
    return [kind for kind in PATCH_BODIES if kind in body_types]


def of_kind(kind: str) -> Schema:
    """An object of one kind."""
    return {
        "title": kind,
        "allOf": [
            KUBERNETES_OBJECT,
            {
                "type": "object",
                "properties": {
                    "kind": {"type": "string", "enum": [kind]},
                    **MEMBERS.get(kind, HAS_SPEC),
                },
                "additionalProperties": True,
            },
        ],
    }


HAS_SPEC: Schema = {"spec": OBJECT, "status": OBJECT}
RULES: Schema = {"rules": array(OBJECT)}
BINDING: Schema = {"subjects": array(OBJECT), "roleRef": OBJECT}
MEMBERS: Mapping[str, Schema] = {
    "ConfigMap": {
        "data": TEXTS_BY_NAME,
        "binaryData": TEXTS_BY_NAME,
        "immutable": BOOLEAN,
    },
    "Secret": {
        "data": TEXTS_BY_NAME,
        "type": TEXT,
        "immutable": BOOLEAN,
    },
    "Role": RULES,
    "ClusterRole": RULES,
    "RoleBinding": BINDING,
    "ClusterRoleBinding": BINDING,
    "ServiceAccount": {
        "secrets": array(OBJECT),
        "imagePullSecrets": array(OBJECT),
    },
    "Endpoints": {"subsets": array(OBJECT)},
    "EndpointSlice": {
        "addressType": TEXT,
        "endpoints": array(OBJECT),
        "ports": array(OBJECT),
    },
    "ControllerRevision": {"revision": INTEGER, "data": OBJECT},
    "StorageClass": {
        "provisioner": TEXT,
        "parameters": TEXTS_BY_NAME,
        "reclaimPolicy": TEXT,
    },
    "Event": {
        "type": TEXT,
        "reason": TEXT,
        "message": TEXT,
        "involvedObject": OBJECT,
    },
}


def _kind_in_path(path: str, kinds: Mapping[str, str]) -> str:
    """The kind of the objects at an address, the last that it names; "" without one."""
    return next(
        (kinds[word] for word in reversed(path.split("/")) if word in kinds),
        "",
    )


def _plain_noun(answer: Schema) -> str:
    if answer.get("type") == "array":
        return f"{_plain_noun(answer.get('items') or {})}List"
    return "Document" if "oneOf" in answer else PLAIN.get(str(answer.get("type")), "Anything")


def _noun(name: str) -> str:
    """The noun of what an operation answers: `getOrder` -> `Order`.

    What an action answers is named after the action: `drainNode` -> `DrainNodeResult`.
    """
    verb, noun = re.match(r"([a-z]+)(.*)", name).groups()  # type: ignore[union-attr]
    if verb in {"get", "create", "replace", "update", "register"}:
        return str(noun)
    if verb == "list":
        return operation_names.singular(noun)
    return f"{name[:1].upper()}{name[1:]}Result"


def _titled_answer(answer: Schema, data: Schema, noun: str, described: OperationSchema) -> Schema:
    """The envelope under a title, and a page inside it too.

    Bare data keeps its own name, or has none.
    """
    if answer == data or not answer.get("properties"):
        return answer
    # Some dialects have the members of a page inside `data`, others next to it.
    inside = answer["properties"].get("data", {})
    if not described.paged:
        return with_title(f"{noun}Answer", answer)
    if "items" not in inside.get("properties", {}):
        return with_title(f"{noun}Page", answer)
    page = {
        **answer["properties"],
        "data": with_title(f"{noun}Page", inside),
    }
    return with_title(f"{noun}PageAnswer", {**answer, "properties": page})


def _path_parameters(path: str) -> list[Schema]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": TEXT,
            "description": parameter_texts.text(name),
            "example": parameter_texts.example(TEXT, name),
        }
        for name in re.findall(r"{(\w+)}", path)
    ]


def _parameter(query: QueryParameter) -> Schema:
    parameter = {
        "name": query.name,
        "in": "query",
        "schema": dict(query.schema),
        "required": query.required,
        "description": query.description or parameter_texts.text(query.name),
    }
    if query.required:
        parameter["example"] = parameter_texts.example(query.schema, query.name)
    return parameter
