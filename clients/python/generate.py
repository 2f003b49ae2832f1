"""Make the parts that follow from the OpenAPI document: `python generate.py openapi.json`.

`src/kubegale_client/operations.json` is the table of calls; it is committed.
`src/kubegale_client/generated` is the work of openapi-python-client, 6 MB in 1,400 files; it is not
committed, but is part of the wheels that are built from it.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
# The KubeGale document; the four other documents have clients of their own.
PREFIXES = ("/api/v1/kubernetes/", "/api/v1/auth/")
STREAM = "text/event-stream"

Document = Mapping[str, Any]


def main() -> None:
    """Write both parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("document", type=Path, help="the OpenAPI document as JSON")
    parser.add_argument("--into", type=Path, default=ROOT / "src" / "kubegale_client")
    options = parser.parse_args()
    document = json.loads(options.document.read_text())
    options.into.mkdir(parents=True, exist_ok=True)
    (options.into / "operations.json").write_text(table(document))
    command = [
        *(
            sys.executable,
            "-m",
            "openapi_python_client",
            "generate",
            "--meta",
            "none",
        ),
        *("--path", str(options.document.resolve()), "--overwrite"),
        *("--config", str(ROOT / "openapi-python-client.json")),
        *("--output-path", str(options.into.resolve() / "generated")),
    ]
    sys.exit(subprocess.run(command, timeout=600, check=False).returncode)


def table(document: Document) -> str:
    """The table of calls as JSON, one call a line: a change of the API is a small difference."""
    lines = [
        f"{json.dumps(operation['operationId'])}: {json.dumps(entry(document, method, path))}"
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if path.startswith(PREFIXES) and STREAM not in operation["responses"]["200"]["content"]
    ]
    return "{\n" + ",\n".join(sorted(lines)) + "\n}\n"


def entry(document: Document, method: str, path: str) -> list[Any]:
    """[method, address, names in the query, names in the body].

    The names in the body are null without a body, [] for a free one.
    """
    operation = document["paths"][path][method]
    parameters = [_resolved(document, parameter) for parameter in operation["parameters"]]
    query = [parameter["name"] for parameter in parameters if parameter["in"] == "query"]
    body = None
    for content in operation.get("requestBody", {}).get("content", {}).values():
        body = list(_resolved(document, content["schema"]).get("properties", ()))
    return [method.upper(), path, query, body]


def _resolved(document: Document, node: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in node:
        target: Any = document
        for part in node["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        node = target
    return node


if __name__ == "__main__":
    main()
