"""ControllerRevisions: the templates that a StatefulSet or DaemonSet has had."""

import copy

from simcluster.client import Client
from simcluster.controllers import pods
from simcluster.objects import get_annotations
from simcluster.resources import Object

_REVISIONS = "controllerrevisions.apps"


def current(
    client: Client,
    owner: Object,
    *,
    label: str,
    annotations: Object | None = None,
) -> Object:
    """The revision of the owner's template, created if new; trims the history to its limit."""
    revisions = sorted(client.owned(_REVISIONS, owner), key=lambda revision: revision["revision"])
    template = {**copy.deepcopy(owner["spec"]["template"]), "$patch": "replace"}
    data = {"spec": {"template": template}}
    same = next((revision for revision in revisions if revision["data"] == data), None)
    if same is not None:
        # Back to an older template: its revision becomes the newest.
        if same is not revisions[-1]:
            same["revision"] = revisions[-1]["revision"] + 1
            same = client.update(_REVISIONS, same)
        return same
    created = _new(
        client,
        owner,
        data,
        number=revisions[-1]["revision"] + 1 if revisions else 1,
        label=label,
        annotations=annotations,
    )
    for revision in revisions[
        : max(len(revisions) - owner["spec"].get("revisionHistoryLimit", 10), 0)
    ]:
        client.delete(_REVISIONS, revision)
    return created


def _new(
    client: Client,
    owner: Object,
    data: Object,
    *,
    number: int,
    label: str,
    annotations: Object | None,
) -> Object:
    digest = pods.template_hash(data)
    meta: Object = {
        "name": f"{owner['metadata']['name']}-{digest}",
        "namespace": owner["metadata"]["namespace"],
        "labels": {
            **(owner["spec"]["template"].get("metadata", {}).get("labels") or {}),
            label: digest,
        },
        "ownerReferences": [pods.owner_reference(owner)],
    }
    if noted := {**get_annotations(owner), **(annotations or {})}:
        meta["annotations"] = noted
    return client.create(_REVISIONS, {"metadata": meta, "data": data, "revision": number})
