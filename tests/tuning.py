"""Environments of processes that tests start with other values than those of `kubegale.tuning`."""

import json
from collections.abc import Mapping

from kubegale import tuning


def tuned(environment: Mapping[str, object]) -> dict[str, str]:
    """The environment with such values moved into KUBEGALE_TUNING, everything else as text."""
    values = {name: value for name, value in environment.items() if hasattr(tuning, name)}
    rest = {name: str(value) for name, value in environment.items() if name not in values}
    if values:
        rest["KUBEGALE_TUNING"] = json.dumps(
            {**json.loads(rest.get("KUBEGALE_TUNING", "{}")), **values}
        )
    return rest
