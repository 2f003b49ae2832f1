"""What never reaches an agent: values that may be secrets, wherever they stand in an answer.

Secrets themselves are masked by the API. This goes on with what people put elsewhere: variables
with telling names, copies of whole objects in annotations, passwords in addresses.
"""

from collections.abc import Mapping
from typing import Any

from access.redaction import SENSITIVE, USERINFO
from clusters.manifests import LAST_APPLIED, MASK

# The values of a change, in the words of the history and of comparisons.
_SIDES = ("from", "to", "before", "after")


def mask(value: Any) -> Any:
    """A copy of JSON data without such values."""
    if isinstance(value, str):
        return USERINFO.sub(f"://{MASK}@", value) if "://" in value else value
    if isinstance(value, list):
        return [mask(element) for element in value]
    if not isinstance(value, Mapping):
        return value
    masked = {
        str(name): MASK if name == LAST_APPLIED else mask(member) for name, member in value.items()
    }
    if _is_sensitive_variable(value):
        masked["value"] = MASK
    if _is_variable_change(value):
        masked |= {side: MASK for side in _SIDES if isinstance(value.get(side), str)}
    return masked


def _is_sensitive_variable(value: Mapping[str, Any]) -> bool:
    """Whether it is an environment variable whose name says that it holds a secret."""
    name = value.get("name")
    if not isinstance(name, str) or not isinstance(value.get("value"), str):
        return False
    return bool(SENSITIVE.search(name))


def _is_variable_change(value: Mapping[str, Any]) -> bool:
    """Whether it is a change of one variable's value, or of an annotation with a whole object."""
    path = value.get("path")
    if isinstance(path, str) and value.keys() & set(_SIDES):
        return LAST_APPLIED in path or (".env[" in path and path.endswith(".value"))
    if not isinstance(path, list) or not path or "op" not in value:
        return False
    return path[-1] == LAST_APPLIED or ("env" in path and path[-1] == "value")
