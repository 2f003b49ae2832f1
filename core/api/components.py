"""The last step of the OpenAPI document: equal parts get one name and are written once.

Names of schemas come from `title` where a declaration has one, else from the operation (see
`schema.DialectSchema`) and, inside, from the member that holds them. Titles are names only: none
stays in the document. Parameters, failures and examples are shared in the same way.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import chain, count
from typing import Any

from core.api.operation_names import (
    PREFIXES,
    TOPICS,
    pascal,
    singular,
)

Schema = dict[str, Any]
CHOICES = ("oneOf", "anyOf")
SECURITY_SCHEMES: Schema = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT or API token",
        "description": "An access token from signing in, or an API token.",
    },
    "bcsToken": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Bcs-User-Token",
        "description": "The same API token, as clients of bcs-storage send it.",
    },
    "orderSecret": {
        "type": "apiKey",
        "in": "header",
        "name": "secret",
        "description": "The secret of an order (V-Kube).",
    },
}


class Components:
    """The named parts of one document."""

    def __init__(self) -> None:
        self.schemas: dict[str, Schema] = {}
        self._names: dict[str, str] = {}

    def name(self, schema: Any, suggestion: str) -> Any:
        """The schema with a reference in place of each object with members, itself included."""
        if not isinstance(schema, dict) or "$ref" in schema:
            return schema
        schema = dict(schema)
        title = str(schema.pop("title", ""))
        name = title or suggestion
        if "allOf" in schema:
            schema["allOf"] = [self._part(inner, name) for inner in schema["allOf"]]
        for key in CHOICES:
            if key in schema:
                schema[key] = self._options(schema[key], name)
        if "items" in schema:
            schema["items"] = self.name(schema["items"], singular(name))
        values = schema.get("additionalProperties")
        if isinstance(values, dict):
            schema["additionalProperties"] = self.name(values, f"{name}Value")
        properties = schema.get("properties")
        if properties:
            schema["properties"] = self._members(properties, name)
        if not properties and not title:
            return _without_vacant_nullable(schema)
        return self._reference(schema, name)

    def _options(self, options: list[Schema], name: str) -> list[Schema]:
        """The alternatives of a choice: the first has the plain name, the others are numbered."""
        named = []
        for number, option in enumerate(options, 1):
            named.append(
                self.name(
                    option,
                    name if number == 1 else f"{name}Option{number}",
                )
            )
        return named

    def _members(self, properties: dict[str, Schema], name: str) -> dict[str, Schema]:
        return {
            member: self.name(inner, f"{name}{pascal(member)}")
            for member, inner in properties.items()
        }

    def _part(self, schema: Schema, name: str) -> Schema:
        """One part of an `allOf`: a reference when it has a name of its own, else in place."""
        if "title" in schema:
            named: Schema = self.name(schema, name)
            return named
        return {
            **schema,
            "properties": self._members(schema.get("properties", {}), name),
        }

    def _reference(self, schema: Schema, name: str) -> Schema:
        """A reference to the schema, which is written down under a free name the first time."""
        is_nullable = schema.pop("nullable", False)
        key = json.dumps(schema, sort_keys=True)
        if key not in self._names:
            self._names[key] = self._free_name(name)
            self.schemas[self._names[key]] = schema
        reference = {"$ref": f"#/components/schemas/{self._names[key]}"}
        if is_nullable:
            # OpenAPI 3.0 ignores the siblings of a $ref, so the reference is wrapped.
            return {
                "type": "object",
                "nullable": True,
                "allOf": [reference],
            }
        return reference

    def _free_name(self, name: str) -> str:
        """`Order`, else `OrderDetails`, else `Order2`, `Order3` …"""
        numbered = (f"{name}{number}" for number in count(2))
        candidates = chain((name, f"{name}Details"), numbered)
        return next(candidate for candidate in candidates if candidate not in self.schemas)


def _without_vacant_nullable(schema: Schema) -> Schema:
    """The schema without `nullable` where it has no type: it takes null as it is."""
    if "nullable" in schema and "type" not in schema:
        return {key: value for key, value in schema.items() if key != "nullable"}
    return schema


def name_components(result: Schema, **_: Any) -> Schema:
    """Postprocessing hook of drf-spectacular: the same document with its parts named."""
    components = Components()
    responses: dict[str, Schema] = {}
    operations = list(_operations(result))
    # Reads of one object first, so that what they answer has the plain name.
    for operation in sorted(operations, key=_naming_order):
        operation_id = operation["operationId"]
        name = operation_id[:1].upper() + operation_id[1:]
        for status, response in operation["responses"].items():
            for content in response.get("content", {}).values():
                content["schema"] = components.name(content["schema"], f"{name}Answer")
            if status != "200":
                # Failures are the same for all operations of a dialect: named after their schema.
                content = next(iter(response["content"].values()))
                shared = content["schema"]["$ref"].rpartition("/")[2]
                responses[shared] = response
                operation["responses"][status] = {"$ref": f"#/components/responses/{shared}"}
        for content in operation.get("requestBody", {}).get("content", {}).values():
            content["schema"] = components.name(content["schema"], f"{name}Body")
    result["components"] = {
        "schemas": dict(sorted(components.schemas.items())),
        "responses": dict(sorted(responses.items())),
        "parameters": _shared_parameters(operations),
        "examples": _shared_examples(operations, responses),
        "securitySchemes": SECURITY_SCHEMES,
    }
    result["tags"] = [{"name": name, "description": text} for name, (text, _) in TOPICS.items()]
    return result


def _shared_examples(operations: list[Schema], responses: dict[str, Schema]) -> Schema:
    """Examples of answers, each written once under the name of what it is an example of."""
    names: dict[str, str] = {}
    shared: dict[str, Schema] = {}
    answers: list[tuple[str, Schema]] = [
        (operation["operationId"], operation["responses"]["200"]) for operation in operations
    ]
    answers += responses.items()
    for owner, answer in answers:
        for content in answer["content"].values():
            if "example" not in content:
                continue
            example = content.pop("example")
            key = json.dumps(example, sort_keys=True)
            if key not in names:
                names[key] = _example_name(content["schema"], owner, shared)
                shared[names[key]] = {
                    "summary": names[key],
                    "value": example,
                }
            content["examples"] = {"answer": {"$ref": f"#/components/examples/{names[key]}"}}
    return dict(sorted(shared.items()))


def _example_name(schema: Schema, owner: str, shared: Mapping[str, Schema]) -> str:
    """The name of the example's schema; the owner's where it has none or the name is in use."""
    first = schema.get("anyOf", [schema])[0]
    name = str(first.get("$ref", "")).rpartition("/")[2]
    return name if name and name not in shared else pascal(owner)


def _naming_order(operation: Schema) -> tuple[bool, bool]:
    """A sort key: second addresses of a document last, reads of one object first."""
    name = operation["operationId"]
    marks = tuple(mark for mark in PREFIXES.values() if mark)
    return name.endswith(marks), not name.startswith("get")


def _operations(result: Schema) -> Iterator[Schema]:
    for methods in result["paths"].values():
        yield from methods.values()


def _shared_parameters(operations: list[Schema]) -> Schema:
    """Parameters that several operations have, replaced by references in them."""
    uses_by_parameter = Counter(
        json.dumps(parameter, sort_keys=True)
        for operation in operations
        for parameter in operation["parameters"]
    )
    names: dict[str, str] = {}
    shared: dict[str, Schema] = {}
    for key, uses in uses_by_parameter.most_common():
        parameter = json.loads(key)
        name = pascal(parameter["name"])
        if parameter["in"] == "path":
            name = f"{name}InPath"
        # Of several parameters with one name the most common is shared, the others stay where they
        # are.
        if uses > 1 and name not in shared:
            names[key] = name
            shared[name] = parameter
    for operation in operations:
        operation["parameters"] = [
            _shared_or_own(parameter, names) for parameter in operation["parameters"]
        ]
    return dict(sorted(shared.items()))


def _shared_or_own(parameter: Schema, names: Mapping[str, str]) -> Schema:
    """A reference where the parameter is shared; `names` is parameter as JSON -> name."""
    name = names.get(json.dumps(parameter, sort_keys=True))
    return {"$ref": f"#/components/parameters/{name}"} if name else parameter
