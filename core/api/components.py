"""The last step of the OpenAPI document: equal schemas, parameters and failures get one name and are written once.

Names come from `title` where a declaration has one, else from the operation (see `schema.DialectSchema`) and, inside, from the
member that holds them. Titles are names only: none stays in the document.
"""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import chain, count
from typing import Any

from core.api.operation_names import PREFIXES, TOPICS, pascal, singular

Schema = dict[str, Any]
SEVERAL = ("oneOf", "anyOf", "allOf")
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
        """The schema with every object that has members, its own included, replaced by a reference."""
        if not isinstance(schema, dict) or "$ref" in schema:
            return schema
        schema = dict(schema)
        title = str(schema.pop("title", ""))
        name = title or suggestion
        for key in SEVERAL:
            if key in schema:
                schema[key] = [
                    self._part(inner, name)
                    if key == "allOf"
                    else self.name(inner, name if index == 0 else f"{name}Option{index + 1}")
                    for index, inner in enumerate(schema[key])
                ]
        if "items" in schema:
            schema["items"] = self.name(schema["items"], singular(name))
        if isinstance(schema.get("additionalProperties"), dict):
            schema["additionalProperties"] = self.name(
                schema["additionalProperties"], f"{name}Value"
            )
        if properties := schema.get("properties"):
            schema["properties"] = {
                member: self.name(inner, f"{name}{pascal(member)}")
                for member, inner in properties.items()
            }
        if not properties and not title:
            return _typed(schema)
        return self._referred(schema, name)

    def _part(self, schema: Schema, name: str) -> Schema:
        """One part of a whole: a reference when it has a name of its own, else in place."""
        if "title" in schema:
            named: Schema = self.name(schema, name)
            return named
        properties = {
            member: self.name(inner, f"{name}{pascal(member)}")
            for member, inner in schema.get("properties", {}).items()
        }
        return {**schema, "properties": properties}

    def _referred(self, schema: Schema, name: str) -> Schema:
        is_nullable = schema.pop("nullable", False)
        key = json.dumps(schema, sort_keys=True)
        if key not in self._names:
            self._names[key] = self._free(name)
            self.schemas[self._names[key]] = schema
        reference = {"$ref": f"#/components/schemas/{self._names[key]}"}
        if is_nullable:
            return {"type": "object", "nullable": True, "allOf": [reference]}
        return reference

    def _free(self, name: str) -> str:
        return next(
            free
            for free in chain((name, f"{name}Details"), (f"{name}{number}" for number in count(2)))
            if free not in self.schemas
        )


def _typed(schema: Schema) -> Schema:
    """The schema without `nullable` where nothing says what else it could be: it takes null as it is."""
    if "nullable" in schema and "type" not in schema:
        return {key: value for key, value in schema.items() if key != "nullable"}
    return schema


def name_components(result: Schema, **_: Any) -> Schema:
    """Postprocessing hook of drf-spectacular: the same document with its parts named."""
    components = Components()
    responses: dict[str, Schema] = {}
    operations = list(_operations(result))
    # Reads of one object first, so that what they answer has the plain name.
    for operation in sorted(operations, key=_order):
        name = operation["operationId"][:1].upper() + operation["operationId"][1:]
        for status, response in operation["responses"].items():
            for content in response.get("content", {}).values():
                content["schema"] = components.name(content["schema"], f"{name}Answer")
            if status != "200":
                reference = next(iter(response["content"].values()))["schema"]["$ref"]
                shared = reference.rpartition("/")[2]
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
    answers = [
        *((operation["operationId"], operation["responses"]["200"]) for operation in operations),
        *responses.items(),
    ]
    contents = [
        (owner, content)
        for owner, answer in answers
        for content in answer["content"].values()
        if "example" in content
    ]
    for owner, content in contents:
        example = content.pop("example")
        key = json.dumps(example, sort_keys=True)
        if key not in names:
            schema = content["schema"]
            first = schema.get("anyOf", [schema])[0]
            title = str(first.get("$ref", "")).rpartition("/")[2] or pascal(owner)
            if title in shared:
                title = pascal(owner)
            names[key] = title
            shared[title] = {"summary": title, "value": example}
        content["examples"] = {"answer": {"$ref": f"#/components/examples/{names[key]}"}}
    return dict(sorted(shared.items()))


def _order(operation: Schema) -> tuple[bool, bool]:
    name = operation["operationId"]
    return name.endswith(tuple(mark for mark in PREFIXES.values() if mark)), name[:3] != "get"


def _operations(result: Schema) -> Iterator[Schema]:
    for methods in result["paths"].values():
        yield from methods.values()


def _shared_parameters(operations: list[Schema]) -> Schema:
    """Parameters that several operations have, replaced by references in them."""
    counted = Counter(
        json.dumps(parameter, sort_keys=True)
        for operation in operations
        for parameter in operation["parameters"]
    )
    names: dict[str, str] = {}
    shared: dict[str, Schema] = {}
    for key, uses in counted.most_common():
        parameter = json.loads(key)
        name = pascal(parameter["name"])
        if parameter["in"] == "path":
            name = f"{name}InPath"
        # Of several parameters with one name the most common is shared, the others stay where they are.
        if uses > 1 and name not in shared:
            names[key], shared[name] = name, parameter
    for operation in operations:
        operation["parameters"] = [
            {"$ref": f"#/components/parameters/{names[key]}"} if key in names else parameter
            for parameter in operation["parameters"]
            for key in [json.dumps(parameter, sort_keys=True)]
        ]
    return dict(sorted(shared.items()))
